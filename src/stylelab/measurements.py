"""What the parts of a run take on this machine: each part done for real, small, with its seconds and bytes."""

import ctypes
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from stylelab import devices, networks, pictures, reference
from stylelab.cost import Sizes, arithmetics, optimizer_kind, painting_kind, pixels_wanted, ruler_kind
from stylelab.descent import lbfgs_for
from stylelab.job import Job
from stylelab.pictures import Size, scaled_to_long_side
from stylelab.pyramid import Level, levels
from stylelab.spec import Adam, Precision, Pyramid, Spec
from stylelab.transfer import transfer

LONG_SIDES = (32, 64, 128, 256, 512, 1024, 2048)  # pixels; measured at in turn, up to the size that is wanted, or
ENOUGH_PIXELS = 30_000  # and until a step takes
LONG_ENOUGH = 0.25  # seconds: larger sizes follow from these
STEPS = 3  # of each size; the quickest counts, because other work on the machine only ever adds
ADAM = Adam(kind="adam", steps=STEPS, learning_rate=0.02, beta1=0.9, beta2=0.99, tolerance=0.0)


def covers(sizes: Sizes | None, pixels: int) -> bool:
    """Whether measured sizes reach some pixels, or as far as is quick and enough to tell the rest from."""
    if not sizes:
        return False
    largest = max(sizes)
    return largest >= pixels or (largest >= ENOUGH_PIXELS and sizes[largest]["seconds"] >= LONG_ENOUGH)


class Measurements:
    """Measures what a job's runs consist of.

    Args:
        job: whose pictures, network and settings.
        device: the job's, prepared.
        clock: in seconds: `time.perf_counter`; or `time.process_time`, which other work on the machine disturbs less.
        longest: most pixels of a long side to measure at.
    """

    def __init__(
        self,
        job: Job,
        device: torch.device,
        *,
        clock: Callable[[], float] = time.perf_counter,
        longest: int = LONG_SIDES[-1],
    ) -> None:
        self.job, self.device, self.clock = job, device, clock
        small = [found for long_side in LONG_SIDES if long_side <= longest for found in self._at(long_side)]
        self.specs = small or self._at(job.spec.images.long_side)  # a strip of a picture may fit at no small size

    def _at(self, long_side: int) -> list[Spec]:
        """The job's spec at a small size, every style picture as large as the canvas; none where that is too small."""
        spec = self.job.spec
        try:
            found = replace(
                spec,
                images=replace(spec.images, long_side=long_side, style_size="stretch", style_scale=1.0),
                pyramid=Pyramid(long_sides=(long_side,), steps=(STEPS,)),
                precision=Precision(network="float32", float32_finish=0.0),
                optimizer=ADAM,
            )
            levels(found, content=self.job.content.size, styles=[style.size for style in self.job.styles])
        except ValueError:
            return []
        return [found]

    def lacking(self, known: Mapping[str, Sizes]) -> dict[str, Sizes]:
        """Every painting, optimizer and ruler that the job needs and that is not known up to its size."""
        spec, wanted = self.job.spec, pixels_wanted(self.job)
        found = {}
        for arithmetic in arithmetics(spec):
            kind = painting_kind(spec, arithmetic)
            if not covers(known.get(kind), wanted[kind]):
                found[kind] = self.painting(arithmetic, wanted[kind])
        if (kind := optimizer_kind(spec)) is not None and not covers(known.get(kind), wanted[kind]):
            found[kind] = self.optimizer(wanted[kind])
        if not covers(known.get(kind := ruler_kind(self.job)), wanted[kind]):
            found[kind] = self.ruler(wanted[kind])
        return found

    def painting(self, arithmetic: str, wanted: int) -> Sizes:
        """Steps by Adam, the targets before them and the network's making, up to a number of pixels."""
        spec = self.job.spec
        with Memory(self.device) as memory:
            began = self.clock()
            network = networks.encoder(
                spec.network, pooling=spec.pooling, layers=spec.all_layers, files=self.job.files
            ).to(self.device)
            build = self.clock() - began
        made = {"build": build, "network": memory.held, "building": memory.fullest}
        self._paint(self.specs[0], network, arithmetic)  # the first time imports, and chooses algorithms
        return self._by_size(lambda spec, _: self._paint(spec, network, arithmetic) | made, wanted)

    def _paint(self, spec: Spec, network: nn.Module, arithmetic: str) -> dict[str, float]:
        spec = replace(spec, precision=replace(spec.precision, network=arithmetic))
        content, styles = self.job.content, [self.job.content] * len(self.job.styles)
        larger = replace(spec, images=replace(spec.images, style_size="long_side", style_scale=2.0))
        with Memory(self.device) as encoding:
            next(transfer(larger, network, content=content, styles=styles, device=self.device))
        with Memory(self.device) as memory:
            times = [self.clock()]
            for step in transfer(spec, network, content=content, styles=styles, device=self.device):
                step.losses.values()  # waits for the device
                times.append(self.clock())
        first, *others = [end - begin for begin, end in itertools.pairwise(times)]
        return {
            "seconds": min(others),
            "targets": max(0.0, first - min(others)),
            "bytes": memory.fullest,
            "left": memory.held,  # the last step still holds the targets
            "encoding": encoding.fullest,  # with style pictures of four times the pixels
        }

    def optimizer(self, wanted: int) -> Sizes:
        """Steps of L-BFGS that remembers all that it may, and a copy of its state for a checkpoint."""
        return self._by_size(self._lbfgs_steps, wanted)

    def _lbfgs_steps(self, spec: Spec, canvas: Size) -> dict[str, float]:
        history = self.job.spec.optimizer.history
        width, height = canvas
        # So small a rate that it is far from the minimum when it has been timed.
        optimizer, times = lbfgs_for(self.device, history=history, learning_rate=0.01), []
        with Memory(self.device) as memory:
            image, curvature = (0.5 + torch.rand(1, 3, height, width, device=self.device) for _ in range(2))
            for _ in range(history + 1 + STEPS):
                began = self.clock()
                image = optimizer.step(image, image * curvature)
                image[..., 0, 0].tolist()  # waits for the device
                times.append(self.clock() - began)
        with Memory(self.device) as copying:
            state = optimizer.state()
        del state
        return {"seconds": min(times[-STEPS:]), "bytes": memory.fullest, "copy": copying.fullest}

    def ruler(self, wanted: int) -> Sizes:
        """The reference evaluator's making and judging; the pixels are those of all the pictures that it is shown."""
        with Memory(self.device) as memory:
            began = self.clock()
            _, network = reference.ruler(self.job.ruler)
            build = self.clock() - began
        made = {"build": build, "network": memory.held, "building": memory.fullest}
        pictures_shown = 2 + len(self.job.styles)
        judged = lambda _, canvas: self._judge(network, canvas) | made  # noqa: E731
        return {
            size * pictures_shown: values for size, values in self._by_size(judged, wanted / pictures_shown).items()
        }

    def _judge(self, network: nn.Module, canvas: Size) -> dict[str, float]:
        content, count = self.job.content, len(self.job.styles)
        level = Level(number=0, canvas=canvas, styles=(canvas,) * count, steps=1)
        with Memory(self.device) as memory:
            began = self.clock()
            reference.judge(
                network,
                pastiche=pictures.resize(content, canvas),
                content=content,
                styles=[(1 / count, content)] * count,
                level=level,
            )
            seconds = self.clock() - began
        return {"seconds": seconds, "bytes": memory.fullest}

    def _by_size(self, measure: Callable[[Spec, Size], dict[str, float]], wanted: float) -> Sizes:
        """Pixels of the canvas -> what was measured, for growing sizes up to those wanted or to a slow one."""
        found: dict[int, dict[str, float]] = {}
        for spec in self.specs:
            canvas = self._canvas(spec)
            pixels = canvas[0] * canvas[1]
            found[pixels] = measure(spec, canvas)
            if covers(found, wanted):
                break
        return found

    def _canvas(self, spec: Spec) -> Size:
        return scaled_to_long_side(self.job.content.size, spec.images.long_side)


class Memory:
    """Bytes that a block of code takes at its fullest, and holds at its end, beside those of its beginning."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> "Memory":
        _return_free_memory(self.device)
        devices.reset_peak(self.device)
        self.before = devices.memory_mb(self.device)
        return self

    def __exit__(self, *_: object) -> None:
        self.fullest = max(0.0, devices.peak_memory_mb(self.device) - self.before) * devices.MEBIBYTE
        _return_free_memory(self.device)
        self.held = max(0.0, devices.memory_mb(self.device) - self.before) * devices.MEBIBYTE


def _return_free_memory(device: torch.device) -> None:
    """Have allocators give back what they keep for later, else taking it again would not be seen."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # only glibc has it; elsewhere memory comes out a little low
