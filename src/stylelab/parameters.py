"""VGG-19's parameters in memory: read from a file, rescaled to mean activation one, or drawn at random."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylelab.layers import CONVOLUTIONS, LAYERS, channels
from stylelab.vgg import POOLS, TORCHVISION, Encoder, Parameters, Preprocessing

FILE_KEYS = dict(  # conv1_1 -> features.0, numbered as torchvision's `vgg19().features`, which both known files follow
    zip(CONVOLUTIONS, (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), strict=True)
)
RECTIFIED = tuple(name.replace("conv", "relu") for name in CONVOLUTIONS)
DEAD = 1e-6  # a filter whose mean activation is below this part of its layer's is left at the layer's scale


def read(path: Path, preprocessing: Preprocessing) -> Parameters:
    """The sixteen convolutions of a .pth or .safetensors file, in float32.

    Args:
        path: keys `features.N.weight` and `features.N.bias`, with or without a classifier.
        preprocessing: what the file's parameters were trained with; a file does not tell.

    Raises:
        ValueError: the file can't be read, or is not VGG-19.
    """
    tensors = _read_tensors(path)
    filters, biases = {}, {}
    before = 3
    for name, number in FILE_KEYS.items():
        after = channels(name)
        for kind, found, shape in (("weight", filters, (after, before, 3, 3)), ("bias", biases, (after,))):
            tensor = tensors.get(f"features.{number}.{kind}")
            if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
                what = tuple(tensor.shape) if isinstance(tensor, Tensor) else "missing"
                raise ValueError(f"{path}: features.{number}.{kind} is {what}, VGG-19's {name} has {shape}")
            found[name] = tensor.float()
        before = after
    return Parameters(filters=filters, biases=biases, preprocessing=preprocessing)


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what unpickling raises for damaged bytes is not limited to any list of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"{path}: can't be read as parameters ({reason}): give a .pth or .safetensors file") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: holds {type(found).__name__}, not parameters by name: give a file of VGG-19's")
    return found


def extract(original: Path, target: Path) -> None:
    """Keep the convolutions of a file alone, in float32 safetensors, written whole or not at all."""
    wanted = {f"features.{number}.{kind}" for number in FILE_KEYS.values() for kind in ("weight", "bias")}
    tensors = {key: value.float().contiguous() for key, value in _read_tensors(original).items() if key in wanted}
    partial = target.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(target)


def normalise(parameters: Parameters, means: Mapping[str, Tensor]) -> Parameters:
    """Rescale every filter so that its mean rectified activation is one: section 2 of Gatys et al. (2016).

    Args:
        parameters: as trained.
        means: relu1_1 -> (C,), each filter's mean activation over pictures and positions, with the pooling that the
            network will be used with; scaling is exact because rectifier and pools are positively homogeneous.

    A filter that never fires is divided by its layer's mean instead, so that no number explodes.
    """
    filters, biases = {}, {}
    before = None
    for name in CONVOLUTIONS:
        scale = _without_dead(means[name.replace("conv", "relu")])
        weight = parameters.filters[name] / scale.view(-1, 1, 1, 1)
        filters[name] = weight if before is None else weight * before.view(1, -1, 1, 1)
        biases[name] = parameters.biases[name] / scale
        before = scale
    return replace(parameters, filters=filters, biases=biases)


def _without_dead(means: Tensor) -> Tensor:
    of_layer = means.mean()
    instead = of_layer if of_layer > 0 else torch.ones_like(of_layer)  # a wholly silent layer stays as it is
    return torch.where(means > DEAD * of_layer, means, instead)


def mean_activations(
    parameters: Parameters, images: Iterable[Tensor], *, pool: str, pool_factor: float = 1.0
) -> dict[str, Tensor]:
    """Every filter's mean rectified activation over images and positions: relu1_1 -> (C,), float64.

    Args:
        parameters: as trained.
        images: (N, 3, H, W) each, of any sizes.
        pool: "average" or "max"; the means of deep layers depend on it.
        pool_factor: multiplies what each pool returns, and so the means behind it.
    """
    encoder = Encoder(parameters, layers=RECTIFIED, pool=pool, pool_factor=pool_factor, padding="zeros")
    sums = {name: torch.zeros(channels(name), dtype=torch.float64) for name in RECTIFIED}
    positions = dict.fromkeys(RECTIFIED, 0)
    with torch.inference_mode():
        for image in images:
            for name, features in encoder(image).items():
                sums[name] += features.sum(dim=(0, 2, 3), dtype=torch.float64)
                positions[name] += features[:, 0].numel()
    return {name: sums[name] / positions[name] for name in RECTIFIED}


def means_key(*, pool: str, pool_factor: float) -> str:
    """The name of a pooling in a file of means: `average`, `max`, `average x 2`."""
    return pool if pool_factor == 1 else f"{pool} x {pool_factor:g}"


def read_means(path: Path, *, pool: str, pool_factor: float = 1.0) -> dict[str, Tensor]:
    """The means in a file that `stylelab-parameters --mean-activation` wrote: relu1_1 -> (C,), float32."""
    key = means_key(pool=pool, pool_factor=pool_factor)
    try:
        of_pool = json.loads(path.read_text())[key]
        found = {name: torch.tensor(of_pool[name], dtype=torch.float32) for name in RECTIFIED}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: no mean activations for {key} pooling ({error}): "
            "measure them by stylelab-parameters --mean-activation"
        ) from error
    for name, means in found.items():
        if means.shape != (channels(name),):
            raise ValueError(f"{path}: {name} has {means.numel()} means, VGG-19 has {channels(name)} filters there")
    return found


def random(*, seed: int, pool: str, pool_factor: float = 1.0) -> Parameters:
    """VGG-19 with filters drawn from a normal distribution, each layer rescaled to mean activation one on noise.

    The control of an ablation: what remains of a painting when nothing was learned. Biases are zero, so activations
    keep their size at every depth.
    """
    generator = torch.Generator().manual_seed(seed)
    filters, biases = {}, {}
    here = _coloured_noise(generator)
    for name in LAYERS[: LAYERS.index("relu5_4")]:
        if name.startswith("conv"):
            filters[name] = torch.randn(channels(name), here.shape[1], 3, 3, generator=generator)
            response = torch.nn.functional.conv2d(here, filters[name], padding=1).relu()
            filters[name] /= response.mean()
            biases[name] = torch.zeros(channels(name))
            here = response / response.mean()
        elif name.startswith("pool"):
            here = POOLS[pool](here, 2) * pool_factor
    return Parameters(filters=filters, biases=biases, preprocessing=TORCHVISION)


def _coloured_noise(generator: torch.Generator) -> Tensor:
    """(1, 3, 128, 128) noise with equal energy in every octave, roughly as photographs have it, of unit deviation."""
    octaves = (torch.randn(1, 3, side, side, generator=generator) for side in (4, 8, 16, 32, 64, 128))
    noise = sum(torch.nn.functional.interpolate(octave, size=128, mode="bilinear") for octave in octaves)
    return noise / noise.std()
