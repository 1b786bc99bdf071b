"""The recipe: targets, first canvas and descent at each level, coarse to fine; a generator that records nothing."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylelab import devices, images, pictures
from stylelab.descent import Adam, Optimizer, descend, lbfgs_for
from stylelab.objective import CONVENTIONS, Evaluation, Losses, Objective, Weighting
from stylelab.pyramid import Level, levels
from stylelab.sharing import Resident
from stylelab.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Step:
    """One canvas on its way, with what is to judge it."""

    level: int
    index: int  # within the level; 0 is the canvas that the level starts from
    number: int  # over all levels
    evaluation: Evaluation
    optimizer: Optimizer
    previous: Callable[[], float | None]  # the total loss of the canvas before, where it compares with this one's

    @property
    def canvas(self) -> Tensor:
        """(1, 3, H, W), in [0, 1] or near it."""
        return self.evaluation.canvas

    @property
    def objective(self) -> Objective:
        return self.evaluation.objective

    @cached_property
    def losses(self) -> Losses:
        """Of this very canvas; evaluated now, unless that was done before. Waits until they are known.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        losses = self.begin()
        _finite_total(losses, self.level, self.index)
        return losses

    def begin(self) -> Losses:
        """The same, not looked at: evaluated from now on, and nothing waits for a GPU."""
        return self.evaluation.losses

    def state(self) -> dict[str, Any]:
        """All that painting on from here needs; valid until the next step is asked for."""
        return {
            "level": self.level,
            "index": self.index,
            "number": self.number,
            # Before the optimizer's state, which a step still to be made would change; and alone, of a batch.
            "canvas": self.canvas.clone(),
            "optimizer": self.optimizer.state(),
            "previous": self.previous(),
        }


def transfer(
    spec: Spec,
    network: nn.Module | Resident,
    *,
    content: Image.Image,
    styles: Sequence[Image.Image],
    device: torch.device,
    resume: dict[str, Any] | None = None,
) -> Iterator[Step]:
    """Paint.

    Args:
        network: encodes images at the layers in use; in float32. A `Resident` is on the device already.
        content, styles: decoded pictures, at their own sizes.
        resume: what `Step.state` returned in an earlier process; the step it was taken at is yielded again.

    Yields:
        Every canvas in turn, the first of each level included.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    resident = network if isinstance(network, Resident) else Resident(network.to(device))
    del network
    number, first, canvas = 0, 0, None
    sizes = levels(spec, content=content.size, styles=[style.size for style in styles])
    if resume is not None:
        number, first, canvas = resume["number"], resume["index"], resume["canvas"].to(device)
        sizes = sizes[resume["level"] :]
    for level in sizes:
        easel = _Easel(spec, resident, level, content, styles, device)
        optimizer = _optimizer(spec, device, resume)
        previous, resume = partial(_known, resume and resume["previous"]), None
        objective = easel.objective_at(first)
        for index, evaluation in descend(
            easel.objective_at,
            easel.first_canvas(canvas),
            optimizer,
            steps=level.steps,
            tolerance=spec.optimizer.tolerance,
            first=first,
            previous=previous(),
        ):
            if easel.objective_at(index) is not objective:  # its losses compare with none before
                previous()
                objective, previous = easel.objective_at(index), partial(_known, None)
            at = {"level": level.number, "index": index, "number": number}
            step = Step(**at, evaluation=evaluation, optimizer=optimizer, previous=previous)
            yield step
            losses = step.begin()
            previous()  # refused if it is not finite; of this very canvas it may not be known yet
            previous = partial(_finite_total, losses, level.number, index)
            number += 1
        previous()
        first, canvas = 0, evaluation.canvas


class _Easel:
    """One level's pictures at their sizes, and the objective at each of its steps."""

    def __init__(
        self,
        spec: Spec,
        resident: Resident,
        level: Level,
        content: Image.Image,
        styles: Sequence[Image.Image],
        device: torch.device,
    ) -> None:
        self.spec, self.resident, self.level = spec, resident, level
        self.content = images.from_picture(pictures.resize(content, level.canvas)).to(device)
        self.styles = [
            images.from_picture(pictures.resize(style, size)).to(device)
            for style, size in zip(styles, level.styles, strict=True)
        ]
        self.first_style = styles[0] if styles else None
        count = level.steps + 1
        self.switch = count - round(count * spec.precision.float32_finish)
        self.arithmetic = devices.arithmetic(spec.precision.network, device)
        self.objectives: dict[str, Objective] = {}

    def objective_at(self, index: int) -> Objective:
        """The objective of a step: in the precision asked for, where the device has it, then in float32 to finish."""
        arithmetic = self.arithmetic if index < self.switch else "float32"
        if arithmetic not in self.objectives:
            self.objectives = {arithmetic: self._objective(arithmetic)}
        return self.objectives[arithmetic]

    def _objective(self, arithmetic: str) -> Objective:
        shares = self.spec.images.style_weights or [1.0] * len(self.styles)
        whole = sum(shares)
        only = self.arithmetic == "float32" or not self.spec.precision.float32_finish
        found = Objective(
            self.resident.encoder(getattr(torch, arithmetic), only=only),
            weighting=weighting(self.spec),
            content=self.content,
            styles=[(share / whole, style) for share, style in zip(shares, self.styles, strict=True)],
        )
        numbers = self.content[:, :1].numel() * self.resident.width
        devices.give_back_freed_memory(largest=numbers * getattr(torch, arithmetic).itemsize)
        return found

    def first_canvas(self, before: Tensor | None) -> Tensor:
        """What the level starts from: the canvas of the level before, else what canvas.start says."""
        if before is not None:
            return before if _size(before) == self.level.canvas else images.enlarge(before, self.level.canvas)
        match self.spec.canvas.start:
            case "content":
                return self.content
            case "style":
                covering = _covering(self.first_style, self.level.canvas)
                return images.from_picture(covering).to(self.content.device)
        return self._noise()

    def _noise(self) -> Tensor:
        of = self.spec.canvas
        generator = torch.Generator().manual_seed(self.spec.seed)  # on the CPU, so that devices agree
        width, height = self.level.canvas
        if of.distribution == "normal":
            noise = torch.randn(1, 3, height, width, generator=generator)
        else:
            noise = (2 * torch.rand(1, 3, height, width, generator=generator) - 1) * math.sqrt(3)
        mean = torch.tensor(of.mean).view(1, 3, 1, 1)
        return (mean + of.deviation * noise).to(self.content.device)


def weighting(spec: Spec) -> Weighting:
    """The weights of a spec, with 1 / number of layers where none are given: w_l of Gatys et al. (2015)."""
    of, names = spec.weights, spec.layers
    return Weighting(
        convention=CONVENTIONS[of.convention],
        alpha=of.alpha_over_beta * of.beta,
        beta=of.beta,
        content=_by_layer(names.content, of.content),
        style=_by_layer(names.style, of.style),
        variation=of.variation,
        variation_norm=of.variation_norm,
    )


def _by_layer(names: Sequence[str], weights: Sequence[float] | None) -> dict[str, float]:
    return dict(zip(names, weights or [1 / len(names)] * len(names), strict=True)) if names else {}


def _optimizer(spec: Spec, device: torch.device, resume: dict[str, Any] | None) -> Optimizer:
    of = spec.optimizer
    if of.kind == "lbfgs":
        found = lbfgs_for(device, history=of.history, learning_rate=of.learning_rate)
    else:
        found = Adam(learning_rate=of.learning_rate, beta1=of.beta1, beta2=of.beta2, clamp=spec.canvas.clamp)
    if resume is not None:
        found.restore(_moved(resume["optimizer"], device))
    return found


def _covering(picture: Image.Image, size: pictures.Size) -> Image.Image:
    """The picture scaled until it covers a size, its middle cut out."""
    factor = max(size[0] / picture.width, size[1] / picture.height)
    wide, high = max(size[0], round(picture.width * factor)), max(size[1], round(picture.height * factor))
    left, top = (wide - size[0]) // 2, (high - size[1]) // 2
    return pictures.resize(picture, (wide, high)).crop((left, top, left + size[0], top + size[1]))


def _size(image: Tensor) -> pictures.Size:
    return image.shape[-1], image.shape[-2]


def _moved(state: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """An optimizer's state on a device; L-BFGS keeps its products on the CPU."""
    return {
        key: value.to(device) if isinstance(value, Tensor) and key != "products" else value
        for key, value in state.items()
    }


def _known(total: float | None) -> float | None:
    """A total that was known before, or that there is none."""
    return total


def _finite_total(losses: Losses, level: int, index: int) -> float:
    sums = losses.summed()
    if not math.isfinite(sums["total"]):
        parts = ", ".join(f"{kind} {sums[kind]:.3g}" for kind in ("content", "style", "variation") if kind in sums)
        raise FloatingPointError(
            f"total loss is {sums['total']} at level {level}, step {index} ({parts}): lower optimizer.learning_rate"
        )
    return sums["total"]
