"""What the launchers have in common: a sweep's runs handed to an engine, each one's end its own affair."""

import os
import sys
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

SECONDS_TO_END = 60.0  # for runs that are asked to stop: a picture and the tracked run's end are written


class EngineLauncher(Launcher):
    """Keeps an engine busy until every run has ended.

    A run that fails, or whose worker dies, costs no other: it is FAILED in what `launch` returns. Ctrl-C and SIGTERM
    ask every run to end in order. An engine's subclass says how runs are started, awaited and stopped.
    """

    engine: ClassVar[str]  # the Python package
    extra: ClassVar[str]  # of stylelab, which brings it
    places: int | None = None  # runs at a time; None: the engine decides

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over.

        Raises:
            ValueError: the engine is not installed, or a setting is out of its range.
        """
        if find_spec(self.engine) is None:
            chosen = config.hydra.runtime.choices["hydra/launcher"]
            raise ValueError(
                f"hydra/launcher: {chosen} needs {self.engine}, which is not installed: "
                f"pip install 'stylelab[{self.extra}]'"
            )
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function
        self.check()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run every job; one return for each, in order.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after the runs have been stopped.
        """
        folder = Path(self.config.hydra.sweep.dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        waiting = deque(self._work(initial_job_idx + n, run, folder) for n, run in enumerate(job_overrides))
        returns: dict[int, JobReturn] = {}
        running: dict[Any, Any] = {}  # the engine's handle of a run -> the run
        self.open(len(waiting), folder)
        try:
            while waiting or running:
                room = min(self.places - len(running), len(waiting)) if self.places else len(waiting)
                next_ones = [waiting.popleft() for _ in range(room)]
                if next_ones:
                    running |= zip(self.start(next_ones), next_ones, strict=True)
                for handle in self.ended(list(running)):
                    work = running.pop(handle)
                    returns[work.number] = self._return_of(handle)
                    left = f"{len(returns)} of {len(job_overrides)} runs have ended"
                    print(f"run {work.number} has ended, {left}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            self._stop(list(running))
            raise
        finally:
            self.close()
        return [returns[number] for number in sorted(returns)]

    def _work(self, number: int, overrides: Sequence[str], folder: Path) -> Any:
        from stylelab.work import Work  # not wanted by --help

        return Work(
            number=number,
            overrides=tuple(overrides),
            config=self.config,
            hydra=self.hydra_context,
            task=self.task_function,
            singletons=Singleton.get_state(),
            directory=os.getcwd(),
            folder=str(folder),
            environment={},
        )

    def _return_of(self, handle: Any) -> JobReturn:
        try:
            return self.result(handle)
        except Exception as error:  # its worker died, or what it returned could not travel
            return JobReturn(status=JobStatus.FAILED, _return_value=error)

    def _stop(self, handles: list[Any]) -> None:
        """Ask runs to end, and wait until they have."""
        print(f"stopping {len(handles)} runs", file=sys.stderr, flush=True)
        self.stop(handles)
        deadline = time.monotonic() + SECONDS_TO_END
        while handles and time.monotonic() < deadline:
            ended = self.ended(handles)
            handles = [handle for handle in handles if handle not in ended]

    def check(self) -> None:
        """Refuse settings that are out of their range."""

    @abstractmethod
    def open(self, runs: int, folder: Path) -> None:
        """Make ready for so many runs of the sweep that has this folder."""

    @abstractmethod
    def start(self, works: Sequence[Any]) -> Sequence[Any]:
        """Start runs; a handle for each."""

    @abstractmethod
    def ended(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Those that have ended, after waiting for a moment where none has."""

    @abstractmethod
    def result(self, handle: Any) -> JobReturn:
        """What an ended run returned; raises whatever kept it from returning."""

    @abstractmethod
    def stop(self, handles: Sequence[Any]) -> None:
        """Ask runs to end in order."""

    @abstractmethod
    def close(self) -> None:
        """Let the engine go."""


def threads_environment(threads: int) -> dict[str, str]:
    """The environment that holds a worker to so many CPU threads, if it is set before numpy and torch are imported."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def visible_gpus(device: str) -> list[str]:
    """The GPUs to hand out, as CUDA_VISIBLE_DEVICES names them; none where runs are not free to use any of them."""
    if device not in ("auto", "cuda") or (os.name == "posix" and not Path("/dev/nvidiactl").exists()):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    import torch  # without a GPU its import is not waited for

    return [str(number) for number in range(torch.cuda.device_count())]


def shares(
    *, runs: int, n_jobs: int | None, threads: int | None, runs_per_gpu: int, device: str
) -> list[dict[str, str]]:
    """The environment of each place that runs can be at on this machine: its CPU threads, its GPU.

    Args:
        n_jobs: places; None for one on each GPU (or `runs_per_gpu`), without GPUs one on each core.
        threads: of each place; None for its part of the cores.
    """
    from joblib import cpu_count  # knows of affinity and of a container's share; MLflow brings it along

    gpus = visible_gpus(device)
    places = min(n_jobs or len(gpus) * runs_per_gpu or cpu_count(), runs)
    if gpus:
        places = min(places, len(gpus) * runs_per_gpu)
    each = threads_environment(threads or max(1, cpu_count() // places))
    return [each | ({"CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else {}) for n in range(places)]


def at_least(key: str, value: object, least: float, *, kind: type = int) -> None:
    """Refuse a launcher's setting that is no number, or below the least one that does; None is left to the launcher."""
    kinds = (int,) if kind is int else (int, float)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or value < least):
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"hydra.launcher.{key}: found {value!r}, expected {noun} of {least} or more")
