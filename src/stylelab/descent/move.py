"""From one canvas to the next, when it is wanted."""

from collections.abc import Hashable, Sequence
from functools import cached_property

from torch import Tensor

from stylelab.descent.lbfgs_on_device import LbfgsOnDevice, step_together
from stylelab.descent.optimizer import Optimizer
from stylelab.objective import Evaluation


class Move:
    """An optimizer's step from an evaluated canvas: made when the next one is first asked for, or before, with others.

    Args:
        evaluation: of the canvas that it starts from.
        objective_changes: whether the optimizer is told then that the next gradient is of another function.
    """

    def __init__(self, optimizer: Optimizer, evaluation: Evaluation, *, objective_changes: bool = False) -> None:
        self.optimizer, self.evaluation = optimizer, evaluation
        self.objective_changes = objective_changes

    @cached_property
    def canvas(self) -> Tensor:
        """The next canvas."""
        return self.made(self.optimizer.step(self.evaluation.canvas, self.evaluation.gradient))

    def made(self, canvas: Tensor) -> Tensor:
        """The step has led there."""
        if self.objective_changes:
            self.optimizer.objective_changed()
        return canvas


def make_together(moves: Sequence[Move]) -> None:
    """Make moves that have not been made: those of one kind by the kernels of one, where an optimizer can.

    Raises:
        torch.OutOfMemoryError: so many at once do not fit.
    """
    by_kind: dict[Hashable, list[Move]] = {}
    for move in moves:
        of, canvas = move.optimizer, move.evaluation.canvas
        if isinstance(of, LbfgsOnDevice) and "canvas" not in vars(move):
            kind = of.history, of.learning_rate, canvas.shape, canvas.dtype, canvas.device
            by_kind.setdefault(kind, []).append(move)
    for same in by_kind.values():
        evaluations = [move.evaluation for move in same]
        found = step_together(
            [move.optimizer for move in same],
            [each.canvas for each in evaluations],
            [each.gradient for each in evaluations],
        )
        for move, canvas in zip(same, found, strict=True):
            move.canvas = move.made(canvas)
