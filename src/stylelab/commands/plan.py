"""`stylelab-plan [-m] OVERRIDES`: what a run or a sweep would do, what it would take, and what is done already."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylelab.console import one_line_errors

if TYPE_CHECKING:
    from stylelab.calibration import Calibration
    from stylelab.cost import Cost, Table
    from stylelab.job import Job
    from stylelab.sweep import Member


@dataclass(frozen=True)
class Line:
    """One run of a plan."""

    member: "Member"
    state: str  # new, done, doubled, goes on, failed before, painted again
    steps_done: int
    cost: "Cost"  # of what is left to do

    @property
    def paints(self) -> bool:
        """Whether the run would be launched."""
        return self.state not in ("done", "doubled", "left alone")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a fault in any run of the sweep ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="stylelab-plan", description=__doc__)
    parser.add_argument("-m", "--multirun", action="store_true", help="a sweep, as for stylelab")
    parser.add_argument("--calibrate", action="store_true", help="measure this machine again")
    parser.add_argument("overrides", nargs="*", help="as for stylelab: experiment=pooling seed=range(5) ...")
    given = parser.parse_intermixed_args(arguments)
    with one_line_errors():
        from stylelab.composition import composed, composed_sweep
        from stylelab.sweep import checked

        if given.multirun:
            members = composed_sweep(given.overrides, checked)
        else:
            config = composed(given.overrides)
            members = checked([tuple(given.overrides)], lambda _: config)
        lines, start = planned(members, calibrate=given.calibrate)
        show(lines, start, sweep=given.multirun)


def planned(members: Sequence["Member"], *, calibrate: bool) -> tuple[list[Line], float]:
    """What would become of every run and what that takes; and the seconds of starting."""
    from stylelab.cost import expected, seconds_to_start

    tables = _tables([member.job for member in members], again=calibrate)
    done = _done(members)
    seen: set[str] = set()
    lines = []
    for member in members:
        state, steps = _state(member.job, done, seen)
        seen.add(member.job.key)
        lines.append(Line(member, state, steps, expected(member.job, tables[_setting(member.job)], done=steps)))
    lines = [_with_companions(line, lines, tables[_setting(line.member.job)]) for line in lines]
    painted = [line.member.job for line in lines if line.paints]
    starts = [seconds_to_start(job, tables[_setting(job)], new_store=_makes_a_store(job)) for job in painted]
    return lines, max(starts, default=0.0)


def _with_companions(line: Line, lines: Sequence[Line], table: "Table") -> Line:
    """The same run with the memory of those that `batch` has painted together with it."""
    from stylelab.cost import companion_mb

    job = line.member.job
    if not line.paints or (job.spec.batch or 1) == 1:
        return line
    like = sum(other.paints and other.member.job.company == job.company for other in lines)
    more = (min(job.spec.batch, like) - 1) * companion_mb(job, table)
    return replace(line, cost=replace(line.cost, peak_mb=line.cost.peak_mb + more))


def _setting(job: "Job") -> tuple[str, int | None]:
    """What calibrations are told apart by."""
    return job.spec.device, job.spec.threads


def _tables(jobs: Sequence["Job"], *, again: bool) -> "dict[tuple[str, int | None], Table]":
    """The measured table of every device and number of threads."""
    from stylelab.calibration import Calibration

    cache = Path(os.environ.get("STYLELAB_CACHE", "~/.cache/stylelab")).expanduser()
    found = {}
    for device, threads in dict.fromkeys(map(_setting, jobs)):
        calibration = Calibration(cache, device=device, threads=threads)
        calibration.read()
        of_this = [job for job in jobs if _setting(job) == (device, threads)]
        if again or any(map(calibration.lacks, of_this)):
            _measure(calibration, of_this, again=again)
        found[device, threads] = calibration.table
    return found


def _measure(calibration: "Calibration", jobs: Sequence["Job"], *, again: bool) -> None:
    """Complete a table and keep it; where it can't be kept, the plan is made all the same."""
    print("measuring this machine, once ...", file=sys.stderr, flush=True)
    with calibration.alone():
        calibration.table.clear()
        if not again:
            calibration.read()  # another plan may have measured meanwhile
        calibration.complete(jobs)
        try:
            calibration.write()
        except OSError as error:
            print(f"the measurements can't be kept ({error}): set STYLELAB_CACHE to a folder", file=sys.stderr)


def _makes_a_store(job: "Job") -> bool:
    """Whether the first run has to make the store that it is tracked in."""
    from stylelab.store import store_uri

    of = job.spec.tracking
    if of.store == "off":
        return False
    address = store_uri(of.uri, Path(job.spec.outputs))
    return address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///")).is_file()


def _done(members: Sequence["Member"]) -> set[str]:
    """The keys that a sweep would not paint: whole, and FINISHED in the store."""
    from stylelab import run_folder

    whole = {each.job.key: run_folder.read(each.job.folder) for each in members if run_folder.is_whole(each.job.folder)}
    tracked = {each.job.key: each.job for each in members if each.job.spec.tracking.store == "mlflow"}
    ids = {key: record.get("mlflow_run_id") for key, record in whole.items() if key in tracked}
    if not any(ids.values()):
        return set(whole) - set(tracked)
    from stylelab.patience import Unanswered
    from stylelab.store import import_mlflow, store_uri  # MLflow takes seconds to import
    from stylelab.sweep_tracking import finished_among

    import_mlflow()
    of = next(iter(tracked.values())).spec
    address, outputs = store_uri(of.tracking.uri, Path(of.outputs)), Path(of.outputs)
    known = [run_id for run_id in ids.values() if run_id]
    try:
        finished = finished_among(address, outputs, of.tracking.experiment, known)
    except Unanswered as unanswered:
        print(f"tracking: {unanswered}; what the folders say is taken for done", file=sys.stderr)
        finished = set(known)
    return {key for key in whole if key not in tracked or ids[key] in finished}


def _state(job: "Job", done: set[str], seen: set[str]) -> tuple[str, int]:
    """How a run stands, and the steps of it that a checkpoint saves."""
    from stylelab import run_folder

    if job.key in seen:
        return "doubled", 0
    if job.key in done and not job.spec.paints_again:
        return "done", 0
    record = run_folder.read(job.folder)
    if record.get("status") == "FINISHED":
        return "painted again", 0
    if record.get("status") == "FAILED" and job.spec.retry == "none":
        return "left alone", 0
    steps = _checkpoint_step(job)
    if record.get("status") == "FAILED":
        return "failed before", steps
    return ("goes on", steps) if steps else ("new", 0)


def _checkpoint_step(job: "Job") -> int:
    path = job.folder / "checkpoint.pt"
    if not path.is_file():
        return 0
    from stylelab.recorders import read_checkpoint

    found, fault = read_checkpoint(path, job.key)
    return 0 if fault else found["state"]["number"]


def show(lines: Sequence[Line], start: float, *, sweep: bool) -> None:
    """Print the plan; `start`: seconds before the first run."""
    print("run  state           size       steps  network      seconds  peak MB  what differs" if sweep else
          "run  state           size       steps  network      seconds  peak MB")  # fmt: skip
    for number, line in enumerate(lines):
        job = line.member.job
        width, height = job.levels[-1].canvas
        state = f"{line.state} at {line.steps_done}" if line.steps_done else line.state
        steps = sum(level.steps for level in job.levels)
        label = f"  {line.member.label}" if sweep else ""
        seconds = f"{line.cost.seconds:>8.1f}" if line.paints else f"{'-':>8}"
        print(
            f"{number:>3}  {state:<14}  {f'{width}x{height}':<9}  {steps:>5}  {job.spec.network.source:<11}  {seconds}"
            f"  {line.cost.peak_mb:>7.0f}{label}"
        )
    painted = [line for line in lines if line.paints]
    seconds = start + sum(line.cost.seconds for line in painted)
    counts = ", ".join(f"{count} {state}" for state, count in Counter(line.state for line in lines).items())
    peak = max((line.cost.peak_mb for line in painted), default=0)
    runs = f"{len(lines)} {'run' if len(lines) == 1 else 'runs'}"
    print(f"{runs}: {counts}; one after another about {_spoken(seconds)}, at most {peak:.0f} MB at a time")


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


if __name__ == "__main__":
    main()
