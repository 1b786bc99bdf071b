"""The embedded network walked ahead and back, its heads folded into the errors.

Below relu2_2 a layer's features are F = W f + b, C = 64 or 128 channels from c of its own. They lie in c + 1 dimensions:
[W b] = Q R with orthonormal columns Q, so y = R [f; 1] has the same inner products as F, and F is never computed. A
Gram matrix of F is Q R G R' Q' with G that of [f; 1], (C / c)^2 times less work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from stylelab.embedded import EmbeddedEncoder, Part, preprocess
from stylelab.engine import targets
from stylelab.engine.convolution import FirstConvolution, packed
from stylelab.engine.direct import Direct, add_product_, inner_products, products_beyond, rows
from stylelab.engine.passes import Band, Pool, rectify_
from stylelab.losses import Comparison, accumulable


class EmbeddedEngine:
    """The embedded network's features, errors and gradients; what `stylelab.autograd.Network` asks for.

    Args:
        encoder: in float32, or in float64 to check the algebra.
        arithmetic: the type that features and their gradients have.
    """

    def __init__(self, encoder: EmbeddedEncoder, arithmetic: torch.dtype) -> None:
        self.arithmetic = arithmetic
        self.steps = [(part.layer, _step(encoder, part, arithmetic)) for part in encoder.trunk]
        heads = {part.layer: encoder.head(part) for part in encoder.trunk if part.layer in encoder.layers}
        self.heads = {layer: Head(*head) if head else None for layer, head in heads.items()}

    @torch.no_grad()
    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The features of images as `EmbeddedEncoder` gives them."""
        own = self._ahead(images, layers)
        return {layer: head.features(own[layer]) if (head := self.heads[layer]) else own[layer] for layer in layers}

    @torch.no_grad()
    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The Gram matrices of images, (N, C, C) each, summed in float32 or wider."""
        own = self._ahead(images, layers)
        return {layer: head.gram(own[layer]) if (head := self.heads[layer]) else _mean_products(accumulable(own[layer])) for layer in layers}

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What compares a canvas, as `Autograd.against` does, with targets that `features` and `grams` gave."""
        wanted = [_target(each, self.heads[each.layer], self.arithmetic) for each in comparisons]
        return partial(self._compare, [each.layer for each in comparisons], wanted)

    @torch.no_grad()
    def _compare(
        self, layers: Sequence[str], wanted: Sequence["Target"], canvas: Tensor
    ) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        own = self._ahead(canvas, layers, kept)
        errors = torch.stack([target.error(own[layer]) for layer, target in zip(layers, wanted, strict=True)])
        gradient = None
        for layer, step in reversed(self.steps[: len(kept)]):
            features = kept.pop()
            if isinstance(step, Pool):
                gradient = step.backward(gradient, None, size=features.shape[2:])
                continue
            for target in [target for place, target in zip(layers, wanted, strict=True) if layer == place]:
                gradient = target.pull_(torch.zeros_like(features) if gradient is None else gradient, features)
            gradient = step.backward(gradient, features)
        return errors, gradient.to(canvas.dtype)

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
    return Rectified(FirstConvolution(weight, bias, padding="zeros", arithmetic=arithmetic))


class Rectified:
    """A convolution and a rectifier."""

    def __init__(self, convolution: "FirstConvolution | HalvingConvolution | Factored") -> None:
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


class HalvingConvolution:
    """A 4 x 4 convolution at every second place, for the gradient's way back too. weight: (out, in, 4, 4)."""

    def __init__(self, weight: Tensor, bias: Tensor, arithmetic: torch.dtype) -> None:
        self.weight = weight.to(arithmetic).contiguous(memory_format=torch.channels_last)
        self.bias = bias.to(arithmetic)

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        """(N, in, H, W) -> (N, out, H // 2, W // 2), rectified if wanted."""
        self.odd = [side % 2 for side in inputs.shape[2:]]
        found = F.conv2d(inputs, self.weight, self.bias, stride=2, padding=1)
        return found.relu_() if rectified else found

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient at the inputs from that at the outputs before the rectifier."""
        return F.conv_transpose2d(gradient, self.weight, stride=2, padding=1, output_padding=self.odd)


class Head:
    """A linear head, in the basis Q of what it can reach.

    Args:
        weight: (C, c, 1, 1), with c + 1 <= C.
        bias: (C,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.whole = torch.cat([weight.flatten(1), bias[:, None]], dim=1)  # (C, c + 1)
        basis, root = torch.linalg.qr(self.whole.double())
        self.basis, self.root = basis.to(weight.dtype), root.to(weight.dtype)
        self.channels = len(weight)

    def features(self, own: Tensor) -> Tensor:
        """F: (N, c, H, W) -> (N, C, H, W)."""
        whole = self.whole.to(own.dtype)
        return F.conv2d(own, whole[:, :-1, None, None], whole[:, -1])

    def gram(self, own: Tensor) -> Tensor:
        """F's: (N, c, H, W) -> (N, C, C)."""
        own = accumulable(own)
        return self.whole @ with_one(_mean_products(own), own.mean(dim=(2, 3))) @ self.whole.T


def _mean_products(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C)."""
    return inner_products(features).div_(features.shape[2] * features.shape[3])


def with_one(products: Tensor, means: Tensor) -> Tensor:
    """The mean products of [f; 1], (N, c + 1, c + 1), from those of f, (N, c, c), and its means, (N, c)."""
    ones = means.new_ones(len(means), 1)
    return torch.cat([torch.cat([products, means[:, :, None]], 2), torch.cat([means, ones], 1)[:, None]], 1)


@dataclass
class Style:
    """A Gram matrix of F, as a target of f.

    Args:
        gram: (1 or N, C, C), one that `Head.gram` gives, or a mean of such.
        strength: (1 or N,); multiplies the mean squared difference.
    """

    head: Head
    gram: Tensor
    strength: Tensor
    arithmetic: torch.dtype

    def __post_init__(self) -> None:
        self.wanted = self.head.basis.T @ self.gram @ self.head.basis
        # About what f's products should be. Subtracted before the sum is rounded, so that few digits are lost.
        inverse = torch.linalg.pinv(self.head.root.double())
        likely = (inverse @ self.wanted.double() @ inverse.T)[:, :-1, :-1]
        self.expected = likely.to(self.arithmetic)

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference of the Gram matrices, (N,)."""
        expected = self.expected.expand(len(own), -1, -1)
        beyond = products_beyond(own, expected, share=1.0, factor=1 / (own.shape[2] * own.shape[3]))
        products = accumulable(beyond) + accumulable(self.expected)
        means = rows(own).mean(dim=1, dtype=products.dtype)
        self.difference = self.head.root @ with_one(products, means) @ self.head.root.T - self.wanted
        return self.difference.square().sum(dim=(1, 2)) / self.head.channels**2

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at f, in place."""
        factor = 4 / (self.head.channels**2 * own.shape[2] * own.shape[3]) * self.strength.view(-1, 1, 1)
        slope = (self.head.root.T @ (self.difference * factor) @ self.head.root).to(own.dtype)
        return add_product_(gradient, own, slope[:, :-1, :-1].contiguous(), slope[:, :-1, -1].contiguous())


class Content:
    """Features F, as a target of f.

    Args:
        features: (1 or N, C, H, W), some that `Head.features` gives.
        strength: (1 or N,); multiplies the mean squared difference.
    """

    def __init__(self, head: Head, features: Tensor, strength: Tensor) -> None:
        self.strength, self.count = strength, features[0].numel()
        root, basis = (matrix.to(features.dtype)[:, :, None, None] for matrix in (head.root, head.basis))
        self.wanted = F.conv2d(features, basis.transpose(0, 1)).contiguous(memory_format=torch.channels_last)
        self.bias = root[:, -1].flatten()
        self.ahead = Direct(root[:, :-1], padding=(0, 0))
        self.back = Direct(root[:, :-1].transpose(0, 1), padding=(0, 0))

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference of the features, (N,)."""
        self.difference = self.ahead(own, self.bias).sub_(self.wanted)
        return accumulable(self.difference).square().sum(dim=(1, 2, 3)) / self.count

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at f, in place."""
        factor = (2 / self.count) * self.strength.view(-1, 1, 1, 1)
        return gradient.add_(self.back(self.difference.mul_(factor)))


class Headless:
    """A target of features that need no head."""

    def __init__(self, target: targets.Style | targets.Content) -> None:
        self.target = target

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference, (N,)."""
        self.whole = Band(0, own.shape[2], own.shape[2])
        self.target.begin()
        self.target.add(own, self.whole)
        return self.target.error()

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at f, in place."""
        return self.target.pull_(gradient, own, self.whole, 0)


Target = Style | Content | Headless


def _target(comparison: Comparison, head: Head | None, arithmetic: torch.dtype) -> Target:
    if head is None and comparison.kind == "content":
        return Headless(targets.Content(comparison.target, comparison.strength))
    if head is None:
        return Headless(targets.Style(comparison.target, comparison.strength, arithmetic))
    if comparison.kind == "content":
        return Content(head, comparison.target, comparison.strength)
    return Style(head, comparison.target, comparison.strength, arithmetic)
