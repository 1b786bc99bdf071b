"""Pictures as float arrays (height, width, 3) with values from 0 to 1, and what is done to them as a whole."""

import numpy as np

from .arithmetic import clip


def blank(width: int, height: int, colour=(0.0, 0.0, 0.0)):
    """A picture of one colour."""
    return np.ones((height, width, 3)) * np.array(colour, dtype=np.float64)


def centres(width: int, height: int):
    """x and y of every pixel's centre, each (height, width)."""
    down, across = np.mgrid[0:height, 0:width]
    return across + 0.5, down + 0.5


def region(picture, left, top, right, bottom):
    """The part of a picture within these bounds, as a view to paint on, with x and y of its pixels' centres.

    The part may be empty where the bounds lie outside of the picture.
    """
    height, width = picture.shape[:2]
    first, last = max(0, int(left // 1)), min(width, int(right // 1) + 1)
    upper, lower = max(0, int(top // 1)), min(height, int(bottom // 1) + 1)
    last, lower = max(first, last), max(upper, lower)
    down, across = np.mgrid[upper:lower, first:last]
    return picture[upper:lower, first:last], across + 0.5, down + 0.5


def lay(view, colour, share):
    """Lays a colour (one, or one for every pixel) over a view, in place, as opaque as share says."""
    view += (np.asarray(colour, dtype=np.float64) - view) * np.asarray(share)[..., None]


def soften(values, radius: int):
    """Three box blurs after one another, about a bell curve; edges are continued."""
    for axis in (0, 1, 0, 1, 0, 1):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (radius + 1, radius)
        # accumulate adds from the first to the last, in this order on every machine.
        total = np.add.accumulate(np.pad(values, pad, mode="edge"), axis=axis)
        high = np.take(total, range(2 * radius + 1, total.shape[axis]), axis=axis)
        low = np.take(total, range(0, total.shape[axis] - 2 * radius - 1), axis=axis)
        values = (high - low) / (2 * radius + 1)
    return values


def sample(picture, x, y):
    """The picture at any places (pixels), linear between the pixels' centres; beyond its edge, the edge."""
    height, width = picture.shape[:2]
    x, y = clip(x - 0.5, 0, width - 1), clip(y - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, y - top
    if picture.ndim == 3:
        across, down = across[..., None], down[..., None]
    upper = picture[top, left] + (picture[top, right] - picture[top, left]) * across
    lower = picture[bottom, left] + (picture[bottom, right] - picture[bottom, left]) * across
    return upper + (lower - upper) * down


def shrink(picture, factor: int):
    """Averages squares of factor x factor pixels."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    total = 0.0
    for down in range(factor):
        for across in range(factor):
            total = total + picture[down : height * factor : factor, across : width * factor : factor]
    return total / (factor * factor)


def to_bytes(picture):
    """Whole numbers from 0 to 255, a half rounded up."""
    return np.floor(clip(picture) * 255 + 0.5).astype(np.uint8)
