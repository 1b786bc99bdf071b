"""What lies between convolutions, there and back, in as few passes over memory as torch's operators allow."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 20  # numbers handled at a time, so that what lies between two operators stays in the cache
WHOLE = {  # whole numbers as wide as each type: times one they keep its bits, times nought they are its zero
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}


def passing(rectified: Tensor) -> Tensor:
    """Where a rectifier lets the gradient through: one byte for each number, of the same shape and layout."""
    return torch.empty_like(rectified, dtype=torch.bool).copy_(rectified)


def rectify_(gradient: Tensor, kept: Tensor) -> Tensor:
    """The gradient before a rectifier from that after it, in place.

    Args:
        kept: what `passing` returned, or the activations themselves.
    """
    if kept.dtype != torch.bool:
        return torch.ops.aten.threshold_backward.grad_input(gradient, kept, 0, grad_input=gradient)
    if gradient.device.type != "cpu":
        return gradient.mul_(kept)
    # On a CPU operators on bytes and floats together are six times slower than a copy and a product of whole numbers.
    numbers, bits = _flat(gradient).view(WHOLE[gradient.dtype]), _flat(kept)
    for part, mask in zip(numbers.split(CHUNK), bits.split(CHUNK), strict=True):
        part.mul_(mask.to(part.dtype))
    return gradient


def _flat(features: Tensor) -> Tensor:
    return features.permute(0, 2, 3, 1).reshape(-1)  # a view: pictures and bands of rows are whole stretches of memory


@dataclass(frozen=True)
class Pool:
    """A pool of two by two."""

    kind: str  # "average" or "max"
    factor: float  # multiplies what it returns

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H // 2, W // 2)."""
        pooled = F.avg_pool2d(inputs, 2) if self.kind == "average" else F.max_pool2d(inputs, 2)
        return pooled if self.factor == 1 else pooled.mul_(self.factor)

    def winners(self, inputs: Tensor) -> Tensor:
        """Where a maximum pool lets the gradient through: the first largest of each four, where that is positive."""
        both = [2, 2]
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(inputs, both, both)
        ones = torch.sign(pooled)  # the inputs are rectified: zero or one
        found = torch.ops.aten.max_pool2d_with_indices_backward(
            ones, inputs, both, both, [0, 0], [1, 1], False, indices
        )
        return passing(found)

    def backward(self, gradient: Tensor, passes: Tensor | None, *, size: tuple[int, int]) -> Tensor:
        """The gradient at the inputs.

        Args:
            gradient: (N, C, H // 2, W // 2), at the outputs.
            passes: (N, C, H, W), where it is let through, of `passing` or `winners`; None: everywhere.
            size: H and W.
        """
        factor = self.factor / 4 if self.kind == "average" else self.factor
        gradient = gradient * factor if factor != 1 else gradient
        batch, channels, height, width = gradient.shape
        found = torch.empty(
            (batch, channels, *size), dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )
        if size != (2 * height, 2 * width):  # a last odd row or column that no pool reads
            found.zero_()
        inside = slice(None), slice(None), slice(2 * height), slice(2 * width)
        whole = WHOLE[gradient.dtype]
        fours = _fours(found.view(whole)[inside])
        spread = gradient.view(whole).permute(0, 2, 3, 1)[:, :, None, :, None]
        if passes is None:
            fours.copy_(spread)
        else:
            fours.copy_(_fours(passes[inside])).mul_(spread)
        return found


def _fours(features: Tensor) -> Tensor:
    """(N, C, 2h, 2w), channels-last, as (N, h, 2, w, 2, C): the same memory."""
    return features.permute(0, 2, 3, 1).unflatten(1, (-1, 2)).unflatten(3, (-1, 2))


@dataclass(frozen=True)
class Band:
    """Some rows of a layer: from `top` to before `bottom`, of `height`.

    Convolutions over a band read rows around it too, and what they give for the outermost is wrong, unless it is the
    picture's edge. So the rows at hand reach further than the band's own, less so after every convolution.
    """

    top: int
    bottom: int
    height: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the layer."""
        return self.bottom - self.top == self.height

    def of(self, layer: Tensor, reach: int = 0) -> Tensor:
        """Its rows of the whole layer, and as many above and below as it reaches."""
        return layer[:, :, max(0, self.top - reach) : self.bottom + reach]

    def narrowed(self, rows: Tensor, reach: int, to: int = 0) -> Tensor:
        """Fewer rows, of those within a reach."""
        above = min(self.top, reach) - min(self.top, to)
        kept = min(self.height, self.bottom + to) - max(0, self.top - to)
        return rows[:, :, above : above + kept]

    def halved(self) -> "Band":
        """The same behind a pool."""
        return Band(self.top // 2, self.bottom // 2, self.height // 2)


def bands(height: int, *, rows: int) -> list[Band]:
    """A layer's rows in bands of an even number each; the last takes what is left over too."""
    tops = range(0, max(1, height // rows) * rows, rows)
    return [Band(top, height if top == tops[-1] else top + rows, height) for top in tops]
