"""Functions of real numbers built from +, -, *, / and sqrt, so that each rounds the same way on every machine."""

from itertools import pairwise

import numpy as np

# Taylor's series of sin(2 pi t) in odd powers of t, highest first; off by less than 1e-8 on [-1/4, 1/4].
_SINE = (
    3.8199525848482,
    -15.094642576822984,
    42.058693944897655,
    -76.70585975306136,
    81.60524927607504,
    -41.34170224039976,
    6.283185307179586,
)
# Abramowitz and Stegun 4.4.49, arctan on [0, 1] in odd powers, highest first; off by less than 1e-5.
_ARCTANGENT = (0.0208351, -0.0851330, 0.1801410, -0.3302995, 0.9998660)


def sine(turns):
    """Sine of an angle in turns (1 is the whole circle)."""
    turns = turns - np.floor(turns + 0.5)
    turns = np.where(turns > 0.25, 0.5 - turns, np.where(turns < -0.25, -0.5 - turns, turns))
    square, total = turns * turns, 0.0
    for coefficient in _SINE:
        total = total * square + coefficient
    return total * turns


def cosine(turns):
    """Cosine of an angle in turns."""
    return sine(turns + 0.25)


def direction(x, y):
    """Angle of the vector (x, y) in turns, in [-1/2, 1/2]."""
    wide, high = np.abs(x), np.abs(y)
    ratio = np.minimum(wide, high) / np.maximum(np.maximum(wide, high), 1e-12)
    square, total = ratio * ratio, 0.0
    for coefficient in _ARCTANGENT:
        total = total * square + coefficient
    angle = total * ratio / 6.283185307179586
    angle = np.where(high > wide, 0.25 - angle, angle)
    angle = np.where(x < 0, 0.5 - angle, angle)
    return np.where(y < 0, -angle, angle)


def length(*components):
    """Euclidean length of a vector given by its components."""
    total = components[0] * components[0]
    for component in components[1:]:
        total = total + component * component
    return np.sqrt(total)


def power(base, exponent: int):
    """A whole power, by multiplying."""
    result = None
    while exponent:
        if exponent & 1:
            result = base if result is None else result * base
        base, exponent = base * base, exponent >> 1
    return result


def decay(distance):
    """About exp(-distance) for distance >= 0: (1 + d/64)^-64."""
    return 1 / power(1 + clip(distance, 0, 700) / 64, 64)


def clip(values, low=0.0, high=1.0):
    """Values held within [low, high]."""
    return np.minimum(np.maximum(values, low), high)


def smooth(start, end, values):
    """0 at start, 1 at end, a cubic between them; start may lie above end."""
    share = clip((values - start) / (end - start))
    return share * share * (3 - 2 * share)


def mix(first, second, share):
    """first where share is 0, second where it is 1."""
    return first + (second - first) * share


def blend_colours(stops, position):
    """Colour along a ramp: stops are (position, colour) in rising order; returns position's shape + (3,)."""
    position = np.asarray(position, dtype=np.float64)
    result = np.broadcast_to(np.array(stops[0][1], dtype=np.float64), (*position.shape, 3))
    for (start, _), (end, colour) in pairwise(stops):
        result = mix(result, np.array(colour), clip((position - start) / (end - start))[..., None])
    return result
