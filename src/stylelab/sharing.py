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
