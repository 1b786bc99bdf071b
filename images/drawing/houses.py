"""Old houses, seen from the front in afternoon light from the left."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from . import canvas, shapes
from .arithmetic import mix, smooth
from .noise import scatter
from .walls import bar, plaster, rectangle, slope, window

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

    @property
    def middle(self) -> float:
        """x of the middle."""
        return (self.left + self.right) / 2

    @property
    def storey(self) -> float:
        """Height of a storey."""
        return (self.base - self.eaves) / self.floors

    def inset(self, level: float) -> float:
        """How far the wall's sides stand back at a height: a gable narrows above the eaves."""
        rise = self.eaves - self.ridge
        return max(0.0, (self.eaves - level) / rise * (self.middle - self.left)) if self.gable else 0.0

    def attic(self) -> list[float]:
        """Heights of the floors within the gable, the upper first."""
        levels = (self.eaves - self.storey * 2, self.eaves - self.storey)
        return [level for level in levels if self.gable and self.inset(level) < 0.8 * (self.middle - self.left)]


def timbers(picture, house, levels):
    """Lays the beams of a timbered wall between levels (y of the floors, from the top)."""
    for upper, lower in pairwise(levels):
        inset_top, inset_low = house.inset(upper), house.inset(lower)
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


def wall(picture, house):
    """Lays the bare wall with the shade that the roof throws on it."""
    corners = [
        (house.left, house.base),
        (house.left, house.eaves),
        (house.right, house.eaves),
        (house.right, house.base),
    ]
    if house.gable:
        corners.insert(2, (house.middle, house.ridge))
    view, x, y = canvas.region(picture, house.left - 1, house.ridge - 1, house.right + 1, house.base + 1)
    share = shapes.cover(shapes.polygon(x, y, corners))
    light = 1.0 + 0.05 * smooth(house.right, house.left, x)
    canvas.lay(view, plaster(x, y, house.wall, house.seed, house.eaves, house.base) * light[..., None], share)
    if house.gable:
        steepness = (house.eaves - house.ridge) / (house.middle - house.left)
        below = (y - house.ridge) - np.abs(x - house.middle) * steepness
        shade = smooth(15, 3, below * 0.6) * (0.6 + 0.4 * (x < house.middle))
    else:
        shade = smooth(house.eaves + 15, house.eaves + 5, y + 0.12 * (x - house.left))
    canvas.lay(view, np.array(house.wall) * np.array((0.36, 0.38, 0.46)), 0.75 * shade * share)


def front(picture, house, dice):
    """Lays the wall of a house with its beams and windows."""
    wall(picture, house)
    storey, attic = house.storey, house.attic()
    levels = [house.eaves + storey * floor for floor in range(house.floors + 1)]
    if house.timbered:
        timbers(picture, house, [house.ridge + 8, *attic, *levels[:-1]] if house.gable else levels[:-1])
    full = house.right - house.left
    high = min(17.0, storey * 0.56)
    wide = min(high * 0.66, full / house.columns * 0.40)
    for level in [*attic, *levels[:-1]]:
        inset = house.inset(level + storey * 0.15)
        span, below_roof = full - 2 * inset, level >= house.eaves - 1
        count = house.columns if below_roof else max(1, int(span / full * house.columns))
        size, shutters = (1.0, house.shutters) if below_roof else (0.78, None)
        for column in range(count):
            place = house.left + inset + span * (column + 0.5) / count
            window(picture, place, level + storey * 0.27, wide * size, high * size, shutters, dice)


def dormer(picture, middle, bottom, size, house, dice):
    """Lays a small gabled window on a roof that faces the river, with its shadow to the right."""
    shade = [
        (middle + 0.55 * size, bottom),
        (middle + 0.5 * size, bottom - size),
        (middle + 1.3 * size, bottom - 0.35 * size),
        (middle + 1.2 * size, bottom),
    ]
    slope(picture, shade, house.roof, house.seed, 0.5)
    rectangle(picture, middle - 0.5 * size, bottom - size, middle + 0.5 * size, bottom, np.array(house.wall) * 0.92)
    window(picture, middle, bottom - 0.86 * size, size * 0.48, size * 0.66, None, dice)
    roof = [
        (middle - 0.75 * size, bottom - 0.88 * size),
        (middle, bottom - 1.55 * size),
        (middle + 0.75 * size, bottom - 0.88 * size),
    ]
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
    colour = (
        np.array((0.52, 0.31, 0.24))
        * ((0.85 + 0.3 * brick) * joint * np.where(x > middle + half * 0.35, 0.58, 1.0))[..., None]
    )
    canvas.lay(view, colour, shapes.cover(shapes.box(x, y, middle - half, top, middle + half, bottom)))
    rectangle(picture, middle - half - 1.2, top - 2, middle + half + 1.2, top + 0.8, (0.58, 0.52, 0.46))


def paint(picture, house, dice):
    """Lays a whole house: what lies behind first."""
    if dice.chance(0.8):
        share = dice.pick((0.66, 0.70, 0.76) if house.gable else (0.20, 0.68, 0.82))
        top, foot = house.ridge - dice.between(6, 13), house.eaves - 0.25 * (house.eaves - house.ridge)
        chimney(picture, mix(house.left, house.right, share), top, foot, dice)
    if house.gable:
        gable_house(picture, house, dice)
    else:
        eaves_house(picture, house, dice)


def gable_house(picture, house, dice):
    """Lays a house that turns its gable to us; of its roof one slope is seen, in the shade."""
    middle, back = house.middle, 0.30 * (house.right - house.left)
    right = [
        (middle, house.ridge - 1),
        (middle + back, house.ridge + 3),
        (house.right + back, house.eaves + 3),
        (house.right + 3, house.eaves + 4),
    ]
    slope(picture, right, house.roof, house.seed + 5, 0.60)
    front(picture, house, dice)
    for side, light in ((house.left - 4, 1.0), (house.right + 4, 0.72)):
        foot = house.eaves + 4 * (house.eaves - house.ridge) / (middle - house.left)
        bar(picture, (side, foot), (middle, house.ridge), 1.7, np.array(house.roof) * light)
        bar(picture, (side, foot + 2.4), (middle, house.ridge + 2.6), 0.8, np.array((0.80, 0.74, 0.64)) * light)


def eaves_house(picture, house, dice):
    """Lays a house whose roof slopes towards us, with its dormers and gutter."""
    rise = house.eaves - house.ridge
    front(picture, house, dice)
    roof = [
        (house.left - 4, house.eaves + 3),
        (house.left + 3, house.ridge),
        (house.right - 3, house.ridge),
        (house.right + 4, house.eaves + 3),
    ]
    slope(picture, roof, house.roof, house.seed + 5, 0.98)
    bar(picture, roof[1], roof[2], 1.3, np.array(house.roof) * 1.12)
    bar(picture, (house.left - 4, house.eaves + 3.4), (house.right + 4, house.eaves + 3.4), 0.9, (0.34, 0.33, 0.33))
    count = max(1, house.columns - 1)
    for index in range(count):
        place = house.left + (house.right - house.left) * (index + 0.5) / count
        dormer(picture, place, house.eaves - 0.16 * rise, min(15.0, 0.34 * rise), house, dice)
