"""Parameters to start from: VGG-19 thinned to the student's channels, each convolution refitted by least squares.

Layer by layer, a subset of the teacher's filters is chosen that explains the others best (pivoted Cholesky), and the
student's convolution is fitted to the teacher's response of those filters from what the student has before it, so that
each layer makes up for the errors of those before (He, Zhang & Sun 2017, "Channel pruning", in one pass).
"""

import torch
from torch import Tensor
from torch.nn import functional

from stylelab.embedded import CHANNELS, MEAN_RGB, TRUNK
from stylelab.vgg import Encoder

# The teacher's tensor that each convolution of the trunk is fitted to; one with a stride has its pool in it.
AIMS = {name: name[:7] if stride == 1 else f"pool{name[4]}" for name, _, _, _, stride, _ in TRUNK if name != "pool"}


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


@torch.no_grad()
def starting_parameters(teacher: Encoder, images: Tensor) -> dict[str, Tensor]:
    """All parameters of the embedded network, from the teacher's response to images at the layers of AIMS."""
    with torch.autocast(images.device.type, torch.bfloat16):
        truth = {layer: features.float() for layer, features in teacher(images).items()}
    found = {}
    hidden = images - torch.tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    for name, _, outputs, kernel, stride, layer in TRUNK:
        if name == "pool":
            hidden = functional.avg_pool2d(hidden, 2)
            continue
        aim = truth[AIMS[name]]
        values = functional.relu(aim).transpose(0, 1).flatten(1)
        indices = chosen(values[:, :: max(1, values.shape[1] // 20000)], outputs)
        weight, bias = fitted(hidden, aim[:, indices], kernel, stride)
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
        hidden = functional.relu(functional.conv2d(hidden, weight, bias, stride, padding=(kernel - 1) // 2))
        if layer:
            weight, bias = fitted(hidden, functional.relu(aim), 1, 1)
            assert weight.shape[0] == CHANNELS[layer]
            found |= {f"head.{layer}.weight": weight, f"head.{layer}.bias": bias}
    return found
