"""Leaves and fruit cut out of painted paper and pinned to coloured sheets."""

import numpy as np

from . import canvas, shapes
from .arithmetic import clip, cosine, length, mix, sine, smooth
from .noise import Dice, clouds, ripple

WIDTH, HEIGHT = 720, 560
CREAM, INK_BLUE, COBALT, LEAF, EMERALD = (
    (0.96, 0.93, 0.85),
    (0.10, 0.16, 0.42),
    (0.13, 0.34, 0.74),
    (0.36, 0.60, 0.20),
    (0.05, 0.42, 0.31),
)
ORANGE, SCARLET, MAGENTA, SUN, PINK = (
    (0.94, 0.46, 0.12),
    (0.83, 0.15, 0.15),
    (0.76, 0.14, 0.43),
    (0.97, 0.78, 0.16),
    (0.95, 0.66, 0.66),
)
BLACK, SKY, PLUM = (0.10, 0.10, 0.12), (0.52, 0.74, 0.86), (0.36, 0.16, 0.42)
# left, top, right, bottom and colour of the sheets of the ground, laid in this order
SHEETS = (
    (0, 0, 720, 560, CREAM),
    (0, 0, 186, 240, COBALT),
    (186, 0, 392, 176, SUN),
    (392, 0, 560, 268, PINK),
    (560, 0, 720, 196, EMERALD),
    (0, 240, 150, 560, ORANGE),
    (150, 176, 392, 392, CREAM),
    (392, 268, 580, 452, INK_BLUE),
    (560, 196, 720, 392, SCARLET),
    (150, 392, 338, 560, MAGENTA),
    (338, 452, 580, 560, SKY),
    (580, 392, 720, 560, SUN),
    (338, 380, 392, 452, LEAF),
)
# middle x and y, length, turn of the stem (0 points right, 0.75 up), lobes on each side, colour
FRONDS = (
    (94, 128, 186, 0.73, 5, CREAM),
    (288, 90, 162, 0.97, 5, SCARLET),
    (476, 140, 206, 0.78, 6, INK_BLUE),
    (644, 104, 154, 0.71, 4, SUN),
    (76, 408, 246, 0.74, 6, INK_BLUE),
    (274, 290, 186, 0.80, 5, EMERALD),
    (488, 364, 152, 0.72, 5, CREAM),
    (648, 298, 160, 0.78, 5, PINK),
    (244, 484, 140, 0.71, 4, SUN),
    (462, 510, 180, 0.985, 6, SCARLET),
    (652, 480, 140, 0.74, 4, COBALT),
    (168, 216, 84, 0.90, 3, MAGENTA),
    (396, 216, 86, 0.62, 3, ORANGE),
    (566, 240, 84, 0.85, 3, LEAF),
    (352, 412, 84, 0.80, 3, PLUM),
    (572, 426, 80, 0.66, 3, EMERALD),
)
# x, y, radius and colour of the fruit and pebbles
PEBBLES = (
    (205, 190, 17, BLACK),
    (330, 205, 13, COBALT),
    (384, 50, 15, EMERALD),
    (540, 30, 14, SCARLET),
    (586, 160, 15, CREAM),
    (28, 232, 16, SUN),
    (140, 296, 15, CREAM),
    (420, 300, 14, SUN),
    (552, 296, 12, PINK),
    (700, 220, 13, BLACK),
    (170, 548, 15, CREAM),
    (352, 470, 14, INK_BLUE),
    (566, 540, 15, BLACK),
    (700, 400, 16, MAGENTA),
    (26, 22, 14, ORANGE),
    (208, 26, 12, PLUM),
    (156, 420, 13, COBALT),
)


def painted(x, y, colour, seed: int):
    """Gouache brushed over paper: streaks of the brush in one direction, blots, and the paper's tooth."""
    turn = Dice(seed).between(-0.08, 0.08) + 0.25 * (seed % 2)
    along, across = x * cosine(turn) + y * sine(turn), y * cosine(turn) - x * sine(turn)
    streaks = clouds(along / 95, across / 5.5, seed, octaves=3)
    blots = clouds(x / 70, y / 70, seed + 7, octaves=2)
    tooth = ripple(x / 2.1, y / 2.1, 5) + 0.6 * ripple(x / 4.6, y / 4.6, 6)
    tone = 1 + 0.075 * streaks + 0.06 * blots + 0.030 * tooth
    # Thin paint lets some of the white paper through.
    thin = 0.10 * smooth(0.25, 0.9, streaks)
    return mix(np.array(colour) * tone[..., None], np.array((0.97, 0.95, 0.90)), thin[..., None])


def cut(x, y, seed: int):
    """Scissors do not cut smoothly: facets and slips of a pixel or two, to be added to a distance."""
    return 0.8 * ripple(x / 15, y / 15, seed) + 0.25 * ripple(x / 5, y / 5, seed + 1)


def put(picture, bounds, distance_at, colour, seed: int):
    """Pins one piece of painted paper on the picture, with its shadow."""
    view, x, y = canvas.region(picture, *bounds)
    if not view.size:
        return
    distance = distance_at(x, y) + cut(x, y, seed)
    # Two shadows: a narrow dark one where the paper touches, a wide one to the lower right where it stands off.
    lift = 1 + 0.5 * ripple(x / 60, y / 60, seed + 3)
    far = distance_at(x - 2.6 * lift, y - 3.2 * lift)
    canvas.lay(view, (0.07, 0.06, 0.10), 0.36 * smooth(4, -4, far))
    canvas.lay(view, (0.05, 0.05, 0.08), 0.30 * smooth(2.2, -0.5, distance))
    canvas.lay(view, painted(x, y, colour, seed), shapes.cover(distance))
    # The cut edge shows the paper's white towards the light.
    towards = distance_at(x + 1.0, y + 1.2) - distance_at(x - 1.0, y - 1.2)
    rim = smooth(-1.9, -0.9, distance) * shapes.cover(distance)
    canvas.lay(view, (1.0, 0.99, 0.95), 0.28 * rim * smooth(0.2, -2.0, towards))
    canvas.lay(view, (0.05, 0.05, 0.08), 0.12 * rim * smooth(-0.2, 2.0, towards))


def frond(centre_x, centre_y, size, turn, lobes, dice):
    """The outline of a leaf of seaweed: round-tipped lobes to both sides of a bent stem, as a function of (x, y)."""
    bend, limbs = dice.between(-0.10, 0.10), []
    heading = turn - bend
    place_x, place_y = centre_x - size * 0.5 * float(cosine(turn)), centre_y - size * 0.5 * float(sine(turn))
    stem = [(place_x, place_y)]
    steps = 2 * lobes
    for index in range(steps):
        heading = turn - bend + 2 * bend * index / steps
        place_x, place_y = (
            place_x + size / steps * float(cosine(heading)),
            place_y + size / steps * float(sine(heading)),
        )
        stem.append((place_x, place_y))
        if index % 2 == 0 and index < steps - 1:
            share = index / steps
            for side in (-1, 1):
                reach = size * (0.20 + 0.85 * share * (1.0 - share)) * dice.between(0.85, 1.15)
                out = heading + side * (0.195 - 0.075 * share) * dice.between(0.9, 1.1)
                limbs.append(lobe(place_x, place_y, reach, out, side * dice.between(0.0, 0.026), size * 0.30 / lobes))
    limbs.append(lobe(*stem[-3], size * 0.26, heading, 0.0, size * 0.30 / lobes))

    def distance(x, y):
        widths = [size * (0.032 - 0.018 * index / steps) for index in range(len(stem))]
        total = shapes.ribbon(x, y, stem, widths)[0]
        for points, half_widths in limbs:
            total = shapes.union(total, shapes.ribbon(x, y, points, half_widths)[0], size * 0.03)
        return total

    return distance


def lobe(x, y, reach, heading, curl, half_width):
    """One lobe: points and half-widths of a line that curls back and ends round and thick."""
    points, widths = [(x, y)], [half_width * 0.55]
    for index in range(4):
        heading = heading - curl
        x, y = x + reach / 4 * float(cosine(heading)), y + reach / 4 * float(sine(heading))
        points.append((x, y))
        widths.append(half_width * (0.75, 1.0, 1.12, 0.95)[index])
    return points, widths


def sheet(left, top, right, bottom, lean):
    """The outline of a sheet that was not cut quite square."""
    corners = [
        (left - lean[0], top - lean[1]),
        (right + lean[2], top - lean[3]),
        (right + lean[4], bottom + lean[5]),
        (left - lean[6], bottom + lean[7]),
    ]
    return lambda x, y: shapes.polygon(x, y, corners)


def pebble(centre_x, centre_y, radius, dice):
    """The outline of a pebble, longer than wide."""
    turn, stretch = dice.between(0, 1), dice.between(1.15, 1.7)
    run_x, run_y = float(cosine(turn)), float(sine(turn))

    def distance(x, y):
        along, across = (x - centre_x) * run_x + (y - centre_y) * run_y, (y - centre_y) * run_x - (x - centre_x) * run_y
        return length(along / stretch, across * 1.08) - radius * 0.9

    return distance


def draw():
    """The picture, (560, 720, 3) bytes."""
    picture, dice = canvas.blank(WIDTH, HEIGHT, CREAM), Dice(12)
    for index, (left, top, right, bottom, colour) in enumerate(SHEETS):
        outline = sheet(left, top, right, bottom, [dice.between(-2, 5) for _ in range(8)])
        put(picture, (left - 16, top - 16, right + 16, bottom + 16), outline, colour, 100 + index)
    for index, (x, y, size, turn, lobes, colour) in enumerate(FRONDS):
        reach = 0.85 * size
        put(
            picture,
            (x - reach, y - reach, x + reach, y + reach),
            frond(x, y, size, turn, lobes, dice),
            colour,
            200 + index,
        )
    for index, (x, y, radius, colour) in enumerate(PEBBLES):
        reach = 2.2 * radius + 10
        put(picture, (x - reach, y - reach, x + reach, y + reach), pebble(x, y, radius, dice), colour, 300 + index)
    x, y = canvas.centres(WIDTH, HEIGHT)
    light = 1.03 - 0.07 * smooth(0, 900, length(x - 120, y - 60))
    return canvas.to_bytes(clip(picture * light[..., None]))
