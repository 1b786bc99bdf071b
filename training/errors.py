"""How far the student is from the teacher: relative errors of features and of Gram matrices, layer by layer."""

import torch
from torch import Tensor

from stylelab.embedded import LAYERS, EmbeddedEncoder
from stylelab.vgg import Encoder

LEARNED = LAYERS
WEIGHTS = {
    "relu1_1": 1.0, "relu2_1": 1.0, "relu2_2": 0.5, "relu3_1": 1.0, "relu4_1": 1.2, "relu4_2": 1.0, "relu5_1": 2.0,
}  # fmt: skip
GRAM_WEIGHT = 3.0  # of a relative Gram error against a relative feature error


def robust(error: Tensor, power: Tensor) -> Tensor:
    """Mean over pictures of error / power; beyond one it counts by its logarithm only.

    A picture with next to no response would else have an endless error: its power counts as 5 % of the mean at least.
    """
    return (2 * torch.log1p(error / (power + 0.05 * power.mean()) / 2)).mean()


def layer_errors(ours: Tensor, theirs: Tensor, mean: Tensor, canvases: int) -> dict[str, Tensor]:
    """Relative errors of one layer's features and Gram matrices, in the normalised scale and in the Caffe scale.

    ours, theirs: (N, C, H, W), normalised; mean: (C,), what they were divided by. The first `canvases` pictures strive
    for the style of the next as many: there the error of the difference of Gram matrices counts too, which is all that
    painting sees.
    """
    caffe = mean.square()
    ours, theirs = (features.permute(0, 2, 3, 1).flatten(1, 2) for features in (ours, theirs))
    difference, gram = Comparison.apply(ours, theirs)
    wanted = torch.bmm(theirs.transpose(1, 2), theirs).float() / theirs.shape[1]
    power = wanted.diagonal(dim1=1, dim2=2)
    found = {
        "features": robust(difference.sum(1), power.sum(1)),
        "caffe_features": robust(difference @ caffe, power @ caffe),
    }
    wrong = gram - wanted
    found |= gram_errors("gram", wrong, wanted, caffe)
    if canvases:
        canvas, style = slice(canvases), slice(canvases, 2 * canvases)
        found |= gram_errors("gap_gram", wrong[canvas] - wrong[style], wanted[style], caffe)
    return found


def gram_errors(name: str, wrong: Tensor, wanted: Tensor, caffe: Tensor) -> dict[str, Tensor]:
    """||wrong||^2 / ||wanted||^2, (N, C, C) both, in the normalised scale and in Caffe's, whose squares are given."""
    squares = wrong.square(), wanted.square()
    return {
        name: robust(*(square.sum((1, 2)) for square in squares)),
        f"caffe_{name}": robust(*((square @ caffe) @ caffe for square in squares)),
    }


class Comparison(torch.autograd.Function):
    """Mean squared differences by channel (N, C) and Gram matrices of ours (N, C, C), with few passes over memory.

    ours, theirs: (N, places, C), multiplied in their own type. What autograd would do takes half of a training step.
    """

    @staticmethod
    def forward(context, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        difference = ours - theirs
        context.save_for_backward(ours, difference)
        gram = torch.bmm(ours.transpose(1, 2), ours).float() / ours.shape[1]
        return torch.linalg.vector_norm(difference, dim=1, dtype=torch.float32).square() / ours.shape[1], gram

    @staticmethod
    def backward(context, by_difference: Tensor, by_gram: Tensor) -> tuple[Tensor, None]:
        ours, difference = context.saved_tensors
        by_gram = ((by_gram + by_gram.transpose(1, 2)) / ours.shape[1]).to(ours.dtype)
        weights = (2 / ours.shape[1] * by_difference).to(ours.dtype)
        return torch.baddbmm(difference * weights[:, None], ours, by_gram), None


def errors(
    student: EmbeddedEncoder, teacher: Encoder, means: dict[str, Tensor], images: Tensor, canvases: int = 0
) -> dict[str, Tensor]:
    """layer/kind -> relative error on a batch of images, the first `canvases` of them followed by their styles."""
    with torch.no_grad():
        truth = teacher(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        answers = student(images.contiguous(memory_format=torch.channels_last))
        found = {}
        for layer in LEARNED:
            for name, error in layer_errors(answers[layer], truth[layer], means[layer], canvases).items():
                found[f"{layer}/{name}"] = error
    return found


def total(found: dict[str, Tensor]) -> Tensor:
    """The loss: the errors of all layers, features and Gram matrices, weighted."""
    return sum(
        WEIGHTS[name.split("/")[0]] * (GRAM_WEIGHT if name.endswith("gram") else 1.0) * error
        for name, error in found.items()
    )
