"""Old houses by the river, seen from the front in afternoon light from the left: walls, windows, tiled roofs."""

from dataclasses import dataclass

import numpy as np

from . import canvas, shapes
from .arithmetic import blend_colours, clip, mix, sine, smooth
from .noise import clouds, ripple, scatter

TIMBER = (0.27, 0.17, 0.12)


@dataclass(frozen=True)
class House:
    """Where a house stands (pixels) and what it looks like."""

    left: float
    right: float
    base: float
    eaves: float
    ridge: float
    gable: bool  # the gable faces the river; else the eaves do
    wall: tuple
    roof: tuple
    shutters: tuple | None
    timbered: bool
    floors: int
    columns: int
    seed: int


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
    tone = 1 + 0.30 * own - 0.36 * smooth(0.30, 0.0, down) - 0.45 * smooth(0.0, 0.18, lip) + 0.10 * smooth(0.4, 0.9, down)
    patches = clouds(x / 34, y / 22, seed + 2, octaves=4)
    weathered = mix(np.array(colour), np.array((0.36, 0.33, 0.27)), (0.55 * smooth(0.05, 0.75, patches))[..., None])
    weathered = mix(weathered, np.array((0.80, 0.50, 0.34)), (0.40 * smooth(0.1, 0.8, -patches))[..., None])
    return weathered * (light * tone * (1 + 0.10 * clouds(x / 9, y / 9, seed + 4, octaves=2)))[..., None]


def slope(picture, corners, colour, seed: int, light: float):
    """Lays one slope of a roof."""
    bounds = min(c[0] for c in corners) - 2, min(c[1] for c in corners) - 2, max(c[0] for c in corners) + 2, max(c[1] for c in corners) + 2
    view, x, y = canvas.region(picture, *bounds)
    if view.size:
        canvas.lay(view, tiles(x, y, colour, seed, light), shapes.cover(shapes.polygon(x, y, corners)))


def bar(picture, start, end, half_width: float, colour, share: float = 1.0):
    """Lays a straight beam or line."""
    bounds = (min(start[0], end[0]) - half_width - 2, min(start[1], end[1]) - half_width - 2,
              max(start[0], end[0]) + half_width + 2, max(start[1], end[1]) + half_width + 2)
    view, x, y = canvas.region(picture, *bounds)
    if view.size:
        grain = 1 + 0.18 * ripple(x / 3, y / 3, 705)
        canvas.lay(view, np.array(colour) * grain[..., None], share * shapes.cover(shapes.segment(x, y, start, end)[0] - half_width))


def rectangle(picture, left, top, right, bottom, colour, share: float = 1.0, softness: float = 1.0):
    """Lays an upright rectangle."""
    view, x, y = canvas.region(picture, left - softness - 1, top - softness - 1, right + softness + 1, bottom + softness + 1)
    if view.size:
        canvas.lay(view, colour, share * shapes.cover(shapes.box(x, y, left, top, right, bottom), softness))


def window(picture, middle, top, wide, high, shutters, dice):
    """Lays a window: its reveal, panes with the sky in them, bars, a sill with its shadow, and shutters."""
    left, right, bottom = middle - wide / 2, middle + wide / 2, top + high
    if shutters:
        for side in (left - wide * 0.62, right + wide * 0.12):
            rectangle(picture, side + 0.8, top + 0.8, side + wide * 0.5 + 1.4, bottom + 1.2, (0.10, 0.09, 0.10), 0.40)
            rectangle(picture, side, top - 0.3, side + wide * 0.5, bottom + 0.3, np.array(shutters) * dice.between(0.85, 1.12))
            for slat in range(1, int(high / 2.2)):
                rectangle(picture, side + 0.8, top + 2.2 * slat, side + wide * 0.5 - 0.8, top + 2.2 * slat + 0.8, np.array(shutters) * 0.62, 0.8)
    rectangle(picture, left - 1.4, top - 1.4, right + 1.4, bottom + 1.2, (0.86, 0.83, 0.76), 0.92)
    view, x, y = canvas.region(picture, left, top, right, bottom)
    if view.size:
        bright, open_share = dice.between(0.0, 1.0), dice.chance(0.12)
        glass = blend_colours(((0.0, (0.10, 0.12, 0.16)), (0.5, (0.20, 0.25, 0.32)), (1.0, (0.52, 0.63, 0.74))),
                              clip(0.15 + 0.55 * bright * smooth(bottom, top, y) + 0.28 * ripple(x / 5, y / 7, dice.whole(999)) - 0.2 * open_share))
        glass = glass * (1 - 0.55 * smooth(top + 2.6, top, y) - 0.35 * smooth(left + 1.8, left, x))[..., None]
        canvas.lay(view, glass, shapes.cover(shapes.box(x, y, left, top, right, bottom)))
    for bar_y in (top + high * 0.36, top + high * 0.70):
        rectangle(picture, left, bar_y - 0.35, right, bar_y + 0.35, (0.90, 0.89, 0.85), 0.85)
    rectangle(picture, middle - 0.5, top, middle + 0.5, bottom, (0.92, 0.91, 0.87), 0.9)
    rectangle(picture, left - 2.0, bottom + 1.0, right + 2.0, bottom + 2.4, (0.80, 0.76, 0.68))
    rectangle(picture, left - 1.2, bottom + 2.4, right + 2.8, bottom + 4.8, (0.14, 0.12, 0.14), 0.42, 1.6)
    if dice.chance(0.24):
        flower_box(picture, left, right, bottom, dice)


def flower_box(picture, left, right, bottom, dice):
    """Lays flowers over a sill."""
    hue = dice.pick(((0.80, 0.16, 0.16), (0.86, 0.36, 0.44), (0.92, 0.70, 0.20)))
    for _ in range(int((right - left) * 3)):
        spot_x, spot_y = dice.between(left - 2, right + 2), bottom + dice.between(-2.4, 2.6)
        colour = hue if dice.chance(0.45) else (0.20 * dice.between(0.6, 1.4), 0.36 * dice.between(0.6, 1.3), 0.13)
        rectangle(picture, spot_x - 0.7, spot_y - 0.7, spot_x + 0.7, spot_y + 0.7, colour, 0.9)


def timbers(picture, house, levels, top_of):
    """Lays the beams of a timbered wall between levels (y of the floors, from the top)."""
    for upper, lower in zip(levels, levels[1:]):
        inset_top, inset_low = top_of(upper), top_of(lower)
        left, right = house.left + inset_low, house.right - inset_low
        bar(picture, (left, lower), (right, lower), 1.5, TIMBER)
        posts = max(2, house.columns * 2)
        for post in range(posts + 1):
            x = left + (right - left) * post / posts
            if house.left + inset_top - 1 <= x <= house.right - inset_top + 1:
                bar(picture, (x, upper), (x, lower), 1.1, TIMBER)
        step = (right - left) / posts
        for corner, way in ((left, 1), (right, -1)):
            bar(picture, (corner, lower), (corner + way * step, upper + (lower - upper) * 0.2), 1.0, TIMBER)


def front(picture, house, dice):
    """Lays the wall of a house with its beams and windows."""
    middle, rise = (house.left + house.right) / 2, house.eaves - house.ridge
    corners = [(house.left, house.base), (house.left, house.eaves), (house.right, house.eaves), (house.right, house.base)]
    if house.gable:
        corners.insert(2, (middle, house.ridge))
    view, x, y = canvas.region(picture, house.left - 1, house.ridge - 1, house.right + 1, house.base + 1)
    share = shapes.cover(shapes.polygon(x, y, corners))
    light = 1.0 + 0.05 * smooth(house.right, house.left, x)
    canvas.lay(view, plaster(x, y, house.wall, house.seed, house.eaves, house.base) * light[..., None], share)
    # The roof's overhang shades the wall below it.
    if house.gable:
        below = (y - house.ridge) - np.abs(x - middle) * (rise / (middle - house.left))
        shade = smooth(15, 3, below * 0.6) * (0.6 + 0.4 * (x < middle))
    else:
        shade = smooth(house.eaves + 15, house.eaves + 5, y + 0.12 * (x - house.left))
    canvas.lay(view, np.array(house.wall) * np.array((0.36, 0.38, 0.46)), 0.75 * shade * share)

    def inset(level):
        return max(0.0, (house.eaves - level) / rise * (middle - house.left)) if house.gable else 0.0

    storey = (house.base - house.eaves) / house.floors
    levels = [house.eaves + storey * floor for floor in range(house.floors + 1)]
    attic = [level for level in (house.eaves - storey * 2, house.eaves - storey) if house.gable and inset(level) < 0.8 * (middle - house.left)]
    if house.timbered:
        timbers(picture, house, [house.ridge + 8, *attic, *levels[:-1]] if house.gable else levels[:-1], inset)
    high = min(17.0, storey * 0.56)
    wide = min(high * 0.66, (house.right - house.left) / house.columns * 0.40)
    for level in [*attic, *levels[:-1]]:
        span = (house.right - house.left) - 2 * inset(level + storey * 0.15)
        count = house.columns if level >= house.eaves - 1 else max(1, int(span / (house.right - house.left) * house.columns))
        for column in range(count):
            place = house.left + inset(level + storey * 0.15) + span * (column + 0.5) / count
            small = 1.0 if level >= house.eaves - 1 else 0.78
            window(picture, place, level + storey * 0.27, wide * small, high * small, house.shutters if small == 1.0 else None, dice)


def dormer(picture, middle, bottom, size, house, dice):
    """Lays a small gabled window on a roof that faces the river, with its shadow to the right."""
    slope(picture, [(middle + 0.55 * size, bottom), (middle + 0.5 * size, bottom - size), (middle + 1.3 * size, bottom - 0.35 * size), (middle + 1.2 * size, bottom)], house.roof, house.seed, 0.5)
    rectangle(picture, middle - 0.5 * size, bottom - size, middle + 0.5 * size, bottom, np.array(house.wall) * 0.92)
    window(picture, middle, bottom - 0.86 * size, size * 0.48, size * 0.66, None, dice)
    roof = [(middle - 0.75 * size, bottom - 0.88 * size), (middle, bottom - 1.55 * size), (middle + 0.75 * size, bottom - 0.88 * size)]
    slope(picture, roof, house.roof, house.seed + 3, 1.05)
    bar(picture, roof[0], roof[1], 0.7, (0.40, 0.24, 0.18))
    bar(picture, roof[1], roof[2], 0.7, (0.30, 0.18, 0.15))


def chimney(picture, middle, top, bottom, dice):
    """Lays a chimney of brick, its right side in shade."""
    half = dice.between(3.2, 4.6)
    view, x, y = canvas.region(picture, middle - half - 2, top - 4, middle + half + 2, bottom)
    rows = np.floor(y / 2.6)
    brick = scatter((x + 2.2 * np.mod(rows, 2)) / 4.4, rows, 711)
    joint = np.where(y / 2.6 - rows < 0.28, 0.80, 1.0)
    colour = np.array((0.52, 0.31, 0.24)) * ((0.85 + 0.3 * brick) * joint * np.where(x > middle + half * 0.35, 0.58, 1.0))[..., None]
    canvas.lay(view, colour, shapes.cover(shapes.box(x, y, middle - half, top, middle + half, bottom)))
    rectangle(picture, middle - half - 1.2, top - 2, middle + half + 1.2, top + 0.8, (0.58, 0.52, 0.46))


def paint(picture, house, dice):
    """Lays a whole house: what lies behind first."""
    middle = (house.left + house.right) / 2
    rise, back = house.eaves - house.ridge, 0.30 * (house.right - house.left)
    if dice.chance(0.8):
        chimney(picture, mix(house.left, house.right, dice.pick((0.24, 0.70, 0.78))), house.ridge - dice.between(6, 13), house.eaves - 0.25 * rise, dice)
    if house.gable:
        slope(picture, [(middle, house.ridge - 1), (middle + back, house.ridge + 3), (house.right + back, house.eaves + 3), (house.right + 3, house.eaves + 4)], house.roof, house.seed + 5, 0.60)
        front(picture, house, dice)
        for side, light in ((house.left - 4, 1.0), (house.right + 4, 0.72)):
            foot = house.eaves + 4 * rise / (middle - house.left)
            bar(picture, (side, foot), (middle, house.ridge), 1.7, np.array(house.roof) * light)
            bar(picture, (side, foot + 2.4), (middle, house.ridge + 2.6), 0.8, np.array((0.80, 0.74, 0.64)) * light)
        return
    front(picture, house, dice)
    slope(picture, [(house.left - 4, house.eaves + 3), (house.left + 3, house.ridge), (house.right - 3, house.ridge), (house.right + 4, house.eaves + 3)], house.roof, house.seed + 5, 0.98)
    bar(picture, (house.left + 3, house.ridge), (house.right - 3, house.ridge), 1.3, np.array(house.roof) * 1.12)
    bar(picture, (house.left - 4, house.eaves + 3.4), (house.right + 4, house.eaves + 3.4), 0.9, (0.34, 0.33, 0.33))
    for index in range(max(1, house.columns - 1)):
        place = house.left + (house.right - house.left) * (index + 0.5) / max(1, house.columns - 1)
        dormer(picture, place, house.eaves - 0.16 * rise, min(15.0, 0.34 * rise), house, dice)
