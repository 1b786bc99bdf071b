"""Convolutions summed as they are written, and products over channels: by oneDNN where it can be had."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_CHANNELS = 128  # whose inner products on one thread oneDNN finds faster than MKL
MOST_ROWS = 1 << 13  # of which they are taken at a time: channels are copied together first


class Direct:
    """Filters in the layout that runs fastest here: oneDNN's own where it can be had, else channels-last.

    Args:
        filters: (out, in, height, width), in the type that it computes in.
        padding: rows and columns of zeros on each side.
        stride: places between those that it is taken at, along both axes.
    """

    def __init__(self, filters: Tensor, *, padding: Sequence[int], stride: int = 1) -> None:
        self.padding, self.stride = list(padding), [stride, stride]
        self.filters = filters.contiguous(memory_format=torch.channels_last)
        pointwise = filters.shape[2:] == (1, 1) and not any(padding)
        self.matrix = filters[:, :, 0, 0].contiguous() if pointwise and onednn_takes(filters) else None
        if self.matrix is None and onednn_takes(filters):
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self.filters = reorder(self.filters, self.padding, self.stride, [1, 1], 1, None)

    def __call__(self, inputs: Tensor, bias: Tensor | None = None, *, rectified: bool = False) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W'), channels-last, rectified within the same pass over memory if wanted."""
        if self.matrix is not None:
            batch, _, height, width = inputs.shape
            after = "relu" if rectified else "none"
            own = inputs.permute(0, 2, 3, 1).reshape(-1, inputs.shape[1])
            found = torch.ops.mkldnn._linear_pointwise(own, self.matrix, bias, after, [], "")
            return found.view(batch, height, width, -1).permute(0, 3, 1, 2)
        if self.filters.is_mkldnn:
            ones, after = [1, 1], "relu" if rectified else "none"
            return torch.ops.mkldnn._convolution_pointwise(
                inputs, self.filters, bias, self.padding, self.stride, ones, 1, after, [], ""
            )
        found = F.conv2d(inputs, self.filters, bias, self.stride, self.padding)
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


def inner_products(features: Tensor) -> Tensor:
    """Of all channels with all others: channels-last (N, C, H, W) -> (N, C, C), in their type."""
    if features.dtype == torch.float32 and onednn_takes(features):
        # On one thread torch hands oneDNN only what passes for a linear layer.
        if torch.get_num_threads() > 1:
            return torch.stack([_by_convolution(one) for one in features.split(1)])
        if features.shape[1] >= FEWEST_CHANNELS:
            return torch.stack([_by_halves(own) for own in rows(features)])
    own = rows(features)
    return own.transpose(1, 2) @ own


def _by_convolution(features: Tensor) -> Tensor:
    """The gradient of a 1 x 1 convolution's filters, which is the same sum: in half of the time that MKL takes."""
    filters = features.new_empty(features.shape[1], features.shape[1], 1, 1)
    nothing, ones, wanted = [0, 0], [1, 1], [False, True, False]
    found = torch.ops.aten.convolution_backward(
        features, features, filters, None, ones, nothing, ones, False, nothing, 1, wanted
    )
    return found[1][..., 0, 0]


def _by_halves(own: Tensor) -> Tensor:
    """Rows (M, C) -> (C, C): a linear layer for each half of the channels, a quarter of the products taken once."""
    half = own.shape[1] // 2
    found = own.new_zeros(own.shape[1], own.shape[1])
    for part in own.split(MOST_ROWS):
        channels = part.t().contiguous()
        for top, ours, theirs in ((0, channels[:half], channels[:half]), (half, channels[half:], channels)):
            products = torch.ops.mkldnn._linear_pointwise(ours, theirs, None, "none", [], "")
            found[top : top + len(ours), : len(theirs)] += products
    found[:half, half:] = found[half:, :half].t()
    return found


def products_beyond(features: Tensor, expected: Tensor, *, share: float, factor: float) -> Tensor:
    """factor * inner products - share * expected, (N, C, C), in their type.

    In a type of few digits what is expected is subtracted before the sum is rounded.
    """
    if features.dtype == torch.float32:
        return inner_products(features).mul_(factor).sub_(expected, alpha=share)
    own = rows(features)
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
