"""The network walked ahead and back, block by block."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from stylelab.engine.block import Block, Stage, Targets
from stylelab.engine.convolution import Convolution, FirstConvolution
from stylelab.engine.passes import Pool
from stylelab.engine.targets import Content, Copy, Gram, Style, Target, scaled
from stylelab.layers import block
from stylelab.losses import Comparison
from stylelab.replay import Replayed
from stylelab.vgg import Encoder


class Engine:
    """An encoder's features, errors and gradients.

    Args:
        encoder: in float32, or in float64 to check the algebra.
        arithmetic: the type that features and their gradients have.
    """

    def __init__(self, encoder: Encoder, arithmetic: torch.dtype) -> None:
        self.preprocessing, self.arithmetic = encoder.preprocessing, arithmetic
        self.input = encoder.filters("conv1_1")[0].dtype
        self.blocks = tuple(_blocks(encoder, arithmetic))

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The features of images as `Encoder` gives them, in the engine's arithmetic."""
        takers = {layer: [Copy()] for layer in layers}
        self._ahead(images, takers, keep=False)
        return {layer: taker.features() for layer, (taker,) in takers.items()}

    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The Gram matrices of images, (N, C, C) each, summed in float32 or wider."""
        takers = {layer: [Gram()] for layer in layers}
        self._ahead(images, takers, keep=False)
        return {layer: taker.sum for layer, (taker,) in takers.items()}

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What compares a canvas, as `Autograd.against` does."""
        pictures = max(len(each) for of in comparisons for each in (of.target, of.strength))
        device = comparisons[0].target.device.type
        if pictures == 1 or device != "cpu":
            compare = partial(self._compare, _Targets(comparisons, self.arithmetic))
            return Replayed(compare, kind="evaluation") if device == "cuda" else compare
        # On a CPU a batch gains nothing, and one picture after another takes the memory of one.
        alone = [_Targets([each.of(place) for each in comparisons], self.arithmetic) for place in range(pictures)]

        def compare(canvas: Tensor) -> tuple[Tensor, Tensor]:
            found = [self._compare(*each) for each in zip(alone, canvas.split(1), strict=True)]
            return torch.cat([errors for errors, _ in found], dim=1), torch.cat([gradient for _, gradient in found])

        return compare

    @torch.no_grad()
    def _compare(self, targets: "_Targets", canvas: Tensor) -> tuple[Tensor, Tensor]:
        self._ahead(canvas, targets.by_layer, keep=True)
        errors = torch.stack([target.error() for target in targets.in_order])
        unit = scaled(targets.in_order) if self.arithmetic == torch.float16 else None
        gradient = None
        for part in reversed(self.blocks):
            gradient = part.backward(gradient, targets.by_layer)
        of = self.preprocessing
        found = torch.empty_like(canvas)
        for place, (channel, deviation) in enumerate(zip(of.channels, of.deviation, strict=True)):
            found[:, channel] = gradient[:, place].to(found.dtype) * (of.scale / deviation)
        return errors, found if unit is None else found / unit.view(-1, 1, 1, 1)

    @torch.no_grad()
    def _ahead(self, images: Tensor, targets: Targets, *, keep: bool) -> None:
        for each in targets.values():
            for target in each:
                target.begin()
        here = self.preprocessing.of(images, self.input)
        for part in self.blocks:
            here = part.forward(here, targets, keep=keep)


class _Targets:
    """What comparisons become: in their order, and by layer."""

    def __init__(self, comparisons: Sequence[Comparison], arithmetic: torch.dtype) -> None:
        self.in_order = [_target(each, arithmetic) for each in comparisons]
        self.by_layer: dict[str, list[Target]] = {}
        for comparison, target in zip(comparisons, self.in_order, strict=True):
            self.by_layer.setdefault(comparison.layer, []).append(target)


def _target(comparison: Comparison, arithmetic: torch.dtype) -> Target:
    if comparison.kind == "content":
        return Content(comparison.target, comparison.strength)
    return Style(comparison.target, comparison.strength, arithmetic)


def _blocks(encoder: Encoder, arithmetic: torch.dtype) -> Iterator[Block]:
    pool = Pool(encoder.pool_kind, encoder.pool_factor)
    for number in range(1, block(encoder.path[-1]) + 1):
        stages = []
        for layer in encoder.path:
            if layer.startswith("conv") and block(layer) == number:
                kind = Convolution if stages or number > 1 else FirstConvolution
                filters, bias = encoder.filters(layer)
                convolution = kind(filters, bias, padding=encoder.padding, arithmetic=arithmetic)
                stages.append(Stage(layer, layer.replace("conv", "relu"), convolution))
        last = f"pool{number}"
        # Other paddings reach back across the edge of a band.
        banded = number <= 2 and encoder.padding == "zeros"
        yield Block(stages, (last, pool) if last in encoder.path else None, banded=banded)
