"""A network that the runs of one process share, laid out once for each arithmetic, with the targets that it gave."""

import hashlib
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stylelab import engine
from stylelab.autograd import Autograd, Network
from stylelab.losses import Comparison
from stylelab.shelves import NETWORKS, TARGETS

_numbers = itertools.count()


class Resident:
    """A frozen network on its device, in whichever arithmetic it is wanted.

    Args:
        network: in float32.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network: nn.Module | None = network
        self.number = next(_numbers)
        # Channels at the pictures' own size, where an evaluation's tensors are the largest.
        values = itertools.chain(network.parameters(), network.buffers())
        self.width = next(len(filters) for filters in values if filters.ndim == 4)
        self.latest: tuple[torch.dtype, Remembering] | None = None

    def encoder(self, arithmetic: torch.dtype, *, only: bool = False) -> "Remembering":
        """What encodes and compares in an arithmetic.

        Args:
            only: no other will be asked for. Then the network that it was laid out from is let go of, unless other runs
                share it.
        """
        if self.latest is None or self.latest[0] != arithmetic:
            key = self.number, arithmetic
            self.latest = arithmetic, NETWORKS.get(key, lambda: Remembering(engine.fastest(self.network, arithmetic)))
        if only and not NETWORKS.capacity:
            self.network = None
        return self.latest[1]


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
