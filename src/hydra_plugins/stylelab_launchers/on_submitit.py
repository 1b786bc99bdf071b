"""`hydra/launcher=submitit_slurm` and `submitit_local`: jobs of Slurm, or processes in their manner, by submitit."""

import os
import shutil
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from hydra_plugins.stylelab_launchers.engine import EngineLauncher, at_least, shares, threads_environment

LARGEST_ARRAY = 1000  # jobs; Slurm takes 1001 unless it is told otherwise (MaxArraySize)
LONGEST_LOCAL_JOB = 60 * 24 * 365  # minutes; a run of this machine's is stopped by nobody


class SubmititLauncher(EngineLauncher):
    """One job for each run."""

    engine, extra = "submitit", "submitit"
    seconds_between_questions = 0.2

    @abstractmethod
    def executor(self, folder: Path) -> Any:
        """Submitit's executor, with its settings."""

    def open(self, runs: int, folder: Path) -> None:
        """Make the executor; the jobs' own files go to the sweep's folder."""
        self.jobs = folder / "jobs"
        self.jobs.mkdir(mode=0o700, exist_ok=True)  # the configuration in them may name a password
        self.submitted_with = self.executor(self.jobs)

    def ended(self, handles: Sequence[Any]) -> Sequence[Any]:
        """The jobs that left a result, or that the engine knows as ended."""
        done = [job for job in handles if job.done()]
        if not done:
            time.sleep(self.seconds_between_questions)
        return done

    def result(self, handle: Any) -> JobReturn:
        """What the job returned."""
        return handle.result()

    def close(self) -> None:
        """Forget what the jobs were given and returned; what they said is kept."""
        for path in self.jobs.glob("*.pkl"):
            path.unlink(missing_ok=True)


class SubmititLocalLauncher(SubmititLauncher):
    """Processes of this machine, a fresh one for each run, so many at a time.

    Args:
        n_jobs, threads, runs_per_gpu: see conf/hydra/launcher/submitit_local.yaml.
    """

    def __init__(self, *, n_jobs: int | None, threads: int | None, runs_per_gpu: int) -> None:
        self.n_jobs, self.threads, self.runs_per_gpu = n_jobs, threads, runs_per_gpu
        self.held: dict[Any, Mapping[str, str]] = {}  # job -> the environment of its place

    def check(self) -> None:
        """Refuse settings that are out of their range."""
        for key in ("n_jobs", "threads", "runs_per_gpu"):
            at_least(key, getattr(self, key), 1)

    def open(self, runs: int, folder: Path) -> None:
        """Share the machine out."""
        super().open(runs, folder)
        self.idle = shares(
            runs=runs,
            n_jobs=self.n_jobs,
            threads=self.threads,
            runs_per_gpu=self.runs_per_gpu,
            device=self.config.device,
        )
        self.places = len(self.idle)

    def executor(self, folder: Path) -> Any:
        """Submitit's for this machine."""
        from submitit import LocalExecutor

        executor = LocalExecutor(folder)
        executor.update_parameters(timeout_min=LONGEST_LOCAL_JOB)
        return executor

    def start(self, works: Sequence[Any]) -> Sequence[Any]:
        """A process for each, deaf to Ctrl-C, which `stop` turns into an end in order."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            jobs = []
            for work in works:
                environment = self.idle.pop()
                jobs.append(self.submitted_with.submit(replace(work, environment=environment)))
                self.held[jobs[-1]] = environment
        finally:
            signal.signal(signal.SIGINT, before)
        return jobs

    def ended(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Those that have ended; their places are free."""
        done = super().ended(handles)
        self.idle += [self.held.pop(job) for job in done]
        return done

    def stop(self, handles: Sequence[Any]) -> None:
        """SIGTERM to each, which submitit's controller hands on; its own `cancel` would kill a second later."""
        for job in handles:
            os.kill(int(job.job_id), signal.SIGTERM)


class SubmititSlurmLauncher(SubmititLauncher):
    """A job array of Slurm, one element for each run.

    A run that is pre-empted, or whose time is nearly up, saves a checkpoint, is queued again and goes on from there.

    Args:
        settings: of conf/hydra/launcher/submitit_slurm.yaml.
    """

    seconds_between_questions = 1.0
    seconds_between_forced_questions = 30.0  # to sacct; submitit itself comes to ask every ten minutes only

    def __init__(self, *, gpus: int, threads: int, max_requeues: int, **settings: Any) -> None:
        self.gpus, self.threads, self.max_requeues, self.settings = gpus, threads, max_requeues, settings
        self.last_forced = time.monotonic()

    def check(self) -> None:
        """Refuse settings that are out of their range, and a machine that can't submit."""
        at_least("gpus", self.gpus, 0)
        at_least("threads", self.threads, 1)
        at_least("max_requeues", self.max_requeues, 0)
        for key, least in (("timeout_min", 1), ("signal_delay_s", 0), ("mem_gb", 0.1), ("array_parallelism", 1)):
            at_least(key, self.settings[key], least, kind=type(least))
        if shutil.which("sbatch") is None:
            raise ValueError(
                "hydra/launcher: submitit_slurm finds no sbatch on PATH: start the sweep on a machine that submits to "
                "Slurm, or use hydra/launcher=submitit_local"
            )

    def executor(self, folder: Path) -> Any:
        """Submitit's for Slurm."""
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=self.max_requeues)
        given = {key: value for key, value in self.settings.items() if value is not None}
        gpus = {"gpus_per_node": self.gpus} if self.gpus and "gres" not in given else {}
        executor.update_parameters(
            job_name="stylelab",
            time=given.pop("timeout_min"),
            mem=f"{given.pop('mem_gb') * 1000:.0f}M" if "mem_gb" in given else None,
            cpus_per_task=self.threads,
            additional_parameters=given.pop("additional_parameters") | {"requeue": True},
            **gpus,
            **given,
        )
        return executor

    def start(self, works: Sequence[Any]) -> Sequence[Any]:
        """Arrays for all of them."""
        environment = threads_environment(self.threads) | ({} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""})
        jobs = []
        for first in range(0, len(works), LARGEST_ARRAY):
            with self.submitted_with.batch():
                for work in works[first : first + LARGEST_ARRAY]:
                    jobs.append(self.submitted_with.submit(SlurmWork(replace(work, environment=environment))))
        return jobs

    def ended(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Those that left a result or, as sacct knows, ended without one."""
        if time.monotonic() - self.last_forced > self.seconds_between_forced_questions:
            self.last_forced = time.monotonic()
            handles[0].watcher.update()
        return super().ended(handles)

    def stop(self, handles: Sequence[Any]) -> None:
        """Cancel the jobs: SIGTERM to those that paint, which end in order within Slurm's KillWait."""
        subprocess.call(["scancel", *{job.job_id.partition("_")[0] for job in handles}])


class SlurmWork:
    """A run as a job of Slurm, which can be queued again."""

    def __init__(self, work: Any) -> None:
        self.work = work

    def __call__(self) -> JobReturn:
        """Paint; when Slurm wants the place back, save a checkpoint where it gave notice, and be queued again.

        Raises:
            KeyboardInterrupt: it was cancelled, or Slurm itself queues it again; it leaves no result.
        """
        from stylelab.interrupts import give_notice

        queue_again = signal.signal(signal.SIGUSR2, give_notice)  # submitit's own handler
        try:
            return self.work.paint()
        except KeyboardInterrupt:
            if _not_cancelled():  # its time is nearly or wholly up, or it is pre-empted and in its grace time
                queue_again(signal.SIGUSR2, None)  # exits
            raise

    def checkpoint(self) -> Any:
        """What submitit queues again: the same run, which finds its checkpoint in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _not_cancelled() -> bool:
    """Whether Slurm counts this very job as running, or ends it because its time is up."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    own = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]  # the last of an array has the whole array's id
    asked = ["squeue", "--noheader", "--format=%T %r", f"--jobs={own}"]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    return said.startswith("RUNNING") or "TimeLimit" in said
