"""The embedded network's first two convolutions, on blocks of two by two pixels.

A pixel has too few channels to fill a matrix unit. So the first convolution gives four pixels at once, as four times
the channels at half the size. Block (b, a) holds rows 2 b - 1 and 2 b, columns 2 a - 1 and 2 a, so that the second one,
which is 4 x 4 at every second place, is 2 x 2 on blocks. Beyond the picture's edge a block holds noughts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylelab.engine.convolution import split_filters, split_inputs
from stylelab.engine.direct import Direct


class FirstInBlocks:
    """conv1_1, 3 x 3: pictures (N, 3, H, W) -> blocks (N, 4 c, H // 2 + 1, W // 2 + 1). weight: (c, 3, 3, 3)."""

    def __init__(self, weight: Tensor, bias: Tensor, arithmetic: torch.dtype) -> None:
        self.arithmetic = arithmetic
        filters = weight.new_zeros(2, 2, *weight.shape[:2], 4, 4)
        for row in (0, 1):
            for column in (0, 1):
                filters[row, column, :, :, row : row + 3, column : column + 3] = weight
        filters = filters.flatten(0, 2)  # (4 c, 3, 4, 4)
        self.bias = bias.repeat(4).to(arithmetic)
        self.ahead = Direct(split_filters(filters, arithmetic), padding=(2, 2), stride=2)
        # Two of the four taps along each axis reach each of two pixels: back, it is 2 x 2 on blocks too.
        taps = filters.to(arithmetic).unflatten(3, (2, 2)).unflatten(2, (2, 2)).flip(2, 4)  # (4 c, 3, 2, 2, 2, 2)
        back = taps.permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # (2 * 2 * 3, 4 c, 2, 2)
        self.back = Direct(back, padding=(1, 1))

    def forward(self, inputs: Tensor, *, rectified: bool) -> Tensor:
        """Of pictures in float32, rectified if wanted."""
        self.size = inputs.shape[2:]
        found = self.ahead(split_inputs(inputs, self.arithmetic), self.bias, rectified=rectified)
        by_pixel = found.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))  # (N, rows, columns, 2, 2, c)
        by_pixel[:, 0, :, 0] = by_pixel[:, :, 0, :, 0] = 0
        if self.size[0] % 2 == 0:
            by_pixel[:, -1, :, 1] = 0
        if self.size[1] % 2 == 0:
            by_pixel[:, :, -1, :, 1] = 0
        return found

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient at the pictures from that at the blocks before the rectifier."""
        height, width = self.size
        by_pixel = self.back(gradient)[:, :, 1:, 1:].permute(0, 2, 3, 1).unflatten(3, (2, 2, 3))
        return by_pixel.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)[:, :, :height, :width]


class HalvingConvolution:
    """conv1_2, 4 x 4 at every second place: blocks -> (N, out, H // 2, W // 2). weight: (out, c, 4, 4)."""

    def __init__(self, weight: Tensor, bias: Tensor, arithmetic: torch.dtype) -> None:
        taps = weight.to(arithmetic).unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (out, c, 2, 2, 2, 2)
        filters = taps.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)  # (out, 4 c, 2, 2)
        self.bias = bias.to(arithmetic)
        self.ahead = Direct(filters, padding=(0, 0))
        self.back = Direct(filters.flip(2, 3).transpose(0, 1), padding=(1, 1))

    def forward(self, blocks: Tensor, *, rectified: bool) -> Tensor:
        return self.ahead(blocks, self.bias, rectified=rectified)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient at the blocks from that at the outputs before the rectifier."""
        return self.back(gradient)


def pixels(blocks: Tensor) -> Tensor:
    """Blocks as features of a pixel each, in another order and noughts among them: (N, 4 c, h, w) -> (N, c, h, 4 w)."""
    by_pixel = blocks.permute(0, 2, 3, 1).unflatten(3, (4, -1))
    return by_pixel.flatten(2, 3).permute(0, 3, 1, 2)


def picture(blocks: Tensor, size: torch.Size) -> Tensor:
    """Blocks as the features (N, c, H, W) that they are of."""
    by_pixel = blocks.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
    whole = by_pixel.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (N, 2 rows, 2 columns, c)
    return whole[:, 1 : size[0] + 1, 1 : size[1] + 1].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def in_blocks(features: Tensor) -> Tensor:
    """Features (N, c, H, W) as blocks."""
    height, width = features.shape[2:]
    whole = F.pad(features, (1, 1 - width % 2, 1, 1 - height % 2)).permute(0, 2, 3, 1)
    return whole.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3).permute(0, 3, 1, 2)
