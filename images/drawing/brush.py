"""Thick paint: strokes that follow a flow, with the furrows of their bristles, lit as a relief at the end."""

import numpy as np

from . import canvas, shapes
from .arithmetic import clip, length, smooth
from .noise import Dice, ripple


def follow(flow, x: float, y: float, stroke_length: float, pieces: int):
    """Points of a line of this length that has (x, y) in its middle and runs along the flow.

    flow: the unit vector at every pixel, as two nested lists [row][column] (quicker than arrays, one number at a time).
    """
    step = stroke_length / pieces
    last_row, last_column = len(flow[0]) - 1, len(flow[0][0]) - 1
    halves = []
    for sign in (-1, 1):
        place_x, place_y, half = x, y, []
        for _ in range(pieces // 2):
            row, column = min(max(int(place_y), 0), last_row), min(max(int(place_x), 0), last_column)
            place_x, place_y = (
                place_x + sign * step * flow[0][row][column],
                place_y + sign * step * flow[1][row][column],
            )
            half.append((place_x, place_y))
        halves.append(half)
    return [*reversed(halves[0]), (x, y), *halves[1]]


def stroke(picture, relief, points, half_width: float, colour, seed: int):
    """Lays one stroke of paint on the picture, and its thickness on the relief."""
    reach = half_width + 2
    across, down = [point[0] for point in points], [point[1] for point in points]
    bounds = min(across) - reach, min(down) - reach, max(across) + reach, max(down) + reach
    view, x, y = canvas.region(picture, *bounds)
    if not view.size:
        return
    thickness = canvas.region(relief, *bounds)[0]
    last = len(points) - 1
    # A loaded brush sets down narrow, swells, and lifts off again.
    widths = [
        half_width * (0.55 + 0.45 * min(1, 3 * index / last, 2.4 * (last - index) / last)) for index in range(last + 1)
    ]
    distance, along, aside = shapes.ribbon(x, y, points, widths)
    bristles = ripple(aside * (0.55 + 1.1 / half_width) + 0.37, along * 2.2, seed)
    ragged = smooth(0.62, 1.0, along) * (1.2 + 1.6 * bristles) * 0.45 * half_width
    share = shapes.cover(distance + clip(ragged, 0, half_width))
    canvas.lay(view, np.array(colour) * (1 + 0.13 * bristles)[..., None], share)
    edge = clip(-distance / half_width)
    height = 0.45 + 0.30 * smooth(0, 0.5, edge) + 0.35 * bristles + 0.2 * smooth(0.5, 1, along)
    thickness += (height * min(1.0, 0.35 + half_width / 9) - thickness) * share


def scattered(width: int, height: int, spacing: float, dice: Dice):
    """Places about this far apart all over a picture and a little beyond, in a shuffled order."""
    places = []
    for row in range(-1, int(height / spacing) + 2):
        for column in range(-1, int(width / spacing) + 2):
            places.append(((column + dice.between(0, 1)) * spacing, (row + dice.between(0, 1)) * spacing))
    for index in range(len(places) - 1, 0, -1):
        other = dice.whole(index + 1)
        places[index], places[other] = places[other], places[index]
    return places


def light_relief(picture, relief, strength: float):
    """The picture as lit from the upper left, where thick paint casts a gleam and a shade."""
    padded = np.pad(relief, 1, mode="edge")
    slope_x = padded[1:-1, 2:] - padded[1:-1, :-2]
    slope_y = padded[2:, 1:-1] - padded[:-2, 1:-1]
    slant = (slope_x + slope_y) * strength
    lit = clip(slant / length(1.0, slant), -1, 1)[..., None]
    return clip(np.where(lit > 0, picture + (1 - picture) * 0.42 * lit, picture * (1 + 0.5 * lit)))
