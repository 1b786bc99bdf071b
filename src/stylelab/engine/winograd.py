"""3 x 3 convolutions with half of the multiplications (Winograd 1980; Lavin & Gray 2016)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylelab.engine.direct import Direct, onednn_takes

ROWS = 4  # of the result in a tile, which reads six rows of the input
BAND_BYTES = 3 << 18  # of each of a band's six images: what lies between two operators stays in the cache
LEAST_FILTERS = 64 * 64  # with fewer the sums take what the multiplications save


def pays(filters: Tensor) -> bool:
    """Whether `Winograd` is quicker than `Direct` here: in bfloat16 its error would show, on a GPU cuDNN chooses."""
    if filters.dtype != torch.float32 or filters.shape[2:] != (3, 3) or not onednn_takes(filters):
        return False
    return filters[:, :, 0, 0].numel() >= LEAST_FILTERS


class Winograd:
    """A 3 x 3 convolution: Winograd's F(4, 3) along the columns, as it is written along the rows.

    Three taps on four rows are twelve products for each tap along the other axis; here they are six. Six rows of the
    input become the rows of six images, three taps those of six filters (of 1 x 3): both read as polynomials, at 0, 1,
    -1, 2, -2 and infinity. What these convolutions give is added up to four rows of the result. In float32 the error is
    about twice that of the sum as it is written. Along both axes a quarter of the products would do, but of filters
    four times as large; these are twice.

    Args:
        filters: (out, in, 3, 3), in the type that it computes in.
        padding: rows and columns of zeros on each side.
    """

    def __init__(self, filters: Tensor, *, padding: int) -> None:
        self.padding, self.channels = padding, len(filters)
        self.parts = [Direct(part, padding=(0, padding)) for part in _filters(filters)]

    def __call__(self, inputs: Tensor, bias: Tensor | None = None, *, rectified: bool = False) -> Tensor:
        """(N, in, H, W) -> (N, out, H + 2 padding - 2, W + 2 padding - 2), channels-last, rectified if wanted."""
        batch, _, height, width = inputs.shape
        around = 2 * self.padding - 2
        shape = batch, self.channels, height + around, width + around
        found = torch.empty(shape, dtype=inputs.dtype, device=inputs.device, memory_format=torch.channels_last)
        for picture, result in zip(_pictures(inputs), _pictures(found), strict=True):
            bands = self._bands(result, picture)
            room = inputs.new_empty(6, (bands[0][1] - bands[0][0]) // ROWS, *picture.shape[1:])
            for top, bottom in bands:
                images = _images(_rows(picture, top - self.padding, bottom - self.padding + 2), room)
                biases = (None, bias, None, None, None, None)  # what is at 1 goes into each of the four rows once
                products = [part(*each) for part, *each in zip(self.parts, images, biases, strict=True)]
                _add_up(products, result[top:bottom])
                if rectified:
                    result[top:bottom].relu_()
        return found

    def _bands(self, result: Tensor, picture: Tensor) -> list[tuple[int, int]]:
        """From which row to before which, whole tiles each, the first no fewer; the last may end beyond the result."""
        row_bytes = max(result[0].nbytes, picture[0].nbytes)
        tiles, most = -(-len(result) // ROWS), max(1, BAND_BYTES // row_bytes)
        rows = ROWS * -(-tiles // -(-tiles // most))
        return [(top, min(top + rows, tiles * ROWS)) for top in range(0, len(result), rows)]


def _pictures(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def _rows(picture: Tensor, top: int, bottom: int) -> Tensor:
    """Rows of a picture (H, W, C), zeros beyond its edges."""
    inside = picture[max(0, top) : bottom]
    above, below = max(0, -top), max(0, bottom - len(picture))
    if not above and not below:
        return inside
    zeros = picture.new_zeros(max(above, below), *picture.shape[1:])
    return torch.cat((zeros[:above], inside, zeros[:below]))


def _filters(filters: Tensor) -> list[Tensor]:
    """(out, in, 3, 3) -> six of (out, in, 1, 3)."""
    first, middle, last = filters.split(1, dim=2)
    outer, twice = first + last, first + 4 * last
    return [
        first / 4,
        (outer + middle) / -6,
        (outer - middle) / -6,
        (twice + 2 * middle) / 24,
        (twice - 2 * middle) / 24,
        last,
    ]


def _images(rows: Tensor, room: Tensor) -> Iterator[Tensor]:
    """Rows (4 T + 2, W, C) of T tiles -> six images of (1, C, T, W), channels-last, in a room (6, T or more, W, C)."""
    a, b, c, d, e, f = (rows[row : row + len(rows) - 5 : ROWS] for row in range(6))
    images = room[:, : len(a)]
    at_zero, at_one, at_minus_one, at_two, at_minus_two, at_infinity = images
    even, odd = at_zero, at_infinity  # until these are wanted
    torch.sub(e, c, alpha=4, out=even)
    torch.sub(d, b, alpha=4, out=odd)
    torch.add(even, odd, out=at_one)
    torch.sub(even, odd, out=at_minus_one)
    torch.sub(e, c, out=even)
    torch.sub(d, b, out=odd)
    torch.add(even, odd, alpha=2, out=at_two)
    torch.sub(even, odd, alpha=2, out=at_minus_two)
    torch.sub(e, c, alpha=5, out=at_zero).add_(a, alpha=4)
    torch.sub(f, d, alpha=5, out=at_infinity).add_(b, alpha=4)
    return (image.permute(2, 0, 1)[None] for image in images)


def _add_up(products: Sequence[Tensor], result: Tensor) -> None:
    """Six of (1, C, T, W), which are overwritten, to rows (up to 4 T, W, C)."""
    at_zero, at_one, at_minus_one, at_two, at_minus_two, at_infinity = (_pictures(each)[0] for each in products)
    even, odd = at_one + at_minus_one, at_one.sub_(at_minus_one)
    even_at_two = torch.add(at_two, at_minus_two, out=at_minus_one)
    odd_at_two = at_two.sub_(at_minus_two)
    sums = (
        (at_zero.add_(even), even_at_two),
        (odd, odd_at_two),
        (even, even_at_two),
        (at_infinity.add_(odd), odd_at_two),
    )
    for row, (one, two) in enumerate(sums):
        here = result[row::ROWS]
        torch.add(one[: len(here)], two[: len(here)], alpha=2**row, out=here)
