"""Adam."""

import torch
from torch import Tensor

from stylelab.descent.optimizer import State
from stylelab.scaling import unit_of


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1).

    Args:
        learning_rate: largest change of a pixel in one step, in [0, 1].
        clamp: keep the canvas within [0, 1] after each step.
    """

    EPSILON = 1e-8  # of Kingma & Ba, relative to the first gradient's root mean square, so that scale does not matter
    STATE = ("count", "mean", "square", "epsilon", "unit")

    def __init__(self, *, learning_rate: float, beta1: float, beta2: float, clamp: bool) -> None:
        self.learning_rate, self.beta1, self.beta2, self.clamp = learning_rate, beta1, beta2, clamp
        self.count = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None
        self.epsilon: Tensor | None = None
        self.unit: float | None = None  # of the first gradient; the moments are in it

    def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
        """The next canvas, of the same shape; the gradient is overwritten."""
        if self.unit is None:
            self.unit = float(unit_of(gradient))
        gradient = gradient.mul_(self.unit)
        if self.mean is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
            tiny = torch.finfo(gradient.dtype).tiny
            self.epsilon = (self.EPSILON * gradient.square().mean().sqrt()).clamp_min(tiny)
        self.count += 1
        self.mean = torch.lerp(gradient, self.mean, self.beta1)
        self.square = torch.lerp(gradient.square(), self.square, self.beta2)
        mean = self.mean / (1 - self.beta1**self.count)
        square = self.square / (1 - self.beta2**self.count)
        moved = canvas - self.learning_rate * mean / (square.sqrt() + self.epsilon)
        return moved.clamp(0, 1) if self.clamp else moved

    def objective_changed(self) -> None:
        """Nothing to do: the moments average over the change."""

    def state(self) -> State:
        """Both moments, their unit and the count of steps."""
        return {name: getattr(self, name) for name in self.STATE}

    def restore(self, state: State) -> None:
        """Go on from what `state` returned, bit for bit."""
        for name in self.STATE:
            setattr(self, name, state[name])
