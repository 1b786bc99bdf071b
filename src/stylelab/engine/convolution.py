"""A 3 x 3 convolution with frozen filters, laid out once for the machine, in both directions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylelab.engine import winograd
from stylelab.engine.direct import Direct
from stylelab.engine.winograd import Winograd


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
            return self.ahead(inputs, self.bias, rectified=rectified)
        padded = F.pad(inputs, (1, 1, 1, 1), mode=self.padding).contiguous(memory_format=torch.channels_last)
        return self.ahead(padded, self.bias, rectified=rectified)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient at the inputs, (N, in, H, W), from that at the outputs before the rectifier."""
        found = self.back(gradient)
        return found if self.padding == "zeros" else _unpadded(found, self.padding)


class FirstConvolution(Convolution):
    """conv1_1, whose three input channels leave room for the digits that bfloat16 drops.

    Pixels and filters are each split into a rounded part and a rest, and rounded * rounded + rest * rounded +
    rounded * rest are added up. Matrix units take sixteen channels or more at once, so nine cost what three do, and the
    error of pixels and filters at 8 bits all but goes.
    """

    def _ahead_filters(self, filters: Tensor, rounded: Tensor) -> Tensor:
        return split_filters(filters, self.arithmetic)

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        """As of every convolution, of inputs in float32."""
        return super().forward(split_inputs(inputs, self.arithmetic), rectified=rectified)


def split_filters(filters: Tensor, arithmetic: torch.dtype) -> Tensor:
    """Filters that go with what `split_inputs` makes of inputs: (out, in, h, w) -> (out, in or 3 in, h, w)."""
    rounded = filters.to(arithmetic)
    if rounded.dtype == filters.dtype:
        return rounded
    return torch.cat((rounded, rounded, (filters - rounded.float()).to(arithmetic)), dim=1)


def split_inputs(inputs: Tensor, arithmetic: torch.dtype) -> Tensor:
    """In a type of fewer digits inputs three times over, as `FirstConvolution` says: channels-last."""
    if arithmetic == inputs.dtype:
        return inputs
    rounded = inputs.to(arithmetic)
    rest = (inputs - rounded.float()).to(arithmetic)
    return torch.cat((rounded, rest, rounded), dim=1).contiguous(memory_format=torch.channels_last)


def packed(filters: Tensor, *, padding: int) -> Direct | Winograd:
    """Filters (out, in, height, width) laid out for the way that is fastest here."""
    if winograd.pays(filters):
        return Winograd(filters, padding=padding)
    return Direct(filters, padding=(padding, padding))


def _unpadded(gradient: Tensor, padding: str) -> Tensor:
    """The gradient before replicating or reflecting padding: (N, C, H + 2, W + 2) -> (N, C, H, W)."""
    inner = gradient[..., 1:-1, 1:-1]
    backward = {
        "replicate": torch.ops.aten.replication_pad2d_backward,
        "reflect": torch.ops.aten.reflection_pad2d_backward,
    }[padding]
    return backward(gradient, inner, [1, 1, 1, 1]).contiguous(memory_format=torch.channels_last)
