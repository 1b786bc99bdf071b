"""Solid bodies given by signed distances, and how light falls on them: rays that step as far as the distance allows.

A place is a triple of arrays (x to the right, y up, z towards the viewer); a body gives a distance for a place.
"""

import numpy as np

from .arithmetic import clip, length
from .noise import scatter
from .shapes import polygon


def add(place, way, far):
    """The place reached from another by going so far on the way."""
    return tuple(start + step * far for start, step in zip(place, way, strict=True))


def unit(x, y, z):
    """The vector scaled to length 1."""
    long = np.maximum(length(x, y, z), 1e-12)
    return x / long, y / long, z / long


def dot(first, second):
    """Scalar product of two vectors."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def ellipsoid(place, centre, radii):
    """An ellipsoid; close to the true distance where the radii do not differ by much."""
    x, y, z = (here - middle for here, middle in zip(place, centre, strict=True))
    inside = length(x / radii[0], y / radii[1], z / radii[2])
    slope = length(x / (radii[0] * radii[0]), y / (radii[1] * radii[1]), z / (radii[2] * radii[2]))
    return inside * (inside - 1) / np.maximum(slope, 1e-9)


def block(place, centre, halves, roundness: float):
    """A box with rounded edges."""
    off = [np.abs(here - middle) - half + roundness for here, middle, half in zip(place, centre, halves, strict=True)]
    outside = length(*(np.maximum(way, 0) for way in off))
    return outside + np.minimum(np.maximum(off[0], np.maximum(off[1], off[2])), 0) - roundness


def limb(place, start, end, start_radius: float, end_radius: float):
    """A rounded cone between two places."""
    run = [stop - first for first, stop in zip(start, end, strict=True)]
    off = [here - first for here, first in zip(place, start, strict=True)]
    along = clip(dot(off, run) / dot(run, run))
    away = length(*(far - way * along for far, way in zip(off, run, strict=True)))
    return away - (start_radius + (end_radius - start_radius) * along)


def turned(place, middle, profile):
    """A body turned on a lathe about an upright axis; profile is (radius, height) from the foot to the rim, closed."""
    wide, high = max(corner[0] for corner in profile), max(corner[1] for corner in profile)
    corners = [(0.0, profile[0][1]), *profile, (0.0, profile[-1][1])]

    def exact(near):
        return polygon(length(near[0] - middle[0], near[2] - middle[2]), near[1] - middle[1], corners)

    bound = block(place, (middle[0], middle[1] + high / 2, middle[2]), (wide, high / 2, wide), 0.0)
    return within(bound, 0.10, exact, place)


def within(bound, margin: float, body, place):
    """A body that is looked at closely only where `bound`, never more than its distance, falls below the margin."""
    near = bound < margin
    result = np.array(bound)
    if near.any():
        result[near] = body(tuple(way[near] for way in place))
    return result


def march(body, start, ray, *, steps: int, far: float, close: float = 0.002):
    """How far along each ray the body lies, and which rays meet it before `far`."""
    gone = np.zeros(np.shape(ray[0]))
    going = np.arange(gone.size)
    flat_start, flat_ray = [np.broadcast_to(way, gone.shape).ravel() for way in start], [way.ravel() for way in ray]
    total, met = gone.ravel().copy(), np.zeros(gone.size, dtype=bool)
    for _ in range(steps):
        place = add([way[going] for way in flat_start], [way[going] for way in flat_ray], total[going])
        gap = body(place)
        total[going] += np.maximum(gap, 0.3 * close)
        met[going[gap < close]] = True
        going = going[(gap >= close) & (total[going] < far)]
        if not going.size:
            break
    # A ray that still creeps along a body's edge has as good as met it.
    place = add([way[going] for way in flat_start], [way[going] for way in flat_ray], total[going])
    met[going] = (body(place) < 12 * close) & (total[going] < far)
    return total.reshape(gone.shape), met.reshape(gone.shape)


def normal(body, place, width: float):
    """Unit vector that points out of the body, from differences over `width`."""
    ways = ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1))
    total = [0.0, 0.0, 0.0]
    for way in ways:
        gap = body(add(place, way, width))
        total = [so_far + sign * gap for so_far, sign in zip(total, way, strict=True)]
    return unit(*total)


def shadow(body, place, light, *, steps: int, far: float, softness: float):
    """Share of a lamp's light that reaches a place, from 0 to 1; softness is the lamp's size over its distance."""
    # Each ray starts its steps elsewhere, or the steps would show as lines where light grazes.
    gone = 0.02 * far * (0.4 + 1.2 * scatter(place[0] * 7919 + place[2] * 6007, place[1] * 7907, 5))
    share = np.ones(np.shape(place[0]))
    for _ in range(steps):
        gap = body(add(place, light, gone))
        share = np.minimum(share, 0.5 + 0.5 * gap / (softness * gone))
        gone = gone + clip(0.7 * gap, 0.012 * far, 0.12 * far)
        share = np.where(gone > far, np.minimum(share, 1), share)
    share = clip(share)
    return share * share * (3 - 2 * share)


def openness(body, place, out, reach: float):
    """How much of the sky a place sees, 0 to 1: little in a fold, much on a bulge."""
    closed, weight = 0.0, 1.0
    for step in range(1, 6):
        far = reach * step / 5
        closed = closed + weight * (far - body(add(place, out, far)))
        weight *= 0.75
    return clip(1 - 1.1 * closed / reach)
