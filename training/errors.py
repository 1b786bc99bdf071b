"""How far the student is from the teacher: relative errors of features and of Gram matrices, layer by layer."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from stylelab.embedded import LAYERS, EmbeddedEncoder
from stylelab.engine import Engine

LEARNED = LAYERS
WEIGHTS = {
    "relu1_1": 1.0, "relu2_1": 1.0, "relu2_2": 0.5, "relu3_1": 1.0, "relu4_1": 1.2, "relu4_2": 1.0, "relu5_1": 3.0,
}  # fmt: skip


def robust(error: Tensor, power: Tensor) -> Tensor:
    """Mean over pictures of error / power; beyond one it counts by its logarithm only.

    A picture with next to no response would else have an endless error: its power counts as 5 % of the mean at least.
    """
    return (2 * torch.log1p(error / (power + 0.05 * power.mean()) / 2)).mean()


def feature_errors(ours: Tensor, theirs: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Relative errors of one layer's features, in the normalised scale and in the Caffe scale.

    ours, theirs: (N, places, C), normalised; mean: (C,), what they were divided by.
    """
    caffe = mean.square()
    difference, power = squares(ours - theirs), squares(theirs)
    return {
        "features": robust(difference.sum(1), power.sum(1)),
        "caffe_features": robust(difference @ caffe, power @ caffe),
    }


def gram_errors(ours: Tensor, theirs: Tensor, mean: Tensor, canvases: int) -> dict[str, Tensor]:
    """The same of one layer's Gram matrices.

    The first `canvases` pictures strive for the style of the next as many: there the error of the difference of Gram
    matrices counts too, which is all that painting sees.
    """
    wrong, wanted = GramErrors.apply(ours, theirs, mean, canvases)
    kinds = {"gram": slice(len(ours)), "gap_gram": slice(len(ours), None)} if canvases else {"gram": slice(None)}
    aims = {"gram": wanted, "gap_gram": wanted[canvases : 2 * canvases]}
    found = {}
    for name, place in kinds.items():
        found[name], found[f"caffe_{name}"] = map(robust, wrong[place].T, aims[name].T)
    return found


def squares(features: Tensor) -> Tensor:
    """Mean squares by channel: (N, places, C) -> (N, C), in float32."""
    return torch.linalg.vector_norm(features, dim=1, dtype=torch.float32).square() / features.shape[1]


class GramErrors(torch.autograd.Function):
    """Squared differences of Gram matrices of ours and theirs, and the squares of theirs, with few passes over memory.

    ours, theirs: (N, places, C), multiplied in their own type. Both results have two columns, the normalised scale and
    the Caffe scale. (N + canvases, 2): each picture's, then of each canvas less its style. (N, 2): the squares of
    theirs. What autograd would do takes half of a training step.
    """

    @staticmethod
    def forward(
        context: FunctionCtx, ours: Tensor, theirs: Tensor, mean: Tensor, canvases: int
    ) -> tuple[Tensor, Tensor]:
        share = ours.shape[1] ** -0.5
        ours, theirs = share * ours, share * theirs
        wanted = torch.bmm(theirs.transpose(1, 2), theirs)
        wrong = torch.baddbmm(wanted, ours.transpose(1, 2), ours, beta=-1)
        if canvases:
            wrong = torch.cat([wrong, wrong[:canvases] - wrong[canvases : 2 * canvases]])
        caffe = torch.outer(mean, mean).to(ours.dtype)
        context.save_for_backward(ours, wrong, caffe)
        context.canvases = canvases
        return _squares(wrong, caffe), _squares(wanted, caffe)

    @staticmethod
    def backward(context: FunctionCtx, by_wrong: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        ours, wrong, caffe = context.saved_tensors
        plain, scaled = (4 * ours.shape[1] ** -0.5 * by_wrong).to(ours.dtype).unbind(1)
        slope = torch.addcmul(plain[:, None, None], scaled[:, None, None], caffe.square()).mul_(wrong)
        if canvases := context.canvases:
            gap = slope[len(ours) :]
            slope[:canvases] += gap
            slope[canvases : 2 * canvases] -= gap
        return torch.bmm(ours, slope[: len(ours)]), None, None, None


def _squares(matrices: Tensor, caffe: Tensor) -> Tensor:
    """(N, 2): sums of squares of (N, C, C), and the same in the Caffe scale."""
    norms = (
        torch.linalg.vector_norm(each.flatten(1), dim=1, dtype=torch.float32) for each in (matrices, matrices * caffe)
    )
    return torch.stack([norm.square() for norm in norms], dim=1)


def errors(
    student: EmbeddedEncoder,
    teacher: Engine,
    means: dict[str, Tensor],
    images: Tensor,
    canvases: int = 0,
    *,
    grams: bool = True,
) -> dict[str, Tensor]:
    """layer/kind -> relative error on a batch of images, the first `canvases` of them followed by their styles.

    images: (N, 3, H, W). grams: whether Gram matrices are held against each other too, or the features alone.
    """
    truth = teacher.features(images, LEARNED)
    with torch.autocast(images.device.type, torch.bfloat16):
        answers = student(images.contiguous(memory_format=torch.channels_last))
        found = {}
        for layer in LEARNED:
            ours, theirs = (features[layer].permute(0, 2, 3, 1).flatten(1, 2) for features in (answers, truth))
            kinds = feature_errors(ours, theirs, means[layer])
            if grams:
                kinds |= gram_errors(ours, theirs, means[layer], canvases)
            found |= {f"{layer}/{name}": error for name, error in kinds.items()}
    return found


def total(found: dict[str, Tensor], gram_weight: float) -> Tensor:
    """The loss: the errors of all layers, weighted; those of Gram matrices by gram_weight besides."""
    return sum(
        WEIGHTS[name.split("/")[0]] * (gram_weight if name.endswith("gram") else 1.0) * error
        for name, error in found.items()
    )
