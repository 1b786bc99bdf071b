"""Old gabled houses in a row along a river, with trees, a church tower, and all of it again in the water."""

import numpy as np

from . import canvas, houses, landmarks, outdoors, shapes
from .arithmetic import blend_colours, clip, mix, sine, smooth
from .houses import House
from .noise import Dice, clouds, ripple, scatter
from .walls import bar, rectangle

WIDTH, HEIGHT, SHORE = 768, 576, 404
SKY = ((0.0, (0.26, 0.48, 0.76)), (0.55, (0.52, 0.71, 0.88)), (1.0, (0.90, 0.91, 0.88)))
LEAVES = (
    (0.0, (0.045, 0.075, 0.035)),
    (0.35, (0.12, 0.20, 0.07)),
    (0.7, (0.30, 0.41, 0.13)),
    (1.0, (0.60, 0.66, 0.28)),
)
WILLOW = ((0.0, (0.09, 0.12, 0.05)), (0.4, (0.25, 0.32, 0.12)), (0.75, (0.47, 0.52, 0.20)), (1.0, (0.74, 0.75, 0.38)))
RED, BROWN = (0.62, 0.33, 0.23), (0.50, 0.32, 0.24)
OCHRE, ROSE, WHITE, STONE, GREEN, BLUE = (
    (0.88, 0.70, 0.42),
    (0.86, 0.62, 0.52),
    (0.90, 0.87, 0.80),
    (0.78, 0.72, 0.62),
    (0.68, 0.72, 0.56),
    (0.62, 0.69, 0.75),
)
DARK_GREEN, DARK_RED, GREY_BLUE = (0.17, 0.29, 0.20), (0.45, 0.16, 0.13), (0.30, 0.38, 0.46)
# left, right, base, eaves, ridge, gable faces us, wall, roof, shutters, timbered, floors, columns, seed
UPPER = (
    House(120, 196, 330, 232, 168, True, STONE, BROWN, None, False, 3, 4, 1000),
    House(196, 292, 330, 222, 172, False, WHITE, RED, None, False, 3, 5, 1010),
    House(286, 352, 330, 226, 156, True, OCHRE, RED, None, True, 3, 3, 1020),
    House(352, 452, 330, 236, 184, False, ROSE, BROWN, None, False, 3, 5, 1030),
    House(446, 520, 330, 220, 152, True, WHITE, RED, DARK_GREEN, False, 3, 3, 1040),
    House(520, 610, 330, 236, 188, False, GREEN, BROWN, None, False, 3, 4, 1050),
    House(604, 684, 330, 236, 170, True, STONE, RED, None, True, 3, 3, 1060),
)
LOWER = (
    House(92, 168, 392, 300, 236, True, OCHRE, RED, DARK_GREEN, False, 3, 3, 1100),
    House(168, 256, 392, 306, 258, False, WHITE, BROWN, None, True, 3, 4, 1110),
    House(256, 326, 392, 286, 214, True, ROSE, RED, GREY_BLUE, False, 3, 3, 1120),
    House(326, 386, 392, 300, 238, True, WHITE, BROWN, DARK_RED, True, 3, 3, 1130),
    House(386, 484, 392, 298, 248, False, BLUE, RED, WHITE, False, 3, 4, 1140),
    House(484, 552, 392, 284, 210, True, WHITE, BROWN, None, True, 3, 3, 1150),
    House(624, 704, 392, 302, 252, False, OCHRE, RED, DARK_GREEN, False, 3, 3, 1160),
)


def wooded_hill(picture, x, y, dice):
    """Lays the hill behind the town, hazy, with the crowns of its trees."""
    crest = (
        206
        - 44 * sine(x / 1500 + 0.10)
        + 14 * sine(x / 330)
        + 6 * np.abs(ripple(x / 11, 0 * y, 721))
        + 3 * ripple(x / 4, y / 9, 722)
    )
    bump_x, bump_y = x / 13, y / 9
    light = (
        0.45
        + 0.38 * (ripple(bump_x, bump_y, 723) - ripple(bump_x + 0.35, bump_y + 0.40, 723))
        + 0.25 * clouds(x / 5, y / 5, 725, octaves=3)
    )
    colour = mix(blend_colours(LEAVES, clip(light)), np.array((0.62, 0.71, 0.76)), 0.44)
    canvas.lay(picture, colour, shapes.cover(crest - y))


def quay(picture, x, y):
    """Lays the wall along the river: courses of stone, moss and damp above the water."""
    view, x, y = canvas.region(picture, 0, 370, WIDTH, SHORE)
    course = np.floor((y + 0.8 * ripple(x / 40, y / 40, 751)) / 5.2)
    column = (x + 7 * scatter(course, 0 * course, 753)) / (11 + 5 * scatter(course, 0 * course + 1, 753))
    off = np.minimum(y / 5.2 - np.floor(y / 5.2), (column - np.floor(column)) * 2.2)
    tone = (
        (0.80 + 0.34 * scatter(column, course, 755))
        * (1 - 0.40 * smooth(0.22, 0.05, off))
        * (1 + 0.12 * clouds(x / 8, y / 5, 757, octaves=3))
    )
    stone = np.array((0.56, 0.52, 0.45)) * tone[..., None]
    moss = smooth(SHORE - 13, SHORE, y + 9 * clouds(x / 16, y / 16, 759, octaves=3))
    stone = mix(stone, np.array((0.17, 0.20, 0.11)), (0.8 * moss)[..., None])
    canvas.lay(view, stone, shapes.cover(384 - y))
    rectangle(picture, -2, 382, WIDTH + 2, 385, (0.72, 0.67, 0.58))
    rectangle(picture, -2, 385, WIDTH + 2, 387.5, (0.15, 0.14, 0.14), 0.45, 1.5)


def crown(middle_x, middle_y, half_width, half_height, count, dice):
    """Balls of leaves that fill an oval, the upper and outer ones first."""
    clumps = []
    while len(clumps) < count:
        across, down = dice.between(-1, 1), dice.between(-1, 1)
        if across * across + down * down < 1:
            radius = dice.between(0.22, 0.36) * min(half_width, 1.6 * half_height)
            clumps.append(
                (
                    middle_x + across * (half_width - 0.5 * radius),
                    middle_y + down * (half_height - 0.5 * radius),
                    radius,
                )
            )
    return sorted(clumps, key=lambda clump: clump[1])


def trees(picture, dice):
    """Lays the plane trees on the left and the bushes of the gardens."""
    for trunk_x, top, wide in ((36, 250, 7), (112, 300, 5)):
        for index in range(5):
            bar(
                picture,
                (trunk_x, 384),
                (trunk_x + (index - 2) * 15, top + 10 * abs(index - 2)),
                wide * 0.35,
                (0.23, 0.18, 0.14),
            )
        bar(picture, (trunk_x, 386), (trunk_x, top + 40), wide * 0.7, (0.25, 0.20, 0.16))
    outdoors.leaves(picture, crown(30, 240, 96, 118, 62, dice), LEAVES, dice, size=3.8, density=0.26)
    outdoors.leaves(picture, crown(116, 318, 44, 50, 30, dice), LEAVES, dice, size=3.4, density=0.28)
    for middle, reach, high in (
        (52, 60, 30),
        (150, 34, 20),
        (262, 50, 14),
        (346, 30, 18),
        (470, 46, 15),
        (560, 40, 20),
        (650, 46, 22),
        (744, 40, 20),
    ):
        outdoors.leaves(
            picture, crown(middle, 382, reach, high, 12 + reach // 2, dice), LEAVES, dice, size=2.5, density=0.40
        )
    outdoors.leaves(picture, crown(214, 372, 22, 20, 12, dice), LEAVES, dice, size=2.8, density=0.34)
    outdoors.leaves(picture, crown(436, 366, 20, 24, 12, dice), LEAVES, dice, size=2.8, density=0.34)


def ivy(picture, dice):
    """Lays plants that hang over the quay's edge."""
    for _ in range(18):
        ivy_x = dice.between(0, WIDTH)
        drop = [(ivy_x + dice.between(-9, 9), 386 + step * 2.4, 5.0) for step in range(dice.whole(4) + 1)]
        outdoors.leaves(picture, drop, LEAVES, dice, size=2.2, density=0.42)


def willow(picture, dice):
    """Lays the willow on the right: a round crown from which long switches hang to the water."""
    bar(picture, (724, 392), (716, 300), 5.0, (0.22, 0.18, 0.13))
    outdoors.leaves(picture, crown(718, 262, 58, 46, 30, dice), WILLOW, dice, size=3.0, density=0.26)
    for _ in range(330):
        share = dice.between(-1, 1)
        x, y = 718 + 72 * share, 262 - 36 * (1 - share * share) + dice.between(-6, 44)
        end = min(402.0, y + dice.between(56, 150) * (1.1 - 0.3 * share * share))
        light, sway = 0.46 - 0.26 * share + dice.between(-0.22, 0.22), dice.between(-5, 5)
        while y < end:
            outdoors.leaf(
                picture,
                x + dice.between(-1.6, 1.6),
                y,
                dice.between(2.4, 3.8),
                WILLOW,
                light + dice.between(-0.10, 0.10),
                dice,
            )
            x, y = x + sway * 0.02, y + dice.between(2.2, 3.6)


def draw():
    """The picture, (576, 768, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    dice, picture = Dice(77), outdoors.sky(x, y, 300, SKY, seed=761, amount=0.53, scale=190)
    wooded_hill(picture, x, y, dice)
    landmarks.church(picture)
    for house in UPPER:
        houses.paint(picture, house, dice)
    # Haze between the rows sets them apart.
    canvas.lay(picture, (0.80, 0.83, 0.84), 0.16 * smooth(150, 330, y) * (y < 400))
    for house in LOWER:
        houses.paint(picture, house, dice)
    landmarks.round_tower(picture, dice)
    trees(picture, dice)
    quay(picture, x, y)
    ivy(picture, dice)
    willow(picture, dice)
    outdoors.mirror(picture, SHORE, (0.13, 0.19, 0.15), seed=765, roughness=0.42, clearness=0.40)
    landmarks.boat(picture)
    return outdoors.finish(picture, 769)
