"""A young woman with brown hair in a green dress, lit by a window on the left, as a photographer would."""

import numpy as np

from . import canvas, figure, solids
from .arithmetic import blend_colours, clip, length, mix, power, smooth
from .noise import clouds, ripple

WIDTH, HEIGHT = 576, 704
SCALE, MIDDLE_X, MIDDLE_Y = 176.0, 278.0, 286.0  # pixels per unit; where the head's middle lies
KEY, RIM = solids.unit(-0.64, 0.50, 0.66), solids.unit(0.80, 0.25, -0.52)
SKIN, LIP, HAIR, DRESS = (0.80, 0.53, 0.39), (0.58, 0.21, 0.18), (0.110, 0.052, 0.026), (0.022, 0.105, 0.100)
CHEMISE, PEARL = (0.78, 0.72, 0.60), (0.80, 0.77, 0.72)
PARTS = (figure.skin, figure.hair, figure.eyes, figure.clothes, figure.pearls)


def everything(place):
    """Distance to the whole figure."""
    return np.minimum.reduce([part(place) for part in PARTS])


def shading(place):
    """Distance to what throws shadows: the figure without eyes and earrings."""
    return np.minimum(np.minimum(figure.skin(place), figure.hair(place)), figure.clothes(place))


def skin_colour(place):
    """Colour of the skin: warmer on cheeks, nose and chin; lips, brows, lashes, hair's roots, pores."""
    head = figure.to_head(place)
    x, y, z = np.abs(head[0]), head[1], head[2]
    mottle = 0.030 * clouds(head[0] * 5, y * 5, 851, octaves=3) + 0.018 * ripple(head[0] * 42, y * 42, 853)
    colour = np.array(SKIN) * (1 + mottle)[..., None]
    blush = smooth(0.36, 0.02, length(x - 0.36, (y + 0.20) * 1.2)) * (z > 0.1) + 0.8 * smooth(
        0.16, 0.04, length(x, y + 0.26)
    ) * (z > 0.6)
    blush = blush + 0.5 * smooth(0.24, 0.05, length(x, y + 0.84)) * (z > 0.2)
    colour = mix(colour, np.array((0.80, 0.36, 0.27)), (0.30 * clip(blush))[..., None])
    upper, line, lower = figure.lip_lines(x)
    wrinkle = 1 + 0.09 * ripple(head[0] * 52, y * 6, 855)
    lip = smooth(-0.010, 0.012, np.minimum(upper - y, y - lower)) * smooth(0.238, 0.205, x) * (z > 0.4)
    colour = mix(colour, np.array(LIP) * (wrinkle * np.where(y > line, 0.82, 1.08))[..., None], (0.82 * lip)[..., None])
    parted = smooth(0.012, 0.002, np.abs(y - line)) * smooth(0.262, 0.235, x) * (z > 0.4)
    colour = mix(colour, np.array((0.12, 0.035, 0.03)), (0.85 * parted)[..., None])
    along = (x - 0.105) / 0.40
    arch = 0.245 + 0.085 * along - 0.110 * along * along
    thick = 0.034 * smooth(-0.12, 0.15, along) * smooth(1.05, 0.45, along)
    brow = smooth(thick + 0.014, thick - 0.024, np.abs(y - arch)) * (z > 0.2) * (thick > 0.002)
    hairs = 0.75 + 0.35 * ripple(x * 46 - y * 30, y * 22, 857)
    colour = mix(colour, np.array(HAIR) * 1.3, clip(0.78 * brow * hairs)[..., None])
    across = (x - figure.EYE[0]) / figure.EYE_HALF_WIDTH
    line = y - figure.EYE[1] - figure.lid_lines(across)[0]
    lash = smooth(0.026, 0.006, np.abs(line - 0.006)) * smooth(1.12, 0.95, np.abs(across)) * (z > 0.4)
    crease = smooth(0.022, 0.0, np.abs(line - 0.046)) * smooth(1.05, 0.6, np.abs(across)) * (z > 0.4)
    colour = mix(colour, np.array((0.045, 0.028, 0.022)), (0.92 * lash)[..., None]) * (1 - 0.30 * crease)[..., None]
    low = smooth(0.020, 0.004, np.abs(y - figure.EYE[1] - figure.lid_lines(across)[1] + 0.007))
    low = low * smooth(1.12, 0.9, np.abs(across)) * (z > 0.4)
    colour = mix(colour, np.array((0.20, 0.10, 0.075)), (0.62 * low)[..., None])
    roots = smooth(-0.012, 0.040, figure.hairline(head) + 0.016 * figure.hair_tone(head, 1.0)) * smooth(-0.10, 0.14, y)
    return mix(colour, np.array(HAIR) * 1.3, (0.85 * roots)[..., None])


def eye_colour(place):
    """Colour of the eyes: the white, a hazel iris with its rays, the pupil, and the window's highlight."""
    head = figure.to_head(place)
    side = np.where(head[0] < 0, -1.0, 1.0)
    x, y = head[0] - side * figure.EYE[0], head[1] - figure.EYE[1]
    # The head is turned to our left, the eyes come back to us.
    far = length(x - 0.030, y - 0.004) / figure.EYE_RADIUS
    white = np.array((0.66, 0.61, 0.56)) * (1 - 0.45 * smooth(0.45, 0.95, length(x, y) / figure.EYE_RADIUS))[..., None]
    iris = (
        np.array((0.150, 0.105, 0.050))
        * ((0.8 + 0.4 * ripple(x * 90, y * 90, 861)) * (1.25 - 0.85 * smooth(0.34, 0.48, far)))[..., None]
    )
    colour = mix(white, iris, smooth(0.53, 0.46, far)[..., None])
    colour = mix(colour, np.array((0.008, 0.007, 0.006)), smooth(0.24, 0.18, far)[..., None])
    upper = figure.lid_lines(side * x / figure.EYE_HALF_WIDTH)[0]
    colour = colour * (0.30 + 0.70 * smooth(0.002, 0.050, upper - y))[..., None]
    return mix(colour, np.array((1.3, 1.3, 1.3)), smooth(0.019, 0.008, length(x - 0.004, y - 0.026))[..., None])


def colours_of(place, detail):
    """Colour of every part at each place, in the order of PARTS, and the brightness of the single hairs."""
    tone = figure.hair_tone(figure.to_head(place), detail)
    hair = np.array(HAIR) * clip(1 + 0.70 * tone, 0.2, 3)[..., None]
    weave = 1 + (0.12 * ripple(place[0] * 62, place[1] * 16, 871) + 0.12 * ripple(place[0] * 16, place[1] * 62, 873))
    dress = (
        mix(np.array(DRESS), np.array(CHEMISE), smooth(0.085, 0.070, figure.neckline(place))[..., None])
        * weave[..., None]
    )
    pearl = np.array(PEARL) * np.ones((*np.shape(place[0]), 1))
    return [skin_colour(place), hair, eye_colour(place), dress, pearl], tone


def lit(place):
    """Light that comes from each place of the figure, (N, 3), in proportion to its energy."""
    out = solids.normal(everything, place, 0.004)
    nearest = np.argmin(np.stack([part(place) for part in PARTS]), axis=0)
    near = solids.add(place, out, 0.02)
    facing, sun = solids.dot(out, KEY), solids.shadow(shading, near, KEY, steps=30, far=1.8, softness=0.34)
    sky = solids.openness(shading, near, out, 0.32)
    # Light that enters the skin comes out again near by, red farthest: the edge of a shade is warm.
    direct = np.stack([clip((facing + wrap) / (1 + wrap)) * sun for wrap in (0.30, 0.23, 0.20)], axis=-1)
    direct = np.where((nearest == 0)[..., None], direct, (clip(facing) * sun)[..., None])
    fill = (0.5 + 0.5 * out[1])[..., None] * np.array((0.15, 0.165, 0.19)) + clip(0.35 + 0.65 * out[0])[
        ..., None
    ] * np.array((0.15, 0.115, 0.08))
    gleam = clip(solids.dot(out, solids.unit(KEY[0], KEY[1], KEY[2] + 1.0)))
    colours, tone = colours_of(place, smooth(0.15, 0.6, np.abs(out[2])))
    colour = np.select([(nearest == part)[..., None] for part in range(5)], colours)
    # Hair shines in a band across its strands.
    band = smooth(0.34, 0.0, np.abs(out[1] + 0.10 * tone - 0.46)) * clip(0.45 + facing) * clip(1 + 0.8 * tone, 0, 2)
    shine = [
        (0.07 * power(gleam, 22) + 0.04 * power(gleam, 6)) * sun,
        0.10 * band * (0.3 + 0.7 * sun),
        0.10 * power(gleam, 60) * sun,
        0.045 * power(gleam, 7) * sun,
        1.2 * power(gleam, 50) * sun,
    ]
    shine = np.select([nearest == part for part in range(5)], shine)
    edge = power(clip(1 - np.abs(out[2])), 3) * clip(solids.dot(out, RIM) + 0.25)
    light = colour * (direct * np.array((1.80, 1.64, 1.42)) + fill * (0.25 + 0.75 * sky)[..., None] * 1.35) + shine[
        ..., None
    ] * np.array((1.0, 0.94, 0.84))
    return light + (0.30 * edge * sky)[..., None] * (colour * 2.2 + np.where(nearest == 1, 0.0, 0.03)[..., None])


def backdrop(x, y):
    """The painted cloth behind the sitter, lit in a soft pool."""
    pool = length((x - 190) / 430, (y - 320) / 470)
    mottle = clouds(x / 130, y / 130, 881, octaves=5, gain=0.55)
    tone = blend_colours(
        ((0.0, (0.33, 0.285, 0.205)), (0.55, (0.150, 0.132, 0.105)), (1.0, (0.040, 0.040, 0.038))),
        clip(pool + 0.20 * mottle),
    )
    return tone * (1 + 0.07 * clouds(x / 7, y / 7, 883, octaves=3))[..., None]


def exposed(x, y):
    """Colour at each place of the picture (flat arrays of pixels), and how far away the figure is there."""
    light = backdrop(x, y)
    start = (x - MIDDLE_X) / SCALE, (MIDDLE_Y - y) / SCALE, 1.25 + 0 * x
    ray = 0 * x, 0 * x, -1 + 0 * x
    far, met = solids.march(everything, start, ray, steps=90, far=2.9, close=0.0012)
    light[met] = lit(tuple(way[met] for way in solids.add(start, ray, far)))
    # Eye and film answer to light about as its square root does.
    return np.sqrt(clip(light / (1 + 0.16 * light))), np.where(met, far, 4.0)


def rough(colour, far):
    """Where neighbours differ so much that one ray for a pixel does not do."""
    jump = np.zeros(far.shape, dtype=bool)
    for axis in (0, 1):
        step = np.abs(np.diff(colour, axis=axis)).max(axis=-1) > 0.13
        step |= np.abs(np.diff(far, axis=axis)) > 0.05
        first, second = (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None)))
            if axis
            else ((slice(None, -1),), (slice(1, None),))
        )
        jump[first] |= step
        jump[second] |= step
    return jump


def draw():
    """The picture, (704, 576, 3) bytes: one ray for each pixel, five where it is rough."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    colour, far = exposed(x.ravel(), y.ravel())
    picture, far = colour.reshape(HEIGHT, WIDTH, 3), far.reshape(HEIGHT, WIDTH)
    again = rough(picture, far)
    total = picture[again]
    for shift_x, shift_y in ((-1, -3), (3, -1), (-3, 1), (1, 3)):
        total = total + exposed(x[again] + shift_x / 8, y[again] + shift_y / 8)[0]
    picture[again] = total / 5
    return canvas.to_bytes(picture + (0.008 * clouds(x / 2, y / 2, 891, octaves=2))[..., None])
