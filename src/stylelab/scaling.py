"""Powers of two that keep numbers within the range of their type: multiplying by one rounds nothing."""

import torch
from torch import Tensor


def largest(numbers: Tensor) -> Tensor:
    """The largest magnitude: a number of their type and device."""
    return torch.stack(torch.aminmax(numbers)).abs().max()  # needs no copy of them


def unit_of(numbers: Tensor) -> Tensor:
    """The power of two that brings the largest magnitude to about one; where all are nought, one."""
    return unit(largest(numbers))


def units(rows: Tensor) -> Tensor:
    """`unit_of` each row: (N, n) -> (N,)."""
    lowest, highest = torch.aminmax(rows, dim=1)
    return unit(torch.maximum(-lowest, highest))


def unit(magnitudes: Tensor, *, most: int = 126) -> Tensor:
    """The same for each of some magnitudes; at most 2^most."""
    _, exponents = torch.frexp(magnitudes)
    return torch.ldexp(torch.ones_like(magnitudes), -exponents.clamp(-most, 126))
