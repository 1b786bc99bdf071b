"""What the runs of one process share: networks, laid out for each arithmetic, and what pictures gave as targets.

A single run keeps nothing. Of many runs a value is kept under all that decides it (the parameters' sha256 or the very
network, the arithmetic, the pictures' pixels), so that it has the bytes of one made anew.
"""

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylelab import engine
from stylelab.autograd import Autograd, Network
from stylelab.losses import Comparison

MOST_OF_NETWORKS = 1 << 30  # bytes; VGG-19 takes 240 MB in float32, laid out for both directions
MOST_OF_TARGETS = 1 << 28  # bytes; relu4_2 of a picture of 512 x 512 takes 8 MB

_numbers = itertools.count()


class Shelf:
    """Values by key; those used last, up to so many bytes."""

    def __init__(self) -> None:
        self.capacity = 0  # bytes; 0: nothing is kept
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of a key; made where it is not at hand."""
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        found = make()
        if self.capacity:
            self.kept[key] = found
            while bytes_of(self.kept) > self.capacity:
                self.kept.popitem(last=False)
        return found


NETWORKS, TARGETS = Shelf(), Shelf()


def share_between_runs() -> None:
    """Keep networks and targets from now on: this process will paint more runs."""
    NETWORKS.capacity, TARGETS.capacity = MOST_OF_NETWORKS, MOST_OF_TARGETS


def forget() -> None:
    """Let go of all that is kept; memory is wanted."""
    NETWORKS.kept.clear()
    TARGETS.kept.clear()


def bytes_of(value: Any) -> int:
    """Bytes of the tensors in a value, each counted once."""
    found: dict[int, Any] = {}
    _collect(value, found)
    return sum(each.nbytes for each in found.values() if isinstance(each, Tensor))


def _collect(value: Any, found: dict[int, Any]) -> None:
    """Add a value and all that is in it, by identity."""
    if id(value) in found:
        return
    found[id(value)] = value
    if isinstance(value, nn.Module):
        inner = [*value.buffers(), *value.parameters()]
    elif isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        inner = [] if isinstance(value, Tensor) else list(getattr(value, "__dict__", {}).values())
    for each in inner:
        _collect(each, found)


class Resident:
    """A frozen network on its device, in whichever arithmetic it is wanted.

    Args:
        network: in float32.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.number = network, next(_numbers)

    def encoder(self, arithmetic: torch.dtype) -> "Remembering":
        """What encodes and compares in an arithmetic."""
        return NETWORKS.get((self.number, arithmetic), lambda: Remembering(engine.fastest(self.network, arithmetic)))


class Remembering:
    """A network that encodes the same picture once."""

    def __init__(self, encoder: Network | nn.Module) -> None:
        self.network = encoder if isinstance(encoder, Network) else Autograd(encoder)
        self.number = next(_numbers)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: (N, C, h, w)}; not to be written to."""
        return TARGETS.get(
            ("features", self.number, tuple(layers), digest(images)), lambda: self.network.features(images, layers)
        )

    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: (N, C, C)}; not to be written to."""
        return TARGETS.get(
            ("grams", self.number, tuple(layers), digest(images)), lambda: self.network.grams(images, layers)
        )

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """As the network does."""
        return self.network.against(comparisons)


def digest(images: Tensor) -> tuple[str, tuple[int, ...]]:
    """What tells pictures apart: their numbers and their shape."""
    numbers = images.detach().cpu().contiguous().numpy()
    return f"{numbers.dtype} {hashlib.sha256(numbers).hexdigest()}", tuple(numbers.shape)
