"""A sweep: every run checked before the first starts, what is finished skipped, what failed said at the end."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylelab import bundles, run_folder
from stylelab.addresses import redacted
from stylelab.configuration import in_one_line, plain
from stylelab.errors import SweepFailed
from stylelab.interrupts import named, sigterm_as_interrupt
from stylelab.job import Job, prepare

SWEEP_RUN = "STYLELAB_SWEEP_RUN"  # environment of a sweep's jobs: the parent's identity, which MLflow knows or will
SWEEP_NAME = "STYLELAB_SWEEP"  # the sweep's name
FAULTS = "STYLELAB_SWEEP_FAULTS"  # and the folder for what stops a run before it has a folder of its own
INPUTS = "inputs"  # in that folder: hashes of what the runs are painted from
MOST_LAUNCHES = 2  # of one run whose worker dies; a run that fails by itself is launched once

Compose = Callable[[Sequence[str]], Any]
Launch = Callable[[Sequence[Sequence[str]], Mapping[str, str]], None]


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    overrides: tuple[str, ...]
    label: str  # the overrides that tell it from the others
    job: Job

    @classmethod
    def of(cls, run: Sequence[str], label: str, config: DictConfig, *, gpus: float | None) -> "Member":
        """Check a composed run; `gpus_of` its sweep decides the device, where it is painted elsewhere.

        Raises:
            ValueError, OmegaConfBaseException: it can't be made as it is configured.
        """
        job = prepare(plain(config), gpus=gpus)
        decided = () if gpus is None else (f"device={job.spec.device}",)
        return cls((*run, *decided), label, job)

    def with_override(self, override: str) -> "Member":
        """The same run, launched with one more override, which changes nothing of the picture."""
        return replace(self, overrides=(*self.overrides, override))


def conduct(overrides: Sequence[Sequence[str]], *, compose: Compose, launch: Launch, config: DictConfig) -> None:
    """Carry a sweep out.

    Args:
        overrides: one list per run.
        compose: the configuration of a run from its overrides.
        launch: starts the runs of a list of overrides, with variables added to their environment; returns when all
            have ended.
        config: the sweep's own configuration.

    Raises:
        ValueError: a run can't be made as it is configured; nothing was painted.
        SweepFailed: not every run is finished.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the table.
    """
    with sigterm_as_interrupt():
        members = checked(overrides, compose, gpus=gpus_of(config))
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        name = config.sweep or f"{config.hydra.runtime.choices.get('experiment') or 'sweep'}_{stamp}"
        parent = Parent([member.job for member in members], name, fingerprint=fingerprint(members))
        parent.describe(members, experiment=config.hydra.runtime.choices.get("experiment"))
        together = OmegaConf.select(config, "hydra.launcher.batch") or 1
        batch = Batch(members, parent, Path(config.hydra.sweep.dir), together=together)
        try:
            left = len(members) - len(batch.wanted)
            tell(f"sweep {parent.name}: {len(members)} runs, {left} of them done, doubled or left alone")
            batch.paint(launch)
        finally:
            outcomes = batch.outcomes()
            _print_table(members, outcomes)
            parent.describe(members, outcomes)
            parent.close([run_id_of(member) for member in members], counts(outcomes))
    unfinished = sum(not is_finished(outcome) for outcome in outcomes)
    if unfinished:
        raise SweepFailed(
            f"{unfinished} of {len(members)} runs are not finished; the same command again paints only these"
        )


def gpus_of(config: DictConfig) -> float | None:
    """The GPUs that a sweep's launcher gives each run on another machine; None where runs are painted on this one."""
    return OmegaConf.select(config, "hydra.launcher.gpus")


def checked(overrides: Sequence[Sequence[str]], compose: Compose, *, gpus: float | None = None) -> list[Member]:
    """Every run of a sweep, composed and prepared; nothing is painted.

    Raises:
        ValueError: says which run, what is wrong with it, and how many others have faults.
    """
    members, faults = [], []
    for number, (run, label) in enumerate(zip(overrides, differing(overrides), strict=True)):
        try:
            members.append(Member.of(run, label, compose(run), gpus=gpus))
        except (ValueError, OmegaConfBaseException) as error:
            faults.append((f"run {number} ({label}): {in_one_line(error)}", error))
    if faults:
        others = f" (and {len(faults) - 1} more of the {len(overrides)} runs)" if len(faults) > 1 else ""
        raise ValueError(faults[0][0] + others) from faults[0][1]
    return members


def differing(jobs: Sequence[Sequence[str]]) -> list[str]:
    """What tells each run of a sweep from the others: its overrides that not all of them have."""
    common = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [redacted(" ".join(override for override in job if override not in common)) for job in jobs]


def check_unchanged(job: Job) -> None:
    """Refuse a sweep's run whose pictures or parameters are no longer those that the sweep was checked with.

    Raises:
        ValueError: says so; it would be another run than the sweep's.
    """
    known = Path(os.environ[FAULTS]) / INPUTS if os.environ.get(FAULTS) else None
    if known is not None and known.is_file() and _inputs(job) not in known.read_text().splitlines():
        raise ValueError("images: a picture or parameter file was changed after the sweep was checked: start it again")


def _inputs(job: Job) -> str:
    """The hashes of the files that a run is painted from."""
    of = job.decisive
    return " ".join([of["content"], *of["styles"], *of["parameters"].values()])


def note_fault(number: int, error: BaseException) -> None:
    """Leave what stopped a sweep's run where the sweep finds it, even before the run had a folder of its own."""
    if os.environ.get(FAULTS):
        (Path(os.environ[FAULTS]) / str(number)).write_text(f"{type(error).__name__}: {in_one_line(error)}")


class Batch:
    """Members of a sweep that are launched together.

    Args:
        members: every run, checked.
        parent: of the sweep.
        folder: of this sweep alone, for Hydra's record and faults.
        together: most runs that one process paints together, where their configuration does not say.
    """

    def __init__(self, members: Sequence[Member], parent: "Parent", folder: Path, *, together: int = 1) -> None:
        self.members, self.parent, self.folder, self.together = members, parent, folder, together
        self.began = time.time()
        self.faults: dict[str, str] = {}  # key -> what stopped it

    @cached_property
    def wanted(self) -> list[Member]:
        """The members to launch: none twice, none that is finished or that `retry` leaves alone."""
        done = self.parent.done(self.members)
        found: dict[str, Member] = {}
        for member in self.members:
            spec = member.job.spec
            finished = member.job.key in done and not spec.paints_again
            failed = run_folder.read(member.job.folder).get("status") == "FAILED"
            if not finished and not (failed and spec.retry == "none"):
                found.setdefault(member.job.key, member)
        return list(found.values())

    def paint(self, launch: Launch) -> None:
        """Launch what is wanted; what a dead process left is marked.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM.
        """
        reason = "its process died"
        try:
            self._launch_all(launch)
        except KeyboardInterrupt as interrupt:
            reason = f"the sweep was interrupted by {named(interrupt)}"
            raise
        finally:
            for member in self.wanted:
                self._settle(member, reason)

    def outcomes(self) -> list[str]:
        """How each member stands, in a few words; of a run that another process has painted before: done before."""
        return [self._outcome(member) for member in self.members]

    def _launch_all(self, launch: Launch) -> None:
        """Launch; where a worker's death took the launcher along, launch again what it left undone."""
        launches: Counter = Counter()
        remaining = self.wanted
        while remaining:
            launches.update(member.job.key for member in remaining)
            faults = self.folder / f"faults-{os.getpid()}-{max(launches.values())}"
            faults.mkdir(parents=True, exist_ok=True)
            (faults / INPUTS).write_text("\n".join(dict.fromkeys(_inputs(member.job) for member in remaining)))
            broken = False
            try:
                jobs = self._jobs(remaining, alone=max(launches.values()) > 1)
                launch(jobs, self.parent.environment | {FAULTS: str(faults)})
            except Exception as error:  # a worker that died, an engine that broke: the table says what is missing
                broken = True
                tell(f"the launcher stopped: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            finally:
                self._collect(faults, remaining)
            if not broken:
                return
            undone = [member for member in remaining if not self._has_ended(member)]
            if len(undone) == len(remaining) and not any(self._was_begun(member) for member in undone):
                return  # nothing can be launched at all
            remaining = [
                member for member in undone if launches[member.job.key] < MOST_LAUNCHES or not self._was_begun(member)
            ]

    def _jobs(self, members: Sequence[Member], *, alone: bool) -> list[tuple[str, ...]]:
        """The overrides of what is launched: of each run, or of runs that are painted together.

        Args:
            alone: paint each by itself, because a process died: it must not take the others along again.
        """
        if alone or all((member.job.spec.batch or self.together) == 1 for member in members):
            return [member.overrides for member in members]
        groups: dict[Hashable, list[bundles.Run]] = {}
        for number, member in enumerate(members):
            groups.setdefault((member.job.company, member.job.spec.batch), []).append((number, member.overrides))
        jobs = []
        for (_, batch), runs in groups.items():
            size = batch or self.together
            jobs += [bundles.bundle(runs[first : first + size]) for first in range(0, len(runs), size)]
        return jobs

    def _collect(self, faults: Path, launched: Sequence[Member]) -> None:
        for number, member in enumerate(launched):
            note = faults / str(number)
            if note.is_file():
                self.faults[member.job.key] = note.read_text()
        shutil.rmtree(faults, ignore_errors=True)

    def _was_begun(self, member: Member) -> bool:
        try:
            return (member.job.located().folder / "run.json").stat().st_mtime >= self.began
        except FileNotFoundError:
            return False

    def _has_ended(self, member: Member) -> bool:
        record = run_folder.read(member.job.located().folder)
        ended = record.get("status") in ("FINISHED", "FAILED", "KILLED") and self._was_begun(member)
        return ended or member.job.key in self.faults

    def _settle(self, member: Member, reason: str) -> None:
        """Say of a run whose process is gone that it was killed; leave one alone that another process paints."""
        folder = member.job.located().folder
        if run_folder.read(folder).get("status") != "RUNNING":
            return
        claim = run_folder.Claim(Path(member.job.spec.outputs), member.job.key[:12])
        if claim.try_to_acquire():
            try:
                record = run_folder.read(folder) | {"status": "KILLED", "reason": reason, "ended": time.time()}
                run_folder.write(folder, record)
            finally:
                claim.release()

    def _outcome(self, member: Member) -> str:
        record = run_folder.read(member.job.located().folder)
        status, ended = record.get("status"), record.get("ended") or 0
        fault = self.faults.get(member.job.key)
        if status == "FINISHED" and not record.get("reason") and not fault:
            return "finished" if ended >= self.began else "done before"
        if fault and ended < self.began:
            return f"failed: {fault}"
        if status in ("FAILED", "KILLED") or record.get("reason"):
            return f"{'killed' if status == 'KILLED' else 'failed'}: {record.get('reason')}"
        return "running: another process paints it" if status == "RUNNING" else "missing: it was not begun"


def _print_table(members: Sequence[Member], outcomes: Sequence[str]) -> None:
    print("\nrun  outcome      picture or reason")
    for number, (member, outcome) in enumerate(zip(members, outcomes, strict=True)):
        word, _, reason = outcome.partition(": ")
        print(f"{number:>3}  {word:<11}  {reason or member.job.located().folder}  ({member.label})")
    print(", ".join(f"{count} {word}" for word, count in counts(outcomes).items()))


def is_finished(outcome: str) -> bool:
    """Whether an outcome is a picture's."""
    return outcome.startswith(("finished", "done"))


def counts(outcomes: Sequence[str]) -> Mapping[str, int]:
    """How many runs ended how."""
    return Counter(outcome.partition(":")[0] for outcome in outcomes)


def run_id_of(member: Member) -> str | None:
    """A member's run in MLflow, if it has one."""
    return run_folder.read(member.job.located().folder).get("mlflow_run_id")


def tell(message: str) -> None:
    """Say something beside the results."""
    print(redacted(message), file=sys.stderr, flush=True)


class Parent:
    """A sweep's own run in MLflow; without tracking, nothing.

    One that a killed process left RUNNING is gone on with by the same runs' next sweep.

    Args:
        jobs: of the sweep's runs.
        name: the sweep's.
        fingerprint: the same for sweeps of the same runs.
        reopens: whether a parent that has ended is gone on with too.
    """

    def __init__(self, jobs: Sequence[Job], name: str, *, fingerprint: str, reopens: bool = False) -> None:
        self.name, self.tracker = name, None
        tracked = [job for job in jobs if job.spec.tracking.store == "mlflow"]
        self.claim = run_folder.Claim(Path(jobs[0].spec.outputs), claim_name(fingerprint))
        self.alone = self.claim.try_to_acquire()  # else another process conducts the very same sweep
        if tracked:
            from stylelab.sweep_tracking import SweepTracker  # MLflow takes seconds to import

            self.tracker = SweepTracker(tracked[0], name, fingerprint=fingerprint, alone=self.alone, reopens=reopens)
            self.name = self.tracker.name

    @property
    def environment(self) -> dict[str, str]:
        return {SWEEP_RUN: self.tracker.identity, SWEEP_NAME: self.name} if self.tracker else {}

    def done(self, members: Sequence[Member]) -> set[str]:
        """The keys whose folder is whole and, where they are tracked, whose run is FINISHED in the store."""
        whole = {
            member.job.key: run_folder.read(member.job.folder).get("mlflow_run_id")
            for member in members
            if run_folder.is_whole(member.job.folder)
        }
        if self.tracker is None:
            return set(whole)
        finished = self.tracker.finished_among([run_id for run_id in whole.values() if run_id])
        return {key for key, run_id in whole.items() if run_id in finished}

    def describe(
        self, members: Sequence[Member], outcomes: Sequence[str] | None = None, *, experiment: str | None = None
    ) -> None:
        """Keep what the sweep asks and what it is to paint, with how each member ended once it has."""
        if self.tracker is not None:
            self.tracker.describe(members, outcomes, experiment=experiment)

    def keep(self, values: Mapping[str, Any], name: str) -> None:
        """Keep values with the run, under this name among its artifacts."""
        if self.tracker is not None:
            self.tracker.keep(values, name)

    def close(self, run_ids: Sequence[str | None], counts: Mapping[str, int]) -> None:
        """Link the members' runs, write how many ended how, let the claim go."""
        if self.tracker is not None:
            self.tracker.close([run_id for run_id in dict.fromkeys(run_ids) if run_id], counts)
        if self.alone:
            self.claim.release()


def fingerprint(members: Sequence[Member]) -> str:
    """What two sweeps of the same runs have in common, whatever they are called."""
    return hashlib.sha256(json.dumps(sorted({member.job.key for member in members})).encode()).hexdigest()


def claim_name(fingerprint: str) -> str:
    """The name of the claim on a sweep."""
    return f"sweep-{fingerprint[:12]}"
