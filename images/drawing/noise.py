"""Noise from an integer hash: the same numbers on every machine and with every version of numpy."""

import numpy as np

from .arithmetic import clip, length

# Sixteen unit vectors, written out so that no sine is asked for them.
_HALF, _LONG, _SHORT = 0.7071067811865476, 0.9238795325112867, 0.3826834323650898
_GRADIENTS = np.array(
    [
        (1, 0),
        (_LONG, _SHORT),
        (_HALF, _HALF),
        (_SHORT, _LONG),
        (0, 1),
        (-_SHORT, _LONG),
        (-_HALF, _HALF),
        (-_LONG, _SHORT),
        (-1, 0),
        (-_LONG, -_SHORT),
        (-_HALF, -_HALF),
        (-_SHORT, -_LONG),
        (0, -1),
        (_SHORT, -_LONG),
        (_HALF, -_HALF),
        (_LONG, -_SHORT),
    ]
)
_SLOPE_X, _SLOPE_Y = (np.ascontiguousarray(_GRADIENTS[:, axis], dtype=np.float64) for axis in (0, 1))
# Odd numbers near 2^32 divided by the golden ratio, and one with as irregular bits.
_COLUMN, _ROW = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77)


def _whole(values):
    """Whole numbers modulo 2^32, for the hash."""
    return np.atleast_1d(values).astype(np.int64).astype(np.uint32)


def _mixed(bits, seed: int):
    """32 well-mixed bits from those of each cell's column and row."""
    bits = bits ^ np.uint32(seed * 0xC2B2AE3D & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return bits


def scatter(column, row, seed: int):
    """An even number in [0, 1) for every cell (column, row); what is not whole is cut down to whole."""
    bits = _whole(np.floor(column)) * _COLUMN ^ _whole(np.floor(row)) * _ROW
    return _mixed(bits, seed) / 4294967296.0


def ripple(x, y, seed: int):
    """Gradient noise (Perlin 2002) with features one unit wide, within [-1, 1], 0 on average."""
    x, y = np.broadcast_arrays(x, y)
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    column, row = _whole(left) * _COLUMN, _whole(top) * _ROW
    corners = []
    for step_down, row_bits in ((0, row), (1, row + _ROW)):
        for step_across, column_bits in ((0, column), (1, column + _COLUMN)):
            slope = _mixed(column_bits ^ row_bits, seed) >> np.uint32(28)
            corners.append(_SLOPE_X[slope] * (across - step_across) + _SLOPE_Y[slope] * (down - step_down))
    ease_x = across * across * across * (across * (across * 6 - 15) + 10)
    ease_y = down * down * down * (down * (down * 6 - 15) + 10)
    upper = corners[0] + (corners[1] - corners[0]) * ease_x
    lower = corners[2] + (corners[3] - corners[2]) * ease_x
    return clip(1.5 * (upper + (lower - upper) * ease_y), -1, 1)


def clouds(x, y, seed: int, *, octaves: int, gain: float = 0.5):
    """Octaves of gradient noise on top of one another, within about [-1, 1]."""
    total, weight, weights = 0.0, 1.0, 0.0
    for octave in range(octaves):
        total = total + weight * ripple(x, y, seed + 101 * octave)
        weights += weight
        weight *= gain
        # A turn by about 37 degrees (3-4-5 triangle) and a doubling: the octaves' lattices never line up.
        x, y = 1.6 * x - 1.2 * y + 7.31, 1.2 * x + 1.6 * y + 3.77
    return total / weights * 1.4


def ridges(x, y, seed: int, *, octaves: int, gain: float = 0.5):
    """Octaves of folded noise, within [0, 1]: sharp crests and round valleys, as mountains have."""
    total, weight, weights, carry = 0.0, 1.0, 0.0, 1.0
    for octave in range(octaves):
        crest = 1 - np.abs(ripple(x, y, seed + 101 * octave))
        crest = crest * crest
        total = total + weight * crest * carry
        weights += weight
        weight, carry = weight * gain, clip(crest * 1.3)
        x, y = 1.6 * x - 1.2 * y + 7.31, 1.2 * x + 1.6 * y + 3.77
    return total / weights


def nearest_cells(x, y, seed: int, *, looseness: float = 0.9):
    """Voronoi cells of one jittered point per unit square.

    Returns:
        distance to the nearest point, distance to the cell's border, and an even number in [0, 1) for each cell.
    """
    x, y = np.broadcast_arrays(x, y)
    left, top = np.floor(x), np.floor(y)
    points = []
    for step_down in range(-2, 3):
        for step_across in range(-2, 3):
            column, row = left + step_across, top + step_down
            across = column + 0.5 + looseness * (scatter(column, row, seed) - 0.5) - x
            down = row + 0.5 + looseness * (scatter(column, row, seed + 1) - 0.5) - y
            points.append((across, down, scatter(column, row, seed + 2)))
    best = np.full(x.shape, 1e9)
    near_x, near_y, name = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for across, down, label in points:
        square = across * across + down * down
        closer = square < best
        best = np.where(closer, square, best)
        near_x, near_y = np.where(closer, across, near_x), np.where(closer, down, near_y)
        name = np.where(closer, label, name)
    border = np.full(x.shape, 1e9)
    for across, down, label in points:
        apart = length(across - near_x, down - near_y)
        middle = ((across + near_x) * (across - near_x) + (down + near_y) * (down - near_y)) / (
            2 * np.maximum(apart, 1e-9)
        )
        border = np.where(label != name, np.minimum(border, middle), border)
    return np.sqrt(best), border, name


class Dice:
    """Random numbers (splitmix64, in Python's own integers): what numpy draws may change with its version."""

    def __init__(self, seed: int):
        self.state = seed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF

    def whole(self, count: int) -> int:
        """A whole number from 0 up to count - 1."""
        self.state = self.state + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        bits = self.state
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return ((bits ^ bits >> 31) >> 11) * count >> 53

    def between(self, low: float, high: float) -> float:
        """An even number in [low, high)."""
        return low + (high - low) * (self.whole(1 << 40) / (1 << 40))

    def chance(self, share: float) -> bool:
        """True for this share of the throws."""
        return self.between(0, 1) < share

    def pick(self, choices):
        """One of the choices."""
        return choices[self.whole(len(choices))]
