"""A study in a report: its metrics against each other, with the pictures at their points, and what decides them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from stylelab.report.embedding import data_uri
from stylelab.report.labels import measured
from stylelab.report.runs import Run

WIDTH, HEIGHT = 1080, 660  # of a plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 16, 58  # margins around the frame
PICTURE = 128  # a picture's longer side in a plot
MOST_PICTURES = 12  # in a plot
SHARPNESS = 2  # pixels of a picture for a unit of the plot
WIDE = 20.0  # ratio of the largest to the smallest value from which an axis is logarithmic
ROOM = 0.08  # of an axis, beyond the values at each end


@dataclass(frozen=True)
class Scale:
    """Values of a metric along one side of a frame."""

    low: float
    high: float
    log: bool
    start: float  # where `low` is
    end: float  # where `high` is

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> "Scale":
        """A scale that holds these values with some room."""
        log = min(values) > 0 and max(values) / min(values) > WIDE
        low, high = (math.log10(min(values)), math.log10(max(values))) if log else (min(values), max(values))
        room = ROOM * (high - low) or abs(high) * ROOM or 1.0
        return cls(low - room, high + room, log, start, end)

    def __call__(self, value: float) -> float:
        """Where a value is."""
        part = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their places."""
        if self.log:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
            inside = [value for value in values if self.low <= math.log10(value) <= self.high]
        else:
            rough = (self.high - self.low) / 6
            unit = 10.0 ** math.floor(math.log10(rough))
            step = next(unit * digit for digit in (1, 2, 5, 10) if unit * digit >= rough)
            inside = [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [(self(value), f"{value:.6g}") for value in inside]


def section(study: Mapping[str, Any], runs: Sequence[Run], pictures: Mapping[str, Image.Image]) -> dict[str, Any]:
    """What the page shows of a study.

    Args:
        study: study.json, of `stylelab.study_record`.
        runs: the report's.
        pictures: by run id.
    """
    by_key = {run.key: run for run in runs}
    run_of = {trial["number"]: by_key[trial["key"]] for trial in study["trials"] if trial.get("key") in by_key}
    complete = [trial for trial in study["trials"] if trial["state"] == "COMPLETE"]
    metrics, drawn = study["metrics"], {n: pictures[run.run_id] for n, run in run_of.items() if run.run_id in pictures}
    if not complete:
        plots = []
    elif len(metrics) == 1:
        plots = [_plot(_progress(study, complete), ("trial", metrics[0]), run_of, drawn)]
    else:
        pairs = [(0, other) for other in range(1, len(metrics))]
        plots = [_plot(_traded(study, complete, x, y), (metrics[x], metrics[y]), run_of, drawn) for x, y in pairs]
    return {
        "name": study["name"],
        "facts": facts(study),
        "several": len(metrics) > 1,
        "plots": plots,
        "importances": _importances(study),
        "evaluator": study["evaluator"],
        "metrics": metrics,
        "keys": list(study["space"]),
        "trials": [_row(trial, study, run_of) for trial in study["trials"]],
    }


def facts(study: Mapping[str, Any]) -> list[str]:
    """How a study went, and what it searched."""
    states = Counter(trial["state"].lower() for trial in study["trials"])
    words = {"complete": "finished", "fail": "failed", "running": "begun"}
    counts = ", ".join(f"{count} {words.get(state, state)}" for state, count in states.items())
    aims = " and ".join(
        f"{direction} {metric}" for direction, metric in zip(study["directions"], study["metrics"], strict=True)
    )
    searched = "; ".join(f"{key}: {values}" for key, values in study["space"].items())
    pruner = study["pruner"]["kind"]
    pruned = f", pruned by {pruner} every {study['pruner']['every']} steps" if pruner != "none" else ""
    return [
        f"Optuna’s {study['sampler']['kind']} sampler chose {len(study['trials'])} trials to {aims}{pruned}: {counts}.",
        f"Searched: {searched}.",
    ]


@dataclass(frozen=True)
class Points:
    """What a plot shows, by the number of the trial."""

    places: Mapping[int, tuple[float, float]]
    best: tuple[int, ...]  # with pictures, joined by a line, from left to right


def _traded(study: Mapping[str, Any], complete: Sequence[Mapping], x: int, y: int) -> Points:
    places = {trial["number"]: (trial["values"][x], trial["values"][y]) for trial in complete}
    return Points(places, tuple(sorted(study["best"], key=lambda number: places[number])))


def _progress(study: Mapping[str, Any], complete: Sequence[Mapping]) -> Points:
    """One metric by trial; the best are those that were better than all before."""
    sign = 1 if study["directions"][0] == "minimize" else -1
    places = {trial["number"]: (trial["number"], trial["values"][0]) for trial in complete}
    best, bound = [], math.inf
    for number, (_, value) in places.items():
        if sign * value < bound:
            best, bound = [*best, number], sign * value
    return Points(places, tuple(best))


def _plot(
    points: Points, titles: tuple[str, str], run_of: Mapping[int, Run], drawn: Mapping[int, Image.Image]
) -> dict[str, Any]:
    """A plot's parts in its own units."""
    across = Scale.of([x for x, _ in points.places.values()], LEFT, WIDTH - RIGHT)
    up = Scale.of([y for _, y in points.places.values()], HEIGHT - BOTTOM, TOP)
    places = {number: (across(x), up(y)) for number, (x, y) in points.places.items()}
    pictured = _spread([number for number in points.best if number in drawn], MOST_PICTURES)
    boxes = _laid_out({number: places[number] for number in pictured}, drawn, list(places.values()))
    return {
        "titles": titles,
        "across": across.ticks(),
        "up": up.ticks(),
        "line": _stairs([places[number] for number in points.best]),
        "points": [
            {"number": number, "x": x, "y": y, "best": number in points.best, **_told(number, points, titles, run_of)}
            for number, (x, y) in places.items()
        ],
        "pictures": [
            {"x": x, "y": y, "width": width, "height": height, "from": places[number], "number": number,
             "src": data_uri(drawn[number], PICTURE * SHARPNESS), **_told(number, points, titles, run_of)}
            for number, (x, y, width, height) in boxes.items()
        ],
    }  # fmt: skip


def _told(number: int, points: Points, titles: tuple[str, str], run_of: Mapping[int, Run]) -> dict[str, str | None]:
    values = ", ".join(f"{title} {measured(value)}" for title, value in zip(titles, points.places[number], strict=True))
    words = values if titles[0] == "trial" else f"trial {number}: {values}"
    return {"run": run_of[number].run_id if number in run_of else None, "words": words}


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly, the first and the last kept."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[round(n * (len(numbers) - 1) / (most - 1))] for n in range(most)]


Box = tuple[float, float, float, float]  # left, top, width, height


def _laid_out(
    places: Mapping[int, tuple[float, float]], drawn: Mapping[int, Image.Image], points: Sequence[tuple[float, float]]
) -> dict[int, Box]:
    """A box for each picture near its point, where it covers few points and, if there is room, no other picture."""
    found: dict[int, Box] = {}
    for number, (x, y) in places.items():
        ratio = PICTURE / max(drawn[number].size)
        width, height = drawn[number].width * ratio, drawn[number].height * ratio
        boxes = [
            (_within(x + far * math.cos(turn) - width / 2, LEFT, WIDTH - RIGHT - width),
             _within(y + far * math.sin(turn) - height / 2, TOP, HEIGHT - BOTTOM - height), width, height)
            for far in (85, 110, 140, 180, 230, 290)
            for turn in (n * math.pi / 8 for n in range(16))
        ]  # fmt: skip
        found[number] = min(boxes, key=lambda box: _cost(box, (x, y), found.values(), points))
    return {number: tuple(round(side, 1) for side in box) for number, box in found.items()}


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _cost(box: Box, at: tuple[float, float], others: Any, points: Sequence[tuple[float, float]]) -> float:
    left, top, width, height = box
    covered = sum(left - 6 < x < left + width + 6 and top - 6 < y < top + height + 6 for x, y in points)
    gap = 8
    overlap = sum(
        max(0, min(left + width, a + w) - max(left, a) + gap) * max(0, min(top + height, b + h) - max(top, b) + gap)
        for a, b, w, h in others
    )
    return math.dist((left + width / 2, top + height / 2), at) + 150 * covered + overlap / 10


def _stairs(places: Sequence[tuple[float, float]]) -> str:
    """A path through points by steps: between two of a front nothing is known to be nearer to both."""
    if not places:
        return ""
    (x, y), *others = places
    return f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in others)


def _importances(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """For each key the part of each metric that it decides, the most decisive first."""
    found = study["importances"]
    if not found or len(study["space"]) < 2:
        return []
    keys = sorted(study["space"], key=lambda key: -max(parts.get(key, 0.0) for parts in found.values()))
    return [
        {"key": key, "parts": [{"metric": name, "part": parts.get(key, 0.0)} for name, parts in found.items()]}
        for key in keys
    ]


def _row(trial: Mapping[str, Any], study: Mapping[str, Any], run_of: Mapping[int, Run]) -> Mapping[str, Any]:
    run = run_of.get(trial["number"])
    values = trial["values"] or [None] * len(study["metrics"])
    return {
        "number": trial["number"],
        "state": {"COMPLETE": "FINISHED", "FAIL": "FAILED"}.get(trial["state"], trial["state"]),
        "best": trial["number"] in study["best"],
        "values": [value if value is not None and math.isfinite(value) else None for value in values],
        "params": [trial["params"].get(key) for key in study["space"]],
        "reason": trial["reason"],
        "run": run.run_id if run else None,
    }
