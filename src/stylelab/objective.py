"""The loss of a canvas: targets captured once, terms weighted by a convention, one gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from stylelab import losses
from stylelab.autograd import Autograd, Encoding, Network
from stylelab.devices import on_its_way
from stylelab.losses import Comparison


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


class Losses:
    """What one evaluation found.

    Args:
        unweighted: (len(terms),), in each convention's own unit.
    """

    def __init__(self, terms: tuple[Term, ...], unweighted: Tensor) -> None:
        self.terms, self.unweighted = terms, unweighted
        self.arrived = on_its_way(unweighted)

    def values(self) -> list[float]:
        """The unweighted terms as numbers; waits until a GPU has found them, but for nothing that it does later."""
        return list(self._numbers)

    @cached_property
    def _numbers(self) -> list[float]:
        return self.arrived().tolist()

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
        encoder: the network, frozen: one that compares by itself, or else a module that autograd differentiates.
        weighting: which layers count, and how much.
        content: (1, 3, H, W) in [0, 1], of the canvas's size.
        styles: pictures in [0, 1] of any sizes, with weights that sum to one. Their Gram matrices are averaged: with
            one normaliser the gradient is that of summed losses.
    """

    def __init__(
        self,
        encoder: Encoding | Network,
        *,
        weighting: Weighting,
        content: Tensor,
        styles: Sequence[tuple[float, Tensor]],
    ) -> None:
        self.encoder = encoder
        self.network = encoder if isinstance(encoder, Network) else Autograd(encoder)
        self.weighting = weighting
        self.capture(content, styles)

    def capture(self, content: Tensor, styles: Sequence[tuple[float, Tensor]]) -> None:
        """Take the targets with the network as it is; again after its precision has changed."""
        wanted = self.weighting
        self.features = self.network.features(content, tuple(wanted.content)) if wanted.content else {}
        self.grams: dict[str, Tensor] = {}
        for share, style in styles if wanted.style else ():
            for layer, gram in self.network.grams(style, tuple(wanted.style)).items():
                self.grams[layer] = self.grams.get(layer, 0) + share * gram
        self.terms = tuple(self._terms())
        factors = [self._factor(term) for term in self.terms if term.layer]
        self.comparisons = [self._comparison(term, factor) for term, factor in zip(self.terms, factors, strict=False)]
        self.factors = self.comparisons[0].strength.new_tensor(factors)
        self.compare = self.network.against(self.comparisons)

    def _comparison(self, term: Term, factor: float) -> Comparison:
        target = (self.features if term.kind == "content" else self.grams)[term.layer]
        strength = losses.accumulable(target).new_full((1,), term.weight * factor)
        return Comparison(term.kind, term.layer, target, strength)

    def _factor(self, term: Term) -> float:
        """What the convention makes of a mean squared difference of features or of Gram matrices."""
        convention = self.weighting.convention
        if term.kind == "content":
            return self.features[term.layer].numel() / 2 if convention.content_is_half_sum else 1.0
        factor = convention.style_factor / 4  # E_l is a quarter of the mean
        return factor / self.grams[term.layer].shape[-1] ** 2 if convention.style_per_squared_channels else factor

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
        errors, gradient = self.compare(canvas.detach())
        return self.completed(canvas, errors[:, 0], gradient)

    def completed(self, canvas: Tensor, errors: Tensor, gradient: Tensor) -> tuple[Losses, Tensor]:
        """What `evaluate` returns, from the errors of the comparisons and their gradient, which is written to."""
        canvas = canvas.detach()
        unweighted = errors * self.factors
        if self.weighting.variation:
            variation, at_canvas = self._variation(canvas)
            unweighted, gradient = torch.cat((unweighted, variation)), gradient.add_(at_canvas)
        return Losses(self.terms, unweighted), gradient

    def _variation(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """The variation, (1,), and its weighted gradient."""
        of = losses.absolute_variation if self.weighting.variation_norm == "absolute" else losses.squared_variation
        canvas = canvas.requires_grad_()
        found = of(canvas)
        (gradient,) = torch.autograd.grad(self.weighting.variation * found.sum(), canvas)
        canvas.requires_grad_(False)
        return found.detach(), gradient

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


class Move(Protocol):
    """What an optimizer will make of the evaluation before."""

    @property
    def canvas(self) -> Tensor:
        """(1, 3, H, W), in [0, 1] or near it."""


class Evaluation:
    """An objective and a canvas: evaluated when its losses or its gradient are first asked for, or before, with others.

    Args:
        canvas: (1, 3, H, W), in [0, 1] or near it; or the move to it, which is made as late.
    """

    def __init__(self, objective: Objective, canvas: Tensor | Move) -> None:
        self.objective = objective
        self.move = None if isinstance(canvas, Tensor) else canvas
        if self.move is None:
            self.canvas = canvas

    @cached_property
    def canvas(self) -> Tensor:
        """(1, 3, H, W), in [0, 1] or near it."""
        found = self.move.canvas
        self.move = None  # it holds the evaluation before
        return found

    @cached_property
    def found(self) -> tuple[Losses, Tensor]:
        """The losses and the gradient; may be set from a batch's."""
        return self.objective.evaluate(self.canvas)

    @property
    def losses(self) -> Losses:
        return self.found[0]

    @property
    def gradient(self) -> Tensor:
        """Of the canvas's shape and type; the optimizer overwrites it."""
        return self.found[1]
