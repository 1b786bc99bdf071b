"""What a run will cost: its operations counted, their seconds read off a table that was measured here. No torch here.

A network run eagerly is one operation after another, so the time of an evaluation is the sum of its operations' times.
Each kind of operation (a convolution of 64 to 128 channels, say) was timed at a few sizes by `stylelab.calibration`; in
between its time is a power of the size, above the largest it is proportional to it.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stylelab.job import Job
from stylelab.layers import CHANNELS_OF_BLOCK, LAYERS, block, channels, deepest
from stylelab.pictures import Size
from stylelab.pyramid import levels
from stylelab.spec import Spec

MEBIBYTE = 1024**2
REFERENCE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Measured on two cores of a server, medians of 5: what a run costs beside its arithmetic.
SECONDS_PER_RUN = {"off": 0.1, "mlflow": 1.0}  # opening the store, parameters, inputs, artifacts
SECONDS_PER_STEP = 0.001  # a row, a metric, the progress
SECONDS_PER_CANVAS = {"off": 0.01, "mlflow": 0.06}  # one logged picture of 512 pixels
SECONDS_TO_START = {"off": 4.0, "mlflow": 7.5}  # Python with torch, and with MLflow, their first use: once per process
PROCESS_MB = {"off": 545.0, "mlflow": 740.0}  # of a process before it paints, with torch, and with MLflow
EMBEDDED_COPIES = 2.0  # its features are not channels-last: oneDNN and the Gram matrices take copies (measured)


class Operation(NamedTuple):
    """One operation of an evaluation, forward and back."""

    kind: str  # conv, relu, pool, gram, content, lbfgs, adam
    inputs: int  # channels; for lbfgs the pairs remembered
    outputs: int
    kernel: int
    arithmetic: str  # float32, bfloat16 or float16
    positions: int  # pixels at its resolution

    @property
    def name(self) -> str:
        """What operations with the same table have in common."""
        return f"{self.kind} {self.inputs} {self.outputs} {self.kernel} {self.arithmetic}"

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass; of elementwise operations one per number."""
        if self.kind == "conv":
            return self.inputs * self.outputs * self.kernel**2 * self.positions
        if self.kind == "gram":
            return self.inputs**2 * self.positions
        return 3 * 2 * self.inputs * self.positions if self.kind == "lbfgs" else self.inputs * self.positions


class Seconds(NamedTuple):
    """How long an operation takes."""

    forward: float
    both: float  # forward and back


Table = Mapping[str, Mapping[int, Seconds]]  # Operation.name -> positions -> seconds


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run is expected to cost."""

    seconds: float
    peak_mb: float
    evaluations: int

    def without(self, steps: int) -> "Cost":
        """What is left after some steps, all steps taken as equal."""
        left = max(0, self.evaluations - steps)
        return replace(self, seconds=self.seconds * left / self.evaluations, evaluations=left)


def network_operations(source: str, layers: Sequence[str], size: Size, arithmetic: str) -> list[Operation]:
    """The operations of a network up to its deepest layer, without what is compared there."""
    if source == "embedded":
        return list(_embedded(layers, size, arithmetic))
    found, before = [], 3
    for name in LAYERS[: LAYERS.index(deepest(tuple(layers))) + 1]:
        positions = _positions(size, block(name) - 1)
        after = channels(name)
        if name.startswith("conv"):
            found.append(Operation("conv", before, after, 3, arithmetic, positions))
            before = after
        else:
            kind = "relu" if name.startswith("relu") else "pool"
            found.append(Operation(kind, 1, 1, 1, arithmetic, positions * after))
    return found


def _embedded(layers: Sequence[str], size: Size, arithmetic: str) -> Iterator[Operation]:
    from stylelab import embedded  # imports torch

    if "relu1_1" in layers:
        yield Operation("conv", 3, embedded.CHANNELS["relu1_1"], 3, arithmetic, _positions(size, 0))
    halvings, before = 0, 3
    needed = [index for index, (*_, layer) in enumerate(embedded.TRUNK) if layer in layers]
    for name, _, outputs, kernel, _, layer in embedded.TRUNK[: max(needed, default=-1) + 1]:
        if name == "pool":
            yield Operation("pool", 1, 1, 1, arithmetic, _positions(size, halvings) * before)
            halvings += 1
            continue
        positions = _positions(size, halvings)
        yield Operation("conv", before, outputs, kernel, arithmetic, positions)
        yield Operation("relu", 1, 1, 1, arithmetic, positions * outputs)
        before = outputs
        if layer in layers:
            yield Operation("conv", outputs, embedded.CHANNELS[layer], 1, arithmetic, positions)
            yield Operation("relu", 1, 1, 1, arithmetic, positions * embedded.CHANNELS[layer])


def _positions(size: Size, halvings: int) -> int:
    return (size[0] >> halvings) * (size[1] >> halvings)


def evaluation(spec: Spec, size: Size, arithmetic: str) -> list[Operation]:
    """The operations of one evaluation of the objective with its gradient."""
    found = network_operations(spec.network.source, spec.all_layers, size, arithmetic)
    for kind, layers in (("gram", spec.layers.style), ("content", spec.layers.content)):
        for layer in layers:
            positions, count = _positions(size, _halvings(layer)), channels(layer)
            found.append(
                Operation("gram", count, count, 1, arithmetic, positions)
                if kind == "gram"
                else Operation("content", 1, 1, 1, arithmetic, positions * count)
            )
    return found


def _halvings(layer: str) -> int:
    return block(layer) - (0 if layer.startswith("pool") else 1)


def optimizer_step(spec: Spec, size: Size) -> Operation:
    """One step of the optimizer."""
    numbers = 3 * size[0] * size[1]
    if spec.optimizer.kind == "lbfgs":
        return Operation("lbfgs", spec.optimizer.history, spec.optimizer.history, 1, "float32", numbers)
    return Operation("adam", 1, 1, 1, "float32", numbers)


def operations(job: Job) -> Iterator[Operation]:
    """Every operation of a run once, whatever its count: what a table must know."""
    spec = job.spec
    for level in job.levels:
        for arithmetic in {spec.precision.network, "float32"}:
            yield from evaluation(spec, level.canvas, arithmetic)
        yield optimizer_step(spec, level.canvas)
    yield from network_operations(_ruler(job), REFERENCE_LAYERS, job.levels[-1].canvas, "float32")


def _ruler(job: Job) -> str:
    return "embedded" if job.ruler is None else "caffe"


def expected(job: Job, table: Table, build_seconds: Mapping[str, float]) -> Cost:
    """What a run costs when it is painted from the start, in a process that has started already.

    Args:
        table: seconds of every operation of `operations(job)`.
        build_seconds: how long making each network takes, by its source.
    """
    spec, store = job.spec, job.spec.tracking.store
    seconds = SECONDS_PER_RUN[store] + build_seconds.get(spec.network.source, 0.0)
    evaluations = 0
    for level in job.levels:
        count = level.steps + 1
        exact = round(count * spec.precision.float32_finish) if spec.precision.network != "float32" else count
        step = seconds_of(optimizer_step(spec, level.canvas), table).both
        for arithmetic, times in ((spec.precision.network, count - exact), ("float32", exact)):
            if times:
                found = evaluation(spec, level.canvas, arithmetic)
                seconds += times * (sum(seconds_of(each, table).both for each in found) + step + SECONDS_PER_STEP)
                for size in (level.canvas, *level.styles):  # the targets
                    seconds += sum(seconds_of(each, table).forward for each in evaluation(spec, size, arithmetic))
        evaluations += count
    every = spec.tracking.pictures_every
    seconds += SECONDS_PER_CANVAS[store] * (evaluations // every if every else 0)
    last = job.levels[-1]
    for size in (last.canvas, last.canvas, *last.styles):  # picture, content and styles before the ruler
        judged = network_operations(_ruler(job), REFERENCE_LAYERS, size, "float32")
        seconds += sum(seconds_of(each, table).forward for each in judged)
    return Cost(seconds=seconds, peak_mb=peak_mb(job), evaluations=evaluations)


def seconds_of(operation: Operation, table: Table) -> Seconds:
    """An operation's time from the times of its kind at other sizes."""
    known = sorted(table[operation.name].items())
    wanted = max(1, operation.positions)
    if wanted <= known[0][0]:
        return known[0][1]
    for (smaller, low), (larger, high) in itertools.pairwise(known):
        if wanted <= larger:
            part = math.log(wanted / smaller) / math.log(larger / smaller)
            return Seconds(*(a ** (1 - part) * b**part for a, b in zip(low, high, strict=True)))
    largest, most = known[-1]
    return Seconds(*(value * wanted / largest for value in most))


def painting_bytes(spec: Spec, sizes: Sequence[tuple[Size, Sequence[Size]]]) -> float:
    """Bytes that painting takes at its largest level, beside the process: for the gradient, optimizer, parameters.

    Args:
        sizes: of every level, the canvas's and the style pictures'.
    """
    largest = 0.0
    for canvas, styles in sizes:
        arithmetics = {spec.precision.network, *(["float32"] if spec.precision.float32_finish else [])}
        numbers = 3 * canvas[0] * canvas[1]
        state = (2 * spec.optimizer.history + 6 if spec.optimizer.kind == "lbfgs" else 6) * numbers * 4
        activations = max(_activation_bytes(spec, canvas, each) for each in arithmetics)
        targets = max((_forward_bytes(spec, size) for size in styles), default=0.0)
        largest = max(largest, state + max(activations, targets))
    return largest + _parameter_bytes(spec)


def _activation_bytes(spec: Spec, size: Size, arithmetic: str) -> float:
    """What forward keeps for backward, and the largest gradients on their way."""
    kept = 0.0
    largest = 0.0
    for each in evaluation(spec, size, arithmetic):
        width = BYTES[each.arithmetic]
        if each.kind == "relu":
            kept += each.positions * width
            largest = max(largest, each.positions * width)
        elif each.kind == "pool":
            kept += each.positions / 4 * width
        elif each.kind == "gram":
            kept += each.inputs * each.positions * 4
        elif each.kind == "content":
            kept += 2 * each.positions * 4
        if each.kind == "conv" and getattr(spec.network, "padding", "zeros") != "zeros":
            kept += each.inputs * each.positions * width
    return (kept + 2 * largest) * (EMBEDDED_COPIES if spec.network.source == "embedded" else 1)


def _forward_bytes(spec: Spec, size: Size) -> float:
    """The features of a style picture while its targets are taken: all layers asked for, and the largest pair."""
    layers = sum(_positions(size, _halvings(layer)) * channels(layer) * 4 for layer in spec.all_layers)
    return layers + 3 * size[0] * size[1] * CHANNELS_OF_BLOCK[0] * 4


def _parameter_bytes(spec: Spec) -> float:
    if spec.network.source == "embedded":
        return 10e6
    every = network_operations(spec.network.source, ("relu5_4",), (16, 16), "float32")
    whole = sum(each.inputs * each.outputs * each.kernel**2 * 4 for each in every if each.kind == "conv")
    copies = {"float32": 1.0, "bfloat16": 1.5, "float16": 1.5}[spec.precision.network]
    return whole * (copies + 1)  # once as read, once in the encoder


def peak_mb(job: Job) -> float:
    """Peak memory of a run in MiB: on a CPU of the process, on a GPU of the device."""
    process = 0.0 if job.spec.device.startswith("cuda") else PROCESS_MB[job.spec.tracking.store]
    sizes = [(level.canvas, level.styles) for level in job.levels]
    return process + painting_bytes(job.spec, sizes) / MEBIBYTE


def long_side_that_fits(job: Job, bytes_free: float) -> int | None:
    """The largest long side, in steps of 16 pixels, whose painting fits; None where not even the smallest does."""
    spec, whole = job.spec, job.spec.images.long_side
    for long_side in range(whole - whole % 16, 15, -16):
        factor = long_side / whole
        sides = tuple(max(1, round(side * factor)) for side in spec.pyramid.long_sides)
        smaller = replace(
            spec,
            images=replace(spec.images, long_side=sides[-1]),
            pyramid=replace(spec.pyramid, long_sides=sides),
        )
        try:
            found = levels(smaller, content=job.levels[-1].canvas, styles=job.levels[-1].styles)
        except ValueError:  # too small for the layers, or two levels of one size
            return None
        if painting_bytes(smaller, [(level.canvas, level.styles) for level in found]) <= bytes_free:
            return long_side
    return None
