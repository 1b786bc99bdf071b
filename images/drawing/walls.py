"""What walls and roofs are made of: plaster, tiles, beams, and windows with their shutters and flowers."""

import numpy as np

from . import canvas, shapes
from .arithmetic import blend_colours, clip, mix, smooth
from .noise import clouds, ripple, scatter

GLASS = ((0.0, (0.10, 0.12, 0.16)), (0.5, (0.20, 0.25, 0.32)), (1.0, (0.52, 0.63, 0.74)))


def plaster(x, y, colour, seed: int, top: float, base: float):
    """Colour of a plastered wall: mottled, streaked by rain below, a little darker towards the ground."""
    mottle = 0.050 * clouds(x / 26, y / 26, seed, octaves=4) + 0.028 * ripple(x / 2.4, y / 2.4, seed + 1)
    streaks = 0.055 * clouds(x / 5, y / 60, seed + 2, octaves=2)
    damp = smooth(base - 34, base, y + 7 * ripple(x / 13, y / 30, seed + 3))
    tone = 1.03 + mottle + streaks - 0.10 * smooth(top, base, y)
    return mix(np.array(colour) * tone[..., None], np.array((0.42, 0.40, 0.33)), (0.45 * damp)[..., None])


def tiles(x, y, colour, seed: int, light: float):
    """Colour of a tiled slope: rows of round-ended tiles, each of its own tone, weathered in patches."""
    high, wide = 4.2, 4.6
    sag = y + 0.9 * ripple(x / 60, y / 60, seed)
    row = np.floor(sag / high)
    column = (x + 0.5 * wide * np.mod(row, 2)) / wide
    down, across = sag / high - row, column - np.floor(column) - 0.5
    own = scatter(column, row, seed + 1) - 0.5
    # The tile above throws its shadow on the upper part; the round lower end leaves dark corners.
    lip = down - (0.98 - 1.1 * across * across)
    tone = (
        1 + 0.30 * own - 0.36 * smooth(0.30, 0.0, down) - 0.45 * smooth(0.0, 0.18, lip) + 0.10 * smooth(0.4, 0.9, down)
    )
    patches = clouds(x / 34, y / 22, seed + 2, octaves=4)
    weathered = mix(np.array(colour), np.array((0.36, 0.33, 0.27)), (0.55 * smooth(0.05, 0.75, patches))[..., None])
    weathered = mix(weathered, np.array((0.80, 0.50, 0.34)), (0.40 * smooth(0.1, 0.8, -patches))[..., None])
    return weathered * (light * tone * (1 + 0.10 * clouds(x / 9, y / 9, seed + 4, octaves=2)))[..., None]


def slope(picture, corners, colour, seed: int, light: float):
    """Lays one slope of a roof."""
    bounds = (
        min(c[0] for c in corners) - 2,
        min(c[1] for c in corners) - 2,
        max(c[0] for c in corners) + 2,
        max(c[1] for c in corners) + 2,
    )
    view, x, y = canvas.region(picture, *bounds)
    if view.size:
        canvas.lay(view, tiles(x, y, colour, seed, light), shapes.cover(shapes.polygon(x, y, corners)))


def bar(picture, start, end, half_width: float, colour, share: float = 1.0):
    """Lays a straight beam or line."""
    bounds = (
        min(start[0], end[0]) - half_width - 2,
        min(start[1], end[1]) - half_width - 2,
        max(start[0], end[0]) + half_width + 2,
        max(start[1], end[1]) + half_width + 2,
    )
    view, x, y = canvas.region(picture, *bounds)
    if view.size:
        grain = 1 + 0.18 * ripple(x / 3, y / 3, 705)
        canvas.lay(
            view,
            np.array(colour) * grain[..., None],
            share * shapes.cover(shapes.segment(x, y, start, end)[0] - half_width),
        )


def rectangle(picture, left, top, right, bottom, colour, share: float = 1.0, softness: float = 1.0):
    """Lays an upright rectangle."""
    view, x, y = canvas.region(
        picture, left - softness - 1, top - softness - 1, right + softness + 1, bottom + softness + 1
    )
    if view.size:
        canvas.lay(view, colour, share * shapes.cover(shapes.box(x, y, left, top, right, bottom), softness))


def window(picture, middle, top, wide, high, shutters, dice):
    """Lays a window: its reveal, panes with the sky in them, bars, a sill with its shadow, and shutters."""
    left, right, bottom = middle - wide / 2, middle + wide / 2, top + high
    if shutters:
        for side in (left - wide * 0.62, right + wide * 0.12):
            shutter(picture, (side, top, side + wide * 0.5, bottom), np.array(shutters), dice)
    rectangle(picture, left - 1.4, top - 1.4, right + 1.4, bottom + 1.2, (0.86, 0.83, 0.76), 0.92)
    view, x, y = canvas.region(picture, left, top, right, bottom)
    if view.size:
        bright, open_share = dice.between(0.0, 1.0), dice.chance(0.12)
        gleam = 0.55 * bright * smooth(bottom, top, y) + 0.28 * ripple(x / 5, y / 7, dice.whole(999))
        glass = blend_colours(GLASS, clip(0.15 + gleam - 0.2 * open_share))
        glass = glass * (1 - 0.55 * smooth(top + 2.6, top, y) - 0.35 * smooth(left + 1.8, left, x))[..., None]
        canvas.lay(view, glass, shapes.cover(shapes.box(x, y, left, top, right, bottom)))
    for bar_y in (top + high * 0.36, top + high * 0.70):
        rectangle(picture, left, bar_y - 0.35, right, bar_y + 0.35, (0.90, 0.89, 0.85), 0.85)
    rectangle(picture, middle - 0.5, top, middle + 0.5, bottom, (0.92, 0.91, 0.87), 0.9)
    rectangle(picture, left - 2.0, bottom + 1.0, right + 2.0, bottom + 2.4, (0.80, 0.76, 0.68))
    rectangle(picture, left - 1.2, bottom + 2.4, right + 2.8, bottom + 4.8, (0.14, 0.12, 0.14), 0.42, 1.6)
    if dice.chance(0.24):
        flower_box(picture, left, right, bottom, dice)


def shutter(picture, bounds, colour, dice):
    """Lays one leaf of a window's shutters, with its slats and its shadow on the wall."""
    left, top, right, bottom = bounds
    rectangle(picture, left + 0.8, top + 0.8, right + 1.4, bottom + 1.2, (0.10, 0.09, 0.10), 0.40)
    rectangle(picture, left, top - 0.3, right, bottom + 0.3, colour * dice.between(0.85, 1.12))
    for slat in range(1, int((bottom - top) / 2.2)):
        place = top + 2.2 * slat
        rectangle(picture, left + 0.8, place, right - 0.8, place + 0.8, colour * 0.62, 0.8)


def flower_box(picture, left, right, bottom, dice):
    """Lays flowers over a sill."""
    hue = dice.pick(((0.80, 0.16, 0.16), (0.86, 0.36, 0.44), (0.92, 0.70, 0.20)))
    for _ in range(int((right - left) * 3)):
        spot_x, spot_y = dice.between(left - 2, right + 2), bottom + dice.between(-2.4, 2.6)
        colour = hue if dice.chance(0.45) else (0.20 * dice.between(0.6, 1.4), 0.36 * dice.between(0.6, 1.3), 0.13)
        rectangle(picture, spot_x - 0.7, spot_y - 0.7, spot_x + 0.7, spot_y + 0.7, colour, 0.9)
