"""What a layer is compared with: adds up over bands of rows how far the canvas is from it, and pulls it there."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from stylelab.engine.direct import add_product_, inner_products, products_beyond
from stylelab.engine.passes import Band
from stylelab.losses import accumulable
from stylelab.scaling import unit, unit_of

NEAR = 8.0  # in float16 the steepest target's gradient is brought there; some numbers of it are a hundred times larger
MOST = 60  # exponent of what it is multiplied with, so that strengths stay within float32


class Steep(Protocol):
    """What `scaled` asks of a target."""

    def steepness(self) -> Tensor:
        """About the largest number in the gradient of strength * error at the features, (N,); after `error`."""

    def scale(self, by: Tensor) -> None:
        """Pull so many times harder until the next canvas: (N,)."""


def scaled(targets: Sequence[Steep]) -> Tensor:
    """Have targets pull so that the gradient keeps to float16, which holds nothing above 65504 and little below 1e-7.

    Returns:
        How many times harder they pull, (N,): a power of two.
    """
    steepest = torch.stack([target.steepness() for target in targets]).amax(dim=0)
    found = unit(steepest, most=MOST) * NEAR
    for target in targets:
        target.scale(found)
    return found


class Target(Steep, Protocol):
    """One term of the loss at one layer."""

    def begin(self) -> None:
        """Forget the canvas before."""

    def add(self, features: Tensor, band: Band) -> None:
        """Take in a band's own rows of the layer: (N, C, rows, W)."""

    def error(self) -> Tensor:
        """The mean squared difference over all bands, (N,), in float32 or wider."""

    def pull_(self, gradient: Tensor, features: Tensor, band: Band, reach: int) -> Tensor:
        """Add the gradient of strength * error to the gradient at the rows within a band's reach, in place."""


class Scaled:
    """What targets share: a strength, and what it is for one canvas."""

    strength: Tensor

    def begin(self) -> None:
        self.at_scale = self.strength

    def scale(self, by: Tensor) -> None:
        self.at_scale = self.strength * by


class Style(Scaled):
    """A Gram matrix, divided by the positions that it was taken from.

    Args:
        gram: (1 or N, C, C), float32 or wider.
        strength: (1 or N,); multiplies the mean squared difference.
        arithmetic: the type of the features.
    """

    def __init__(self, gram: Tensor, strength: Tensor, arithmetic: torch.dtype) -> None:
        self.gram, self.strength = gram, strength
        # float16 holds no sums of squares of large activations: in it the product is taken with the largest near one.
        self.unit = float(unit_of(gram)) if arithmetic == torch.float16 else 1.0
        # The product of the rows is rounded to the features' type after what is expected of it has been subtracted, so
        # that few digits are lost where it is near; the difference is float32's.
        self.expected = (gram * self.unit if self.unit != 1 else gram).to(arithmetic)
        self.rest = gram - self.expected.to(gram.dtype) / self.unit if self.expected.dtype != gram.dtype else None

    def begin(self) -> None:
        super().begin()
        self.difference: Tensor | None = None

    def add(self, features: Tensor, band: Band) -> None:
        positions = band.height * features.shape[-1]
        share = features.shape[2] / band.height
        part = accumulable(products_beyond(features, self.expected, share=share, factor=self.unit / positions))
        if self.unit != 1:
            part /= self.unit
        self.positions = positions
        self.difference = part if self.difference is None else self.difference.add_(part)

    def error(self) -> Tensor:
        if self.rest is not None:
            self.difference -= self.rest
        return self.difference.square().mean(dim=(1, 2))

    def steepness(self) -> Tensor:
        # A row of F is as long as the square root of the Gram matrix's trace, in the mean.
        squares = (self.difference + self.gram).diagonal(dim1=1, dim2=2).sum(dim=1)
        longest = torch.linalg.vector_norm(self.difference, dim=1).amax(dim=1)
        return self.strength * self._factor() * squares.clamp_min(0).sqrt() * longest

    def _factor(self) -> float:
        return 4 / (self.difference.shape[-1] ** 2 * self.positions)

    def pull_(self, gradient: Tensor, features: Tensor, band: Band, reach: int) -> Tensor:
        # d mean (G - A)^2 / d F = 4 / (C^2 M) F (G - A), with G = F^T F / M
        factor = self.at_scale.view(-1, 1, 1) * self._factor()
        return add_product_(gradient, features, (self.difference * factor).to(features.dtype))


class Content(Scaled):
    """A picture's features.

    Args:
        features: (1 or N, C, H, W), in the type that the canvas's come in.
        strength: (1 or N,); multiplies the mean squared difference.
    """

    def __init__(self, features: Tensor, strength: Tensor) -> None:
        self.features, self.strength = features, strength

    def begin(self) -> None:
        super().begin()
        self.sum: Tensor | None = None

    def add(self, features: Tensor, band: Band) -> None:
        expected = band.of(self.features)
        part = (accumulable(features) - accumulable(expected)).square().sum(dim=(1, 2, 3))
        self.sum = part if self.sum is None else self.sum + part

    def error(self) -> Tensor:
        return self.sum / self.features[0].numel()

    def steepness(self) -> Tensor:
        return self.strength * self._factor() * self.error().sqrt()

    def _factor(self) -> float:
        return 2 / self.features[0].numel()

    def pull_(self, gradient: Tensor, features: Tensor, band: Band, reach: int) -> Tensor:
        factor = self.at_scale.view(-1, 1, 1, 1) * self._factor()
        expected = band.of(self.features, reach)
        difference = (accumulable(features) - accumulable(expected)).mul_(factor)
        return gradient.add_(difference.to(gradient.dtype))  # a sum of two types would take ten times as long


class Gram:
    """Takes a Gram matrix instead of comparing with one: exact sums, of features as the canvas's will be computed."""

    def begin(self) -> None:
        self.sum: Tensor | None = None

    def add(self, features: Tensor, band: Band) -> None:
        part = inner_products(accumulable(features)).div_(band.height * features.shape[-1])
        self.sum = part if self.sum is None else self.sum.add_(part)


class Copy:
    """Takes a layer's features."""

    def begin(self) -> None:
        self.parts: list[Tensor] = []

    def add(self, features: Tensor, band: Band) -> None:
        self.parts.append(features.clone() if not band.whole else features)

    def features(self) -> Tensor:
        whole = torch.cat(self.parts, dim=2) if len(self.parts) > 1 else self.parts[0]
        return whole.contiguous(memory_format=torch.channels_last)
