"""Parameters to start from: VGG-19 thinned and factored, each convolution refitted by least squares.

Layer by layer, from what the student has before it, so that each layer makes up for the errors of those before (Zhang
et al. 2016, "Accelerating very deep convolutional networks for classification and detection"; their rectifiers are left
out here). Where the student has fewer channels, a subset of the teacher's filters is chosen that explains the others
best, by pivoted Cholesky (He, Zhang & Sun 2017, "Channel pruning").
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stylelab.embedded import TRUNK, Part, convolved, parameter_shapes, preprocess, through
from stylelab.vgg import Encoder

ROWS = 400_000  # places that a convolution is fitted to
RIDGE = 1e-3  # of the mean variance of what it takes


def aim(part: Part) -> str:
    """The teacher's tensor that a part is fitted to; one with a stride has its pool in it."""
    return part.name if part.stride == 1 else f"pool{part.name[4]}"


AIMS = tuple(aim(part) for part in TRUNK if not part.pool)


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


class Fit:
    """The affine map from patches of inputs that comes closest to targets.

    Args:
        inputs: (N, C, H, W).
        targets: (N, K, H', W').
        kernel, stride: of the patches.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, kernel: int, stride: int = 1):
        self.shape = inputs.shape[1], kernel, kernel
        self.products = self.moments = 0.0
        every = max(1, targets[:, 0].numel() // ROWS)
        for one, wanted in zip(inputs.split(4), targets.split(4), strict=True):
            patches = functional.unfold(one.float(), kernel, padding=(kernel - 1) // 2, stride=stride)
            rows = patches.transpose(1, 2).flatten(0, 1)[::every]
            rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
            answers = wanted.permute(0, 2, 3, 1).flatten(0, 2)[::every].float()
            self.products = self.products + (rows.T @ rows).double()
            self.moments = self.moments + (rows.T @ answers).double()
        count = self.products[-1, -1]
        self.mean, self.target_mean = self.products[-1, :-1] / count, self.moments[-1] / count
        self.covariance = self.products[:-1, :-1] / count - torch.outer(self.mean, self.mean)
        ridge = RIDGE * self.covariance.diagonal().mean() * torch.eye(len(self.mean), dtype=torch.float64)
        moments = self.moments[:-1] / count - torch.outer(self.mean, self.target_mean)
        self.slope = torch.linalg.solve(self.covariance + ridge, moments)  # (patch, K)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self._weight(self.slope), (self.target_mean - self.mean @ self.slope).float()

    def of_rank(self, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same by way of so few channels: the weight of a convolution, and weight and bias of one of 1 x 1.

        Reduced-rank regression: the channels are the principal components of the answers, the smaller ones enlarged.
        """
        values, vectors = torch.linalg.eigh(self.slope.T @ self.covariance @ self.slope)
        basis, scale = vectors[:, -rank:], values[-rank:].clamp_min(1e-9 * values.max()) ** 0.25  # (K, rank), (rank,)
        narrow = self.slope @ basis
        bias = self.target_mean - self.mean @ narrow @ basis.T
        return self._weight(narrow / scale), (basis * scale).float()[:, :, None, None].contiguous(), bias.float()

    def _weight(self, slope: Tensor) -> Tensor:
        return slope.float().T.reshape(-1, *self.shape).contiguous()


def reduction(inputs: Tensor, filters: Tensor, rank: int) -> Tensor:
    """The weight of a 1 x 1 convolution to the few channels that matter most to filters, (K, C, 3, 3), of inputs."""
    rows = inputs.permute(0, 2, 3, 1).flatten(0, 2)
    covariance = torch.cov(rows[:: max(1, len(rows) // 100_000)].double().T)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(1e-9 * values.max())
    root, inverse = (vectors * scale @ vectors.T for scale in (values.sqrt(), values.rsqrt()))
    weight = filters.double().transpose(0, 1).flatten(1)  # (C, K * 9)
    values, basis = torch.linalg.eigh(root @ weight @ weight.T @ root)
    scale = values[-rank:, None].clamp_min(1e-9 * values.max()) ** 0.25
    return (scale * basis[:, -rank:].T @ inverse).float()[:, :, None, None].contiguous()


def balanced(weights: list[Tensor]) -> list[Tensor]:
    """The same convolutions one after another, of equal root mean square but for their fan-in (He et al. 2015)."""
    norms = [weight.square().mean().sqrt() * weight[0].numel() ** 0.5 for weight in weights]
    common = torch.stack(norms).log().mean().exp()
    return [weight * (common / norm) for weight, norm in zip(weights, norms, strict=True)]


@torch.no_grad()
def starting_parameters(teacher: Encoder, images: Tensor) -> dict[str, Tensor]:
    """All parameters of the embedded network, from the teacher's response to images at the layers of AIMS."""
    truth, found = _answers(teacher, images), {}
    hidden, restore = preprocess(images), torch.eye(3)  # restore: from the student's channels to the teacher's
    for part in TRUNK:
        answer = None if part.pool else truth.pop(aim(part))
        if answer is not None:
            filters = torch.einsum("kchw,cd->kdhw", teacher.filters(part.name)[0], restore)
            found |= _fitted(part, hidden, _thinned(answer, part.width), filters)
        hidden = _through(part, hidden, _convolutions(part.convolutions(), found))
        if answer is None:
            continue
        restore = torch.eye(part.width)
        if part.width < answer.shape[1]:
            weight, bias = Fit(hidden, functional.relu(answer), 1).whole()
            restore = weight.flatten(1)
            if part.headed:
                found |= _named(f"head.{part.layer}", weight, bias)
    return found


@torch.no_grad()
def adapted(given: Mapping[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """The parameters that come nearest to those of a trunk of the same parts, of other widths or ranks.

    Args:
        given: parameters by name. Those of parts whose form is the same are kept.
        images: (N, 3, H, W), on whose responses the others are fitted.
    """
    found: dict[str, Tensor] = {}
    hidden = theirs = preprocess(images)
    for part in TRUNK:
        kinds = [part.name + kind for kind in ("", ".reduce", ".filter", ".expand")]
        convolutions = _convolutions([name for name in kinds if f"{name}.weight" in given], given)
        if not part.pool:
            shapes = parameter_shapes((part,))
            kept = {name: given[name].float() for name in shapes if name in given and given[name].shape == shapes[name]}
            if any(f"{name}.weight" not in kept for name in part.convolutions()):
                answer = torch.cat([convolved(part, some, convolutions) for some in theirs.split(8)])
                restore = Fit(hidden, theirs, 1).whole()[0].flatten(1)
                filters = torch.einsum("kchw,cd->kdhw", _composed(convolutions), restore)
                kept |= _fitted(part, hidden, _thinned(answer, part.width), filters)
            found |= kept
        hidden, theirs = (
            _through(part, hidden, _convolutions(part.convolutions(), found)),
            _through(part, theirs, convolutions),
        )
        head = f"head.{part.layer}"
        if part.headed and f"{head}.weight" not in found:
            ((weight, bias),) = _convolutions([head], given)
            fitted, rest = Fit(hidden, theirs, 1).whole()
            weight = weight.flatten(1)
            found |= _named(head, (weight @ fitted.flatten(1))[:, :, None, None], bias + weight @ rest)
    return found


def _named(name: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _convolutions(names: Iterable[str], values: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of each."""
    wanted = [(values[f"{name}.weight"], values.get(f"{name}.bias")) for name in names]
    return [(weight.float(), None if bias is None else bias.float()) for weight, bias in wanted]


def _composed(convolutions: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """The weight of the one convolution that does what these do one after another; one of them is not 1 x 1."""
    whole = convolutions[0][0]
    for weight, _ in convolutions[1:]:
        if whole.shape[-1] == 1:
            whole = torch.einsum("kchw,cd->kdhw", weight, whole.flatten(1))
        else:
            whole = torch.einsum("kc,cdhw->kdhw", weight.flatten(1), whole)
    return whole


def _through(part: Part, inputs: Tensor, convolutions: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    return torch.cat([through(part, some, convolutions) for some in inputs.split(8)])


def _thinned(answer: Tensor, width: int) -> Tensor:
    """So many of its channels."""
    return answer[:, chosen(_columns(answer), width)] if width < answer.shape[1] else answer


def _fitted(part: Part, inputs: Tensor, wanted: Tensor, filters: Tensor) -> dict[str, Tensor]:
    """The parameters of a part's convolutions. filters: the teacher's, of as many channels as inputs."""
    if part.ranks is None:
        weight, bias = Fit(inputs, wanted, part.kernel, part.stride).whole()
        return _named(part.name, weight, bias)
    taken, given = part.ranks
    weights = []
    if taken < part.inputs:
        weights.append(reduction(inputs, filters, taken))
        inputs = functional.conv2d(inputs, weights[0])
    *two, bias = Fit(inputs, wanted, part.kernel).of_rank(given)
    names = (f"{name}.weight" for name in part.convolutions())
    return dict(zip(names, balanced([*weights, *two]), strict=True)) | {f"{part.name}.expand.bias": bias}


def _answers(teacher: Encoder, images: Tensor) -> dict[str, Tensor]:
    with torch.autocast(images.device.type, torch.bfloat16):
        parts = [teacher(some) for some in images.split(8)]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}


def _columns(answer: Tensor) -> Tensor:
    """Some 20,000 places of what a rectifier makes of a layer, (C, places)."""
    values = functional.relu(answer.float()).transpose(0, 1).flatten(1)
    return values[:, :: max(1, values.shape[1] // 20_000)]
