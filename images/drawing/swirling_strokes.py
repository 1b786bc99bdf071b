"""A night sky over a village, in thick brush strokes of four sizes that follow one swirling flow."""

import numpy as np

from . import brush, canvas
from .arithmetic import blend_colours, clip, cosine, decay, direction, length, mix, sine, smooth
from .noise import Dice, clouds

WIDTH, HEIGHT = 720, 576
# x, y, radius and turning sense of each eddy of the sky.
EDDIES = ((395, 205, 96, -1.0), (232, 288, 62, 1.0), (500, 330, 48, 1.0), (60, 340, 46, -1.0))
# x, y, radius of each star's disc; the moon comes first.
LIGHTS = (
    (118, 122, 40),
    (250, 52, 9),
    (262, 146, 7),
    (360, 60, 7),
    (468, 66, 11),
    (540, 150, 7),
    (32, 232, 7),
    (560, 38, 6),
    (520, 236, 9),
    (696, 92, 10),
    (300, 206, 5),
    (150, 240, 6),
)
# left, ground line, width, height of the walls, height of the roof
HOUSES = (
    (96, 500, 48, 26, 26),
    (152, 490, 40, 24, 24),
    (204, 506, 56, 30, 28),
    (300, 498, 46, 28, 26),
    (356, 512, 58, 32, 30),
    (432, 500, 44, 26, 26),
    (488, 516, 54, 30, 28),
    (36, 512, 50, 28, 28),
)
# foot, top and half-width of each poplar
POPLARS = ((612, 108, 44), (680, 196, 42), (560, 318, 24))
# spacing, half-width, length (pixels); the least detail for which a brush is taken up; the share of strokes elsewhere
BRUSHES = (
    (17, 9.5, 84, 0.0, 1.0),
    (10.5, 5.2, 50, 0.0, 1.0),
    (7.5, 3.0, 30, 0.25, 0.30),
    (4.6, 1.7, 14, 0.55, 0.22),
    (3.0, 1.2, 6.5, 0.85, 0.0),
)
SKY = (
    (0.0, (0.05, 0.08, 0.24)),
    (0.3, (0.09, 0.17, 0.45)),
    (0.5, (0.16, 0.33, 0.66)),
    (0.7, (0.36, 0.58, 0.80)),
    (0.85, (0.64, 0.79, 0.80)),
    (1.0, (0.88, 0.90, 0.74)),
)
GLOW = ((0.0, (1.0, 0.96, 0.72)), (0.3, (0.98, 0.83, 0.36)), (0.6, (0.76, 0.80, 0.52)), (1.0, (0.36, 0.58, 0.80)))


def skyline(x):
    """y of the far hills' crest."""
    return 396 - 34 * sine(x / 520 + 0.08) - 14 * sine(x / 190 + 0.3) + 0.03 * x


def meadow(x):
    """y of the near hill's crest."""
    return 452 + 16 * sine(x / 610 + 0.55) + 7 * sine(x / 230)


def tree_side(x, y):
    """How far a place lies from the middle of the nearest poplar (-1 and 1 at its edges), and that poplar's number."""
    side, number = np.full(np.shape(x), 1e3), np.zeros(np.shape(x))
    for index, (foot_x, top, half_width) in enumerate(POPLARS):
        share = clip((y - top) / (620 - top))
        middle = foot_x + 9 * sine(y / 260 + 0.3 * index) + 3 * sine(y / 83 + 0.2 * index)
        wide = half_width * np.sqrt(share) * (1.15 - 0.45 * share) * (1 + 0.12 * sine(y / 61 + 0.4 * index))
        here = np.where(y > top, (x - middle) / np.maximum(wide, 0.5), 1e3)
        closer = np.abs(here) < np.abs(side)
        side, number = np.where(closer, here, side), np.where(closer, index, number)
    return side, number


def turning(x, y):
    """How strongly and which way each eddy turns a place: the sum of the pushes as x, y."""
    push_x, push_y = 0.0, 0.0
    for centre_x, centre_y, radius, sense in EDDIES:
        away_x, away_y = x - centre_x, y - centre_y
        far = length(away_x, away_y)
        strength = 3.4 * sense * decay(square(far / (1.1 * radius))) / (far + 6)
        # A little inward pull winds the strokes into spirals.
        push_x, push_y = (
            push_x - strength * (away_y + 0.2 * sense * away_x),
            push_y + strength * (away_x - 0.2 * sense * away_y),
        )
    for centre_x, centre_y, radius in LIGHTS:
        away_x, away_y = x - centre_x, y - centre_y
        far = length(away_x, away_y)
        strength = 4.0 * decay(square(far / (2.6 * radius))) / (far + 2)
        push_x, push_y = push_x - strength * away_y, push_y + strength * away_x
    return push_x, push_y


def square(values):
    """The square."""
    return values * values


def flow(x, y):
    """Unit vector along which the brush runs at a place."""
    push_x, push_y = turning(x, y)
    run_x = 0.75 + push_x
    run_y = 0.38 * sine(x / 330 + y / 700) + 0.12 * sine(y / 90 + x / 400) + push_y
    ground = smooth(-6, 6, y - skyline(x))
    run_x, run_y = (
        mix(run_x, 1.0, ground),
        mix(run_y, (skyline(x + 8) - skyline(x - 8)) / 16 + 0.3 * sine(x / 90 + y / 55), ground),
    )
    side, number = tree_side(x, y)
    tree = smooth(1.06, 0.94, np.abs(side))
    lean = 0.30 * sine(y / 74 + 0.3 * number) + 0.34 * clip(side, -1, 1)
    run_x, run_y = mix(run_x, lean, tree), mix(run_y, -1.0, tree)
    far = np.maximum(length(run_x, run_y), 1e-6)
    return run_x / far, run_y / far


def sky(x, y):
    """Colour of the sky: bands wound round the eddies, pale near the hills, rings of light round the stars."""
    tone = 0.34 + 0.10 * sine(y / 118 + 0.35 * sine(x / 420)) + 0.20 * clouds(x / 170, y / 60, 11, octaves=3)
    tone = tone + 0.26 * smooth(250, 392, y + 0.02 * x)
    for centre_x, centre_y, radius, sense in EDDIES:
        away_x, away_y = x - centre_x, y - centre_y
        far = length(away_x, away_y)
        bands = 0.5 + 0.5 * cosine(far / (0.46 * radius) - sense * direction(away_x, away_y))
        tone = mix(tone, 0.22 + 0.66 * bands, 0.85 * decay(square(square(far / (1.25 * radius)))))
    colour = blend_colours(SKY, tone)
    for centre_x, centre_y, radius in LIGHTS:
        far = length(x - centre_x, y - centre_y) / radius
        ring = far - 0.16 * cosine(far * 0.9)
        halo = blend_colours(GLOW, clip((ring - 0.7) / 2.2))
        colour = mix(colour, halo, (smooth(3.3, 1.2, far) * 0.96)[..., None])
    return colour


def moon(colour, x, y):
    """Lays the crescent over the sky."""
    disc_x, disc_y, radius = LIGHTS[0]
    lit = length(x - disc_x, y - disc_y) - radius
    dark = length(x - disc_x - 19, y - disc_y + 8) - radius * 0.86
    return mix(colour, np.array((0.96, 0.62, 0.12)), smooth(1, -1, np.maximum(lit, -dark))[..., None])


def village(colour, x, y):
    """Lays houses with lit windows, and a church, on the meadow."""
    for left, ground, wide, walls, roof in HOUSES:
        middle = left + wide / 2
        in_wall = (np.abs(x - middle) < wide / 2) & (y < ground) & (y > ground - walls)
        shade = np.where(x < middle, 1.0, 0.72)[..., None]
        colour = np.where(in_wall[..., None], np.array((0.42, 0.48, 0.55)) * shade, colour)
        rise = (y - (ground - walls - roof)) / roof
        in_roof = (rise > 0) & (rise < 1) & (np.abs(x - middle) < (wide / 2 + 3) * (0.35 + 0.65 * rise))
        colour = np.where(in_roof[..., None], np.array((0.52, 0.24, 0.20)) * shade, colour)
        for side in (0.28, 0.72):
            pane = (np.abs(x - left - side * wide) < 4) & (np.abs(y - ground + walls * 0.5) < 5)
            colour = np.where(pane[..., None], np.array((1.0, 0.84, 0.36)), colour)
    tower = (np.abs(x - 276) < 10) & (y > 424) & (y < 500)
    colour = np.where(tower[..., None], np.array((0.36, 0.42, 0.52)) * np.where(x < 276, 1.1, 0.7)[..., None], colour)
    spire = (y > 344) & (y <= 424) & (np.abs(x - 276) < 13 * (y - 344) / 80)
    return np.where(spire[..., None], np.array((0.16, 0.20, 0.36)) * np.where(x < 276, 1.3, 0.8)[..., None], colour)


def scene(x, y):
    """Colour of what is to be painted at a place."""
    colour = moon(sky(x, y), x, y)
    folds = 0.5 + 0.5 * sine(x / 75 + y / 42 + 0.4 * sine(y / 60))
    hills = blend_colours(((0.0, (0.06, 0.13, 0.31)), (0.55, (0.13, 0.31, 0.47)), (1.0, (0.34, 0.52, 0.55))), folds)
    colour = mix(colour, hills, smooth(-2, 2, y - skyline(x))[..., None])
    rows = 0.5 + 0.5 * sine((y - meadow(x)) / 26 + x / 160)
    field = blend_colours(((0.0, (0.07, 0.17, 0.15)), (0.5, (0.20, 0.36, 0.20)), (1.0, (0.52, 0.56, 0.24))), rows)
    colour = village(mix(colour, field, smooth(-2, 2, y - meadow(x))[..., None]), x, y)
    aside, number = tree_side(x, y)
    aside = clip(aside, -2, 2)
    flames = 0.42 - 0.25 * clip(aside, -1, 1) + 0.45 * sine(aside * 0.7 + y / 105 + 0.3 * number + 0.3 * sine(y / 47))
    bark = blend_colours(((0.0, (0.03, 0.06, 0.07)), (0.6, (0.08, 0.15, 0.11)), (1.0, (0.26, 0.31, 0.14))), flames)
    return mix(colour, bark, smooth(1.04, 0.96, np.abs(aside))[..., None])


def detail(x, y):
    """Where the finest brushes are wanted: 1 on the houses, the church and the moon, 0 in the open."""
    houses = smooth(48, 14, np.abs(y - 486))
    church = smooth(34, 22, np.abs(x - 276)) * smooth(334, 346, y) * smooth(520, 505, y)
    moon_x, moon_y, radius = LIGHTS[0]
    return np.maximum(np.maximum(houses, church), smooth(1.5, 1.05, length(x - moon_x, y - moon_y) / radius))


def draw():
    """The picture, (576, 720, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    wanted, runs, fine = scene(x, y), [run.tolist() for run in flow(x, y)], detail(x, y)
    picture, relief, dice = wanted * 0.6, np.zeros((HEIGHT, WIDTH)), Dice(4)
    for spacing, half_width, reach, least, elsewhere in BRUSHES:
        for centre_x, centre_y in brush.scattered(WIDTH, HEIGHT, spacing, dice):
            column, row = int(clip(centre_x, 0, WIDTH - 1)), int(clip(centre_y, 0, HEIGHT - 1))
            if fine[row, column] < least and not dice.chance(elsewhere):
                continue
            points = brush.follow(runs, centre_x, centre_y, reach * dice.between(0.7, 1.25), 4 if reach < 20 else 8)
            tint = np.array([dice.between(-0.05, 0.05) for _ in range(3)]) + dice.between(-0.07, 0.07)
            colour, wide = clip(wanted[row, column] + tint), half_width * dice.between(0.75, 1.2)
            brush.stroke(picture, relief, points, wide, colour, dice.whole(1 << 30))
    return canvas.to_bytes(brush.light_relief(picture, relief, 1.5))
