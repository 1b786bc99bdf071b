"""A young woman with dark hair in a green dress, lit by a window on the left, as a photographer would."""

import numpy as np

from . import canvas, figure, shapes, solids
from .arithmetic import blend_colours, clip, length, mix, power, smooth
from .noise import clouds, ripple

WIDTH, HEIGHT = 576, 704
SCALE, MIDDLE_X, MIDDLE_Y = 158.0, 282.0, 262.0  # pixels per unit; where the head's middle lies
KEY, RIM = solids.unit(-0.66, 0.50, 0.62), solids.unit(0.80, 0.25, -0.52)
SKIN, LIP, HAIR, DRESS, COLLAR = (0.78, 0.50, 0.36), (0.60, 0.20, 0.17), (0.085, 0.045, 0.025), (0.030, 0.120, 0.105), (0.74, 0.68, 0.56)


def everything(place):
    """Distance to the whole figure."""
    body = np.minimum(figure.skin(place), figure.hair(place))
    return np.minimum(np.minimum(body, figure.eyes(place)), np.minimum(figure.clothes(place), figure.collar(place)))


def solid_parts(place):
    """Distance to what throws shadows: the figure less its finest parts."""
    return np.minimum(np.minimum(figure.skin(place), figure.hair(place)), np.minimum(figure.clothes(place), figure.collar(place)))


def skin_colour(place, out):
    """Colour of the skin: warmer on cheeks, nose and ears; brows, lips, lashes and pores."""
    head = figure.to_head(place)
    x, y, z = head
    colour = np.array(SKIN) * (1 + 0.035 * clouds(x * 5, y * 5, 851, octaves=3) + 0.022 * ripple(x * 46, y * 46, 853))[..., None]
    blush = smooth(0.34, 0.05, length(np.abs(x) - 0.38, y + 0.22)) * (z > 0.1) + 0.8 * smooth(0.16, 0.04, length(x, y + 0.26)) * (z > 0.6)
    colour = mix(colour, np.array((0.80, 0.34, 0.25)), (0.34 * blush)[..., None])
    upper, lower = figure.lips(head)
    wrinkles = 0.10 * ripple(x * 60, y * 8, 855)
    colour = mix(colour, np.array(LIP), (0.85 * smooth(0.022, -0.004, np.minimum(upper, lower) + 0.01 * wrinkles))[..., None])
    along = (np.abs(x) - 0.10) / 0.40
    arch = 0.255 + 0.085 * along - 0.115 * along * along
    thick = 0.036 * smooth(-0.10, 0.12, along) * smooth(1.08, 0.5, along)
    hairs = 0.6 + 0.5 * ripple(x * 30 + np.abs(x) * 20, y * 60, 857)
    brow = smooth(thick + 0.012, thick - 0.022, np.abs(y - arch)) * (z > 0.2) * (thick > 0.002)
    colour = mix(colour, np.array(HAIR) * 1.5, clip(0.80 * brow * hairs)[..., None])
    eye = figure.EYES[1]
    across = (np.abs(x) - eye[0]) / 0.185
    lash = np.abs(y - eye[1] - 0.064 * (1 - across * across) + 0.012 * across)
    colour = mix(colour, np.array((0.05, 0.03, 0.025)), (0.9 * smooth(0.022, 0.006, lash) * smooth(1.05, 0.9, np.abs(across)) * (z > 0.4))[..., None])
    return colour


def eye_colour(place):
    """Colour of the eyes: the white, a brown-green iris with its rays, the pupil, a highlight of the window."""
    head = figure.to_head(place)
    side = np.where(head[0] < 0, -1.0, 1.0)
    x, y, z = head[0] - side * figure.EYES[1][0], head[1] - figure.EYES[1][1], head[2] - figure.EYES[1][2]
    # She looks past us, a little to our left.
    far = length(x + 0.026, y - 0.002) / figure.EYE_RADIUS
    white = np.array((0.66, 0.62, 0.58)) * (1 - 0.35 * smooth(0.5, 1.0, far))[..., None]
    rays = 0.75 + 0.4 * ripple(x * 90, y * 90, 861)
    iris = np.array((0.16, 0.12, 0.055)) * (rays * (1.15 - 0.75 * smooth(0.36, 0.50, far)))[..., None]
    colour = mix(white, iris, smooth(0.54, 0.48, far)[..., None])
    colour = mix(colour, np.array((0.008, 0.007, 0.006)), smooth(0.25, 0.20, far)[..., None])
    shade = 0.35 + 0.65 * smooth(0.068, 0.015, y)
    colour = colour * shade[..., None]
    return mix(colour, np.array((1.5, 1.5, 1.5)), smooth(0.034, 0.018, length(x + 0.062, y - 0.030))[..., None])


def lit(place, ray_z):
    """Light that comes from each place of the figure, (..., 3), in proportion to its energy."""
    out = solids.normal(everything, place, 0.0035)
    parts = [figure.skin(place), figure.hair(place), figure.eyes(place), figure.clothes(place), figure.collar(place)]
    nearest = np.argmin(np.stack(parts), axis=0)
    near = solids.add(place, out, 0.015)
    facing = solids.dot(out, KEY)
    sun = solids.shadow(solid_parts, near, KEY, steps=22, far=2.2, softness=0.22)
    sky = solids.openness(solid_parts, near, out, 0.34)
    # Light that enters the skin comes out again near by, red farthest: the edge of a shade is warm.
    direct = np.stack([clip((facing + wrap) / (1 + wrap)) * clip(sun + bleed) for wrap, bleed in ((0.26, 0.05), (0.12, 0.0), (0.08, 0.0))], axis=-1)
    direct = np.where((nearest == 0)[..., None], direct, (clip(facing) * sun)[..., None])
    fill = (0.5 + 0.5 * out[1])[..., None] * np.array((0.10, 0.12, 0.15)) + clip(0.35 + 0.65 * out[0])[..., None] * np.array((0.10, 0.075, 0.05))
    edge = power(clip(1 - np.abs(out[2])), 3) * clip(solids.dot(out, RIM) + 0.25)
    half = solids.unit(KEY[0], KEY[1], KEY[2] + 1.0)
    gleam = clip(solids.dot(out, half))
    head = figure.to_head(place)
    tone = figure.hair_tone(head)
    colours = [skin_colour(place, out), np.array(HAIR) * clip(1 + 0.75 * tone, 0.15, 3)[..., None], eye_colour(place)]
    weave = 1 + 0.10 * ripple(place[0] * 70, place[1] * 18, 871) + 0.10 * ripple(place[0] * 18, place[1] * 70, 873)
    colours += [np.array(DRESS) * weave[..., None], np.array(COLLAR) * (0.4 + 0.6 * weave)[..., None]]
    colour = np.select([(nearest == part)[..., None] for part in range(5)], colours)
    shine = np.select([nearest == part for part in range(5)], [0.10 * power(gleam, 24) + 0.05 * power(gleam, 6), 0.0 * gleam, 0.25 * power(gleam, 60), 0.03 * power(gleam, 8), 0.0 * gleam])
    # Hair shines in a band across its strands.
    along_hair = out[1] + 0.12 * tone
    band = smooth(0.26, 0.0, np.abs(along_hair - 0.42)) * clip(0.5 + facing) * clip(1 + 0.8 * tone)
    shine = np.where(nearest == 1, 0.085 * band * (0.3 + 0.7 * sun), shine * sun)
    light = colour * (direct * np.array((1.95, 1.75, 1.48)) + fill * sky[..., None] * 1.5) + shine[..., None] * np.array((1.0, 0.93, 0.82))
    return light + (0.30 * edge * sky)[..., None] * (colour * 2.2 + 0.03)


def backdrop(x, y):
    """The painted cloth behind the sitter, lit in a soft pool."""
    pool = length((x - 200) / 430, (y - 300) / 470)
    mottle = clouds(x / 130, y / 130, 881, octaves=5, gain=0.55)
    tone = blend_colours(((0.0, (0.30, 0.27, 0.20)), (0.55, (0.135, 0.125, 0.10)), (1.0, (0.040, 0.042, 0.040))), clip(pool + 0.16 * mottle))
    return tone * (1 + 0.10 * clouds(x / 7, y / 7, 883, octaves=3) * 0.5)[..., None]


def draw():
    """The picture, (704, 576, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    picture = backdrop(x, y)
    right, up = (x - MIDDLE_X) / SCALE, (MIDDLE_Y - y) / SCALE
    start = right, up, 2.2 + 0 * x
    ray = 0 * x, 0 * x, -1 + 0 * x
    far, met = solids.march(everything, start, ray, steps=70, far=4.2)
    place = tuple(way[met] for way in solids.add(start, ray, far))
    picture[met] = lit(place, -1)
    # The eye and film answer to light about as its square root does.
    picture = np.sqrt(clip(picture / (1 + 0.16 * picture)))
    return canvas.to_bytes(picture + (0.008 * clouds(x / 2, y / 2, 891, octaves=2))[..., None])
