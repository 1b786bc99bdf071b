"""VGG-19's convolutions and pools as an encoder: image -> {layer: features}, each layer under its own name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylelab.layers import LAYERS, deepest


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From sRGB in [0, 1] to what the parameters were trained on: pick channels, scale, subtract, divide."""

    channels: tuple[int, int, int]  # which of R, G, B comes first, second, third
    scale: float  # 255 or 1: the largest value before the mean is subtracted
    mean: tuple[float, float, float]  # in the order of `channels`, after scaling
    deviation: tuple[float, float, float]

    def of(self, images: Tensor, kind: torch.dtype) -> Tensor:
        """The network's input: (N, 3, H, W), channels-last, in a type."""
        columns = zip(self.channels, self.mean, self.deviation, strict=True)  # numbers: tensors would wait for a GPU
        ready = [(images[:, one] * self.scale - mean) / deviation for one, mean, deviation in columns]
        return torch.stack(ready, dim=1).to(kind, memory_format=torch.channels_last)


CAFFE = Preprocessing(channels=(2, 1, 0), scale=255.0, mean=(103.939, 116.779, 123.68), deviation=(1.0, 1.0, 1.0))
TORCHVISION = Preprocessing(channels=(0, 1, 2), scale=1.0, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Filters and biases by convolution, with the one preprocessing that they are valid for."""

    filters: Mapping[str, Tensor]  # conv1_1 -> (out, in, 3, 3), float32
    biases: Mapping[str, Tensor]  # conv1_1 -> (out,), float32
    preprocessing: Preprocessing


POOLS: Mapping[str, Callable[..., Tensor]] = {"average": F.avg_pool2d, "max": F.max_pool2d}
PADDINGS = {"zeros": "constant", "replicate": "replicate", "reflect": "reflect"}


class Encoder(nn.Module):
    """VGG-19 (Simonyan & Zisserman 2014, configuration E), cut after the deepest layer asked for, frozen.

    Args:
        parameters: filters, biases and their preprocessing.
        layers: names out of `stylelab.layers.LAYERS`, in any order.
        pool: "average" (Gatys et al. 2015) or "max" (as trained).
        pool_factor: multiplies what each pool returns; 1 in the papers.
        padding: "zeros" (as trained), "replicate" or "reflect", around every convolution's input.
    """

    def __init__(
        self, parameters: Parameters, *, layers: Sequence[str], pool: str, pool_factor: float, padding: str
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.pool_kind, self.pool_factor, self.padding = pool, pool_factor, padding
        self.path = LAYERS[: LAYERS.index(deepest(self.layers)) + 1]
        self.preprocessing = parameters.preprocessing
        for name in self.path:
            if name.startswith("conv"):
                filters = parameters.filters[name].contiguous(memory_format=torch.channels_last)
                self.register_buffer(f"{name}_filters", filters, persistent=False)
                self.register_buffer(f"{name}_bias", parameters.biases[name], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features of images at the layers asked for.

        Args:
            images: (N, 3, H, W), sRGB, in [0, 1]; H and W at least the deepest layer's stride.

        Returns:
            {layer: (N, C, H / stride, W / stride)}, in the order in which they were named, of the parameters' type.
        """
        found = {}
        here = self.preprocessing.of(images, self.conv1_1_filters.dtype)
        for name in self.path:
            if name.startswith("conv"):
                here = self._convolve(here, name)
            elif name.startswith("relu"):
                here = F.relu(here)  # never in place: the tensor before it is a layer of its own
            else:
                here = POOLS[self.pool_kind](here, 2)
                if self.pool_factor != 1:
                    here = here * self.pool_factor  # Gatys et al. (2015) do not do this.
            if name in self.layers:
                found[name] = here
        return {name: found[name] for name in self.layers}

    def filters(self, name: str) -> tuple[Tensor, Tensor]:
        """A convolution's filters, (out, in, 3, 3), and its bias."""
        return getattr(self, f"{name}_filters"), getattr(self, f"{name}_bias")

    def _convolve(self, here: Tensor, name: str) -> Tensor:
        filters, bias = self.filters(name)
        if self.padding == "zeros":
            return F.conv2d(here, filters, bias, padding=1)
        return F.conv2d(F.pad(here, (1, 1, 1, 1), mode=PADDINGS[self.padding]), filters, bias)
