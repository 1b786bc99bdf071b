"""Moves the pixels: L-BFGS and Adam, one evaluation of the objective per step."""

import math
from collections.abc import Callable, Iterator, Sequence
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
    _, exponent = math.frexp(float(torch.stack(torch.aminmax(gradient)).abs().max()))  # needs no copy of the gradient
    return 2.0 ** -min(max(exponent, -126), 126)


STRETCH_ON_CPU = 1 << 13  # numbers of a vector that are handled together, at most: they stay in the cache
STRETCH_ON_GPU = 1 << 20  # where every stretch costs the start of some kernels


def _stretch(like: Tensor) -> int:
    return STRETCH_ON_CPU if like.device.type == "cpu" else STRETCH_ON_GPU


def _length(vector: Tensor) -> Tensor:
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
            self.scales[slot] = self.LARGEST * _unit(vector)
        for rows, part in zip(self.stretches, vector.split(self.width), strict=True):
            rows[slot, : len(part)] = part * self.scales[slot]

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


class Lbfgs:
    """L-BFGS (Liu & Nocedal 1989) without line search, scale-free: a loss however small does not stall it.

    The inverse Hessian is applied in its compact form (Byrd, Nocedal & Schnabel 1994, eq. 3.1), in the basis of the
    remembered pairs (as in Chen, Wang & Zhou 2014): two passes over the pairs per step, and between them two triangular
    systems of `history` unknowns in float64. Where the gradient's sum of magnitudes is above one and no step is longer
    than `LONGEST_MOVE`, its canvases are torch.optim.LBFGS's with max_iter=1: to rounding in float64, and in float32 to
    the digits that `Rows` keeps of the pairs.

    Args:
        history: pairs remembered; in float32 they take as much memory as `history` pictures.
        learning_rate: multiplies each step.
    """

    CURVATURE = 1e-10  # least cosine between step and gradient change for a pair to be remembered

    # Root mean square of a step's change of the pixels, in [0, 1]. From the content picture steps stay below it. From
    # noise, without a line search, longer ones overshot by factors of 1e6 in the loss and took a hundred steps to mend.
    LONGEST_MOVE = 1 / 16
    GROWTH = 4.0  # of the first steps, while the curvature along them is negative

    def __init__(self, *, history: int, learning_rate: float) -> None:
        self.history, self.learning_rate = history, learning_rate
        self.pairs: Rows | None = None  # 2 * history: steps, then gradient changes; k and history + k are a pair
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
            self.pairs = Rows(2 * self.history, flat)
        fresh: dict[int, Tensor] = {}
        if self.gradient is not None:
            fresh = self._remember(self.moved, torch.sub(flat, self.gradient, out=self.gradient))
        self.gradient = self.moved = None  # their memory is wanted
        if self.count:
            move = self._direction(flat, fresh).mul_(self.learning_rate)
        else:
            # torch.optim.LBFGS uses min(1, 1 / sum) here, which stalls where losses are small; and where the curvature
            # is negative, as about a grey canvas, it would go on by the bare gradient. Here steps grow until it is not.
            length = self.learning_rate * self.GROWTH**self.refusals
            move = flat * (-length / flat.abs().sum().clamp_min(torch.finfo(flat.dtype).tiny))
        longest = self.LONGEST_MOVE * move.numel() ** 0.5
        move *= (longest / _length(move).clamp_min(longest)).to(move.dtype)
        self.gradient, self.moved = flat, move
        return canvas + move.view_as(canvas)

    def _remember(self, moved: Tensor, change: Tensor) -> dict[int, Tensor]:
        """Put a pair in place of the oldest, if the curvature along it is positive; returns it by slot, or nothing."""
        lengths_and_product = torch.stack((moved.dot(moved), change.dot(change), moved.dot(change))).double()
        moved_squared, change_squared, product = lengths_and_product.tolist()
        if product <= self.CURVATURE * (moved_squared * change_squared) ** 0.5:
            self.refusals += self.count == 0 and moved_squared > 0  # at rest there is nothing to grow
            return {}
        slot = self.count % self.history
        pair = {slot: moved, self.history + slot: change}
        for place, vector in pair.items():
            self.pairs.put(place, vector)
        self.count += 1
        return pair

    def _direction(self, gradient: Tensor, fresh: dict[int, Tensor]) -> Tensor:
        """Minus the inverse Hessian times the gradient.

        Args:
            fresh: the rows that are new, whose products with all rows are wanted too; emptied.
        """
        size = self.history
        columns = self.pairs.products((gradient, *fresh.values())).cpu()
        for place, slot in enumerate(fresh, 1):
            self.products[slot] = self.products[:, slot] = columns[:, place]
        fresh.clear()
        found = columns[:, 0]
        steps = torch.arange(max(0, self.count - size), self.count) % size  # slots, oldest first
        changes = steps + size
        between = self.products[steps][:, changes]
        upper, curvature = between.triu(), between.diagonal()
        by_changes = self.products[changes][:, changes]
        scale = curvature[-1] / by_changes[-1, -1]
        along_steps, along_changes = found[steps], found[changes]
        inner = torch.linalg.solve_triangular(upper, along_steps[:, None], upper=True)[:, 0]
        right = curvature * inner + scale * (by_changes @ inner - along_changes)
        outer = torch.linalg.solve_triangular(upper.T, right[:, None], upper=False)[:, 0]
        coefficients = torch.zeros(2 * size, dtype=torch.float64)
        coefficients[steps], coefficients[changes] = -outer, scale * inner
        move = self.pairs.combined(coefficients.to(gradient.device), torch.empty_like(gradient))
        return move.add_(gradient, alpha=-float(scale))

    def objective_changed(self) -> None:
        """Form no pair across the change; the pairs stay, as curvature of a nearly equal function."""
        self.gradient = None

    def state(self) -> State:
        """The pairs with their products, the last gradient and the last move."""
        pairs = None if self.pairs is None else self.pairs.stretches[:, self._filled()]
        return {
            "pairs": pairs,
            "scales": None if self.pairs is None else self.pairs.scales.clone(),
            "products": self.products.clone(),
            "count": self.count,
            "gradient": None if self.gradient is None else self.gradient.clone(),  # the next step writes over it
            "moved": self.moved,
            "unit": self.unit,
            "refusals": self.refusals,
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned, bit for bit."""
        self.products, self.count, self.refusals = state["products"].clone(), state["count"], state["refusals"]
        gradient = state["gradient"]
        self.gradient = None if gradient is None else gradient.clone()
        self.moved, self.unit = state["moved"], state["unit"]
        self.pairs = None
        if state["pairs"] is not None:
            self.pairs = Rows(2 * self.history, state["moved"])
            self.pairs.stretches[:, self._filled()] = state["pairs"]
            self.pairs.scales = state["scales"].clone()

    def _filled(self) -> list[int]:
        slots = range(min(self.count, self.history))
        return [*slots, *(self.history + slot for slot in slots)]


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
