"""The network that a configuration names, ready to encode: which parameters, rescaled or not, with which pools."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from stylelab import parameters
from stylelab.embedded import EmbeddedEncoder, load_parameters
from stylelab.spec import Embedded, Pooling, RandomVgg19, Vgg19
from stylelab.vgg import CAFFE, TORCHVISION, Encoder

PREPROCESSING = {"caffe": CAFFE, "torchvision": TORCHVISION}


def encoder(
    network: Vgg19 | RandomVgg19 | Embedded, *, pooling: Pooling, layers: Sequence[str], files: Mapping[str, Path]
) -> nn.Module:
    """An encoder that gives these layers, in float32, on the CPU.

    Args:
        files: what the network is built from: `parameters`, and `means` for a normalised one.
    """
    match network:
        case Embedded():
            return EmbeddedEncoder(layers, load_parameters())
        case RandomVgg19():
            found = parameters.random(seed=network.seed, pool=pooling.kind, pool_factor=pooling.factor)
        case Vgg19():
            found = parameters.read(files["parameters"], PREPROCESSING[network.source])
            if network.normalised:
                found = parameters.normalise(found, _means(files["means"], pooling))
    return Encoder(found, layers=layers, pool=pooling.kind, pool_factor=pooling.factor, padding=network.padding)


def _means(file: Path, pooling: Pooling) -> Mapping[str, Tensor]:
    return parameters.read_means(file, pool=pooling.kind, pool_factor=pooling.factor)
