"""VGG-19 as the teacher: average pools, every filter rescaled to mean activation one, as vgg19_normalised is."""

from pathlib import Path

import torch
from torch import Tensor

from stylelab import parameters
from stylelab.embedded import PARAMETERS
from stylelab.vgg import CAFFE, Encoder, Parameters

MEANS = PARAMETERS.parent / "vgg19_caffe_mean_activations.json"


def normalised(path: Path) -> tuple[Parameters, dict[str, Tensor]]:
    """VGG-19 rescaled, and what its filters were divided by: relu1_1 -> (C,). path: the Caffe parameters."""
    caffe, means = parameters.read(path, CAFFE), parameters.read_means(MEANS, pool="average")
    rescaled = parameters.normalise(caffe, means)
    # Rectified filters scale with their biases, so the biases tell how normalise treated the dead ones.
    scales = {}
    for name, bias in caffe.biases.items():
        layer = name.replace("conv", "relu")
        scales[layer] = torch.where(means[layer] > 0, means[layer], bias / rescaled.biases[name])
    return rescaled, scales


def encoder(of: Parameters, layers: tuple[str, ...]) -> Encoder:
    """The network that gives these layers."""
    return Encoder(of, layers=layers, pool="average", pool_factor=1.0, padding="zeros")
