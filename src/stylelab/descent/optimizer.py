"""What an optimizer is asked for."""

from typing import Protocol

from torch import Tensor

State = dict[str, Tensor | float | int | None]


class Optimizer(Protocol):
    """What turns a gradient into the next canvas, and can be put away and taken up again."""

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas; the one given stays as it is, the gradient does not."""

    def objective_changed(self) -> None:
        """The next gradient is of another function: compare it with no earlier one."""

    def state(self) -> State:
        """All that the next step depends on beside canvas and gradient."""

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
