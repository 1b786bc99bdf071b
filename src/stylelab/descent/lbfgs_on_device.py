"""L-BFGS on a GPU, which no step waits for: what is decided on the way is decided there, for many canvases at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stylelab.descent.lbfgs import Lbfgs
from stylelab.descent.optimizer import State
from stylelab.descent.rows_on_device import RowsOnDevice
from stylelab.replay import Replayed, Work
from stylelab.scaling import units


class LbfgsOnDevice:
    """`Lbfgs`, the same canvases to rounding, without a number that the host has to see.

    Args:
        history: pairs remembered.
        learning_rate: multiplies each step.
    """

    def __init__(self, *, history: int, learning_rate: float) -> None:
        self.history, self.learning_rate = history, learning_rate
        self.memory: Memory | None = None  # of this canvas, or of all that stepped together the last time
        self.place = 0  # in it
        self.advance: Work | None = None  # its step

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape."""
        return step_together([self], [canvas], [gradient])[0]

    def objective_changed(self) -> None:
        """As of `Lbfgs`."""
        if self.memory is not None:
            self.memory.comparable[self.place].fill_(False)

    def state(self) -> State:
        """As `Lbfgs` has it, so that either goes on from it; waits for the device."""
        if self.memory is None:
            return Lbfgs(history=self.history, learning_rate=self.learning_rate).state()
        of = {name: getattr(self.memory, name)[self.place] for name in Memory.BY_CANVAS}
        pairs, scales = self.memory.rows.of(self.place)
        count = int(of["count"])
        filled = range(min(count, self.history))
        return {
            "pairs": pairs[:, [*filled, *(self.history + slot for slot in filled)]],
            "scales": scales,
            "products": of["products"].clone().cpu(),
            "count": count,
            "gradient": of["gradient"].clone() if of["comparable"] else None,
            "moved": of["moved"].clone(),
            "unit": float(of["unit"]),
            "refusals": int(of["refusals"]),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        self.memory, self.place, self.advance = None, 0, None
        if state["moved"] is None:
            return
        own = Memory(state["moved"][None], history=self.history, learning_rate=self.learning_rate)
        _share([self], own)
        for name in own.BY_CANVAS:
            if state.get(name) is not None:
                getattr(own, name)[0] = state[name]
        own.comparable[0] = state["gradient"] is not None
        pairs = torch.zeros_like(own.rows.of(0)[0])
        slots = range(min(state["count"], self.history))
        pairs[:, [*slots, *(self.history + slot for slot in slots)]] = state["pairs"]
        own.rows.put(0, pairs, state["scales"])


def step_together(
    optimizers: Sequence[LbfgsOnDevice], canvases: Sequence[Tensor], gradients: Sequence[Tensor]
) -> list[Tensor]:
    """`step` of each, in the kernels of one.

    Args:
        optimizers: of the same history and learning rate; the n-th is the n-th canvas's.
        canvases, gradients: all of one shape, type and device.

    Raises:
        torch.OutOfMemoryError: so many at once do not fit; each may still step alone.
    """
    numbers, slopes = (torch.stack([each.flatten() for each in of]) for of in (canvases, gradients))
    (found,) = _advance(optimizers, like=numbers)(numbers, slopes)
    return [row.view_as(canvas) for row, canvas in zip(found, canvases, strict=True)]


def _advance(optimizers: Sequence[LbfgsOnDevice], *, like: Tensor) -> Work:
    """The step of one memory of all: that of their last step, if it was with these, or else a new one."""
    first = optimizers[0]
    places = [each.place for each in optimizers if each.memory is first.memory]
    if first.memory is not None and places == list(range(len(optimizers))) and len(first.memory.count) == len(places):
        return first.advance
    found = Memory(like, history=first.history, learning_rate=first.learning_rate)
    for place, each in enumerate(optimizers):
        if each.memory is not None:
            found.take(place, each.memory, each.place)
    return _share(optimizers, found)


def _share(optimizers: Sequence[LbfgsOnDevice], memory: "Memory") -> Work:
    """Have them share a memory, and step in it together."""
    # Held beside the memory, not by it: in a ring of references both would stay until Python looks for rings.
    advance = Replayed(memory.advanced, kind="step") if memory.gradient.is_cuda else memory.advanced
    for place, each in enumerate(optimizers):
        each.memory, each.place, each.advance = memory, place, advance
    return advance


class Memory:
    """What L-BFGS remembers of N canvases, and a step of them, which writes to it in place, so that it can be replayed.

    A pair is remembered in a slot of each canvas's own, or not, as tensors say. The triangular systems always have
    `history` unknowns; those of slots without a pair stand alone in them and come out as nought.

    Args:
        like: (N, n), the canvases' type and device.
    """

    BY_CANVAS = ("products", "count", "refusals", "unit", "comparable", "gradient", "moved")  # (N, ...) each

    def __init__(self, like: Tensor, *, history: int, learning_rate: float) -> None:
        self.history, self.learning_rate = history, learning_rate
        self.rows = RowsOnDevice(2 * history, like)  # steps, then gradient changes; k and history + k are a pair
        self.products = like.new_zeros((len(like), 2 * history, 2 * history), dtype=torch.float64)
        self.count = like.new_zeros(len(like), dtype=torch.int64)  # pairs ever stored
        self.refusals = torch.zeros_like(self.count)
        self.unit = like.new_zeros(len(like))  # nought: no gradient has been seen
        self.comparable = torch.zeros_like(self.count, dtype=torch.bool)  # whether the last gradient is of this loss
        self.gradient, self.moved = torch.zeros_like(like), torch.zeros_like(like)

    def take(self, place: int, other: "Memory", there: int) -> None:
        """Have one canvas's part be that of another memory."""
        for name in self.BY_CANVAS:
            getattr(self, name)[place] = getattr(other, name)[there]
        self.rows.put(place, *other.rows.of(there))

    def advanced(self, canvases: Tensor, gradients: Tensor) -> tuple[Tensor]:
        """The next canvases, (N, n). What is counted changes last: a step that memory cut short can be repeated."""
        unit = torch.where(self.unit == 0, units(gradients), self.unit)
        flat = gradients * unit[:, None]
        kept, refused, columns, products = self._remember(flat)
        count, refusals = self.count + kept, self.refusals + refused
        move = self._direction(flat, count, columns, products).mul_(self.learning_rate)
        total = flat.abs().sum(dim=1).clamp_min(torch.finfo(flat.dtype).tiny)
        bare = -self.learning_rate * Lbfgs.GROWTH**refusals / total
        move = torch.where((count > 0)[:, None], move, flat * bare.to(flat.dtype)[:, None])
        longest = Lbfgs.LONGEST_MOVE * move.shape[1] ** 0.5
        lengths = torch.linalg.vector_norm(move, dim=1, dtype=torch.float64)
        move *= (longest / lengths.clamp_min(longest)).to(move.dtype)[:, None]
        found = canvases + move
        fresh = (products, count, refusals, unit, torch.ones_like(self.comparable), flat, move)
        for name, value in zip(self.BY_CANVAS, fresh, strict=True):
            getattr(self, name).copy_(value)
        return (found,)

    def _remember(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Put each canvas's pair in place of its oldest, if the curvature along it is positive.

        Returns:
            Whether it was, (N,); whether it was refused before any was remembered, (N,); the gradient's products with
            all rows, (N, 2 history); and the products of every two rows, (N, 2 history, 2 history).
        """
        pair = self.moved, flat - self.gradient
        both = (pair[0], pair[0]), (pair[1], pair[1]), pair
        moved_squared, change_squared, product = ((one * other).sum(1, dtype=torch.float64) for one, other in both)
        kept = self.comparable & (product > Lbfgs.CURVATURE * (moved_squared * change_squared).sqrt())
        refused = self.comparable & ~kept & (self.count == 0) & (moved_squared > 0)
        slot = self.count % self.history
        slots = torch.stack((slot, self.history + slot), dim=1)
        self.rows.exchange(slots, pair, kept)
        columns, products = self.rows.products((flat, *pair)), self.products
        every = torch.arange(2 * self.history, device=flat.device)
        for of_pair in range(2):
            here = (every == slots[:, of_pair, None]) & kept[:, None]
            fresh = columns[:, :, 1 + of_pair]
            products = torch.where(here[:, :, None], fresh[:, None, :], products)
            products = torch.where(here[:, None, :], fresh[:, :, None], products)
        return kept, refused, columns[:, :, 0], products

    def _direction(self, flat: Tensor, count: Tensor, along: Tensor, products: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, (N, n); of canvases without a pair remembered, anything."""
        size, places = self.history, torch.arange(self.history, device=flat.device)
        steps = (count[:, None] + places) % size  # slots, oldest first, those without a pair before them
        there = places >= size - count[:, None]
        both, there_twice = torch.cat((steps, steps + size), dim=1), there.repeat(1, 2)
        products = products.gather(1, both[:, :, None].expand_as(products))
        products = products.gather(2, both[:, None, :].expand_as(products))
        products = products * (there_twice[:, :, None] & there_twice[:, None, :])
        along_steps, along_changes = (along.gather(1, both) * there_twice).split(size, dim=1)
        between, by_changes = products[:, :size, size:], products[:, size:, size:]
        upper = between.triu() + torch.diag_embed((~there).double())
        curvature = between.diagonal(dim1=1, dim2=2)
        scale = (curvature[:, -1] / by_changes[:, -1, -1])[:, None]
        inner = torch.linalg.solve_triangular(upper, along_steps[:, :, None], upper=True)
        right = curvature * inner[:, :, 0] + scale * ((by_changes @ inner)[:, :, 0] - along_changes)
        outer = torch.linalg.solve_triangular(upper.mT, right[:, :, None], upper=False)
        in_order = torch.stack((-outer[:, :, 0], scale * inner[:, :, 0]), dim=1)
        slots = ((places - count[:, None]) % size)[:, None].expand_as(in_order)
        move = self.rows.combined(in_order.gather(2, slots).flatten(1))
        return move.sub_(flat * scale.to(flat.dtype))
