"""What the runs of one process share: values kept for the next run, up to so many bytes.

A single run keeps nothing. Of many runs a value is kept under all that decides it (the parameters' sha256, or the very
network with its arithmetic and the pictures' pixels), so that it has the bytes of one made anew.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from torch import Tensor, nn

MOST_OF_NETWORKS = 1 << 30  # bytes; VGG-19 takes 240 MB in float32, laid out for both directions
MOST_OF_TARGETS = 1 << 28  # bytes; relu4_2 of a picture of 512 x 512 takes 8 MB


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
