"""The losses of neural style transfer, as pure functions of features: one number for each picture of a batch.

Sums over all pictures of a batch would mix runs, so every loss keeps the first axis. Halves and bfloat16 are raised to
float32 first, because sums of squares of activations leave float16's range.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Comparison:
    """One layer and what it is compared with; its error is the mean squared difference, one for each picture."""

    kind: str  # content: of features; style: of Gram matrices
    layer: str
    target: Tensor  # (1 or N, C, H, W), or (1 or N, C, C)
    strength: Tensor  # (1 or N,); d total / d error

    def of(self, place: int) -> "Comparison":
        """The comparison of one picture out of N."""
        target, strength = (
            each if len(each) == 1 else each[place : place + 1] for each in (self.target, self.strength)
        )
        return Comparison(self.kind, self.layer, target, strength)


def accumulable(features: Tensor) -> Tensor:
    """Features in the type that sums of them are taken in: float32, or float64 where they have it."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def gram_matrix(features: Tensor) -> Tensor:
    """Mean product of every pair of channels: G^l of Gatys et al. (2015), eq. (3), divided by H*W.

    Args:
        features: (N, C, H, W), one layer's response to N images.

    Returns:
        (N, C, C), symmetric, in squared units of the features, float32 or wider.

    Eq. (3) does not divide; the authors' code does. Canvas and style may then differ in size.
    """
    rows = accumulable(features).permute(0, 2, 3, 1).flatten(1, 2)  # a view where the layout is channels-last
    return _MeanProducts.apply(rows)


class _MeanProducts(torch.autograd.Function):
    """rows^T rows / count, whose gradient is symmetric: one matrix product on the way back where autograd takes two."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.save_for_backward(rows)
        return rows.transpose(1, 2) @ rows / rows.shape[1]

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (rows,) = context.saved_tensors
        return rows @ ((gradient + gradient.transpose(1, 2)) / rows.shape[1])


def mean_squared_error(features: Tensor, target: Tensor) -> Tensor:
    """Mean over channels and positions of (F - P)^2: the content term of the authors' released code.

    Args:
        features: (N, C, H, W), the canvas's.
        target: (1 or N, C, H, W), the content picture's.

    Returns:
        (N,), in squared units of the features.
    """
    return (accumulable(features) - accumulable(target)).square().mean(dim=(1, 2, 3))


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """L_content = 1/2 sum (F - P)^2: Gatys et al. (2015), eq. (1).

    Args, returns: as `mean_squared_error`, which this is times C*H*W / 2.
    """
    return mean_squared_error(features, target) * (features[0].numel() / 2)


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """E_l = 1 / (4 C^2) sum (G - A)^2: Gatys et al. (2015), eq. (4), with Gram matrices divided by H*W already.

    Args:
        gram: (N, C, C), the canvas's.
        target: (1 or N, C, C), the style picture's.

    Returns:
        (N,), in the fourth power of the features' unit.
    """
    return (gram - target).square().mean(dim=(1, 2)) / 4


def absolute_variation(images: Tensor) -> Tensor:
    """Sum of |differences| of neighbouring pixels in units of 0 to 255: neural-style-pt's total variation.

    Args:
        images: (N, 3, H, W), in [0, 1].

    Returns:
        (N,). It grows with the number of pixels.
    """
    down, right = _neighbour_differences(images)
    return 255 * (down.abs().sum(dim=(1, 2, 3)) + right.abs().sum(dim=(1, 2, 3)))


def squared_variation(images: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels in [0, 1], down plus right; it does not grow with the picture.

    Args:
        images: (N, 3, H, W), in [0, 1].

    Returns:
        (N,).
    """
    down, right = _neighbour_differences(images)
    return down.square().mean(dim=(1, 2, 3)) + right.square().mean(dim=(1, 2, 3))


def _neighbour_differences(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[..., 1:, :] - images[..., :-1, :], images[..., 1:] - images[..., :-1]
