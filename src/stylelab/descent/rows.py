"""The vectors that L-BFGS remembers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylelab.scaling import unit_of

STRETCH = 1 << 13  # numbers of a vector that are handled together, at most: they stay in the cache
LARGEST = 2.0**14  # of a row in float16


def length(vector: Tensor) -> Tensor:
    """In float64, for squares of long steps leave float32; a stretch at a time, for all of it would be two copies."""
    parts = vector.split(16 * STRETCH)
    return torch.stack([torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts]).norm()


def shared_out(numbers: int, stretch: int) -> tuple[int, int]:
    """In how many stretches, and how many numbers in each, vectors are handled; the last stretch may be less full."""
    stretches = -(-numbers // stretch)
    return stretches, -(-numbers // stretches)


def kept_in(like: torch.dtype) -> torch.dtype:
    """The type that vectors of a type are remembered in."""
    return torch.float16 if like == torch.float32 else like


class Rows:
    """Vectors remembered in half the memory: float32 as float16, each at a scale of its own; wider types as they are.

    Eleven bits of every number are kept, fewer of those below 2^-28 of a vector's largest. All that is computed from
    them is computed in the vectors' own type, a stretch of all rows at a time, which lies together in memory and fits a
    processor's cache, and is added up in float64.
    """

    def __init__(self, count: int, like: Tensor) -> None:
        stretches, self.width = shared_out(like.numel(), STRETCH)
        self.stretches = like.new_zeros((stretches, count, self.width), dtype=kept_in(like.dtype))
        self.scales = like.new_ones(count)  # what each row is multiplied with in memory: powers of two

    def put(self, slot: int, vector: Tensor) -> None:
        """Remember a vector in place of another."""
        if self.stretches.dtype != vector.dtype:
            self.scales[slot] = LARGEST * float(unit_of(vector))
        for rows, part in zip(self.stretches, vector.split(self.width), strict=True):
            rows[slot, : len(part)] = part * self.scales[slot]

    def products(self, vectors: Sequence[Tensor]) -> Tensor:
        """Of every row with every vector: k of (n,) -> (count, k), in float64."""
        found = self.scales.new_zeros((len(self.scales), len(vectors)), dtype=torch.float64)
        # One vector at a time: a matrix of a few columns takes five times as long.
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
