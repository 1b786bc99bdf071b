"""The reference evaluator: one fixed ruler for every finished picture, whatever network the run itself used."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from stylelab import images, parameters, pictures
from stylelab.embedded import EmbeddedEncoder, load_parameters
from stylelab.losses import gram_matrix
from stylelab.parameter_files import sha256_of
from stylelab.pyramid import Level
from stylelab.shelves import NETWORKS
from stylelab.vgg import CAFFE, Encoder

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SMALLEST_SIDE = 16  # pixels, of relu5_1


def ruler(file: Path | None, *, device: torch.device | str = "cpu") -> tuple[str, nn.Module]:
    """The ruler's name and its network; of many runs the same.

    Args:
        file: Caffe VGG-19 parameters; without them the embedded network is the ruler, under a name of its own.
        device: where the network is to be.
    """
    key = ("ruler", file and sha256_of(file), str(device))
    name, network = NETWORKS.get(key, lambda: _ruler(file))
    return name, network.to(device)


def _ruler(file: Path | None) -> tuple[str, nn.Module]:
    layers = (*STYLE_LAYERS, CONTENT_LAYER)
    if file is None:
        return "embedded_reference", EmbeddedEncoder(layers, load_parameters())
    network = Encoder(parameters.read(file, CAFFE), layers=layers, pool="average", pool_factor=1.0, padding="zeros")
    return "reference", network


def judge(
    network: nn.Module,
    *,
    pastiche: Image.Image,
    content: Image.Image,
    styles: Sequence[tuple[float, Image.Image]],
    level: Level,
) -> dict[str, float]:
    """Relative squared distances of a finished picture from its content and its style: a `Judge`'s of one picture."""
    return Judge(network, content=content, styles=styles, level=level)(pastiche)


def weighted(styles: Sequence[Image.Image], weights: Sequence[float] | None) -> list[tuple[float, Image.Image]]:
    """Style pictures with weights that sum to one; None: all equal."""
    shares = weights or [1.0] * len(styles)
    return [(share / sum(shares), style) for share, style in zip(shares, styles, strict=True)]


class Judge:
    """Holds pictures of one size against their content and style, whose own features it computes once.

    Args:
        network: `ruler`'s, on `device`.
        content, styles: as decoded; styles with weights that sum to one, their Gram matrices averaged.
        level: the one whose sizes they are brought to.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        content: Image.Image,
        styles: Sequence[tuple[float, Image.Image]],
        level: Level,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.device = network, device
        sides = [side for size in (level.canvas, *level.styles) for side in size]
        self.large_enough = min(sides) >= SMALLEST_SIDE
        self.target: Tensor | None = None
        self.grams: dict[str, Tensor] = {}
        if self.large_enough:
            self.target = self._features(pictures.resize(content, level.canvas))[CONTENT_LAYER]
        for (share, style), size in zip(styles, level.styles, strict=True) if self.large_enough else ():
            features = self._features(pictures.resize(style, size))
            for layer in STYLE_LAYERS:
                self.grams[layer] = self.grams.get(layer, 0) + share * gram_matrix(features[layer])

    def _features(self, picture: Image.Image) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            return self.network(images.from_picture(picture).to(self.device))

    def __call__(self, pastiche: Image.Image) -> dict[str, float]:
        """Relative squared distances of a picture, as saved: clipped and rounded to 8 bits.

        Returns:
            `content`: ||F - P||^2 / ||P||^2 at relu4_2; `style/<layer>`: ||G - A||^2 / ||A||^2; `style`: their mean. No
            style where there is no style picture; nothing where a picture is too small for relu5_1.
        """
        if not self.large_enough or min(pastiche.size) < SMALLEST_SIDE:
            return {}
        with torch.inference_mode():
            painted = self._features(pastiche)
            found = {"content": relative(painted[CONTENT_LAYER], self.target)}
            if self.grams:
                by_layer = {layer: relative(gram_matrix(painted[layer]), self.grams[layer]) for layer in STYLE_LAYERS}
                found["style"] = sum(by_layer.values()) / len(by_layer)
                found |= {f"style/{layer}": value for layer, value in by_layer.items()}
        return found


def relative(found: Tensor, target: Tensor) -> float:
    """||found - target||^2 / ||target||^2."""
    return float((found - target).square().sum(dtype=torch.float64) / target.square().sum(dtype=torch.float64))
