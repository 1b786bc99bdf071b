"""Muon (Jordan et al. 2024): momentum whose matrix is brought near to orthogonal before each step; Adam for the rest.

A convolution's inputs here are rectified, averaged features, strongly correlated. Along the few directions that they
share gradients are large, along the many that tell pictures apart they are small; orthogonalising evens that out.
"""

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz iteration, Jordan et al. (2024)
ITERATIONS = 5
MOMENTUM = 0.95
LIKE_ADAM = 0.2  # brings an update's root mean square to what Adam's is (Liu et al. 2025, "Muon is scalable")


def orthogonalised(matrix: Tensor) -> Tensor:
    """Near to U V^T of the matrix's singular value decomposition U S V^T."""
    flat = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    flat = (flat / (flat.norm() + 1e-7)).bfloat16()
    first, second, third = COEFFICIENTS
    for _ in range(ITERATIONS):
        product = flat @ flat.T
        flat = first * flat + (second * product + third * product @ product) @ flat
    return (flat if len(matrix) <= matrix.shape[1] else flat.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for filters that mix channels, as matrices, the first axis against all others; Adam for all else."""

    def __init__(self, parameters, *, lr: float):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                mixes = parameter.ndim > 1 and parameter.shape[1] > 1
                update = self._matrix(parameter) if mixes else self._vector(parameter)
                parameter.sub_(group["lr"] * update)

    def _matrix(self, parameter: Tensor) -> Tensor:
        momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = torch.lerp(parameter.grad, momentum, MOMENTUM).flatten(1)  # Nesterov's
        scale = LIKE_ADAM * max(ahead.shape) ** 0.5
        return scale * orthogonalised(ahead).view(parameter.shape)

    def _vector(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        first = state.setdefault("first", torch.zeros_like(parameter))
        second = state.setdefault("second", torch.zeros_like(parameter))
        state["steps"] = state.get("steps", 0) + 1
        first.lerp_(parameter.grad, 0.1)
        second.lerp_(parameter.grad.square(), 0.01)
        return first / (1 - 0.9 ** state["steps"]) / ((second / (1 - 0.99 ** state["steps"])).sqrt() + 1e-8)
