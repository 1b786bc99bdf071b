"""A sweep: every run checked before the first starts, what is finished skipped, what failed said at the end."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from stylelab import run_folder
from stylelab.configuration import in_one_line, plain
from stylelab.errors import SweepFailed
from stylelab.job import Job, prepare

SWEEP_RUN = "STYLELAB_SWEEP_RUN"  # environment of a sweep's jobs: the parent's MLflow run id
SWEEP_NAME = "STYLELAB_SWEEP"  # and the sweep's name

Launch = Callable[[Sequence[Sequence[str]], dict[str, str]], None]


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    overrides: tuple[str, ...]
    label: str  # the overrides that tell it from the others
    job: Job


def conduct(
    overrides: Sequence[Sequence[str]],
    *,
    compose: Callable[[Sequence[str]], Any],
    launch: Launch,
    config: DictConfig,
) -> None:
    """Carry a sweep out.

    Args:
        overrides: one list per run.
        compose: the configuration of a run from its overrides, Hydra's own part included.
        launch: starts the runs of a list of overrides, with variables added to their environment; returns when all
            have ended.
        config: the sweep's own configuration.

    Raises:
        ValueError: a run can't be made as it is configured; nothing was painted.
        SweepFailed: not every run is finished.
    """
    members = [check(n, job, varied, compose) for n, (job, varied) in enumerate(zip(overrides, differing(overrides), strict=True))]
    name = config.sweep or f"{config.hydra.runtime.choices.get('experiment') or 'sweep'}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    parent = _Parent(members[0].job, name)
    started = time.time()
    done = {member.job.key for member in members if parent.is_done(member.job)}
    wanted = _wanted(members, done, config.retry, force=config.force)
    _tell(f"sweep {name}: {len(members)} runs, {len(members) - len(wanted)} of them done or left alone")
    try:
        if wanted:
            launch([member.overrides for member in wanted], parent.environment)
    except Exception as error:  # a worker that died, an engine that broke: the table says what is missing
        _tell(f"the launcher stopped: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    finally:
        painted = {member.job.key for member in wanted}
        outcomes = [_outcome(member, painted, started) for member in members]
        _print_table(members, outcomes)
        parent.close(members, outcomes)
    unfinished = sum(not outcome.startswith(("finished", "done")) for outcome in outcomes)
    if unfinished:
        raise SweepFailed(f"{unfinished} of {len(members)} runs are not finished; the same command again paints only these")


def differing(jobs: Sequence[Sequence[str]]) -> list[str]:
    """What tells each run of a sweep from the others: its overrides that not all of them have."""
    common = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [" ".join(override for override in job if override not in common) for job in jobs]


def check(number: int, overrides: Sequence[str], label: str, compose: Callable[[Sequence[str]], Any]) -> Member:
    """Compose and prepare one run of a sweep.

    Raises:
        ValueError: says which run, and what is wrong with it.
    """
    where = f"run {number} ({label})"
    try:
        return Member(tuple(overrides), label, prepare(plain(compose(overrides))))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{where}: {in_one_line(error)}") from error


def _wanted(members: Sequence[Member], done: set[str], retry: str, *, force: bool) -> list[Member]:
    """The members to launch: none twice, none that is finished or that `retry` leaves alone."""
    found: dict[str, Member] = {}
    for member in members:
        finished = member.job.key in done and not force and retry != "all"
        failed = run_folder.read(member.job.folder).get("status") in ("FAILED", "KILLED")
        if not finished and not (failed and retry == "none"):
            found.setdefault(member.job.key, member)
    return list(found.values())


def _outcome(member: Member, painted: set[str], started: float) -> str:
    """How a member stands, in a few words."""
    record = run_folder.read(member.job.folder)
    status = record.get("status")
    if status == "FINISHED":
        return "finished" if member.job.key in painted and record.get("ended", 0) >= started else "done before"
    if status in ("FAILED", "KILLED"):
        return f"{status.lower()}: {record.get('reason')}"
    return "interrupted" if status == "RUNNING" else "missing"


def _print_table(members: Sequence[Member], outcomes: Sequence[str]) -> None:
    print("\nrun  outcome      picture or reason")
    for number, (member, outcome) in enumerate(zip(members, outcomes, strict=True)):
        word, _, reason = outcome.partition(": ")
        print(f"{number:>3}  {word:<11}  {reason or member.job.folder}  ({member.label})")


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class _Parent:
    """The sweep's own run in MLflow; without tracking, nothing."""

    def __init__(self, job: Job, name: str) -> None:
        self.name, self.run_id, self.tracker = name, None, None
        if job.spec.tracking.store == "mlflow":
            from stylelab.tracking import SweepTracker  # MLflow takes seconds to import

            self.tracker = SweepTracker(job, name)
            self.run_id = self.tracker.run_id

    @property
    def environment(self) -> dict[str, str]:
        return {SWEEP_RUN: self.run_id, SWEEP_NAME: self.name} if self.run_id else {}

    def is_done(self, job: Job) -> bool:
        if not run_folder.is_whole(job.folder):
            return False
        return self.tracker is None or run_folder.read(job.folder).get("mlflow_run_id") in self.tracker.finished

    def close(self, members: Sequence[Member], outcomes: Sequence[str]) -> None:
        if self.tracker is not None:
            ids = [run_folder.read(member.job.folder).get("mlflow_run_id") for member in members]
            self.tracker.close([run_id for run_id in dict.fromkeys(ids) if run_id], outcomes)
