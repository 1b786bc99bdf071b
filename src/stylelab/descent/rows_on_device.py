"""The vectors that L-BFGS remembers of many canvases at once, on a GPU, which nothing here waits for."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylelab.descent.rows import LARGEST, STRETCH, kept_in, shared_out
from stylelab.scaling import units

STRETCH_ON_DEVICE = 1 << 20  # where every stretch costs the start of some kernels


class RowsOnDevice:
    """`Rows` of N canvases, `count` of each; what is computed of them is computed in the same way.

    Args:
        like: (N, n), the vectors' type and device.
    """

    def __init__(self, count: int, like: Tensor) -> None:
        self.numbers = like.shape[1]
        stretches, self.width = shared_out(self.numbers, STRETCH_ON_DEVICE)
        self.stretches = like.new_zeros((stretches, len(like), count, self.width), dtype=kept_in(like.dtype))
        self.scales = like.new_ones(len(like), count)  # what each row is multiplied with in memory: powers of two

    def exchange(self, slots: Tensor, vectors: Sequence[Tensor], wanted: Tensor) -> None:
        """Remember vectors in place of others, of the canvases where it is wanted.

        Args:
            slots: (N, k), whole numbers.
            vectors: k of (N, n).
            wanted: (N,), truth values.
        """
        rows = (slots + torch.arange(len(slots), device=slots.device)[:, None] * self.scales.shape[1]).flatten()
        kept = wanted.repeat_interleave(slots.shape[1], output_size=len(rows))
        scales = torch.ones_like(self.scales[:, : len(vectors)])
        if self.stretches.dtype != vectors[0].dtype:
            scales = LARGEST * torch.stack([units(vector) for vector in vectors], dim=1)
        for stretch, *parts in zip(self.stretches, *(vector.split(self.width, 1) for vector in vectors), strict=True):
            fresh = torch.stack(parts, dim=1).mul_(scales[:, :, None]).flatten(0, 1)
            of_stretch = stretch.flatten(0, 1)[:, : fresh.shape[1]]
            fresh = torch.where(kept[:, None], fresh.to(stretch.dtype), of_stretch.index_select(0, rows))
            of_stretch.index_copy_(0, rows, fresh)
        every = self.scales.view(-1)
        every.index_copy_(0, rows, torch.where(kept, scales.flatten(), every.index_select(0, rows)))

    def products(self, vectors: Sequence[Tensor]) -> Tensor:
        """Of every row with every vector of its canvas: k of (N, n) -> (N, count, k), in float64."""
        found = self.scales.new_zeros((*self.scales.shape, len(vectors)), dtype=torch.float64)
        for wide, *parts in zip(self._wide(), *(vector.split(self.width, 1) for vector in vectors), strict=True):
            for place, part in enumerate(parts):
                # Not one product of many matrices, which TF32 would round to eleven bits.
                found[:, :, place] += torch.stack([rows @ own for rows, own in zip(wide, part, strict=True)])
        return found / self.scales[:, :, None]

    def combined(self, coefficients: Tensor) -> Tensor:
        """The sum of coefficient * row: (N, count) -> (N, n), in the vectors' type."""
        factors = (coefficients / self.scales).to(self.scales.dtype)
        parts = [
            torch.stack([rows.t() @ own for rows, own in zip(wide, factors, strict=True)]) for wide in self._wide()
        ]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _wide(self) -> Iterator[Tensor]:
        """Every stretch's numbers, (N, count, up to width), in the vectors' type, still scaled, one after another."""
        wide, left = self.scales.new_empty(self.stretches.shape[1:]), self.numbers
        for stretch in self.stretches:
            yield wide.copy_(stretch)[:, :, :left]
            left -= self.width

    def of(self, place: int) -> tuple[Tensor, Tensor]:
        """One canvas's rows, laid out as `Rows` has them, (stretches, count, width), and their scales: copies."""
        whole = self.stretches[:, place].transpose(0, 1).flatten(1)[:, : self.numbers]
        stretches, width = shared_out(self.numbers, STRETCH)
        whole = torch.nn.functional.pad(whole, (0, stretches * width - self.numbers))
        shared = whole.reshape(len(whole), stretches, width).transpose(0, 1)
        return shared.clone(memory_format=torch.contiguous_format), self.scales[place].clone()

    def put(self, place: int, stretches: Tensor, scales: Tensor) -> None:
        """Have one canvas's rows be what `of` returned."""
        whole = stretches.transpose(0, 1).flatten(1)[:, : self.numbers]
        for own, part in zip(self.stretches[:, place], whole.split(self.width, 1), strict=True):
            own[:, : part.shape[1]] = part
        self.scales[place] = scales
