"""Times the operations that runs are made of, on this machine, once: the table that `stylelab.cost` reads."""

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from stylelab import devices, losses, networks
from stylelab.cost import Operation, Seconds
from stylelab.descent import Adam, Lbfgs
from stylelab.job import Job
from stylelab.run_folder import write_whole

MOST_MULTIPLY_ADDS = 1_000_000_000  # of the largest size timed: a fraction of a second on two cores
MOST_NUMBERS = 12_000_000  # in the largest tensor timed
SMALLER = (1, 12, 144)  # the sizes: the largest, and these parts of it
REPETITIONS = 3
LEAST_SECONDS = 0.02  # of all repetitions together, for operations that take microseconds


class Calibration:
    """The table of one machine, kept in a file and completed where a run needs what it lacks.

    Args:
        cache: folder of the file.
        device, threads: the runs'.
    """

    def __init__(self, cache: Path, *, device: str, threads: int | None) -> None:
        self.device = devices.prepare_device(device, threads=threads, determinism="default")
        self.about = {
            "machine": f"{platform.node()}, {platform.processor() or platform.machine()}",
            "device": devices.describe(self.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()
        self.path = cache / f"calibration-{digest[:12]}.json"
        self.table: dict[str, dict[int, Seconds]] = {}
        self.build_seconds: dict[str, float] = {}

    def read(self) -> None:
        """Take the table that an earlier plan left."""
        try:
            kept = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return
        self.build_seconds = kept["build_seconds"]
        self.table = {
            name: {int(positions): Seconds(*values) for positions, values in sizes.items()}
            for name, sizes in kept["seconds"].items()
        }

    def complete(self, operations: Iterable[Operation], jobs: Iterable[Job]) -> int:
        """Time the kinds of operations and the networks that the table lacks; returns how many."""
        lacking = {each.name: each for each in operations if each.name not in self.table}
        for name, operation in lacking.items():
            self.table[name] = {
                positions: self._timed(operation._replace(positions=positions)) for positions in _sizes(operation)
            }
        networks_lacking = {
            job.spec.network.source: job for job in jobs if job.spec.network.source not in self.build_seconds
        }
        for source, job in networks_lacking.items():
            self.build_seconds[source] = _seconds_to_build(job)
        if lacking or networks_lacking:
            self._write()
        return len(lacking) + len(networks_lacking)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"about": self.about, "build_seconds": self.build_seconds, "seconds": self.table}
        write_whole(self.path, json.dumps(kept, indent=1) + "\n")

    def _timed(self, operation: Operation) -> Seconds:
        forward, both = _actions(operation, self.device)
        both()  # the first time chooses algorithms and fetches memory
        return Seconds(self._median(forward), self._median(both))

    def _median(self, act: Callable[[], object]) -> float:
        times: list[float] = []
        while len(times) < REPETITIONS or sum(times) < LEAST_SECONDS:
            began = time.perf_counter()
            act()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            times.append(time.perf_counter() - began)
        return statistics.median(times)


def _sizes(operation: Operation) -> list[int]:
    one = operation._replace(positions=1)
    width = max(one.inputs, one.outputs) if one.kind in ("conv", "gram") else one.multiply_adds
    most = min(MOST_MULTIPLY_ADDS // one.multiply_adds, MOST_NUMBERS // width)
    return sorted({max(16, most // part) for part in SMALLER})


def _seconds_to_build(job: Job) -> float:
    began = time.perf_counter()
    networks.encoder(job.spec.network, pooling=job.spec.pooling, layers=job.spec.all_layers, files=job.files)
    return time.perf_counter() - began


Action = Callable[[], object]


def _actions(operation: Operation, device: torch.device) -> tuple[Action, Action]:
    """An operation forward, and forward and back."""
    if operation.kind in ("lbfgs", "adam"):
        step = _optimizer_step(operation, device)
        return step, step
    inputs = _inputs(operation, device)
    act = _function(operation, device)
    output = act(inputs)
    gradient = torch.ones_like(output)

    def forward() -> object:
        with torch.no_grad():
            return act(inputs)

    def both() -> object:
        return torch.autograd.grad(act(inputs), inputs, gradient)

    return forward, both


def _inputs(operation: Operation, device: torch.device) -> Tensor:
    channels = operation.inputs if operation.kind in ("conv", "gram") else 64
    positions = operation.positions if operation.kind in ("conv", "gram") else max(4, operation.positions // 64)
    height = max(2, int(positions**0.5))
    width = max(2, positions // height)
    drawn = torch.rand(1, channels, height, width, device=device, dtype=getattr(torch, operation.arithmetic))
    return drawn.contiguous(memory_format=torch.channels_last).requires_grad_()


def _function(operation: Operation, device: torch.device) -> Callable[[Tensor], Tensor]:
    match operation.kind:
        case "conv":
            size = (operation.outputs, operation.inputs, operation.kernel, operation.kernel)
            filters = torch.rand(size, device=device, dtype=getattr(torch, operation.arithmetic))
            filters = filters.contiguous(memory_format=torch.channels_last)
            bias = torch.zeros(operation.outputs, device=device, dtype=filters.dtype)
            return lambda inputs: functional.conv2d(inputs, filters, bias, padding=operation.kernel // 2)
        case "relu":
            return functional.relu
        case "pool":
            return lambda inputs: functional.avg_pool2d(inputs, 2)
        case "gram":
            target = torch.zeros(1, operation.inputs, operation.inputs, device=device)
            return lambda inputs: losses.style_loss(losses.gram_matrix(inputs), target)
        case "content":
            return lambda inputs: losses.mean_squared_error(inputs, torch.zeros_like(inputs))
    raise AssertionError(operation.kind)


def _optimizer_step(operation: Operation, device: torch.device) -> Action:
    """A step of an optimizer that remembers all that it may."""
    numbers = max(3, operation.positions // 3 * 3)
    canvas, curvature = (0.5 + torch.rand(1, 3, 1, numbers // 3, device=device) for _ in range(2))
    if operation.kind == "adam":
        optimizer, filled = Adam(learning_rate=0.01, beta1=0.9, beta2=0.99, clamp=False), 1
    else:  # so small a rate that it is far from the minimum when it has been timed
        optimizer, filled = Lbfgs(history=operation.inputs, learning_rate=0.01), operation.inputs + 1

    def step() -> None:
        nonlocal canvas
        canvas = optimizer.step(canvas, canvas * curvature)

    for _ in range(filled):
        step()
    return step
