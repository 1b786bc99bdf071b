"""VGG-19's errors and their gradient without autograd: each pass ordered by hand, nothing kept that is not used again.

`stylelab.vgg.Encoder` through `stylelab.autograd` is what it must equal, and does what it can't. What makes it faster:
channels-last throughout; filters packed once for both directions; in float32 half of the multiplications where there
are many channels (winograd.py), else bias and rectifier within the convolution; Gram matrices and their closed-form
gradient as one product each over channels-last rows; the first two blocks in bands of rows that stay in the cache, of
whose first layers nothing is kept: they are computed again.
"""

import copy

import torch
from torch import nn

from stylelab.embedded import EmbeddedEncoder
from stylelab.engine.embedded import EmbeddedEngine
from stylelab.engine.engine import Engine
from stylelab.vgg import Encoder

__all__ = ["EmbeddedEngine", "Engine", "fastest"]


def fastest(network: nn.Module, arithmetic: torch.dtype) -> Engine | EmbeddedEngine | nn.Module:
    """The network in an arithmetic: an engine where there is one for it, else the network itself, converted.

    Args:
        network: in float32.
        arithmetic: float32, bfloat16 or float16.
    """
    if isinstance(network, EmbeddedEncoder):
        return EmbeddedEngine(network, arithmetic)
    if isinstance(network, Encoder):
        return Engine(network, arithmetic)
    return network if arithmetic == torch.float32 else copy.deepcopy(network).to(arithmetic)
