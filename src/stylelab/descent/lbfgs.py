"""L-BFGS on a CPU, where a number costs nothing to look at."""

import torch
from torch import Tensor

from stylelab.descent.optimizer import State
from stylelab.descent.rows import Rows, length
from stylelab.scaling import unit_of


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
        # Of the first gradient. All are remembered in it: squares of tiny or huge ones would leave float32's range.
        self.unit: float | None = None

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape; the gradient is kept, and overwritten."""
        if self.unit is None:
            self.unit = float(unit_of(gradient))
        flat = gradient.flatten().mul_(self.unit)
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
            step = self.learning_rate * self.GROWTH**self.refusals
            move = flat * (-step / flat.abs().sum().clamp_min(torch.finfo(flat.dtype).tiny))
        longest = self.LONGEST_MOVE * move.numel() ** 0.5
        move *= (longest / length(move).clamp_min(longest)).to(move.dtype)
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
