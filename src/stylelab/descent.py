"""Moves the pixels: L-BFGS and Adam, one evaluation of the objective per step."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from stylelab.objective import Evaluation, Objective

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


def _unit(gradient: Tensor) -> float:
    """The power of two that brings a gradient's largest magnitude to about one.

    Both optimizers' steps are the same for a loss and for any multiple of it, but sums of squares of tiny or huge
    gradients leave float32's range. Multiplying by a power of two rounds nothing.
    """
    _, exponent = math.frexp(float(gradient.abs().max()))
    return 2.0 ** -min(max(exponent, -126), 126)


class Lbfgs:
    """L-BFGS (Liu & Nocedal 1989) without line search, scale-free: a loss however small does not stall it.

    The inverse Hessian is applied in the basis of the remembered pairs (Chen, Wang & Zhou 2014, "vector-free L-BFGS"):
    two passes over one matrix per step instead of four over two lists, the recursion itself in float64. Where the
    gradient's sum of magnitudes is above one and no step is longer than `LONGEST_MOVE`, its canvases are
    torch.optim.LBFGS's with max_iter=1, to rounding.

    Args:
        history: pairs remembered; 2 * history pictures of memory.
        learning_rate: multiplies each step.
    """

    CURVATURE = 1e-10  # least cosine between step and gradient change for a pair to be remembered

    # Root mean square of a step's change of the pixels, in [0, 1]. From the content picture steps stay below it. From
    # noise, without a line search, longer ones overshot by factors of 1e6 in the loss and took a hundred steps to mend.
    LONGEST_MOVE = 1 / 16
    GROWTH = 4.0  # of the first steps, while the curvature along them is negative

    def __init__(self, *, history: int, learning_rate: float) -> None:
        self.history, self.learning_rate = history, learning_rate
        self.pairs: Tensor | None = None  # (2 * history, n): steps, then gradient changes; k and history + k are a pair
        self.products = torch.zeros(2 * history, 2 * history, dtype=torch.float64)  # of every two rows of pairs
        self.count = 0  # pairs ever stored; the next goes to slot count % history
        self.gradient: Tensor | None = None
        self.moved: Tensor | None = None
        self.refusals = 0  # pairs refused before the first was remembered
        self.unit: float | None = None  # of the first gradient; all are remembered in it

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape."""
        if self.unit is None:
            self.unit = _unit(gradient)
        flat = gradient.flatten() * self.unit
        if self.pairs is None:
            self.pairs = flat.new_zeros(2 * self.history, flat.numel())
        if self.gradient is not None:
            self._remember(self.moved, flat - self.gradient)
        if self.count:
            move = self._direction(flat).mul_(self.learning_rate)
        else:
            # torch.optim.LBFGS uses min(1, 1 / sum) here, which stalls where losses are small; and where the curvature
            # is negative, as about a grey canvas, it would go on by the bare gradient. Here steps grow until it is not.
            length = self.learning_rate * self.GROWTH**self.refusals
            move = flat * (-length / flat.abs().sum().clamp_min(torch.finfo(flat.dtype).tiny))
        longest = self.LONGEST_MOVE * move.numel() ** 0.5
        length = torch.linalg.vector_norm(move, dtype=torch.float64)  # squares of long steps leave float32
        move = move * (longest / length.clamp_min(longest)).to(move.dtype)
        self.gradient, self.moved = flat, move
        return canvas + move.view_as(canvas)

    def _remember(self, moved: Tensor, change: Tensor) -> None:
        lengths_and_product = torch.stack((moved.dot(moved), change.dot(change), moved.dot(change))).double()
        moved_squared, change_squared, product = lengths_and_product.tolist()
        if product <= self.CURVATURE * (moved_squared * change_squared) ** 0.5:
            self.refusals += self.count == 0 and moved_squared > 0  # at rest there is nothing to grow
            return
        slot = self.count % self.history
        self.pairs[slot], self.pairs[self.history + slot] = moved, change
        columns = (self.pairs @ torch.stack((moved, change), dim=1)).double().cpu()
        for row, column in ((slot, columns[:, 0]), (self.history + slot, columns[:, 1])):
            self.products[row], self.products[:, row] = column, column
        self.count += 1

    def _direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion on coefficients of the basis."""
        size = self.history
        kept = range(max(0, self.count - size), self.count)
        slots = [number % size for number in kept]  # oldest first
        by_gradient = (self.pairs @ gradient).double().cpu()
        coefficients = torch.zeros(2 * size, dtype=torch.float64)  # of the rows of pairs; the gradient's own is `own`
        own, alphas = -1.0, {}
        for slot in reversed(slots):
            row = self.products[slot]
            curvature = self.products[slot, size + slot]
            alphas[slot] = (row @ coefficients + own * by_gradient[slot]) / curvature
            coefficients[size + slot] -= alphas[slot]
        last = slots[-1]
        scale = self.products[last, size + last] / self.products[size + last, size + last]
        coefficients *= scale
        own *= scale
        for slot in slots:
            row = self.products[size + slot]
            curvature = self.products[slot, size + slot]
            correction = (row @ coefficients + own * by_gradient[size + slot]) / curvature
            coefficients[slot] += alphas[slot] - correction
        return (coefficients.to(self.pairs) @ self.pairs).add_(gradient, alpha=float(own))

    def objective_changed(self) -> None:
        """Form no pair across the change; the pairs stay, as curvature of a nearly equal function."""
        self.gradient = None

    def state(self) -> State:
        """The pairs with their products, the last gradient and the last move."""
        filled = min(self.count, self.history)
        pairs = None if self.pairs is None else self.pairs.view(2, self.history, -1)[:, :filled].clone()
        return {
            "pairs": pairs,
            "products": self.products.clone(),
            "count": self.count,
            "gradient": self.gradient,
            "moved": self.moved,
            "unit": self.unit,
            "refusals": self.refusals,
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned, bit for bit."""
        self.products, self.count, self.refusals = state["products"].clone(), state["count"], state["refusals"]
        self.gradient, self.moved, self.unit = state["gradient"], state["moved"], state["unit"]
        self.pairs = None
        if state["pairs"] is not None:
            filled = state["pairs"]
            self.pairs = filled.new_zeros(2, self.history, filled.shape[-1])
            self.pairs[:, : filled.shape[1]] = filled
            self.pairs = self.pairs.view(2 * self.history, -1)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1).

    Args:
        learning_rate: largest change of a pixel in one step, in [0, 1].
        clamp: keep the canvas within [0, 1] after each step.
    """

    EPSILON = 1e-8  # of Kingma & Ba, relative to the first gradient's root mean square, so that scale does not matter
    STATE = ("count", "mean", "square", "epsilon", "unit")

    def __init__(self, *, learning_rate: float, beta1: float, beta2: float, clamp: bool) -> None:
        self.learning_rate, self.beta1, self.beta2, self.clamp = learning_rate, beta1, beta2, clamp
        self.count = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None
        self.epsilon: Tensor | None = None
        self.unit: float | None = None  # of the first gradient; the moments are in it

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape."""
        if self.unit is None:
            self.unit = _unit(gradient)
        gradient = gradient * self.unit
        if self.mean is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
            tiny = torch.finfo(gradient.dtype).tiny
            self.epsilon = (self.EPSILON * gradient.square().mean().sqrt()).clamp_min(tiny)
        self.count += 1
        self.mean = torch.lerp(gradient, self.mean, self.beta1)
        self.square = torch.lerp(gradient.square(), self.square, self.beta2)
        mean = self.mean / (1 - self.beta1**self.count)
        square = self.square / (1 - self.beta2**self.count)
        moved = canvas - self.learning_rate * mean / (square.sqrt() + self.epsilon)
        return moved.clamp(0, 1) if self.clamp else moved

    def objective_changed(self) -> None:
        """Nothing to do: the moments average over the change."""

    def state(self) -> State:
        """Both moments, their unit and the count of steps."""
        return {name: getattr(self, name) for name in self.STATE}

    def restore(self, state: State) -> None:
        """Go on from what `state` returned, bit for bit."""
        for name in self.STATE:
            setattr(self, name, state[name])


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
        Index, and the evaluation of that very canvas (torch.optim's L-BFGS reports the losses of the one before), which
        is made at once by whoever wants its losses, or else when the next one is asked for.
    """
    last_objective = None
    for index in range(first, steps + 1):
        objective = objective_at(index)
        if last_objective is not None and objective is not last_objective:
            optimizer.objective_changed()
            previous = None
        last_objective = objective
        evaluation = Evaluation(objective, canvas)
        yield index, evaluation
        if tolerance:
            total = evaluation.losses.total
            if previous is not None and abs(previous - total) <= tolerance * abs(previous):
                return
            previous = total
        if index < steps:
            canvas = optimizer.step(canvas, evaluation.gradient)
