"""The embedded network: a small stand-in for VGG-19 that ships with the package, made by training/.

It is not VGG-19 and is never called so. It is VGG-19 cut after relu5_1, of fewer channels up to relu4_1, its
convolutions factored, a 3 x 3 one on few channels between two of 1 x 1 (Kim et al. 2016, "Compression of deep
convolutional neural networks"), trained to answer as `vgg19_normalised` with average pools does, so that weights and
experiments carry over. VGG-19: Simonyan & Zisserman (2014), parameters CC BY 4.0.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from stylelab.layers import EMBEDDED_LAYERS, channels

LAYERS = EMBEDDED_LAYERS
PARAMETERS = Path(__file__).parent / "data" / "embedded.safetensors"
MEAN_RGB = (123.68, 116.779, 103.939)  # of VGG-19's training images, 0-255 (Simonyan & Zisserman 2014)


class Part(NamedTuple):
    """One part of the trunk: an average pool of two by two, or convolutions with a rectifier behind the last."""

    name: str
    inputs: int  # channels
    width: int  # channels of what it gives
    layer: str | None = None  # of VGG-19, that it stands for
    ranks: tuple[int, int] | None = None  # of one that is factored: channels that its 3 x 3 filters take and give
    kernel: int = 3
    stride: int = 1

    @property
    def pool(self) -> bool:
        return self.name.startswith("pool")

    @property
    def headed(self) -> bool:
        """Whether a linear head, 1 x 1, makes the layer's channels of its own, which are fewer."""
        return self.layer is not None and self.width < channels(self.layer)

    def convolutions(self) -> dict[str, tuple[int, int, int, int]]:
        """Name -> shape of the weight of each of its convolutions, in their order; the last has a bias too."""
        if self.pool:
            return {}
        if self.ranks is None:
            return {self.name: (self.width, self.inputs, self.kernel, self.kernel)}
        taken, given = self.ranks
        found = {f"{self.name}.reduce": (taken, self.inputs, 1, 1)} if taken < self.inputs else {}
        found[f"{self.name}.filter"] = (given, taken, self.kernel, self.kernel)
        return found | {f"{self.name}.expand": (self.width, given, 1, 1)}


TRUNK = (
    Part("conv1_1", 3, 24, "relu1_1"),
    Part("conv1_2", 24, 32, kernel=4, stride=2),  # its pool in it
    Part("conv2_1", 32, 64, "relu2_1", (32, 32)),
    Part("conv2_2", 64, 96, "relu2_2", (32, 32)),
    Part("pool2", 96, 96),
    Part("conv3_1", 96, 160, "relu3_1", (48, 48)),
    Part("conv3_2", 160, 192, None, (32, 48)),
    Part("conv3_3", 192, 192, None, (32, 48)),
    Part("conv3_4", 192, 192, None, (32, 48)),
    Part("pool3", 192, 192),
    Part("conv4_1", 192, 384, "relu4_1", (64, 96)),
    Part("conv4_2", 384, 512, "relu4_2", (96, 96)),
    Part("conv4_3", 512, 512, None, (128, 128)),
    Part("conv4_4", 512, 512, None, (160, 160)),
    Part("pool4", 512, 512),
    Part("conv5_1", 512, 512, "relu5_1", (288, 288)),
)


def parameter_shapes(parts: Sequence[Part] = TRUNK) -> dict[str, tuple[int, ...]]:
    """Name in the file -> shape of every parameter."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in parts:
        convolutions = part.convolutions()
        shapes |= {f"{name}.weight": shape for name, shape in convolutions.items()}
        if convolutions:
            shapes[f"{[*convolutions][-1]}.bias"] = (part.width,)
        if part.headed:
            shapes[f"head.{part.layer}.weight"] = (channels(part.layer), part.width, 1, 1)
            shapes[f"head.{part.layer}.bias"] = (channels(part.layer),)
    return shapes


class EmbeddedEncoder(nn.Module):
    """Images (N, 3, H, W), sRGB in [0, 1] -> {layer: features}, the features in vgg19_normalised's scale.

    Each layer named is (N, channels, H / 2^(block - 1), W / 2^(block - 1)), as many channels as of VGG-19 and sizes
    rounded down, in the type of the parameters. The trunk is cut after the deepest layer asked for. Parameters are
    frozen; the gradient flows to the images.
    """

    def __init__(self, layers: Sequence[str], parameters: Mapping[str, Tensor]):
        super().__init__()
        unknown = [layer for layer in layers if layer not in LAYERS]
        if unknown or not layers:
            found = ", ".join(unknown) or "none"
            raise ValueError(f"layers: the embedded network has {', '.join(LAYERS)}; got {found}")
        self.layers = tuple(layer for layer in LAYERS if layer in layers)
        self.trunk = _cut(self.layers)
        self.values = nn.ParameterDict()
        wanted = [name for part in self.trunk for name in part.convolutions()]
        wanted += [f"head.{part.layer}" for part in self.trunk if part.headed and part.layer in self.layers]
        for name in parameter_shapes():
            if name.rpartition(".")[0] in wanted:
                value = parameters[name].float()
                if value.ndim > 1:
                    value = value.contiguous(memory_format=torch.channels_last)
                self.values[name.replace(".", "/")] = nn.Parameter(value, requires_grad=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        hidden = preprocess(images).to(next(self.parameters()).dtype)
        features = {}
        for part in self.trunk:
            hidden = through(part, hidden, self.convolutions(part))
            if part.layer in self.layers:
                head = self.head(part)
                features[part.layer] = functional.conv2d(hidden, *head) if head else hidden
        return features

    def convolutions(self, part: Part) -> list[tuple[Tensor, Tensor | None]]:
        """Weight and bias of each convolution of a part of the trunk."""
        return [self._named(name) for name in part.convolutions()]

    def head(self, part: Part) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of the head of a part, if it has one."""
        return self._named(f"head.{part.layer}") if part.headed else None

    def _named(self, name: str) -> tuple[Tensor, Tensor | None]:
        weight, bias = (f"{name}.{kind}".replace(".", "/") for kind in ("weight", "bias"))
        return self.values[weight], self.values.get(bias)


def through(part: Part, inputs: Tensor, convolutions: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """What a part of the trunk gives."""
    if part.pool:
        return functional.avg_pool2d(inputs, 2)
    return functional.relu(convolved(part, inputs, convolutions))


def convolved(part: Part, inputs: Tensor, convolutions: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """What a part of the trunk, one that is no pool, gives before its rectifier."""
    for weight, bias in convolutions:
        around = (weight.shape[-1] - 1) // 2
        inputs = functional.conv2d(inputs, weight, bias, part.stride, padding=around)
    return inputs


def preprocess(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] -> centred, channels-last."""
    # Numbers: a tensor of them would wait for a GPU.
    centred = [images[:, place] - mean / 255 for place, mean in enumerate(MEAN_RGB)]
    return torch.stack(centred, dim=1).contiguous(memory_format=torch.channels_last)


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
