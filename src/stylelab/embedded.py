"""The embedded network: a small stand-in for VGG-19 that ships with the package, distilled by training/.

It is not VGG-19 and is never called so. It answers to some of VGG-19's layer names with features that approximate
those of `vgg19_normalised` with average pools, so that weights and experiments carry over. They are linear in its own,
through 1 x 1 heads. VGG-19: Simonyan & Zisserman (2014), parameters CC BY 4.0.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from stylelab.layers import EMBEDDED_LAYERS

LAYERS = EMBEDDED_LAYERS
PARAMETERS = Path(__file__).parent / "data" / "embedded.safetensors"
MEAN_RGB = (123.68, 116.779, 103.939)  # of VGG-19's training images, 0-255 (Simonyan & Zisserman 2014)


class Part(NamedTuple):
    """One part of the trunk."""

    kind: str  # convolution: kernel x kernel, rectified; pool: average; block: see `EmbeddedEncoder`
    name: str
    inputs: int  # channels
    width: int  # channels of what it gives; of a block, which gives as many as it takes, those within
    kernel: int
    stride: int
    layer: str | None  # which a linear head reads from what it gives


TRUNK = tuple(
    Part(*row)
    for row in (
        ("convolution", "conv1_1", 3, 24, 3, 1, "relu1_1"),
        ("convolution", "conv1_2", 24, 48, 4, 2, None),
        ("convolution", "conv2_1", 48, 64, 3, 1, "relu2_1"),
        ("convolution", "conv2_2", 64, 64, 3, 1, "relu2_2"),
        ("pool", "pool2", 64, 64, 2, 2, None),
        ("convolution", "conv3_1", 64, 96, 3, 1, "relu3_1"),
        ("convolution", "conv3_3", 96, 96, 3, 1, None),
        ("pool", "pool3", 96, 96, 2, 2, None),
        ("convolution", "conv4_1", 96, 224, 3, 1, "relu4_1"),
        ("convolution", "conv4_2", 224, 224, 3, 1, "relu4_2"),
        ("block", "block4_3", 224, 448, 3, 1, None),
        ("block", "block4_4", 224, 448, 3, 1, None),
        ("pool", "pool4", 224, 224, 2, 2, None),
        ("block", "block5_1a", 224, 448, 3, 1, None),
        ("block", "block5_1b", 224, 448, 3, 1, None),
        ("block", "block5_1c", 224, 448, 3, 1, None),
        ("block", "block5_1d", 224, 448, 3, 1, "relu5_1"),
    )
)
CHANNELS = {
    "relu1_1": 64, "relu2_1": 128, "relu2_2": 128, "relu3_1": 256, "relu4_1": 512, "relu4_2": 512, "relu5_1": 512,
}  # fmt: skip


def layer_shapes() -> dict[str, tuple[int, int, int, int]]:
    """Name of every convolution -> shape of its weight; each has a bias of the first length too."""
    shapes = {}
    for part in TRUNK:
        if part.kind == "convolution":
            shapes[part.name] = (part.width, part.inputs, part.kernel, part.kernel)
        if part.kind == "block":
            shapes[f"{part.name}.expand"] = (part.width, part.inputs, 1, 1)
            shapes[f"{part.name}.filter"] = (part.width, 1, part.kernel, part.kernel)
            shapes[f"{part.name}.project"] = (part.inputs, part.width, 1, 1)
        if part.layer:
            outputs = part.inputs if part.kind == "block" else part.width
            shapes[f"head.{part.layer}"] = (CHANNELS[part.layer], outputs, 1, 1)
    return shapes


class EmbeddedEncoder(nn.Module):
    """Images (N, 3, H, W), sRGB in [0, 1] -> {layer: features}, the features in vgg19_normalised's scale.

    Each layer named is (N, CHANNELS[layer], H / 2^(block - 1), W / 2^(block - 1)), sizes rounded down, in the type of
    the parameters. The trunk is cut after the deepest layer asked for. Parameters are frozen; the gradient flows to
    the images.

    A block is x + P relu(D relu(E x)): E and P mix channels at each place, D filters each channel within on its own
    (Sandler et al. 2018, "MobileNetV2", whose batch normalisation it has no use for).
    """

    def __init__(self, layers: Sequence[str], parameters: Mapping[str, Tensor]):
        super().__init__()
        unknown = [layer for layer in layers if layer not in LAYERS]
        if unknown or not layers:
            found = ", ".join(unknown) or "none"
            raise ValueError(f"layers: the embedded network has {', '.join(LAYERS)}; got {found}")
        self.layers = tuple(layer for layer in LAYERS if layer in layers)
        self.trunk = _cut(self.layers)
        self.convolutions = nn.ParameterDict()
        wanted = {part.name for part in self.trunk} | {f"head.{layer}" for layer in self.layers}
        for name in layer_shapes():
            if name not in wanted and name.rpartition(".")[0] not in wanted:
                continue
            for part in ("weight", "bias"):
                value = parameters[f"{name}.{part}"].float()
                if part == "weight":
                    value = value.contiguous(memory_format=torch.channels_last)
                self.convolutions[f"{name}/{part}".replace(".", "/")] = nn.Parameter(value, requires_grad=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.above(preprocess(images).to(next(self.parameters()).dtype))

    def above(self, hidden: Tensor, below: str | None = None) -> dict[str, Tensor]:
        """The features of the layers above a part of the trunk, from what that gives; None: from the bottom."""
        names = [part.name for part in self.trunk]
        features = {}
        for part in self.trunk[names.index(below) + 1 if below else 0 :]:
            hidden = through(part, hidden, self.convolution)
            if part.layer in self.layers:
                features[part.layer] = _convolve(hidden, *self.convolution(f"head.{part.layer}"))
        return features

    def convolution(self, name: str) -> tuple[Tensor, Tensor]:
        """The weight and the bias of a convolution of the trunk, or of the head of a layer: head.relu1_1."""
        weight, bias = (self.convolutions[f"{name}/{part}".replace(".", "/")] for part in ("weight", "bias"))
        return weight, bias


def through(part: Part, inputs: Tensor, convolution: Callable[[str], tuple[Tensor, Tensor]]) -> Tensor:
    """What a part of the trunk gives. convolution: gives weight and bias by the names of `layer_shapes`."""
    if part.kind == "pool":
        return functional.avg_pool2d(inputs, 2)
    if part.kind == "convolution":
        return functional.relu(_convolve(inputs, *convolution(part.name), part.stride))
    inner = functional.relu(_convolve(inputs, *convolution(f"{part.name}.expand")))
    inner = functional.relu(_convolve(inner, *convolution(f"{part.name}.filter")))
    return inputs + _convolve(inner, *convolution(f"{part.name}.project"))


def _convolve(inputs: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    around, groups = (weight.shape[-1] - 1) // 2, inputs.shape[1] // weight.shape[1]
    return functional.conv2d(inputs, weight, bias, stride, padding=around, groups=groups)


def preprocess(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] -> centred, channels-last."""
    mean = images.new_tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    return (images - mean).contiguous(memory_format=torch.channels_last)


def _cut(layers: Sequence[str]) -> tuple[Part, ...]:
    """The trunk up to the deepest of the layers."""
    needed = [index for index, part in enumerate(TRUNK) if part.layer in layers]
    return TRUNK[: max(needed, default=-1) + 1]


def load_parameters(path: Path | None = None) -> dict[str, Tensor]:
    """The shipped parameters, or those at path: float16, by name, checked against the .json beside the file."""
    path = PARAMETERS if path is None else Path(path)
    record = path.with_suffix(".json")
    expected = json.loads(record.read_text())["sha256"]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"{path} has sha256 {found}, but {record.name} says {expected}: get it anew")
    return load_file(path)
