"""The vectors that L-BFGS remembers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylelab.scaling import unit_of

STRETCH_ON_CPU = 1 << 13  # numbers of a vector that are handled together, at most: they stay in the cache
STRETCH_ON_GPU = 1 << 20  # where every stretch costs the start of some kernels


def _stretch(like: Tensor) -> int:
    return STRETCH_ON_CPU if like.device.type == "cpu" else STRETCH_ON_GPU


def length(vector: Tensor) -> Tensor:
    """In float64, for squares of long steps leave float32; a stretch at a time, for all of it would be two copies."""
    parts = vector.split(16 * _stretch(vector))
    return torch.stack([torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts]).norm()


class Rows:
    """Vectors remembered in half the memory: float32 as float16, each at a scale of its own; wider types as they are.

    Eleven bits of every number are kept, fewer of those below 2^-28 of a vector's largest. All that is computed from
    them is computed in the vectors' own type, a stretch of all rows at a time, which lies together in memory and fits a
    processor's cache, and is added up in float64.
    """

    LARGEST = 2.0**14  # of a row in float16

    def __init__(self, count: int, like: Tensor) -> None:
        self.narrow = like.dtype == torch.float32
        stretches = -(-like.numel() // _stretch(like))
        self.width = -(-like.numel() // stretches)
        kind = torch.float16 if self.narrow else like.dtype
        self.stretches = like.new_zeros((stretches, count, self.width), dtype=kind)
        self.scales = like.new_ones(count)  # what each row is multiplied with in memory: powers of two

    def put(self, slot: int, vector: Tensor) -> None:
        """Remember a vector in place of another."""
        if self.narrow:
            self.scales[slot] = self.LARGEST * float(unit_of(vector))
        for rows, part in zip(self.stretches, vector.split(self.width), strict=True):
            rows[slot, : len(part)] = part * self.scales[slot]

    def exchange(self, slots: Tensor, vectors: Sequence[Tensor], wanted: Tensor) -> None:
        """`put` without waiting for the device: vectors in place of those in the slots, if it is wanted.

        Args:
            slots: (k,), whole numbers.
            vectors: k of (n,).
            wanted: a truth value, 0-dimensional.
        """
        scales = torch.ones_like(self.scales[: len(vectors)])
        if self.narrow:
            scales = self.LARGEST * torch.stack([unit_of(vector) for vector in vectors])
        parts = zip(*(vector.split(self.width) for vector in vectors), strict=True)
        for rows, of_vectors in zip(self.stretches, parts, strict=True):
            fresh = rows.new_zeros(len(vectors), self.width)
            for row, scale, part in zip(fresh, scales, of_vectors, strict=True):
                row[: len(part)] = part * scale
            rows.index_copy_(0, slots, torch.where(wanted, fresh, rows.index_select(0, slots)))
        self.scales.index_copy_(0, slots, torch.where(wanted, scales, self.scales.index_select(0, slots)))

    def products(self, vectors: Sequence[Tensor]) -> Tensor:
        """Of every row with every vector: k of (n,) -> (count, k), in float64."""
        found = self.scales.new_zeros((len(self.scales), len(vectors)), dtype=torch.float64)
        # One vector at a time: on a CPU a matrix of a few columns takes five times as long.
        for rows, *parts in zip(self._wide(), *(vector.split(self.width) for vector in vectors), strict=True):
            for place, part in enumerate(parts):
                found[:, place] += rows[:, : len(part)] @ part
        return found / self.scales[:, None]

    def combined(self, coefficients: Tensor, found: Tensor) -> Tensor:
        """The sum of coefficient * row: (count,) -> `found`, (n,), in the vectors' type."""
        factors = (coefficients / self.scales).to(self.scales.dtype)
        for rows, part in zip(self._wide(), found.split(self.width), strict=True):
            torch.mv(rows[:, : len(part)].t(), factors, out=part)
        return found

    def _wide(self) -> Iterator[Tensor]:
        """Every stretch, (count, width), in the vectors' type, still scaled; each takes the place of the one before."""
        wide = self.scales.new_empty(self.stretches.shape[1:])
        for stretch in self.stretches:
            yield wide.copy_(stretch)
