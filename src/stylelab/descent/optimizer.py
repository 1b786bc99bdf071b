"""What an optimizer is asked for, and the unit in which it remembers gradients."""

from typing import Protocol

import torch
from torch import Tensor

State = dict[str, Tensor | float | int | None]


class Optimizer(Protocol):
    """What turns a gradient into the next canvas, and can be put away and taken up again."""

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas; the one given stays as it is."""

    def objective_changed(self) -> None:
        """The next gradient is of another function: compare it with no earlier one."""

    def state(self) -> State:
        """All that the next step depends on beside canvas and gradient."""

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""


def unit_of(gradient: Tensor) -> Tensor:
    """The power of two that brings a gradient's largest magnitude to about one: a number of its type and device.

    Both optimizers' steps are the same for a loss and for any multiple of it, but sums of squares of tiny or huge
    gradients leave float32's range. Multiplying by a power of two rounds nothing.
    """
    largest = torch.stack(torch.aminmax(gradient)).abs().max()  # needs no copy of the gradient
    _, exponent = torch.frexp(largest)
    return torch.ldexp(torch.ones_like(largest), -exponent.clamp(-126, 126))
