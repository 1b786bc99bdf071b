"""Moves the pixels: L-BFGS and Adam, one evaluation of the objective per step."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from stylelab.descent.adam import Adam
from stylelab.descent.lbfgs import Lbfgs
from stylelab.descent.lbfgs_on_device import LbfgsOnDevice
from stylelab.descent.move import Move, make_together
from stylelab.descent.optimizer import Optimizer, State
from stylelab.objective import Evaluation, Objective

__all__ = ["Adam", "Lbfgs", "LbfgsOnDevice", "Optimizer", "State", "descend", "lbfgs_for", "make_together"]


def lbfgs_for(device: torch.device, *, history: int, learning_rate: float) -> Lbfgs:
    """The form that suits a device."""
    return (Lbfgs if device.type == "cpu" else LbfgsOnDevice)(history=history, learning_rate=learning_rate)


def descend(
    objective_at: Callable[[int], Objective],
    canvas: Tensor,
    optimizer: Optimizer,
    *,
    steps: int,
    tolerance: float,
    first: int = 0,
    previous: float | None = None,
) -> Iterator[tuple[int, Evaluation]]:
    """Canvas after canvas: `first` to `steps`, both included.

    Args:
        objective_at: the objective of each index, evaluated once per canvas.
        canvas: (1, 3, H, W), the one of index `first`; it is not written to.
        optimizer: fresh, or restored to what it was when the canvas of index `first` came out.
        steps: how many steps lie between the first canvas and the last.
        tolerance: stop when a step changes the loss by a smaller part than this; 0: never.
        first: the index to go on from.
        previous: the total loss of the canvas before, where there was one.

    Yields:
        Index, and the evaluation of that very canvas (torch.optim's L-BFGS reports the losses of the one before). The
        step to it and the evaluation are made by whoever wants its losses, or else when the one after it is asked for.
    """
    evaluation = Evaluation(objective_at(first), canvas)
    del canvas
    for index in range(first, steps + 1):
        if index > first:
            objective = objective_at(index)
            changes = objective is not evaluation.objective
            evaluation = Evaluation(objective, Move(optimizer, evaluation, objective_changes=changes))
            previous = None if changes else previous
        yield index, evaluation
        if tolerance:
            total = evaluation.losses.total
            if previous is not None and abs(previous - total) <= tolerance * abs(previous):
                return
            previous = total
