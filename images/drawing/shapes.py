"""Signed distances in pixels, negative inside, and the share of a pixel that a shape covers."""

import numpy as np

from .arithmetic import clip, length


def cover(distance, softness: float = 1.0):
    """Share of a pixel inside a shape: 1 at half the softness inside its outline, 0 at half of it outside."""
    return clip(0.5 - distance / softness)


def disc(x, y, centre_x, centre_y, radius):
    """A disc."""
    return length(x - centre_x, y - centre_y) - radius


def ellipse(x, y, centre_x, centre_y, half_width, half_height):
    """An ellipse; close to the true distance near the outline, which is where it matters."""
    across, down = (x - centre_x) / half_width, (y - centre_y) / half_height
    inside = length(across, down)
    slope = length(across / half_width, down / half_height)
    return inside * (inside - 1) / np.maximum(slope, 1e-9)


def box(x, y, left, top, right, bottom):
    """A rectangle with upright sides."""
    across = np.abs(x - (left + right) / 2) - (right - left) / 2
    down = np.abs(y - (top + bottom) / 2) - (bottom - top) / 2
    return length(np.maximum(across, 0), np.maximum(down, 0)) + np.minimum(np.maximum(across, down), 0)


def segment(x, y, start, end):
    """Distance from the line between two points, and how far along it (0 to 1) the nearest point lies."""
    run_x, run_y = end[0] - start[0], end[1] - start[1]
    along = clip(((x - start[0]) * run_x + (y - start[1]) * run_y) / max(run_x * run_x + run_y * run_y, 1e-12))
    return length(x - start[0] - along * run_x, y - start[1] - along * run_y), along


def polygon(x, y, corners):
    """Any polygon, its corners in order, with the even-odd rule."""
    nearest = np.full(np.shape(x), 1e9)
    inside = np.zeros(np.shape(x), dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        nearest = np.minimum(nearest, segment(x, y, (x1, y1), (x2, y2))[0])
        if y1 != y2:
            inside ^= ((y1 <= y) != (y2 <= y)) & (x < x1 + (y - y1) * ((x2 - x1) / (y2 - y1)))
    return np.where(inside, -nearest, nearest)


def ribbon(x, y, points, half_widths):
    """A line through points whose half-width changes from point to point.

    Returns:
        signed distance, how far along the line (0 to 1) and how far to its left (pixels) the place lies.
    """
    pieces = len(points) - 1
    best = np.full(np.shape(x), 1e9)
    along, aside = np.zeros(np.shape(x)), np.zeros(np.shape(x))
    for index in range(pieces):
        (x1, y1), (x2, y2) = points[index], points[index + 1]
        away, share = segment(x, y, (x1, y1), (x2, y2))
        distance = away - (half_widths[index] + (half_widths[index + 1] - half_widths[index]) * share)
        closer = distance < best
        best = np.where(closer, distance, best)
        along = np.where(closer, (index + share) / pieces, along)
        side = (x - x1) * (y2 - y1) - (y - y1) * (x2 - x1)
        aside = np.where(closer, np.where(side < 0, -away, away), aside)
    return best, along, aside


def curve(points, steps: int):
    """Catmull and Rom's spline through the points, `steps` pieces between each two, as a list of points."""
    padded = [points[0], *points, points[-1]]
    result = []
    for (x0, y0), (x1, y1), (x2, y2), (x3, y3) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for index in range(steps):
            t = index / steps
            a, b = t * (2 - t) * t - t, (3 * t - 5) * t * t + 2
            c, d = t * (1 + t * (4 - 3 * t)), (t - 1) * t * t
            result.append(((a * x0 + b * x1 + c * x2 + d * x3) / 2, (a * y0 + b * y1 + c * y2 + d * y3) / 2))
    return [*result, points[-1]]


def union(first, second, roundness: float):
    """Both shapes, their joint filled in over about this many pixels (a polynomial smooth minimum)."""
    share = clip(0.5 + 0.5 * (second - first) / roundness)
    return second + (first - second) * share - roundness * share * (1 - share)
