"""The loss of a canvas: targets captured once, terms weighted by a convention, one gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stylelab import losses


class Encoding(Protocol):
    """What an objective asks of a network."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in [0, 1] -> {layer: (N, C, h, w)}."""


@dataclass(frozen=True)
class Convention:
    """How a program normalises its terms, in units of mean((F-P)^2) and of the paper's E_l (method: 4 * E_l = mean of
    squared Gram differences)."""

    content_is_half_sum: bool  # 1/2 sum (F-P)^2 instead of the mean
    style_factor: float  # multiplies E_l
    style_per_squared_channels: bool  # divides by C^2


CONVENTIONS: Mapping[str, Convention] = {
    # Gatys et al. (2015, 2016), eqs. (1) and (4)
    "paper": Convention(content_is_half_sum=True, style_factor=1.0, style_per_squared_channels=False),
    # leongatys/NeuralImageSynthesis and PytorchNeuralStyleTransfer: mean errors of features and of Gram matrices
    "authors_code": Convention(content_is_half_sum=False, style_factor=4.0, style_per_squared_channels=False),
    # jcjohnson/neural-style and its successors: Gram matrices divided by the channels too
    "johnson": Convention(content_is_half_sum=False, style_factor=4.0, style_per_squared_channels=True),
}


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """alpha, beta and what each layer counts."""

    convention: Convention
    alpha: float
    beta: float
    content: Mapping[str, float]  # layer -> weight within the content loss
    style: Mapping[str, float]  # layer -> w_l
    variation: float
    variation_norm: str  # "absolute" or "squared"


@dataclass(frozen=True)
class Term:
    """One addend of the loss."""

    kind: str  # content, style or variation
    layer: str  # "" for the variation
    weight: float  # d total / d unweighted


@dataclass(frozen=True)
class Losses:
    """What one evaluation found."""

    terms: tuple[Term, ...]
    unweighted: Tensor  # (len(terms),), in each convention's own unit

    def values(self) -> list[float]:
        """The unweighted terms as numbers; waits for the device."""
        return self.unweighted.tolist()

    @property
    def total(self) -> float:
        """The objective itself; waits for the device."""
        return self.summed()["total"]

    def summed(self) -> dict[str, float]:
        """Weighted sums: total, content, style and variation."""
        sums = {"total": 0.0, "content": 0.0, "style": 0.0, "variation": 0.0}
        for term, value in zip(self.terms, self.values(), strict=True):
            sums[term.kind] += term.weight * value
            sums["total"] += term.weight * value
        return sums


class Objective:
    """Content, style and variation of a canvas against targets that are captured once.

    Args:
        encoder: the network, frozen.
        weighting: which layers count, and how much.
        content: (1, 3, H, W) in [0, 1], of the canvas's size.
        styles: pictures in [0, 1] of any sizes, with weights that sum to one. Their Gram matrices are averaged: with
            one normaliser the gradient is that of summed losses.
    """

    def __init__(
        self,
        encoder: Encoding,
        *,
        weighting: Weighting,
        content: Tensor,
        styles: Sequence[tuple[float, Tensor]],
    ) -> None:
        self.encoder = encoder
        self.weighting = weighting
        self.capture(content, styles)

    def capture(self, content: Tensor, styles: Sequence[tuple[float, Tensor]]) -> None:
        """Take the targets with the network as it is; again after its precision has changed."""
        wanted = self.weighting
        self.grams: dict[str, Tensor] = {}
        with torch.no_grad():
            self.features = {}
            if wanted.content:
                found = self.encoder(content)
                self.features = {layer: found[layer] for layer in wanted.content}
            for share, style in styles if wanted.style else ():
                found = self.encoder(style)
                for layer in wanted.style:
                    gram = share * losses.gram_matrix(found[layer])
                    self.grams[layer] = self.grams[layer] + gram if layer in self.grams else gram
        self.terms = tuple(self._terms())

    def _terms(self) -> list[Term]:
        """The weights: those of the layers, alpha and beta; the convention's factors are in the losses themselves."""
        of = self.weighting
        terms = [Term("content", layer, of.alpha * weight) for layer, weight in of.content.items()]
        terms += [Term("style", layer, of.beta * weight) for layer, weight in of.style.items()]
        if of.variation:
            terms.append(Term("variation", "", of.variation))
        return terms

    def evaluate(self, canvas: Tensor) -> tuple[Losses, Tensor]:
        """The losses of a canvas and the gradient of their weighted sum.

        Args:
            canvas: (1, 3, H, W), in [0, 1] or near it.

        Returns:
            The losses, and the gradient, of the canvas's shape and type, not attached to any graph.
        """
        canvas = canvas.detach().requires_grad_()
        features = self.encoder(canvas)
        # Losses are differentiated up to the features in float32; only the way from there to the canvas is the network's.
        leaves = {layer: losses.accumulable(found).detach().requires_grad_() for layer, found in features.items()}
        unweighted = torch.stack([self._unweighted(term, leaves, canvas) for term in self.terms])
        weights = torch.tensor([term.weight for term in self.terms], dtype=unweighted.dtype, device=canvas.device)
        *at_features, at_canvas = torch.autograd.grad(unweighted @ weights, [*leaves.values(), canvas], allow_unused=True)
        used = [pair for pair in zip(features.values(), at_features, strict=True) if pair[1] is not None]
        gradient = _through_network([pair[0] for pair in used], [pair[1] for pair in used], canvas)
        if at_canvas is not None:  # the variation's
            gradient = gradient + at_canvas
        return Losses(self.terms, unweighted.detach()), gradient

    def _unweighted(self, term: Term, features: Mapping[str, Tensor], canvas: Tensor) -> Tensor:
        if term.kind == "content":
            return self._content(features[term.layer], self.features[term.layer])
        if term.kind == "style":
            return self._style(losses.gram_matrix(features[term.layer]), self.grams[term.layer])
        if self.weighting.variation_norm == "absolute":
            return losses.absolute_variation(canvas)[0]
        return losses.squared_variation(canvas)[0]

    def _content(self, features: Tensor, target: Tensor) -> Tensor:
        if self.weighting.convention.content_is_half_sum:
            return losses.content_loss(features, target)[0]
        return losses.mean_squared_error(features, target)[0]

    def _style(self, gram: Tensor, target: Tensor) -> Tensor:
        convention = self.weighting.convention
        factor = convention.style_factor
        if convention.style_per_squared_channels:
            factor /= gram.shape[-1] ** 2
        return factor * losses.style_loss(gram, target)[0]

    def in_paper_units(self) -> dict[str, float]:
        """The weights that the papers' own losses would need for the same total.

        Returns:
            `alpha/<layer>`: d total / d (1/2 sum (F-P)^2); `alpha_of_mean/<layer>`: d total / d mean (F-P)^2;
            `beta/<layer>`: d total / d E_l; `alpha_over_beta` where there is both: summed alpha by summed beta.
        """
        convention, found = self.weighting.convention, {}
        alpha = beta = 0.0
        for term in self.terms:
            if term.kind == "content":
                half_count = self.features[term.layer].numel() / 2
                paper = term.weight if convention.content_is_half_sum else term.weight / half_count
                found[f"alpha/{term.layer}"], found[f"alpha_of_mean/{term.layer}"] = paper, paper * half_count
                alpha += paper
            elif term.kind == "style":
                channels = self.grams[term.layer].shape[-1]
                per_channels = channels**2 if convention.style_per_squared_channels else 1
                found[f"beta/{term.layer}"] = term.weight * convention.style_factor / per_channels
                beta += found[f"beta/{term.layer}"]
        if alpha and beta:
            found["alpha_over_beta"] = alpha / beta
        return found


def _through_network(features: Sequence[Tensor], gradients: Sequence[Tensor], canvas: Tensor) -> Tensor:
    """The gradient at the canvas from the gradients at the features.

    float16 holds nothing above 65504 and little below 1e-7, so the way through it is taken at a scale, a power of two,
    that brings the largest gradient near one.
    """
    half = features[0].dtype == torch.float16
    largest = torch.stack([gradient.abs().max() for gradient in gradients]).max() if half else canvas.new_ones(())
    scale = torch.exp2(-torch.floor(torch.log2(largest.clamp_min(torch.finfo(largest.dtype).tiny))))
    outputs = [
        (gradient * scale if half else gradient).to(found.dtype)
        for found, gradient in zip(features, gradients, strict=True)
    ]
    (found,) = torch.autograd.grad(features, canvas, outputs)
    return found / scale if half else found
