"""The embedded network walked ahead and back."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from stylelab.embedded import EmbeddedEncoder, Part, preprocess
from stylelab.engine import targets
from stylelab.engine.blocks import FirstInBlocks, HalvingConvolution, picture
from stylelab.engine.convolution import packed
from stylelab.engine.direct import inner_products
from stylelab.engine.heads import Blocked, Content, Head, Headless, Style, Target
from stylelab.engine.passes import Pool, rectify_
from stylelab.losses import Comparison, accumulable
from stylelab.replay import Replayed


class EmbeddedEngine:
    """The embedded network's features, errors and gradients; what `stylelab.autograd.Network` asks for.

    Args:
        encoder: in float32, or in float64 to check the algebra.
        arithmetic: the type that features and their gradients have.
    """

    def __init__(self, encoder: EmbeddedEncoder, arithmetic: torch.dtype) -> None:
        self.arithmetic = arithmetic
        self.steps = [(part.layer, _step(encoder, part, arithmetic)) for part in encoder.trunk]
        self.in_blocks, first = self.steps[0]  # the first layer's features are in blocks of pixels
        self.first: FirstInBlocks = first.convolution
        self.heads = {
            part.layer: Head(*encoder.head(part))
            for part in encoder.trunk
            if part.headed and part.layer in encoder.layers
        }

    @torch.no_grad()
    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The features of images as `EmbeddedEncoder` gives them."""
        own = self._read(images, layers)
        return {
            layer: self.heads[layer].features(own[layer]) if layer in self.heads else own[layer] for layer in layers
        }

    @torch.no_grad()
    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The Gram matrices of images, (N, C, C) each, summed in float32 or wider."""
        found = {}
        for layer, own in self._read(images, layers).items():
            if layer in self.heads:
                found[layer] = self.heads[layer].gram(own)
            else:
                found[layer] = inner_products(accumulable(own)) / (own.shape[2] * own.shape[3])
        return found

    def _read(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The network's own features at the layers: (N, c, H, W) each."""
        found = self._ahead(images, layers)
        if self.in_blocks in found:
            found[self.in_blocks] = picture(found[self.in_blocks], images.shape[2:])
        return found

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What compares a canvas, as `Autograd.against` does, with targets that `features` and `grams` gave."""
        wanted = [self._target(each) for each in comparisons]
        compare = partial(self._compare, [each.layer for each in comparisons], wanted)
        return Replayed(compare, kind="evaluation") if comparisons[0].target.device.type == "cuda" else compare

    def _target(self, comparison: Comparison) -> Target:
        head, of = self.heads.get(comparison.layer), (comparison.target, comparison.strength)
        if head is None:
            content = comparison.kind == "content"
            return Headless(targets.Content(*of) if content else targets.Style(*of, self.arithmetic))
        found = Content(head, *of) if comparison.kind == "content" else Style(head, *of, self.arithmetic)
        return Blocked(found, self.first) if comparison.layer == self.in_blocks else found

    @torch.no_grad()
    def _compare(self, layers: Sequence[str], wanted: Sequence[Target], canvas: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        own = self._ahead(canvas, layers, kept)
        errors = torch.stack([target.error(own[layer]) for layer, target in zip(layers, wanted, strict=True)])
        unit = targets.scaled(wanted) if self.arithmetic == torch.float16 else None
        gradient = None
        for layer, step in reversed(self.steps[: len(kept)]):
            features = kept.pop()
            if isinstance(step, Pool):
                gradient = step.backward(gradient, None, size=features.shape[2:])
                continue
            for target in [target for place, target in zip(layers, wanted, strict=True) if layer == place]:
                gradient = target.pull_(torch.zeros_like(features) if gradient is None else gradient, features)
            gradient = step.backward(gradient, features)
        gradient = gradient.to(canvas.dtype)
        return errors, gradient if unit is None else gradient / unit.view(-1, 1, 1, 1)

    def _ahead(self, images: Tensor, layers: Sequence[str], kept: list[Tensor] | None = None) -> dict[str, Tensor]:
        """The trunk's own features at the layers; keeps what each step gives, but what a pool takes."""
        found, here = {}, preprocess(images)
        for layer, step in self.steps:
            before, here = here, step.forward(here)
            if kept is not None:
                kept.append(before if isinstance(step, Pool) else here)
            if layer in layers:
                found[layer] = here
                if len(found) == len(set(layers)):
                    break
        return found


def _step(encoder: EmbeddedEncoder, part: Part, arithmetic: torch.dtype) -> "Pool | Rectified":
    if part.pool:
        return Pool("average", 1.0)
    convolutions = encoder.convolutions(part)
    if part.ranks:
        return Rectified(Factored([weight for weight, _ in convolutions], convolutions[-1][1], arithmetic))
    ((weight, bias),) = convolutions
    if part.stride == 2:
        return Rectified(HalvingConvolution(weight, bias, arithmetic))
    return Rectified(FirstInBlocks(weight, bias, arithmetic))


class Rectified:
    """A convolution and a rectifier."""

    def __init__(self, convolution: "FirstInBlocks | HalvingConvolution | Factored") -> None:
        self.convolution = convolution

    def forward(self, inputs: Tensor) -> Tensor:
        return self.convolution.forward(inputs, rectified=True)

    def backward(self, gradient: Tensor, features: Tensor) -> Tensor:
        """The gradient at the inputs from that at the features, which `forward` gave; the latter is overwritten."""
        return self.convolution.backward(rectify_(gradient, features))


class Factored:
    """Convolutions one after another, nothing between them, so that nothing is kept for the way back.

    Args:
        weights: (out, in, 1, 1) or (out, in, 3, 3) each.
        bias: of the last.
    """

    def __init__(self, weights: Sequence[Tensor], bias: Tensor, arithmetic: torch.dtype) -> None:
        rounded = [weight.to(arithmetic) for weight in weights]
        self.bias = bias.to(arithmetic)
        self.ahead = [packed(weight, padding=weight.shape[-1] // 2) for weight in rounded]
        turned = [weight.flip(2, 3).transpose(0, 1) for weight in reversed(rounded)]
        self.back = [packed(weight, padding=weight.shape[-1] // 2) for weight in turned]

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        *first, last = self.ahead
        for convolution in first:
            inputs = convolution(inputs)
        return last(inputs, self.bias, rectified=rectified)

    def backward(self, gradient: Tensor) -> Tensor:
        for convolution in self.back:
            gradient = convolution(gradient)
        return gradient
