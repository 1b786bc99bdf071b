"""Convolutions summed as they are written, and products over channels: by oneDNN where it can be had."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_CHANNELS = 128  # whose inner products oneDNN finds faster than MKL, on some CPUs twice as fast
MOST_ROWS = 1 << 13  # of which they are taken at a time: channels are copied together first


class Direct:
    """Filters in the layout that runs fastest here: oneDNN's own where it can be had, else channels-last.

    Args:
        filters: (out, in, height, width), in the type that it computes in.
        padding: rows and columns of zeros on each side.
    """

    def __init__(self, filters: Tensor, *, padding: Sequence[int]) -> None:
        self.padding = list(padding)
        self.filters = filters.contiguous(memory_format=torch.channels_last)
        if onednn_takes(filters):
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self.filters = reorder(self.filters, self.padding, [1, 1], [1, 1], 1, None)

    def __call__(self, inputs: Tensor, bias: Tensor | None = None, *, rectified: bool = False) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W'), channels-last, rectified within the same pass over memory if wanted."""
        if self.filters.is_mkldnn:
            ones, after = [1, 1], "relu" if rectified else "none"
            return torch.ops.mkldnn._convolution_pointwise(
                inputs, self.filters, bias, self.padding, ones, ones, 1, after, [], ""
            )
        found = F.conv2d(inputs, self.filters, bias, padding=self.padding)
        found = found.contiguous(memory_format=torch.channels_last)
        return found.relu_() if rectified else found


def add_product_(gradient: Tensor, features: Tensor, matrix: Tensor, constant: Tensor | None = None) -> Tensor:
    """gradient += features times a matrix over channels, and a constant, in place.

    Args:
        gradient, features: (N, C, H, W), channels-last.
        matrix: (N, C, C), symmetric, in their type.
        constant: (N, C), in their type.
    """
    if len(matrix) == 1 and onednn_takes(matrix):  # on some CPUs a 1 x 1 convolution of oneDNN is twice as fast as MKL
        nothing, ones = [0, 0], [1, 1]
        filters, bias = matrix[0, :, :, None, None], None if constant is None else constant[0]
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            gradient, features, filters, bias, nothing, ones, ones, 1, "add", 1.0, None, [], None
        )
    rows(gradient).baddbmm_(rows(features), matrix)
    return gradient if constant is None else gradient.add_(constant[:, :, None, None])


def inner_products(own: Tensor) -> Tensor:
    """Of all channels with all others: rows (N, M, C) -> (N, C, C), in their type."""
    if len(own) > 1 or own.dtype != torch.float32 or own.shape[2] < FEWEST_CHANNELS or not onednn_takes(own):
        return own.transpose(1, 2) @ own
    found = own.new_zeros(1, own.shape[2], own.shape[2])
    for part in own[0].split(MOST_ROWS):
        channels = part.t().contiguous()
        found += torch.ops.mkldnn._linear_pointwise(channels, channels, None, "none", [], "")
    return found


def products_beyond(own: Tensor, expected: Tensor, *, share: float, factor: float) -> Tensor:
    """factor * inner products - share * expected, (N, C, C), in their type.

    In a type of few digits what is expected is subtracted before the sum is rounded.
    """
    if own.dtype == torch.float32:
        return inner_products(own).mul_(factor).sub_(expected, alpha=share)
    if len(own) == 1:
        return torch.addmm(expected[0], own[0].t(), own[0], beta=-share, alpha=factor)[None]
    return torch.baddbmm(expected, own.transpose(1, 2), own, beta=-share, alpha=factor)


def rows(features: Tensor) -> Tensor:
    """Channels-last features (N, C, H, W) as (N, H*W, C): the same memory."""
    batch, channels, height, width = features.shape
    return features.permute(0, 2, 3, 1).view(batch, height * width, channels)


def onednn_takes(filters: Tensor) -> bool:
    """Whether oneDNN's fused operators take this tensor; they are torch's own, for its compiler, and may go."""
    if filters.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if filters.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return filters.dtype == torch.float32
