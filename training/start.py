"""Parameters to start from: VGG-19 thinned to the student's channels, each convolution refitted by least squares.

Layer by layer, a subset of the teacher's filters is chosen that explains the others best (pivoted Cholesky), and the
student's convolution is fitted to the teacher's response of those filters from what the student has before it, so that
each layer makes up for the errors of those before (He, Zhang & Sun 2017, "Channel pruning", in one pass). Blocks, which
VGG-19 has none of, start at random.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from stylelab.embedded import CHANNELS, MEAN_RGB, TRUNK, Part, layer_shapes, through
from stylelab.vgg import Encoder

# The teacher's tensor that each convolution of the trunk is fitted to; one with a stride has its pool in it.
AIMS = {
    part.name: part.name[:7] if part.stride == 1 else f"pool{part.name[4]}"
    for part in TRUNK
    if part.kind == "convolution"
} | {part.name: part.layer.replace("relu", "conv") for part in TRUNK if part.kind == "block" and part.layer}


def chosen(features: Tensor, count: int) -> Tensor:
    """Indices of the filters that explain the covariance of all best, by pivoted Cholesky. features: (C, places)."""
    residual = torch.cov(features.double())
    residual = residual + 1e-6 * residual.diagonal().mean() * torch.eye(len(residual), dtype=residual.dtype)
    indices = []
    for _ in range(min(count, len(residual))):
        gain = residual.square().sum(0) / residual.diagonal().clamp_min(1e-12)
        gain[indices] = -1
        best = int(gain.argmax())
        indices.append(best)
        residual = residual - torch.outer(residual[:, best], residual[best]) / residual[best, best]
    return torch.tensor(indices)


def fitted(inputs: Tensor, targets: Tensor, kernel: int, stride: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that takes inputs (N, C, H, W) closest to targets (N, K, H', W')."""
    padding = (kernel - 1) // 2
    patches = [functional.unfold(one[None].float(), kernel, padding=padding, stride=stride)[0].T for one in inputs]
    rows = torch.cat(patches)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    wanted = targets.permute(0, 2, 3, 1).flatten(0, 2).float()
    product, moment = (rows.T @ rows).double(), (rows.T @ wanted).double()
    ridge = 1e-2 * product.diagonal().mean() * torch.eye(len(product), dtype=torch.float64)
    solution = torch.linalg.solve(product + ridge, moment).float().T
    weight = solution[:, :-1].reshape(-1, inputs.shape[1], kernel, kernel)
    return weight.contiguous(), solution[:, -1].contiguous()


def drawn(part: Part) -> dict[str, Tensor]:
    """A block's parameters at random (He et al. 2015), so small at its end that it all but hands on what it takes."""
    found = {}
    for name, shape in layer_shapes().items():
        if name.startswith(f"{part.name}."):
            scale = 0.1 if name.endswith("project") else 1.0
            found[f"{name}.weight"] = scale * (2 / math.prod(shape[1:])) ** 0.5 * torch.randn(shape)
            found[f"{name}.bias"] = torch.zeros(shape[0])
    return found


@torch.no_grad()
def starting_parameters(
    teacher: Encoder, images: Tensor, known: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """All parameters of the embedded network, from the teacher's response to images at the layers of AIMS.

    known: parameters, with names of the file, that are not to be found anew.
    """
    with torch.autocast(images.device.type, torch.bfloat16):
        truth = {layer: features.float() for layer, features in teacher(images).items()}
    found = dict(known or {})

    def convolution(name: str) -> tuple[Tensor, Tensor]:
        return found[f"{name}.weight"], found[f"{name}.bias"]

    hidden = images - torch.tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    for part in TRUNK:
        if part.kind == "convolution" and f"{part.name}.weight" not in found:
            aim = truth[AIMS[part.name]]
            values = functional.relu(aim).transpose(0, 1).flatten(1)
            indices = chosen(values[:, :: max(1, values.shape[1] // 20000)], part.width)
            weight, bias = fitted(hidden, aim[:, indices], part.kernel, part.stride)
            found |= {f"{part.name}.weight": weight, f"{part.name}.bias": bias}
        if part.kind == "block" and f"{part.name}.expand.weight" not in found:
            found |= drawn(part)
        hidden = through(part, hidden, convolution)
        if part.layer and f"head.{part.layer}.weight" not in found:
            weight, bias = fitted(hidden, functional.relu(truth[AIMS[part.name]]), 1, 1)
            assert weight.shape[0] == CHANNELS[part.layer]
            found |= {f"head.{part.layer}.weight": weight, f"head.{part.layer}.bias": bias}
    return found
