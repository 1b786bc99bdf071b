"""A lake below snowy mountains, with forest on its far shore and firs in front.

The land is a height for every place (kilometres): each column of the picture is walked from near to far.
"""

import numpy as np

from . import canvas, outdoors, shapes
from .arithmetic import blend_colours, clip, decay, length, mix, power, sine, smooth
from .noise import Dice, clouds, ridges, ripple, scatter

WIDTH, HEIGHT, SHORE = 768, 512, 318
FOCUS, EYE = 900.0, 0.06  # pixels; kilometres above the lake
LIGHT = (-0.64, 0.60, -0.48)
# across, away, height, half-width (kilometres)
PEAKS = ((-1.9, 12.5, 3.35, 2.6), (1.5, 14.5, 3.3, 2.2), (4.9, 13.0, 3.0, 2.8), (-6.2, 14.0, 3.2, 2.8), (8.6, 15.0, 3.4, 3.0), (-4.0, 10.2, 1.5, 1.6), (3.2, 9.6, 1.15, 1.9))
HILLS = ((-3.3, 6.9, 0.95, 1.7), (3.9, 7.0, 0.80, 1.9), (0.5, 8.6, 0.42, 1.5), (-1.2, 7.6, 0.30, 0.9))
SKY = ((0.0, (0.21, 0.42, 0.72)), (0.5, (0.46, 0.66, 0.86)), (1.0, (0.86, 0.90, 0.91)))
FIR = ((0.0, (0.035, 0.075, 0.065)), (0.4, (0.075, 0.145, 0.095)), (0.75, (0.19, 0.28, 0.14)), (1.0, (0.42, 0.47, 0.22)))


def bumps(across, away, list_of_bumps):
    """The highest of several rounded cones."""
    total = 0.0
    for middle, depth, height, half_width in list_of_bumps:
        far = length(across - middle, (away - depth) * 0.8) / half_width
        total = np.maximum(total, height * decay(1.15 * far * (0.35 + 0.65 * far)))
    return total


def land(across, away, octaves: int):
    """Height of the bare ground above the lake."""
    rugged = ridges(across / 2.7 + 4.2, away / 2.7, 601, octaves=octaves)
    mountain = bumps(across, away, PEAKS) * (0.42 + 0.98 * rugged)
    hill = bumps(across, away, HILLS) * (0.78 + 0.34 * clouds(across / 1.1, away / 1.1, 611, octaves=min(octaves, 4)))
    shore = 5.3 + 0.5 * ripple(across / 1.7, 0 * away, 613) + 0.16 * ripple(across / 0.4, 0 * away, 615) - 0.05 * across * across
    return np.where(away < shore, -0.1, np.maximum(mountain * smooth(6.4, 9.5, away), hill) * smooth(-0.2, 1.5, away - shore) + 0.014)


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
            far = length(across / cell - name_x - scatter(name_x, name_y, 625), away / cell - name_y - scatter(name_x, name_y, 626))
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
    places = np.full((rows, width), len(aways) - 1)
    middle = -(np.arange(rows) + 0.5)
    for column in range(width):
        places[:, column] = np.searchsorted(-screen[:, column], middle)
    seen = places < len(aways)
    places = np.minimum(places, len(aways) - 1)
    depth = away[:, 0][places]
    return slope[None, :] * depth, depth, np.take_along_axis(top, places, axis=0), seen


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


def mountains(scale: int):
    """Colour of the land at every pixel above the shore, and the share of each pixel that it covers."""
    across, away, height, seen = visible(scale)
    colour = np.zeros(seen.shape + (3,))
    across, away, height = across[seen], away[seen], height[seen]
    ground = land(across, away, 9)
    wide = 0.012
    slope_x = (land(across + wide, away, 9) - ground) / wide
    slope_z = (land(across, away + wide, 9) - ground) / wide
    steep = length(slope_x, slope_z)
    lit = clip((-slope_x * LIGHT[0] + LIGHT[1] - slope_z * LIGHT[2]) / length(1.0, slope_x, slope_z))
    lit = lit * canvas.sample(shade_map(), (across + 11) / 0.04 + 0.5, (away - 4) / 0.04 + 0.5)
    strata = clouds(across * 1.4, height * 9 + 2 * ripple(across, away, 631), 633, octaves=4)
    rock = blend_colours(((0.0, (0.25, 0.235, 0.235)), (0.5, (0.42, 0.395, 0.375)), (1.0, (0.60, 0.56, 0.51))), 0.5 + 0.5 * strata)
    meadow = mix(np.array((0.36, 0.40, 0.20)), np.array((0.24, 0.31, 0.14)), (0.5 + 0.5 * clouds(across * 6, away * 6, 635, octaves=3))[..., None])
    colours = mix(rock, meadow, (smooth(1.5, 0.9, ground + 0.35 * strata) * smooth(1.5, 0.8, steep))[..., None])
    snowy = smooth(1.45, 2.1, ground + 0.5 * clouds(across * 1.5, away * 1.5, 637, octaves=4)) * smooth(1.9, 1.1, steep + 0.5 * strata)
    colours = mix(colours, np.array((0.95, 0.96, 0.98)), snowy[..., None])
    stand = height - ground
    wooded = smooth(0.003, 0.012, stand)
    fir = blend_colours(FIR, 0.10 + 8.5 * stand + 0.16 * clouds(across * 11, away * 11, 639, octaves=3))
    colours = mix(colours, fir * 1.25, wooded[..., None])
    sun = lit[..., None] * np.array((1.16, 1.06, 0.90)) * 0.98 + np.array((0.30, 0.37, 0.50)) * (0.75 + 0.25 * snowy)[..., None]
    colours = colours * sun
    haze = (1 - decay(clip(away - 4.5, 0, 99) / 26) * (0.92 + 0.08 * smooth(0, 1.2, height)))[..., None]
    colour[seen] = mix(colours, np.array((0.66, 0.76, 0.87)), haze)
    return canvas.shrink(colour, scale), canvas.shrink(seen * 1.0, scale)


def fir(picture, foot_x, foot_y, tall, dice):
    """Lays one fir in the foreground, bough by bough from the top."""
    view, x, y = canvas.region(picture, foot_x - 4, foot_y - tall, foot_x + 4, foot_y)
    trunk = np.abs(x - foot_x) - (0.5 + 0.018 * tall * clip((y - foot_y + tall) / tall))
    canvas.lay(view, (0.10, 0.075, 0.06), shapes.cover(trunk))
    level, lean = 0.02, dice.between(-0.4, 0.4)
    while level < 0.95:
        reach = tall * 0.235 * (level * 0.92 + 0.05) * dice.between(0.75, 1.15)
        for side in (-1, 1):
            bough(picture, foot_x + lean * (1 - level), foot_y - tall * (1 - level), side * reach * dice.between(0.7, 1.1), tall, dice)
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
    rise = 470 - 62 * smooth(170, -40, x) - 44 * smooth(560, 800, x) + 26 * smooth(120, 380, x) * smooth(640, 400, x) + 5 * ripple(x / 26, 0 * y, 651) + 2 * ripple(x / 7, y / 9, 653)
    earth = blend_colours(((0.0, (0.10, 0.11, 0.06)), (0.5, (0.22, 0.24, 0.11)), (1.0, (0.44, 0.42, 0.22))), 0.45 + 0.5 * clouds(x / 17, y / 6, 655, octaves=4) + 0.15 * smooth(30, 0, y - rise))
    canvas.lay(picture, earth, shapes.cover(rise - y, 2))
    for _ in range(1500):
        foot_x = dice.between(-5, WIDTH + 5)
        column = int(clip(foot_x, 0, WIDTH - 1))
        foot_y = float(rise[400, column]) + dice.between(-1, 60)
        blade_x, blade_y = foot_x + dice.between(-4, 5), foot_y - dice.between(4, 12)
        view, across, down = canvas.region(picture, foot_x - 8, blade_y - 2, foot_x + 8, foot_y + 2)
        if view.size:
            distance, along = shapes.segment(across, down, (foot_x, foot_y), (blade_x, blade_y))
            tone = outdoors.ramp_colour(((0.0, (0.12, 0.14, 0.06)), (0.6, (0.36, 0.38, 0.16)), (1.0, (0.66, 0.60, 0.32))), dice.between(0, 1))
            canvas.lay(view, tone, shapes.cover(distance - 0.7 + 0.5 * along))
    for foot_x, tall in ((40, 292), (-8, 250), (84, 196), (118, 128), (744, 262), (700, 170), (772, 200), (664, 104)):
        fir(picture, foot_x, float(rise[400, int(clip(foot_x, 0, WIDTH - 1))]) + 16, tall, dice)


def draw():
    """The picture, (512, 768, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    dice, picture = Dice(31), outdoors.sky(x, y, SHORE, SKY, seed=641, amount=0.47, scale=210)
    colour, share = mountains(2)
    upper = picture[:SHORE]
    upper[...] = upper * (1 - share)[..., None] + colour
    outdoors.mirror(picture, SHORE, (0.05, 0.17, 0.20), seed=645, roughness=0.34, clearness=0.62)
    bank(picture, x, y, dice)
    return outdoors.finish(picture, 659)
