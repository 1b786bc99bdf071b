"""The embedded network: a small stand-in for VGG-19 that ships with the package, distilled by training/.

It is not VGG-19 and is never called so. It answers to some of VGG-19's layer names with features that approximate
those of `vgg19_normalised` with average pools, so that weights and experiments carry over. They are linear in its own,
through 1 x 1 heads. VGG-19: Simonyan & Zisserman (2014), parameters CC BY 4.0.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from stylelab.layers import EMBEDDED_LAYERS

LAYERS = EMBEDDED_LAYERS
PARAMETERS = Path(__file__).parent / "data" / "embedded.safetensors"
MEAN_RGB = (123.68, 116.779, 103.939)  # of VGG-19's training images, 0-255 (Simonyan & Zisserman 2014)

# The trunk in network order. Each convolution is rectified, then read by the linear head of its layer if it has one.
# (name, input channels, output channels, kernel, stride, layer that it feeds; "pool" stands before where marked)
TRUNK = (
    ("conv1_1", 3, 24, 3, 1, "relu1_1"),
    ("conv1_2", 24, 48, 4, 2, None),
    ("conv2_1", 48, 64, 3, 1, "relu2_1"),
    ("conv2_2", 64, 64, 3, 1, "relu2_2"),
    ("pool", 0, 0, 2, 2, None),
    ("conv3_1", 64, 96, 3, 1, "relu3_1"),
    ("conv3_3", 96, 96, 3, 1, None),
    ("pool", 0, 0, 2, 2, None),
    ("conv4_1", 96, 224, 3, 1, "relu4_1"),
    ("conv4_2", 224, 224, 3, 1, "relu4_2"),
    ("conv4_4", 224, 160, 3, 1, None),
    ("pool", 0, 0, 2, 2, None),
    ("conv5_1a", 160, 224, 3, 1, None),
    ("conv5_1b", 224, 256, 3, 1, "relu5_1"),
)
CHANNELS = {
    "relu1_1": 64, "relu2_1": 128, "relu2_2": 128, "relu3_1": 256, "relu4_1": 512, "relu4_2": 512, "relu5_1": 512,
}  # fmt: skip


def layer_shapes() -> dict[str, tuple[int, int, int, int]]:
    """Name of every convolution -> shape of its weight; each has a bias of the first length too."""
    shapes = {}
    for name, inputs, outputs, kernel, _, layer in TRUNK:
        if name != "pool":
            shapes[name] = (outputs, inputs, kernel, kernel)
        if layer:
            shapes[f"head.{layer}"] = (CHANNELS[layer], outputs, 1, 1)
    return shapes


class EmbeddedEncoder(nn.Module):
    """Images (N, 3, H, W), sRGB in [0, 1] -> {layer: features}, the features in vgg19_normalised's scale.

    Each layer named is (N, CHANNELS[layer], H / 2^(block - 1), W / 2^(block - 1)), sizes rounded down, in the type of
    the parameters. The trunk is cut after the deepest layer asked for. Parameters are frozen; the gradient flows to
    the images.
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
        heads = [f"head.{layer}" for layer in self.layers]
        for name in [name for name, *_ in self.trunk if name != "pool"] + heads:
            for part in ("weight", "bias"):
                value = parameters[f"{name}.{part}"].float()
                if part == "weight":
                    value = value.contiguous(memory_format=torch.channels_last)
                self.convolutions[f"{name}/{part}".replace(".", "/")] = nn.Parameter(value, requires_grad=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        hidden = preprocess(images).to(next(self.parameters()).dtype)
        features = {}
        for name, _, _, _, stride, layer in self.trunk:
            if name == "pool":
                hidden = functional.avg_pool2d(hidden, 2)
                continue
            hidden = functional.relu(self._convolve(name, hidden, stride))
            if layer in self.layers:
                features[layer] = self._convolve(f"head.{layer}", hidden, 1)
        return features

    def convolution(self, name: str) -> tuple[Tensor, Tensor]:
        """The weight and the bias of a convolution of the trunk, or of the head of a layer: head.relu1_1."""
        weight, bias = (self.convolutions[f"{name}/{part}".replace(".", "/")] for part in ("weight", "bias"))
        return weight, bias

    def _convolve(self, name: str, inputs: Tensor, stride: int) -> Tensor:
        weight, bias = self.convolution(name)
        return functional.conv2d(inputs, weight, bias, stride, padding=(weight.shape[-1] - 1) // 2)


def preprocess(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] -> centred, channels-last."""
    mean = images.new_tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    return (images - mean).contiguous(memory_format=torch.channels_last)


def _cut(layers: Sequence[str]) -> tuple[tuple, ...]:
    """The trunk up to the deepest of the layers."""
    needed = [index for index, (*_, layer) in enumerate(TRUNK) if layer in layers]
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
