"""Runs as rows: the CSV of everything, and what of it the page's tables show."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stylelab.report.axes import Axis, differences
from stylelab.report.conclusions import COMPARED, RULERS, Replicates, replicates
from stylelab.report.grid import Grid
from stylelab.report.labels import label, labels
from stylelab.report.runs import MISSING, Run

FACTS = ("run_id", "name", "status", "reason", "sweep", "key", "started")
STARTED = ("run_id", "started")  # what a run that was never begun has not
LATER = ("time/total_seconds", "memory/peak_mb")  # columns after what the rulers measured
UNITS = {"time/total_seconds": "seconds", "time/seconds_per_step": "s / step", "memory/peak_mb": "peak MB"}


def write_csv(runs: Sequence[Run], grid: Grid, path: Path) -> None:
    """Every run with all that was tracked as one number or text, and every cell of the grid without a run."""
    parameters = list(dict.fromkeys(key for run in runs for key in run.configuration))
    metrics = sorted({name for run in runs for name in run.metrics})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*FACTS, *parameters, *metrics], restval="", lineterminator="\n")
        writer.writeheader()
        for run in runs:
            facts = {name: getattr(run, name) for name in FACTS if run.tracked or name not in STARTED}
            values = {key: _written(value) for key, value in run.configuration.items()}
            writer.writerow(
                {name: "" if value is None else value for name, value in facts.items()} | values | dict(run.metrics)
            )
        for options in missing(grid):
            known = {key: _written(value) for key, value in options.items() if key in parameters}
            writer.writerow(
                {"status": MISSING, "name": " ".join(f"{key}={label(o)}" for key, o in options.items())} | known
            )


def missing(grid: Grid) -> Iterator[dict[str, Any]]:
    """The options of each cell that a run should have filled, by the axes' keys."""
    for place in grid.missing():
        yield {axis.key: option for axis, option in zip(grid.axes, place, strict=True) if axis}


def columns(runs: Sequence[Run], metric: str | None) -> list[str]:
    """The metrics that the table of runs shows."""
    named = [f"{ruler}/{name}" for ruler in RULERS for name in COMPARED]
    wanted = [*([metric] if metric else []), *named, *LATER]
    return [name for name in dict.fromkeys(wanted) if any(name in run.metrics for run in runs)]


def over_seeds(runs: Sequence[Run], axes: Sequence[Axis], metrics: Sequence[str]) -> list[Mapping[str, Any]]:
    """A row for each configuration: its options, how many seeds, each metric's mean and deviation."""
    return [
        {
            "options": [axis.labels[axis.option[found.runs[0].run_id]] for axis in axes],
            "seeds": len(found.runs),
            "spreads": [found.spread(metric) for metric in metrics],
        }
        for found in _in_order(replicates(runs), axes)
    ]


def differed(runs: Sequence[Run]) -> list[Mapping[str, Any]]:
    """A row for each key that differed: its values, with how many runs have each."""
    return [
        {"key": key, "values": [(words, counts[value]) for value, words in labels(list(counts)).items()]}
        for key, counts in differences(runs).items()
    ]


def _in_order(found: Sequence[Replicates], axes: Sequence[Axis]) -> list[Replicates]:
    def place(replicate: Replicates) -> tuple[int, ...]:
        return tuple(axis.options.index(axis.option[replicate.runs[0].run_id]) for axis in axes)

    return sorted(found, key=place)


def _written(value: Any) -> Any:
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else value
