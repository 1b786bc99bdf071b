"""Canvases of several runs evaluated as one batch: one walk through the network, each run's own losses and gradient."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from stylelab.descent import make_together
from stylelab.losses import Comparison
from stylelab.objective import Evaluation, Losses, Objective


def kind(evaluation: Evaluation) -> Hashable:
    """What evaluations have in common that can be made as one: the network, the layers compared, the canvas's size."""
    of = evaluation.objective
    compared = tuple((each.kind, each.layer) for each in of.comparisons)
    return id(of.encoder), compared, evaluation.canvas.shape, evaluation.canvas.dtype, evaluation.canvas.device


class Stack:
    """Objectives of one kind: the n-th is that of the n-th canvas of a batch.

    Args:
        objectives: of one network, compared at the same layers, for canvases of one size.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        columns = zip(*(each.comparisons for each in objectives), strict=True)
        self.compare = objectives[0].network.against([_stacked(column) for column in columns])

    def evaluate(self, canvases: Sequence[Tensor]) -> list[tuple[Losses, Tensor]]:
        """The losses and the gradient of each canvas, (1, 3, H, W), by its own objective: no sum over runs."""
        errors, gradients = self.compare(torch.cat([canvas.detach() for canvas in canvases]))
        return [
            objective.completed(canvas, errors[:, place], gradients[place : place + 1])
            for place, (objective, canvas) in enumerate(zip(self.objectives, canvases, strict=True))
        ]


def _stacked(comparisons: Sequence[Comparison]) -> Comparison:
    """The same layer's comparisons of several runs as one; a target that all of them share stays one."""
    first = comparisons[0]
    same = all(each.target is first.target for each in comparisons)
    target = first.target if same else torch.cat([each.target for each in comparisons])
    return Comparison(first.kind, first.layer, target, torch.cat([each.strength for each in comparisons]))


class Together:
    """Evaluates what runs want evaluated, as few batches as there are kinds.

    Args:
        most: canvases in one batch; 1: each is left to evaluate itself.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.stacks: dict[Hashable, Stack] = {}  # by the identities of their objectives, which they keep alive

    def evaluate(self, evaluations: Sequence[Evaluation]) -> None:
        """Evaluate all that is not evaluated and has others to go with; first the steps to them, in the same way.

        Raises:
            torch.OutOfMemoryError: so many at once do not fit.
        """
        moves = [each.move for each in evaluations if each.move is not None and self.most > 1]
        for first in range(0, len(moves), self.most):
            make_together(moves[first : first + self.most])
        parts = self._parts([each for each in evaluations if "found" not in vars(each)])
        self.stacks = {members: stack for members, stack in self.stacks.items() if members in parts}
        for members, part in parts.items():
            if members not in self.stacks:
                self.stacks[members] = Stack([each.objective for each in part])
            found = self.stacks[members].evaluate([each.canvas for each in part])
            for each, its in zip(part, found, strict=True):
                each.found = its

    def halve(self) -> None:
        """Try the next smaller number from now on; what is kept for larger ones goes."""
        self.most = min(self.most, max(map(len, self.stacks), default=self.most)) // 2
        self.stacks.clear()

    def _parts(self, evaluations: Sequence[Evaluation]) -> dict[tuple[int, ...], Sequence[Evaluation]]:
        by_kind: dict[Hashable, list[Evaluation]] = {}
        for each in evaluations:
            by_kind.setdefault(kind(each), []).append(each)
        parts = [
            same[first : first + self.most] for same in by_kind.values() for first in range(0, len(same), self.most)
        ]
        return {tuple(id(each.objective) for each in part): part for part in parts if len(part) > 1}
