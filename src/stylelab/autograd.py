"""Errors and their gradient through autograd, for any network: what the engine must equal, and where it has no part."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from stylelab import losses
from stylelab.losses import Comparison
from stylelab.scaling import largest, unit


class Encoding(Protocol):
    """A network."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in [0, 1] -> {layer: (N, C, h, w)}."""


@runtime_checkable
class Network(Protocol):
    """A network that compares: `Autograd`, or an engine."""

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """As `Autograd.features`."""

    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """As `Autograd.grams`."""

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """As `Autograd.against`."""


class Autograd:
    """A network's features, and how far they are from others.

    Args:
        encoder: frozen.
    """

    def __init__(self, encoder: Encoding) -> None:
        self.encoder = encoder

    @torch.no_grad()
    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: (N, C, h, w)}, in the network's type."""
        found = self.encoder(images)
        return {layer: found[layer] for layer in layers}

    @torch.no_grad()
    def grams(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """{layer: (N, C, C)}, in float32 or wider."""
        return {layer: losses.gram_matrix(found) for layer, found in self.features(images, layers).items()}

    def against(self, comparisons: Sequence[Comparison]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What compares a canvas, (N, 3, H, W) in [0, 1] or near it.

        It returns every comparison's error, (len(comparisons), N), and the gradient of the sum of strength * error, of
        the canvas's shape and type, not attached to any graph.
        """
        return partial(self._compare, comparisons)

    def _compare(self, comparisons: Sequence[Comparison], canvas: Tensor) -> tuple[Tensor, Tensor]:
        canvas = canvas.detach().requires_grad_()
        features = self.encoder(canvas)
        # Errors are differentiated up to the features in float32; the way from there to the canvas is the network's.
        layers = list(dict.fromkeys(each.layer for each in comparisons))
        leaves = {layer: losses.accumulable(features[layer]).detach().requires_grad_() for layer in layers}
        errors = torch.stack([_error(each, leaves) for each in comparisons])
        strengths = torch.stack([each.strength.expand(len(canvas)) for each in comparisons])
        at_features = torch.autograd.grad((errors * strengths).sum(), [*leaves.values()])
        return errors.detach(), _through_network([features[layer] for layer in layers], at_features, canvas)


def _error(comparison: Comparison, features: Mapping[str, Tensor]) -> Tensor:
    found = features[comparison.layer]
    if comparison.kind == "content":
        return losses.mean_squared_error(found, comparison.target)
    return 4 * losses.style_loss(losses.gram_matrix(found), comparison.target)  # E_l is a quarter of the mean


def _through_network(features: Sequence[Tensor], gradients: Sequence[Tensor], canvas: Tensor) -> Tensor:
    """The gradient at the canvas from the gradients at the features.

    float16 holds nothing above 65504 and little below 1e-7, so the way through it is taken at a scale, a power of two,
    that brings the largest gradient near one.
    """
    half = features[0].dtype == torch.float16
    scale = unit(torch.stack([largest(gradient) for gradient in gradients]).max()) if half else 1.0
    outputs = [
        (gradient * scale if half else gradient).to(found.dtype)
        for found, gradient in zip(features, gradients, strict=True)
    ]
    (found,) = torch.autograd.grad(_Given.apply(outputs, *features), canvas)
    return found / scale if half else found


class _Given(torch.autograd.Function):
    """Nothing, with given gradients: naming them to torch.autograd.grad imports all of sympy, 0.7 s at the start."""

    @staticmethod
    def forward(context: Any, gradients: Sequence[Tensor], *features: Tensor) -> Tensor:
        context.gradients = gradients
        return features[0].new_zeros(())

    @staticmethod
    def backward(context: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *context.gradients
