"""A lake below snowy mountains, with forest on its far shore and firs in front.

The land is a height for every place (kilometres): each column of the picture is walked from near to far.
"""

import numpy as np

from . import canvas, outdoors, shapes
from .arithmetic import blend_colours, clip, decay, length, mix, smooth
from .noise import Dice, clouds, ridges, ripple, scatter

WIDTH, HEIGHT, SHORE = 768, 512, 318
FOCUS, EYE = 900.0, 0.06  # pixels; kilometres above the lake
LIGHT = (-0.64, 0.60, -0.48)
# across, away, height, half-width (kilometres)
PEAKS = (
    (-1.5, 13.0, 3.9, 3.3),
    (1.9, 15.0, 2.9, 3.0),
    (4.9, 13.5, 3.1, 3.2),
    (-5.6, 14.5, 3.3, 3.6),
    (8.4, 15.0, 3.0, 3.4),
    (-3.6, 10.2, 1.45, 1.9),
    (3.0, 9.8, 1.15, 2.2),
)
HILLS = ((-3.3, 6.9, 0.95, 1.7), (3.9, 7.0, 0.80, 1.9), (0.5, 8.6, 0.42, 1.5), (-1.2, 7.6, 0.30, 0.9))
SKY = ((0.0, (0.21, 0.42, 0.72)), (0.5, (0.46, 0.66, 0.86)), (1.0, (0.86, 0.90, 0.91)))
ROCK = ((0.0, (0.25, 0.235, 0.235)), (0.5, (0.42, 0.395, 0.375)), (1.0, (0.60, 0.56, 0.51)))
FIR = (
    (0.0, (0.035, 0.075, 0.065)),
    (0.4, (0.075, 0.145, 0.095)),
    (0.75, (0.19, 0.28, 0.14)),
    (1.0, (0.42, 0.47, 0.22)),
)


def bumps(across, away, list_of_bumps):
    """The highest of several rounded cones, run into one another."""
    total = 0.0
    for middle, depth, height, half_width in list_of_bumps:
        far = length(across - middle, (away - depth) * 0.8) / half_width
        total = shapes.union(total, -height * decay(1.1 * far * (0.25 + 0.75 * far)), 0.25)
    return -total


def land(across, away, octaves: int):
    """Height of the bare ground above the lake."""
    bent = 0.25 * ripple(across / 1.9, away / 1.9, 603)
    rugged = ridges(across / 3.4 + bent, away / 3.4 + bent, 601, octaves=octaves, gain=0.44)
    mountain = bumps(across, away, PEAKS) * (0.52 + 0.80 * rugged)
    hill = bumps(across, away, HILLS) * (0.78 + 0.34 * clouds(across / 1.1, away / 1.1, 611, octaves=min(octaves, 4)))
    shore = (
        5.4
        + 0.5 * ripple(across / 1.7, 0 * away, 613)
        + 0.16 * ripple(across / 0.4, 0 * away, 615)
        - 0.05 * across * across
    )
    return np.where(
        away < shore,
        -0.1,
        np.maximum(mountain * smooth(6.4, 9.5, away), hill) * smooth(-0.2, 1.5, away - shore) + 0.014,
    )


def firs(across, away, ground):
    """Height of the trees that stand on the ground: a cone in every small square, none on the heights."""
    cell = 0.042
    column, row = np.floor(across / cell), np.floor(away / cell)
    best = np.zeros(across.shape)
    line = 0.98 + 0.30 * ripple(across / 0.7, away / 0.7, 621)
    thick = smooth(0.14, -0.05, ground - line) * smooth(-0.85, -0.45, ripple(across / 0.5, away / 0.5, 623))
    for step_row in (-1, 0, 1):
        for step_column in (-1, 0, 1):
            name_x, name_y = column + step_column, row + step_row
            far = length(
                across / cell - name_x - scatter(name_x, name_y, 625),
                away / cell - name_y - scatter(name_x, name_y, 626),
            )
            tall = 0.040 + 0.050 * scatter(name_x, name_y, 627)
            best = np.maximum(best, tall * (1 - 1.35 * far))
    return best * thick


def visible(scale: int):
    """For every pixel above the shore: the place across and away, the height there, and whether any land is seen."""
    width, rows = WIDTH * scale, SHORE * scale
    aways = [4.6]
    while aways[-1] < 19:
        aways.append(aways[-1] * 1.0017)
    away = np.array(aways)[:, None]
    slope = (np.arange(width) + 0.5 - width / 2) / (FOCUS * scale)
    across = slope[None, :] * away
    ground = land(across, away, 8)
    top = ground + firs(across, away + 0 * across, ground)
    screen = SHORE * scale - FOCUS * scale * top / away
    screen = np.minimum.accumulate(screen, axis=0)
    places, middle = np.zeros((rows, width), dtype=int), np.arange(rows)[:, None] + 0.5
    for column in range(width):
        places[:, column] = np.searchsorted(-screen[:, column], -middle[:, 0])
    seen = places < len(aways)
    places = np.clip(places, 1, len(aways) - 1)
    # Between two steps the land rises evenly.
    before, after = np.take_along_axis(screen, places - 1, axis=0), np.take_along_axis(screen, places, axis=0)
    share = clip((before - middle) / np.maximum(before - after, 1e-6))
    depth = mix(away[:, 0][places - 1], away[:, 0][places], share)
    return slope[None, :] * depth, depth, (SHORE * scale - middle) * depth / (FOCUS * scale), seen


def shade_map():
    """Sunlight (0 or 1, soft at the edge) on a map of the land: (rows away, columns across), 25 per kilometre."""
    across, away = np.meshgrid(np.arange(-11, 11, 0.04), np.arange(4, 19, 0.04))
    ground = land(across, away, 6)
    light, (to_x, up, to_z) = np.ones(ground.shape), LIGHT
    for step in range(1, 80):
        far = 0.05 * step
        other = canvas.sample(ground, (across + far * to_x + 11) / 0.04 + 0.5, (away + far * to_z - 4) / 0.04 + 0.5)
        light = np.minimum(light, smooth(0.03, -0.05, other - ground - far * up))
    return light


def cover_of(across, away, height, ground, steep):
    """What grows and lies on the land: its colour, and the shares of trees and of snow."""
    strata = clouds(across * 1.4, height * 9 + 2 * ripple(across, away, 631), 633, octaves=4)
    rock = blend_colours(ROCK, 0.5 + 0.5 * strata)
    blades = 0.5 + 0.5 * clouds(across * 6, away * 6, 635, octaves=3)
    meadow = mix(np.array((0.36, 0.40, 0.20)), np.array((0.24, 0.31, 0.14)), blades[..., None])
    green = smooth(1.5, 0.9, ground + 0.35 * strata) * smooth(1.5, 0.8, steep)
    colour = mix(rock, meadow, green[..., None])
    line = ground + 0.45 * clouds(across * 1.5, away * 1.5, 637, octaves=4)
    snowy = smooth(1.25, 1.85, line) * smooth(2.5, 1.5, steep + 0.6 * strata)
    colour = mix(colour, np.array((0.95, 0.96, 0.98)), snowy[..., None])
    stand = clip(height - ground, 0, 0.075)
    wooded = smooth(0.003, 0.012, stand)
    crowns = blend_colours(FIR, 0.10 + 8.5 * stand + 0.16 * clouds(across * 11, away * 11, 639, octaves=3))
    return mix(colour, crowns * 1.25, wooded[..., None]), wooded, snowy


def mountains(scale: int):
    """Colour of the land at every pixel above the shore, and the share of each pixel that it covers."""
    across, away, height, seen = visible(scale)
    picture = np.zeros((*seen.shape, 3))
    across, away, height = across[seen], away[seen], height[seen]
    ground, wide = np.maximum(land(across, away, 9), 0), 0.012
    slope_x = (land(across + wide, away, 9) - ground) / wide
    slope_z = (land(across, away + wide, 9) - ground) / wide
    steep = length(slope_x, slope_z)
    colour, wooded, snowy = cover_of(across, away, height, ground, steep)
    # Under trees it is the crowns that face the light, not the bank below them.
    limit = mix(1.0, np.minimum(1.0, 0.7 / np.maximum(steep, 1e-6)), wooded)
    slope_x, slope_z = slope_x * limit, slope_z * limit
    lit = clip((-slope_x * LIGHT[0] + LIGHT[1] - slope_z * LIGHT[2]) / length(1.0, slope_x, slope_z))
    lit = lit * canvas.sample(shade_map(), (across + 11) / 0.04 + 0.5, (away - 4) / 0.04 + 0.5)
    direct = lit[..., None] * np.array((1.137, 1.039, 0.882))
    skylight = np.array((0.30, 0.37, 0.50)) * (0.75 + 0.25 * snowy)[..., None]
    haze = 1 - decay(clip(away - 4.5, 0, 99) / 26) * (0.92 + 0.08 * smooth(0, 1.2, height))
    picture[seen] = mix(colour * (direct + skylight), np.array((0.66, 0.76, 0.87)), haze[..., None])
    return canvas.shrink(picture, scale), canvas.shrink(seen * 1.0, scale)


def fir(picture, foot_x, foot_y, tall, dice):
    """Lays one fir in the foreground, bough by bough from the top."""
    view, x, y = canvas.region(picture, foot_x - 4, foot_y - tall, foot_x + 4, foot_y)
    trunk = np.abs(x - foot_x) - (0.5 + 0.018 * tall * clip((y - foot_y + tall) / tall))
    canvas.lay(view, (0.10, 0.075, 0.06), shapes.cover(trunk))
    level, lean = 0.02, dice.between(-0.4, 0.4)
    while level < 0.95:
        reach = tall * 0.235 * (level * 0.92 + 0.05) * dice.between(0.75, 1.15)
        for side in (-1, 1):
            bough(
                picture,
                foot_x + lean * (1 - level),
                foot_y - tall * (1 - level),
                side * reach * dice.between(0.7, 1.1),
                tall,
                dice,
            )
        bough(picture, foot_x, foot_y - tall * (1 - level), reach * dice.between(-0.4, 0.4), tall, dice)
        level += dice.between(0.012, 0.026)


def bough(picture, x, y, reach, tall, dice):
    """Lays one bough: twigs that hang from a line which sinks outwards and lifts at its tip."""
    count = 4 + int(abs(reach) / 2.2)
    for index in range(count):
        share = (index + dice.between(0, 1)) / count
        twig_x, twig_y = x + reach * share, y + abs(reach) * (0.62 * share - 0.30 * share * share)
        hang = (1.2 + 0.018 * tall) * dice.between(0.6, 1.4) * (1.2 - 0.6 * share)
        light = 0.30 - (0.32 if reach > 0 else -0.30) * share + dice.between(-0.16, 0.22)
        spot, spot_x, spot_y = canvas.region(picture, twig_x - 5, twig_y - 3, twig_x + 5, twig_y + hang + 3)
        if spot.size:
            tip = (twig_x + reach * 0.07, twig_y + hang)
            distance = shapes.segment(spot_x, spot_y, (twig_x, twig_y), tip)[0]
            canvas.lay(spot, outdoors.ramp_colour(FIR, light), 0.92 * shapes.cover(distance - 0.55 - 0.0035 * tall))


def bank(picture, x, y, dice):
    """Lays the near bank in the two lower corners: stones, grass, and firs on it."""
    rise = (
        470
        - 62 * smooth(170, -40, x)
        - 44 * smooth(560, 800, x)
        + 26 * smooth(120, 380, x) * smooth(640, 400, x)
        + 5 * ripple(x / 26, 0 * y, 651)
        + 2 * ripple(x / 7, y / 9, 653)
    )
    earth = blend_colours(
        ((0.0, (0.10, 0.11, 0.06)), (0.5, (0.22, 0.24, 0.11)), (1.0, (0.44, 0.42, 0.22))),
        0.45 + 0.5 * clouds(x / 17, y / 6, 655, octaves=4) + 0.15 * smooth(30, 0, y - rise),
    )
    canvas.lay(picture, earth, shapes.cover(rise - y, 2))
    for _ in range(1500):
        foot_x = dice.between(-5, WIDTH + 5)
        column = int(clip(foot_x, 0, WIDTH - 1))
        foot_y = float(rise[400, column]) + dice.between(-1, 60)
        blade_x, blade_y = foot_x + dice.between(-4, 5), foot_y - dice.between(4, 12)
        view, across, down = canvas.region(picture, foot_x - 8, blade_y - 2, foot_x + 8, foot_y + 2)
        if view.size:
            distance, along = shapes.segment(across, down, (foot_x, foot_y), (blade_x, blade_y))
            tone = outdoors.ramp_colour(
                ((0.0, (0.12, 0.14, 0.06)), (0.6, (0.36, 0.38, 0.16)), (1.0, (0.66, 0.60, 0.32))), dice.between(0, 1)
            )
            canvas.lay(view, tone, shapes.cover(distance - 0.7 + 0.5 * along))
    for foot_x, tall in ((40, 292), (-8, 250), (84, 196), (118, 128), (744, 262), (700, 170), (772, 200), (664, 104)):
        fir(picture, foot_x, float(rise[400, int(clip(foot_x, 0, WIDTH - 1))]) + 16, tall, dice)


def draw():
    """The picture, (512, 768, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    dice, picture = Dice(31), outdoors.sky(x, y, SHORE, SKY, seed=643, amount=0.56, scale=200)
    colour, share = mountains(2)
    upper = picture[:SHORE]
    upper[...] = upper * (1 - share)[..., None] + colour
    strand = (
        smooth(SHORE - 4, SHORE - 1, y + 2 * ripple(x / 30, 0 * y, 643))
        * smooth(-0.3, 0.3, ripple(x / 80, 0 * y, 644))
        * (y < SHORE)
    )
    canvas.lay(picture, (0.50, 0.47, 0.38), 0.8 * strand)
    # Morning mist lies on the far water.
    canvas.lay(
        upper,
        (0.80, 0.85, 0.88),
        0.34 * (smooth(SHORE - 46, SHORE - 4, y) * (0.6 + 0.5 * ripple(x / 150, y / 18, 647)))[:SHORE],
    )
    outdoors.mirror(picture, SHORE, (0.05, 0.17, 0.20), seed=645, roughness=0.34, clearness=0.62)
    bank(picture, x, y, dice)
    return outdoors.finish(picture, 659)
