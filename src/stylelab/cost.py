"""What a run will cost: its parts counted, what each takes read off a table that was measured here. No torch here.

The parts are those of a run: a process starts; a network is built; at each level targets are taken, then every step is
an evaluation of the objective with its gradient, a step of the optimizer, a row of losses, now and then a picture; the
finished picture is judged. `stylelab.measurements` and `stylelab.calibration` did each for real at a few small sizes.
In between a part's cost is a straight line in the pixels, and above the largest size the last of these lines goes on.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stylelab.job import Job
from stylelab.pictures import Size
from stylelab.pyramid import Level, levels
from stylelab.spec import Spec

MEBIBYTE = 1024**2
Sizes = Mapping[int, Mapping[str, float]]  # pixels -> what was measured -> seconds, or bytes
Table = Mapping[str, Sizes]  # kind of part -> sizes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run is expected to cost."""

    seconds: float
    peak_mb: float  # on a CPU of the process, on a GPU of the device


def painting_kind(spec: Spec, arithmetic: str) -> str:
    """What evaluations of equal cost have in common: network, layers, arithmetic."""
    padding, pooling = getattr(spec.network, "padding", "zeros"), spec.pooling
    layers = f"content {','.join(spec.layers.content)} style {','.join(spec.layers.style)} of {len(spec.images.style)}"
    factor = "" if pooling.factor == 1 else " rescaled"
    variation = f" variation {spec.weights.variation_norm}" if spec.weights.variation else ""
    return f"painting {spec.network.source} {padding} {pooling.kind}{factor} {layers}{variation} {arithmetic}"


def optimizer_kind(spec: Spec) -> str | None:
    """L-BFGS with its pairs; Adam is measured with the evaluations."""
    return f"lbfgs {spec.optimizer.history}" if spec.optimizer.kind == "lbfgs" else None


def ruler_kind(job: Job) -> str:
    """The reference evaluator."""
    return "ruler embedded" if job.ruler is None else "ruler caffe"


def process_kind(job: Job) -> str:
    """A process and all that its runs do beside painting and judging."""
    return f"process {job.spec.tracking.store}"


def arithmetics(spec: Spec) -> tuple[str, ...]:
    """The arithmetics that a run's evaluations are in."""
    finishing = ("float32",) if spec.precision.float32_finish else ()
    return tuple(dict.fromkeys((spec.precision.network, *finishing)))


def pixels_wanted(job: Job) -> dict[str, int]:
    """Every kind of part that a run consists of, and the most pixels that it is done at."""
    largest = max(_pixels(level.canvas) for level in job.levels)
    kinds = [painting_kind(job.spec, arithmetic) for arithmetic in arithmetics(job.spec)]
    kinds += [kind for kind in (optimizer_kind(job.spec),) if kind is not None]
    return dict.fromkeys(kinds, largest) | {ruler_kind(job): _judged_pixels(job.levels[-1]), process_kind(job): 0}


def expected(job: Job, table: Table, *, done: int = 0) -> Cost:
    """What a run costs in a process that has started already.

    Args:
        table: holds every kind of `pixels_wanted(job)`.
        done: evaluations that a checkpoint saves.
    """
    spec, process, last = job.spec, table[process_kind(job)], job.levels[-1]
    painting = sum(_seconds(spec, stretch, table, done=done) for stretch in _stretches(spec, job.levels))
    finishing = at(table[ruler_kind(job)], "seconds", _judged_pixels(last)) + at(process, "run", _pixels(last.canvas))
    memory = painting_bytes(job, table, checkpoints=painting > spec.checkpoint_seconds)
    on_cpu = not spec.device.startswith("cuda")
    return Cost(
        seconds=_building_seconds(job, table) + painting + finishing,
        peak_mb=(memory + on_cpu * at(process, "bytes", 0)) / MEBIBYTE,
    )


def seconds_to_start(job: Job, table: Table, *, new_store: bool) -> float:
    """Once per process: Python, its imports and their first use; and the store where there is none yet."""
    process = table[process_kind(job)]
    return at(process, "start", 0) + (at(process, "store", 0) if new_store else 0.0)


@dataclass(frozen=True)
class _Stretch:
    """Evaluations one after another at one level in one arithmetic."""

    level: Level
    arithmetic: str
    first: int  # number of its first evaluation over all levels
    count: int


def _stretches(spec: Spec, over: Sequence[Level]) -> Iterator[_Stretch]:
    number = 0
    for level in over:
        count = level.steps + 1
        exact = round(count * spec.precision.float32_finish)
        for arithmetic, evaluations in ((spec.precision.network, count - exact), ("float32", exact)):
            if evaluations:
                yield _Stretch(level, arithmetic, number, evaluations)
                number += evaluations


def _seconds(spec: Spec, stretch: _Stretch, table: Table, *, done: int) -> float:
    """Targets, steps and pictures of what is left of a stretch."""
    left = range(max(stretch.first, done), stretch.first + stretch.count)
    if not left:
        return 0.0
    pixels, process = _pixels(stretch.level.canvas), table[f"process {spec.tracking.store}"]
    painting = table[painting_kind(spec, stretch.arithmetic)]
    optimizer = optimizer_kind(spec)
    step = at(painting, "seconds", pixels) + (at(table[optimizer], "seconds", pixels) if optimizer else 0.0)
    # Measured with every style picture as large as the canvas.
    encoded = pixels + sum(map(_pixels, stretch.level.styles))
    targets = at(painting, "targets", encoded / (1 + len(stretch.level.styles)))
    every = spec.tracking.pictures_every
    pictured = sum(number > 0 and number % every == 0 for number in left) if every else 0
    return targets + len(left) * (step + at(process, "step", 0)) + pictured * at(process, "picture", pixels)


def _building_seconds(job: Job, table: Table) -> float:
    """Reading the network and the ruler; a ruler from a file of its own is read before painting too, as a check."""
    painting, ruler = table[painting_kind(job.spec, job.spec.precision.network)], table[ruler_kind(job)]
    times = 1 if job.ruler is None or job.ruler in job.files.values() else 2
    return at(painting, "build", 0) + times * at(ruler, "build", 0)


def at(sizes: Sizes, quantity: str, pixels: float) -> float:
    """A quantity at a size, from its values at other sizes."""
    known = sorted((size, values[quantity]) for size, values in sizes.items())
    if pixels <= known[0][0]:
        return known[0][1]
    if len(known) == 1:
        return known[0][1] * pixels / known[0][0]
    for (smaller, low), (larger, high) in itertools.pairwise(known):
        if pixels <= larger or larger == known[-1][0]:
            return max(low + (high - low) * (pixels - smaller) / (larger - smaller), high if pixels > larger else 0.0)
    raise AssertionError("two sizes make a pair")


def painting_bytes(job: Job, table: Table, *, checkpoints: bool) -> float:
    """Bytes that a run takes at its fullest moment, beside a process that paints nothing."""
    spec, ruler = job.spec, table[ruler_kind(job)]
    network = table[painting_kind(spec, spec.precision.network)]
    moments = [at(network, "building", 0), at(ruler, "building", 0)]
    for stretch in _stretches(spec, job.levels):
        pixels = _pixels(stretch.level.canvas)
        painting, optimizer = table[painting_kind(spec, stretch.arithmetic)], optimizer_kind(spec)
        held = at(painting, "network", 0) + (at(table[optimizer], "bytes", pixels) if optimizer else 0.0)
        moments.append(held + at(painting, "bytes", pixels))
        # Measured with style pictures of four times the canvas's pixels.
        moments += [held + at(painting, "encoding", _pixels(style) / 4) for style in stretch.level.styles]
        if optimizer and checkpoints:  # a checkpoint copies the pairs
            moments.append(held + at(table[optimizer], "copy", pixels))
    judging = at(ruler, "network", 0) + at(ruler, "bytes", _judged_pixels(job.levels[-1]))
    moments.append(held + at(painting, "left", pixels) + judging)
    return max(moments)


def companion_mb(job: Job, table: Table) -> float:
    """MiB that one more run takes of those painted together: its targets and pairs, its part of a GPU's evaluation."""
    spec, pixels, optimizer = job.spec, _pixels(job.levels[-1].canvas), optimizer_kind(job.spec)
    stacked = spec.device.startswith("cuda") and spec.determinism != "strict"
    own = at(table[painting_kind(spec, spec.precision.network)], "bytes" if stacked else "left", pixels)
    return (own + (at(table[optimizer], "bytes", pixels) if optimizer else 0.0)) / MEBIBYTE


def long_side_that_fits(job: Job, table: Table, bytes_free: float) -> int | None:
    """The largest long side, in steps of 16 pixels, whose painting fits; None where not even the smallest does."""
    spec, whole = job.spec, job.spec.images.long_side
    for long_side in range(whole - whole % 16, 15, -16):
        factor = long_side / whole
        sides = tuple(max(1, round(side * factor)) for side in spec.pyramid.long_sides)
        try:
            smaller = replace(
                spec,
                images=replace(spec.images, long_side=sides[-1]),
                pyramid=replace(spec.pyramid, long_sides=sides),
            )
            found = levels(smaller, content=job.content.size, styles=[style.size for style in job.styles])
        except ValueError:  # too small for the layers, or two levels of one size
            return None
        if painting_bytes(replace(job, spec=smaller, levels=found), table, checkpoints=True) <= bytes_free:
            return long_side
    return None


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _judged_pixels(level: Level) -> int:
    """Pixels that go before the ruler: the finished picture's, the content's, each style's."""
    return 2 * _pixels(level.canvas) + sum(map(_pixels, level.styles))
