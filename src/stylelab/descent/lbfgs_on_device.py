"""L-BFGS on a GPU, which no step waits for: what is decided on the way is decided there."""

import torch
from torch import Tensor

from stylelab.descent.lbfgs import Lbfgs
from stylelab.descent.optimizer import State
from stylelab.descent.rows import Rows, length
from stylelab.scaling import unit_of


class LbfgsOnDevice(Lbfgs):
    """`Lbfgs`, the same canvases to rounding, without a number that the host has to see.

    Whether a pair is remembered, and in which slot, are tensors. The triangular systems always have `history` unknowns;
    those of slots without a pair stand alone in them and come out as nought.
    """

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape; the gradient is kept, and overwritten."""
        if self.unit is None:
            self.unit = unit_of(gradient)
        flat = gradient.flatten().mul_(self.unit)
        if self.pairs is None:
            self.pairs = Rows(2 * self.history, flat)
        self._settle(flat.device)
        if self.gradient is None:
            move = self._direction(flat, ())
        else:
            change = torch.sub(flat, self.gradient, out=self.gradient)
            kept, slots = self._remember(self.moved, change)
            move = self._direction(flat, (self.moved, change), kept, slots)
        self.gradient = self.moved = None  # their memory is wanted
        total = flat.abs().sum().clamp_min(torch.finfo(flat.dtype).tiny)
        bare = flat * (-self.learning_rate * self.GROWTH**self.refusals / total).to(flat.dtype)
        move = torch.where(self.count > 0, move.mul_(self.learning_rate), bare)
        longest = self.LONGEST_MOVE * move.numel() ** 0.5
        move *= (longest / length(move).clamp_min(longest)).to(move.dtype)
        self.gradient, self.moved = flat, move
        return canvas + move.view_as(canvas)

    def _settle(self, device: torch.device) -> None:
        """Have what is counted on the device: after the making and after `restore`."""
        self.products = self.products.to(device)
        if not isinstance(self.count, Tensor):
            self.count, self.refusals = (torch.tensor(value, device=device) for value in (self.count, self.refusals))

    def _remember(self, moved: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """Put a pair in place of the oldest, if the curvature along it is positive: whether, and its two slots."""
        dots = torch.stack((moved.dot(moved), change.dot(change), moved.dot(change))).double()
        moved_squared, change_squared, product = dots
        kept = product > self.CURVATURE * (moved_squared * change_squared).sqrt()
        slot = self.count % self.history
        slots = torch.stack((slot, self.history + slot))
        self.pairs.exchange(slots, (moved, change), kept)
        self.refusals = self.refusals + (~kept & (self.count == 0) & (moved_squared > 0))
        self.count = self.count + kept
        return kept, slots

    def _direction(
        self,
        gradient: Tensor,
        fresh: tuple[Tensor, ...],
        kept: Tensor | None = None,
        slots: Tensor | None = None,
    ) -> Tensor:
        """Minus the inverse Hessian times the gradient; without a pair remembered, anything.

        Args:
            fresh: the pair offered last, for its products with all rows; kept, slots: `_remember`'s of it.
        """
        columns = self.pairs.products((gradient, *fresh))
        if fresh:
            rows = torch.where(kept, columns[:, 1:].T, self.products.index_select(0, slots))
            self.products.index_copy_(0, slots, rows)
            self.products.index_copy_(1, slots, rows.T)
        size, places = self.history, torch.arange(self.history, device=gradient.device)
        steps = (self.count + places) % size  # slots, oldest first, those without a pair before them
        both = torch.cat((steps, steps + size))
        there = places >= size - self.count
        products = self.products.index_select(0, both).index_select(1, both)
        products = products * (there.repeat(2)[:, None] & there.repeat(2))
        along_steps, along_changes = (columns[:, 0].index_select(0, both) * there.repeat(2)).split(size)
        between, by_changes = products[:size, size:], products[size:, size:]
        upper, curvature = between.triu() + torch.diag((~there).double()), between.diagonal()
        scale = curvature[-1] / by_changes[-1, -1]
        inner = torch.linalg.solve_triangular(upper, along_steps[:, None], upper=True)[:, 0]
        right = curvature * inner + scale * (by_changes @ inner - along_changes)
        outer = torch.linalg.solve_triangular(upper.T, right[:, None], upper=False)[:, 0]
        coefficients = torch.zeros_like(columns[:, 0]).index_copy_(0, both, torch.cat((-outer, scale * inner)))
        move = self.pairs.combined(coefficients, torch.empty_like(gradient))
        return move.sub_(gradient * scale.to(gradient.dtype))

    def state(self) -> State:
        """As `Lbfgs` has it, so that either goes on from it; waits for the device."""
        self.count, self.refusals = int(self.count), int(self.refusals)
        found = super().state()
        return found | {"products": found["products"].cpu(), "unit": None if self.unit is None else float(self.unit)}
