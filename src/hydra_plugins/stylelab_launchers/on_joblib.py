"""`hydra/launcher=joblib`: processes of this machine, by joblib's loky."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from hydra_plugins.stylelab_launchers.engine import EngineLauncher, at_least, shares


class JoblibLauncher(EngineLauncher):
    """One process for each place, which paints one run after another.

    Each place is a pool of its own, because a pool of joblib's ends all its processes when one dies.

    Args:
        n_jobs, threads, runs_per_gpu: see conf/hydra/launcher/joblib.yaml.
    """

    engine = extra = "joblib"

    def __init__(self, *, n_jobs: int | None, threads: int | None, runs_per_gpu: int) -> None:
        self.n_jobs, self.threads, self.runs_per_gpu = n_jobs, threads, runs_per_gpu
        self.idle: list[_Place] = []
        self.busy: dict[Future, _Place] = {}

    def check(self) -> None:
        """Refuse settings that are out of their range."""
        for key in ("n_jobs", "threads", "runs_per_gpu"):
            at_least(key, getattr(self, key), 1)

    def open(self, runs: int, folder: Path) -> None:
        """A pool of one process for each place; the process starts with its first run."""
        environments = shares(
            runs=runs,
            n_jobs=self.n_jobs,
            threads=self.threads,
            runs_per_gpu=self.runs_per_gpu,
            device=self.config.device,
        )
        self.places = len(environments)
        self.idle = [_Place(environment) for environment in environments]

    def start(self, works: Sequence[Any]) -> Sequence[Future]:
        """Each run in a pool that is idle."""
        futures = []
        for work in works:
            place = self.idle.pop()
            futures.append(place.pool.submit(work))
            self.busy[futures[-1]] = place
        return futures

    def ended(self, handles: Sequence[Future]) -> Sequence[Future]:
        """Those that have ended within a second; a pool whose process died is made anew."""
        done = list(wait(handles, timeout=1, return_when=FIRST_COMPLETED).done)
        for future in done:
            place = self.busy.pop(future)
            died = isinstance(future.exception(), BrokenExecutor)
            self.idle.append(_Place(place.environment) if died else place)
        return done

    def result(self, handle: Future) -> JobReturn:
        """What the run returned."""
        return handle.result()

    def stop(self, handles: Sequence[Future]) -> None:
        """SIGTERM to every process that paints."""
        for process in active_children():
            process.terminate()

    def close(self) -> None:
        """Let every process go; one that still paints is killed."""
        for place in [*self.idle, *self.busy.values()]:
            place.pool.shutdown(wait=True, kill_workers=True)
        self.idle, self.busy = [], {}


class _Place:
    """A pool of one process with an environment of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        from stylelab.work import end_with_parent

        self.environment = environment
        self.pool = ProcessPoolExecutor(
            max_workers=1, timeout=None, initializer=end_with_parent, initargs=(os.getpid(),), env=environment
        )
