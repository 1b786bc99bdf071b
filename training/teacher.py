"""VGG-19 as the teacher and the judge: its rectified features, average pools, the Caffe parameters as they are."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from stylelab.embedded import MEAN_RGB

BLOCKS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 1}  # convolutions in each block; none after conv5_1 is used
NAMES = tuple(f"{block}_{index}" for block, count in BLOCKS.items() for index in range(1, count + 1))
# Where torchvision's numbering puts them: two a convolution with its rectifier, one a pool.
POSITIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)


class Teacher(nn.Module):
    """Images (N, 3, H, W), sRGB RGB in [0, 1] -> {layer: features}, in the scale of the Caffe parameters."""

    def __init__(self, path: Path):
        super().__init__()
        stored = load_file(path)
        self.parameters_by_name = nn.ParameterDict()
        for name, position in zip(NAMES, POSITIONS, strict=True):
            weight, bias = (stored[f"features.{position}.{part}"].float() for part in ("weight", "bias"))
            if name == "1_1":
                weight = weight.flip(1) * 255  # the file's first convolution reads BGR, 0-255
            weight = weight.to(memory_format=torch.channels_last)
            self.parameters_by_name[f"w{name}"] = nn.Parameter(weight, requires_grad=False)
            self.parameters_by_name[f"b{name}"] = nn.Parameter(bias, requires_grad=False)
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, images: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """The layers named (reluB_I, or convB_I for the tensor before the rectifier), up to the deepest."""
        hidden = (images - self.mean).contiguous(memory_format=torch.channels_last)
        wanted = {layer[4:] for layer in layers}
        features = {}
        for name in NAMES[: max(NAMES.index(name) for name in wanted) + 1]:
            if name.endswith("_1") and name != "1_1":
                hidden = functional.avg_pool2d(hidden, 2)
            linear = functional.conv2d(
                hidden, self.parameters_by_name[f"w{name}"], self.parameters_by_name[f"b{name}"], padding=1
            )
            hidden = functional.relu(linear)
            if name in wanted:
                features |= {f"conv{name}": linear, f"relu{name}": hidden}
        return {layer: features[layer] for layer in layers}


@torch.no_grad()
def mean_activations(teacher: Teacher, images: list[Tensor], layers: tuple[str, ...]) -> dict[str, Tensor]:
    """Mean over images and places of every filter's rectified activation, {layer: (C,)}; dead filters are given one."""
    totals = {layer: 0.0 for layer in layers}
    for image in images:
        with torch.autocast(image.device.type, torch.bfloat16):
            found = teacher(image, layers)
        for layer, features in found.items():
            totals[layer] = totals[layer] + features.float().mean((0, 2, 3)) / len(images)
    return {layer: torch.where(total > 1e-4, total, torch.ones_like(total)) for layer, total in totals.items()}
