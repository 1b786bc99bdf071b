"""What the town is known by: the church, the round tower at the water, and the punt that lies before it."""

import numpy as np

from . import canvas, shapes
from .arithmetic import clip, sine, smooth
from .noise import clouds, ripple, scatter
from .walls import bar, plaster, rectangle, slope, tiles, window

SLATE, DARK_GREEN = (0.40, 0.40, 0.43), (0.17, 0.29, 0.20)


def church(picture):
    """Lays the church tower with its clock and steep helmet."""
    left, right, top = 380, 420, 112
    view, x, y = canvas.region(picture, left - 4, 20, right + 6, 330)
    courses = np.floor(y / 5)
    stones = scatter((x + 4 * np.mod(courses, 2)) / 9, courses, 731)
    side = smooth(404, 408, x)
    tone = (
        (0.92 + 0.14 * stones)
        * np.where(y / 5 - courses < 0.2, 0.90, 1.0)
        * (1 + 0.08 * clouds(x / 14, y / 14, 733, octaves=3))
        * (1 - 0.42 * side)
    )
    canvas.lay(
        view, np.array((0.80, 0.73, 0.61)) * tone[..., None], shapes.cover(shapes.box(x, y, left, top, right, 330))
    )
    slope(picture, [(left - 4, top), (400, 34), (406, top)], SLATE, 735, 1.15)
    slope(picture, [(406, top), (400, 34), (right + 4, top)], SLATE, 737, 0.66)
    rectangle(picture, left - 4, top - 1, right + 4, top + 2.4, (0.60, 0.55, 0.47))
    bar(picture, (400, 36), (400, 18), 0.7, (0.55, 0.47, 0.25))
    bar(picture, (396, 23), (404, 23), 0.6, (0.55, 0.47, 0.25))
    for level in (128, 186):
        for middle in (388, 400):
            spot, sx, sy = canvas.region(picture, middle - 5, level - 6, middle + 5, level + 22)
            arch = shapes.union(
                shapes.box(sx, sy, middle - 2.8, level, middle + 2.8, level + 18),
                shapes.disc(sx, sy, middle, level, 2.8),
                0.1,
            )
            canvas.lay(spot, (0.16, 0.16, 0.19), shapes.cover(arch))
            canvas.lay(spot, (0.88, 0.82, 0.70), 0.7 * shapes.cover(np.abs(arch - 1.2) - 0.6))
    spot, sx, sy = canvas.region(picture, 382, 154, 406, 180)
    canvas.lay(spot, (0.22, 0.24, 0.34), shapes.cover(shapes.disc(sx, sy, 394, 167, 8.5)))
    canvas.lay(spot, (0.86, 0.72, 0.34), shapes.cover(np.abs(shapes.disc(sx, sy, 394, 167, 7.2)) - 0.7))
    bar(picture, (394, 167), (394, 161.5), 0.5, (0.93, 0.84, 0.52))
    bar(picture, (394, 167), (398, 169), 0.5, (0.93, 0.84, 0.52))


def round_tower(picture, dice):
    """Lays the round tower at the water with its pointed roof."""
    middle, half, top, tip = 588, 36, 268, 172
    view, x, y = canvas.region(picture, middle - half - 8, tip - 2, middle + half + 8, 400)
    across = clip((x - middle) / half, -1, 1)
    light = clip(0.56 - 0.62 * across + 0.52 * np.sqrt(clip(1 - across * across)), 0.40, 1.08)
    wall = plaster(x, y, (0.90, 0.76, 0.44), 741, top, 400) * light[..., None]
    canvas.lay(view, wall, shapes.cover(shapes.box(x, y, middle - half, top, middle + half, 400)))
    canvas.lay(
        view,
        (0.30, 0.24, 0.17),
        0.55
        * smooth(top + 14, top + 4, y - 3 * across * across)
        * shapes.cover(shapes.box(x, y, middle - half, top, middle + half, 400)),
    )
    for level in (288, 324, 358):
        for place in (-0.62, 0.0, 0.62):
            window(
                picture,
                middle + place * half,
                level,
                9.5 * (1 - 0.45 * place * place),
                16,
                DARK_GREEN if place == 0 else None,
                dice,
            )
    cone = np.maximum(
        np.abs(x - middle) - (half + 6) * (y - tip) / (top - tip + 4), y - top - 4 + 4 * across * across * 0.6
    )
    roof_across = clip((x - middle) / np.maximum((half + 6) * (y - tip) / (top - tip), 1), -1, 1)
    roof_light = clip(0.62 - 0.50 * roof_across + 0.35 * np.sqrt(clip(1 - roof_across * roof_across)), 0.36, 1.15)
    canvas.lay(
        view,
        tiles(x, y + 3 * roof_across * roof_across, (0.50, 0.36, 0.30), 743, 1.0) * roof_light[..., None],
        shapes.cover(np.maximum(cone, tip - y)),
    )
    bar(picture, (middle, tip + 2), (middle, tip - 14), 0.7, (0.50, 0.42, 0.25))


def boat(picture):
    """Lays a moored punt with its reflection."""
    bow, stern, line = 286, 396, 446
    view, x, y = canvas.region(picture, bow - 12, line - 24, stern + 12, line + 34)
    share = clip((x - bow) / (stern - bow))
    sheer = line - 9 - 9 * (1 - share) * (1 - share) * (1 - share) - 3 * share * share
    keel = line + 5 - 8 * smooth(0.18, 0.0, share) - 4 * smooth(0.9, 1.0, share)
    hull = np.maximum(np.maximum(sheer - y, y - keel), np.maximum(bow - x, x - stern))
    planks = 1 + 0.10 * sine((y - sheer) / 4.3) + 0.10 * ripple(x / 22, y / 2, 771)
    below = np.maximum(
        np.maximum(y - (2 * line + 10 - sheer), keel - y), np.maximum(bow - x, x - stern)
    ) + 1.6 * ripple(x / 9, y / 3, 773)
    canvas.lay(view, (0.10, 0.085, 0.06), 0.70 * shapes.cover(below, 3))
    canvas.lay(
        view,
        np.array((0.37, 0.22, 0.13)) * (planks * (1.05 - 0.55 * smooth(sheer, keel, y)))[..., None],
        shapes.cover(hull),
    )
    inside = np.maximum(np.maximum(sheer - 4.2 - y, y - sheer), np.maximum(bow + 7 - x, x - stern + 4))
    canvas.lay(view, np.array((0.26, 0.16, 0.10)) * (1 + 0.4 * share)[..., None], shapes.cover(inside))
    canvas.lay(
        view, (0.74, 0.58, 0.38), shapes.cover(np.abs(y - sheer) - 0.9) * shapes.cover(np.maximum(bow - x, x - stern))
    )
    for place in (0.36, 0.62, 0.82):
        seat = bow + (stern - bow) * place
        rectangle(picture, seat - 5, line - 14.5, seat + 5, line - 12.0, (0.66, 0.50, 0.32))
    bar(picture, (bow + 4, line - 17), (268, 402), 0.5, (0.62, 0.56, 0.44))
