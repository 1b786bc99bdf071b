"""What a layer of the embedded network is compared with; where a linear head reads it, the head is never applied.

Such a layer's features are F = W f + b, C = 64 to 512 channels from c of the network's own. They lie in c + 1
dimensions: [W b] = Q R with orthonormal columns Q, so y = R [f; 1] has the same inner products as F, and F is never
computed. A Gram matrix of F is Q R G R' Q' with G that of [f; 1], (C / c)^2 times less work.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stylelab.engine import targets
from stylelab.engine.blocks import FirstInBlocks, in_blocks, picture, pixels
from stylelab.engine.direct import Direct, add_product_, inner_products, products_beyond, rows
from stylelab.engine.passes import Band
from stylelab.engine.targets import Scaled, Steep
from stylelab.losses import accumulable
from stylelab.scaling import unit_of

GROUP = 32  # places whose sum is rounded to a type of few digits, before sums are added up in float32


class Target(Steep, Protocol):
    """One term of the loss at one layer."""

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference, (N,), in float32 or wider, at what the network has at the layer."""

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at what the network has there, in place."""


class Head:
    """A linear head, in the basis Q of what it can reach.

    Args:
        weight: (C, c, 1, 1), with c + 1 <= C.
        bias: (C,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.whole = torch.cat([weight.flatten(1), bias[:, None]], dim=1)  # (C, c + 1)
        basis, root = torch.linalg.qr(self.whole.double())
        # On a GPU small products of float32 may be TF32's, of eleven bits; those of float64 cost it nothing.
        self.exact = torch.float64 if weight.is_cuda else weight.dtype
        self.basis, self.root = basis.to(self.exact), root.to(self.exact)
        self.channels = len(weight)

    def features(self, own: Tensor) -> Tensor:
        """F: (N, c, H, W) -> (N, C, H, W)."""
        whole = self.whole.to(own.dtype)
        return F.conv2d(own, whole[:, :-1, None, None], whole[:, -1])

    def gram(self, own: Tensor) -> Tensor:
        """F's: (N, c, H, W) -> (N, C, C)."""
        own = accumulable(own)
        products = inner_products(own) / (own.shape[2] * own.shape[3])
        whole, found = self.whole.to(self.exact), with_one(products, own.mean(dim=(2, 3)))
        return (whole @ found.to(self.exact) @ whole.T).to(found.dtype)


def with_one(products: Tensor, means: Tensor) -> Tensor:
    """The mean products of [f; 1], (N, c + 1, c + 1), from those of f, (N, c, c), and its means, (N, c)."""
    ones = means.new_ones(len(means), 1)
    return torch.cat([torch.cat([products, means[:, :, None]], 2), torch.cat([means, ones], 1)[:, None]], 1)


@dataclass
class Style(Scaled):
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
        self.wanted = self.head.basis.T @ self.gram.to(self.head.exact) @ self.head.basis
        # About what f's products should be. Subtracted before the sum is rounded, so that few digits are lost.
        inverse = torch.linalg.pinv(self.head.root.double())
        likely = (inverse @ self.wanted.double() @ inverse.T)[:, :-1, :-1]
        self.unit = float(unit_of(likely)) if self.arithmetic == torch.float16 else 1.0  # as of `targets.Style`
        self.expected = (likely * self.unit).to(self.arithmetic)

    def error(self, own: Tensor, places: int | None = None) -> Tensor:
        """The mean squared difference of the Gram matrices, (N,). places: those that are no noughts between others."""
        self.places = own.shape[2] * own.shape[3] if places is None else places
        self.begin()
        expected = self.expected.expand(len(own), -1, -1)
        beyond = products_beyond(own, expected, share=1.0, factor=self.unit / self.places)
        products = (accumulable(beyond) + accumulable(self.expected)) / self.unit
        self.own = with_one(products, sums(own) / self.places).to(self.head.exact)
        self.difference = self.head.root @ self.own @ self.head.root.T - self.wanted
        return (self.difference.square().sum(dim=(1, 2)) / self.head.channels**2).to(products.dtype)

    def steepness(self) -> Tensor:
        # A row of [f; 1] is as long as the square root of its products' trace, in the mean.
        squares = self.own.diagonal(dim1=1, dim2=2).sum(dim=1)
        longest = torch.linalg.vector_norm(self.head.root.T @ self.difference @ self.head.root, dim=1).amax(dim=1)
        return self.strength * (self._factor() * squares.clamp_min(0).sqrt() * longest).to(self.strength.dtype)

    def _factor(self) -> float:
        return 4 / (self.head.channels**2 * self.places)

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at f, in place."""
        factor = self._factor() * self.at_scale.view(-1, 1, 1)
        slope = (self.head.root.T @ (self.difference * factor) @ self.head.root).to(own.dtype)
        return add_product_(gradient, own, slope[:, :-1, :-1].contiguous(), slope[:, :-1, -1].contiguous())


class Content(Scaled):
    """Features F, as a target of f.

    Args:
        features: (1 or N, C, H, W), some that `Head.features` gives.
        strength: (1 or N,); multiplies the mean squared difference.
    """

    def __init__(self, head: Head, features: Tensor, strength: Tensor) -> None:
        self.strength, self.count = strength, features[0].numel()
        root, basis = (matrix.to(features.dtype)[:, :, None, None] for matrix in (head.root, head.basis))
        self.wanted = F.conv2d(features, basis.transpose(0, 1)).contiguous(memory_format=torch.channels_last)
        self.bias, self.longest = root[:, -1].flatten(), torch.linalg.vector_norm(head.root[:, :-1], dim=0).amax()
        self.ahead = Direct(root[:, :-1], padding=(0, 0))
        self.back = Direct(root[:, :-1].transpose(0, 1), padding=(0, 0))

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference of the features, (N,)."""
        self.begin()
        self.difference = self.ahead(own, self.bias).sub_(self.wanted)
        squares = accumulable(self.difference).square().sum(dim=(1, 2, 3))
        self.farthest = (squares / self.difference[0, 0].numel()).sqrt()
        return squares / self.count

    def steepness(self) -> Tensor:
        # The difference at a place is so long in the mean, and so is the longest column that it is multiplied with.
        return self.strength * (2 / self.count) * self.farthest * self.longest

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at f, in place."""
        factor = (2 / self.count) * self.at_scale.view(-1, 1, 1, 1)
        return gradient.add_(self.back(self.difference.mul_(factor)))


class Blocked:
    """A target of the layer that is held in blocks of pixels."""

    def __init__(self, target: Style | Content, first: FirstInBlocks) -> None:
        self.target, self.first = target, first

    def error(self, blocks: Tensor) -> Tensor:
        """The mean squared difference, (N,)."""
        if isinstance(self.target, Style):
            return self.target.error(pixels(blocks), places=self.first.size.numel())
        return self.target.error(picture(blocks, self.first.size))

    def steepness(self) -> Tensor:
        return self.target.steepness()

    def scale(self, by: Tensor) -> None:
        self.target.scale(by)

    def pull_(self, gradient: Tensor, blocks: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at the blocks, in place."""
        if isinstance(self.target, Style):
            self.target.pull_(pixels(gradient), pixels(blocks))
            return gradient
        own = picture(blocks, self.first.size)
        return gradient.add_(in_blocks(self.target.pull_(torch.zeros_like(own), own)))


class Headless:
    """A target of a layer that needs no head."""

    def __init__(self, target: targets.Style | targets.Content) -> None:
        self.target = target

    def error(self, own: Tensor) -> Tensor:
        """The mean squared difference, (N,)."""
        self.whole = Band(0, own.shape[2], own.shape[2])
        self.target.begin()
        self.target.add(own, self.whole)
        return self.target.error()

    def steepness(self) -> Tensor:
        return self.target.steepness()

    def scale(self, by: Tensor) -> None:
        self.target.scale(by)

    def pull_(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Add the gradient of strength * error to that at the features, in place."""
        return self.target.pull_(gradient, own, self.whole, 0)


def sums(features: Tensor) -> Tensor:
    """Of each channel over all places: channels-last (N, C, H, W) -> (N, C), in float32 or wider."""
    own = rows(features)
    if own.dtype != torch.bfloat16 or own.is_cuda:
        return own.sum(dim=1, dtype=accumulable(own[:, :0]).dtype)
    whole = own.shape[1] // GROUP * GROUP
    groups = own[:, :whole].unflatten(1, (-1, GROUP)).sum(dim=2)  # converting each number would take ten times as long
    return accumulable(groups).sum(dim=1) + accumulable(own[:, whole:]).sum(dim=1)
