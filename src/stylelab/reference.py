"""The reference evaluator: one fixed ruler for every finished picture, whatever network the run itself used."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from stylelab import images, parameters, pictures
from stylelab.embedded import EmbeddedEncoder, load_parameters
from stylelab.losses import gram_matrix
from stylelab.pyramid import Level
from stylelab.vgg import CAFFE, Encoder

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SMALLEST_SIDE = 16  # pixels, of relu5_1


def ruler(file: Path | None) -> tuple[str, nn.Module]:
    """The ruler's name and its network.

    Args:
        file: Caffe VGG-19 parameters; without them the embedded network is the ruler, under a name of its own.
    """
    layers = (*STYLE_LAYERS, CONTENT_LAYER)
    if file is None:
        return "embedded_reference", EmbeddedEncoder(layers, load_parameters())
    network = Encoder(
        parameters.read(file, CAFFE), layers=layers, pool="average", pool_factor=1.0, padding="zeros"
    )
    return "reference", network


def judge(
    network: nn.Module,
    *,
    pastiche: Image.Image,
    content: Image.Image,
    styles: Sequence[tuple[float, Image.Image]],
    level: Level,
) -> dict[str, float]:
    """Relative squared distances of a finished picture from its content and its style.

    Args:
        network: `ruler`'s.
        pastiche: as saved: clipped and rounded to 8 bits.
        content, styles: as decoded; styles with weights that sum to one, their Gram matrices averaged.
        level: the last one, whose sizes they are brought to.

    Returns:
        `content`: ||F - P||^2 / ||P||^2 at relu4_2; `style/<layer>`: ||G - A||^2 / ||A||^2; `style`: their mean. No
        style where there is no style picture; nothing where a picture is too small for relu5_1.
    """
    if min(*pastiche.size, *(side for size in level.styles for side in size)) < SMALLEST_SIDE:
        return {}
    with torch.inference_mode():
        painted = network(images.from_picture(pastiche))
        target = network(images.from_picture(pictures.resize(content, level.canvas)))[CONTENT_LAYER]
        found = {"content": relative(painted[CONTENT_LAYER], target)}
        if styles:
            grams = _mean_grams(network, styles, level)
            by_layer = {layer: relative(gram_matrix(painted[layer]), grams[layer]) for layer in STYLE_LAYERS}
            found["style"] = sum(by_layer.values()) / len(by_layer)
            found |= {f"style/{layer}": value for layer, value in by_layer.items()}
    return found


def _mean_grams(
    network: nn.Module, styles: Sequence[tuple[float, Image.Image]], level: Level
) -> Mapping[str, Tensor]:
    grams: dict[str, Tensor] = {}
    for (share, style), size in zip(styles, level.styles, strict=True):
        features = network(images.from_picture(pictures.resize(style, size)))
        for layer in STYLE_LAYERS:
            grams[layer] = grams.get(layer, 0) + share * gram_matrix(features[layer])
    return grams


def relative(found: Tensor, target: Tensor) -> float:
    """||found - target||^2 / ||target||^2."""
    return float((found - target).square().sum(dtype=torch.float64) / target.square().sum(dtype=torch.float64))
