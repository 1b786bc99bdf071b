"""A 3 x 3 convolution with frozen filters, laid out once for the machine, in both directions."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Convolution:
    """Filters packed twice: for the way ahead, and turned round for the gradient's way back.

    The gradient of a convolution with zero padding is a convolution of the gradient with the filters mirrored and their
    two channel axes swapped, so both ways run the machine's fastest forward convolution.

    Args:
        filters: (out, in, 3, 3), float32.
        bias: (out,), float32.
        padding: "zeros", "replicate" or "reflect".
        arithmetic: the type that it computes in.
    """

    def __init__(self, filters: Tensor, bias: Tensor, *, padding: str, arithmetic: torch.dtype) -> None:
        self.padding, self.arithmetic = padding, arithmetic
        self.bias = bias.to(arithmetic)
        rounded = filters.to(arithmetic)
        around = 1 if padding == "zeros" else 2  # else the gradient of the padding itself is wanted too
        self.back = packed(rounded.flip(2, 3).transpose(0, 1), padding=around)
        self.ahead = packed(self._ahead_filters(filters, rounded), padding=2 - around)

    def _ahead_filters(self, filters: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W), channels-last, rectified within the same pass over memory if wanted."""
        if self.padding == "zeros":
            return convolve(inputs, self.ahead, self.bias, padding=1, rectified=rectified)
        padded = F.pad(inputs, (1, 1, 1, 1), mode=self.padding).contiguous(memory_format=torch.channels_last)
        return convolve(padded, self.ahead, self.bias, padding=0, rectified=rectified)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient at the inputs, (N, in, H, W), from that at the outputs before the rectifier."""
        if self.padding == "zeros":
            return convolve(gradient, self.back, None, padding=1, rectified=False)
        return _unpadded(convolve(gradient, self.back, None, padding=2, rectified=False), self.padding)


class FirstConvolution(Convolution):
    """conv1_1, whose three input channels leave room for the digits that bfloat16 drops.

    Pixels and filters are each split into a rounded part and a rest, and rounded * rounded + rest * rounded +
    rounded * rest are added up. Matrix units take sixteen channels or more at once, so nine cost what three do, and the
    error of pixels and filters at 8 bits all but goes.
    """

    def _ahead_filters(self, filters: Tensor, rounded: Tensor) -> Tensor:
        if self.arithmetic == filters.dtype:
            return rounded
        return torch.cat((rounded, rounded, (filters - rounded.float()).to(self.arithmetic)), dim=1)

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        """As of every convolution, of inputs in float32."""
        if self.arithmetic != inputs.dtype:
            rounded = inputs.to(self.arithmetic)
            rest = (inputs - rounded.float()).to(self.arithmetic)
            inputs = torch.cat((rounded, rest, rounded), dim=1).contiguous(memory_format=torch.channels_last)
        return super().forward(inputs, rectified=rectified)


def packed(filters: Tensor, *, padding: int) -> Tensor:
    """Filters in the layout that `convolve` runs fastest with: oneDNN's own where it can be had, else channels-last."""
    plain = filters.contiguous(memory_format=torch.channels_last)
    if not _onednn(filters):
        return plain
    around, ones = [padding, padding], [1, 1]
    return torch.ops.mkldnn._reorder_convolution_weight(plain, around, ones, ones, 1, None)


def convolve(inputs: Tensor, filters: Tensor, bias: Tensor | None, *, padding: int, rectified: bool) -> Tensor:
    """A convolution with what `packed` returned."""
    if filters.is_mkldnn:
        around, ones = [padding, padding], [1, 1]
        after = "relu" if rectified else "none"
        return torch.ops.mkldnn._convolution_pointwise(inputs, filters, bias, around, ones, ones, 1, after, [], "")
    out = F.conv2d(inputs, filters, bias, padding=padding).contiguous(memory_format=torch.channels_last)
    return out.relu_() if rectified else out


def add_product_(gradient: Tensor, features: Tensor, matrix: Tensor, constant: Tensor | None = None) -> Tensor:
    """gradient += features times a matrix over channels, and a constant, in place.

    Args:
        gradient, features: (N, C, H, W), channels-last.
        matrix: (N, C, C), symmetric, in their type.
        constant: (N, C), in their type.
    """
    if len(matrix) == 1 and _onednn(matrix):  # on some CPUs a 1 x 1 convolution of oneDNN is twice as fast as MKL
        nothing, ones = [0, 0], [1, 1]
        filters, bias = matrix[0, :, :, None, None], None if constant is None else constant[0]
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            gradient, features, filters, bias, nothing, ones, ones, 1, "add", 1.0, None, [], None
        )
    rows(gradient).baddbmm_(rows(features), matrix)
    return gradient if constant is None else gradient.add_(constant[:, :, None, None])


def rows(features: Tensor) -> Tensor:
    """Channels-last features (N, C, H, W) as (N, H*W, C): the same memory."""
    batch, channels, height, width = features.shape
    return features.permute(0, 2, 3, 1).view(batch, height * width, channels)


def _onednn(filters: Tensor) -> bool:
    """Whether oneDNN's fused operators take this tensor; they are torch's own, for its compiler, and may go."""
    if filters.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if filters.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return filters.dtype == torch.float32


def _unpadded(gradient: Tensor, padding: str) -> Tensor:
    """The gradient before replicating or reflecting padding: (N, C, H + 2, W + 2) -> (N, C, H, W)."""
    inner = gradient[..., 1:-1, 1:-1]
    backward = {
        "replicate": torch.ops.aten.replication_pad2d_backward,
        "reflect": torch.ops.aten.reflection_pad2d_backward,
    }[padding]
    return backward(gradient, inner, [1, 1, 1, 1]).contiguous(memory_format=torch.channels_last)
