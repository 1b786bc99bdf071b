"""A still life in pen and ink: a jug, pears and a book, shaded by layers of hatching."""

import numpy as np

from . import canvas, shapes, solids
from .arithmetic import clip, length, mix, smooth
from .noise import clouds, ripple, scatter

WIDTH, HEIGHT = 720, 560
LIGHT = solids.unit(-0.62, 0.66, 0.46)
PAPER, INK = (0.955, 0.94, 0.90), (0.09, 0.085, 0.11)
# Profiles for the lathe: (radius, height) from the foot up; curves are drawn through these corners.
JUG = (
    (0.30, 0.0),
    (0.40, 0.05),
    (0.52, 0.25),
    (0.56, 0.45),
    (0.50, 0.68),
    (0.36, 0.88),
    (0.27, 1.02),
    (0.26, 1.16),
    (0.31, 1.30),
    (0.33, 1.34),
)
BOTTLE = (
    (0.25, 0.0),
    (0.27, 0.04),
    (0.27, 0.95),
    (0.24, 1.08),
    (0.12, 1.24),
    (0.09, 1.34),
    (0.09, 1.62),
    (0.115, 1.64),
    (0.115, 1.72),
    (0.09, 1.73),
)
BOWL = ((0.22, 0.0), (0.24, 0.04), (0.14, 0.09), (0.34, 0.16), (0.52, 0.32), (0.58, 0.44), (0.54, 0.44), (0.42, 0.30))


def pear(place, x, z, lean, size):
    """A pear: two balls run into one another, with its stalk."""
    belly = solids.ellipsoid(place, (x, 0.27 * size, z), (0.29 * size, 0.27 * size, 0.29 * size))
    neck = solids.ellipsoid(place, (x + lean * 0.12, 0.56 * size, z), (0.145 * size, 0.20 * size, 0.145 * size))
    stalk = solids.limb(place, (x + lean * 0.16, 0.70 * size, z), (x + lean * 0.34, 0.90 * size, z), 0.022, 0.018)
    return np.minimum(shapes.union(belly, neck, 0.22 * size), stalk)


def handle(place):
    """The jug's handle, three limbs of a bow."""
    x, z = -0.40, -0.05
    bow = [(x + 0.28, 1.16, z), (x + 0.62, 1.22, z), (x + 0.76, 0.92, z), (x + 0.50, 0.52, z)]
    parts = [solids.limb(place, bow[i], bow[i + 1], 0.052, 0.052) for i in range(3)]
    return shapes.union(shapes.union(parts[0], parts[1], 0.05), parts[2], 0.05)


def bodies(place):
    """Distance to the things on the table, without the table."""
    jug = solids.turned(place, (-0.40, 0.0, -0.05), shapes.curve(JUG, 4))
    bottle = solids.turned(place, (-1.22, 0.0, -0.55), shapes.curve(BOTTLE, 3))
    bowl = solids.turned(place, (0.92, 0.0, -0.35), shapes.curve(BOWL, 3))
    apples = np.minimum(
        solids.ellipsoid(place, (0.74, 0.58, -0.30), (0.25, 0.23, 0.25)),
        solids.ellipsoid(place, (1.14, 0.56, -0.42), (0.24, 0.22, 0.24)),
    )
    apples = np.minimum(apples, solids.ellipsoid(place, (0.96, 0.60, -0.10), (0.22, 0.20, 0.22)))
    pears = np.minimum(pear(place, 0.42, 0.62, 0.5, 0.92), pear(place, -1.05, 0.50, -0.6, 1.0))
    # The book lies turned by the 3-4-5 triangle's smaller angle.
    turned = (place[0] * 0.96 + place[2] * 0.28, place[1], place[2] * 0.96 - place[0] * 0.28)
    book = solids.block(turned, (1.22, 0.085, 0.44), (0.46, 0.085, 0.30), 0.02)
    things = np.minimum(np.minimum(shapes.union(jug, handle(place), 0.05), bottle), np.minimum(bowl, apples))
    return np.minimum(things, np.minimum(pears, book))


def scene(place):
    """Distance to anything: the table (its front edge in sight), the wall, and what stands on the table."""
    table = solids.block(place, (0.0, -0.12, -0.4), (3.6, 0.12, 1.75), 0.03)
    return np.minimum(np.minimum(bodies(place), table), place[2] + 2.6)


def shaded(x, y):
    """Tone (0 black to 1 white), depth, surface direction and whether it is the wall, at every pixel."""
    across, up = (x - WIDTH / 2) / 250, (HEIGHT * 0.5 - y) / 250
    ray = solids.unit(across, up - 0.58, -3.25 + 0 * x)
    eye = (0.10 + 0 * x, 1.62 + 0 * x, 4.6 + 0 * x)
    far, _ = solids.march(scene, eye, ray, steps=90, far=12.0)
    place = solids.add(eye, ray, far)
    out = solids.normal(scene, place, 0.004)
    lit = clip(solids.dot(out, LIGHT))
    near = solids.add(place, out, 0.012)
    lit = lit * solids.shadow(scene, near, LIGHT, steps=26, far=3.2, softness=0.10)
    open_sky = solids.openness(scene, near, out, 0.5)
    # The table throws some light back into the shades.
    back = 0.07 * clip(0.6 * out[0] - 0.5 * out[1])
    tone = 0.06 + 0.72 * lit + 0.20 * open_sky * (0.5 + 0.5 * out[1]) + back
    wall = place[2] < -2.5
    tone = np.where(
        wall, 0.30 + 0.44 * smooth(-2.2, 2.4, place[0]) + 0.10 * open_sky - 0.10 * smooth(2.2, 3.2, place[1]), tone
    )
    dark = np.where((length(place[0] + 1.22, place[2] + 0.55) < 0.30) & (place[1] > 0.005), 0.62, 1.0)
    gleam = solids.dot(solids.unit(LIGHT[0] - ray[0], LIGHT[1] - ray[1], LIGHT[2] - ray[2]), out)
    shine = smooth(0.975, 0.995, gleam) * smooth(0.2, 0.5, lit) * (place[1] > 0.01)
    return clip(tone * dark + 0.6 * shine), far, out, wall


def strokes(across, along, tone_at, spacing: float, darkest: float, seed: int):
    """Ink of one layer of lines: `across` counts pixels over the lines, `along` along them.

    A line is there where the tone lies below `darkest`; it swells as the tone falls, breaks off and wavers.
    """
    wobble = 0.9 * ripple(along / 55, across / 40, seed) + 0.35 * ripple(along / 13, across / 30, seed + 1)
    count = (across + wobble) / spacing
    line = np.floor(count)
    off = np.abs(count - line - 0.5) * spacing
    piece = along / 85 + 9 * scatter(line, 0 * line, seed + 2)
    start = piece - np.floor(piece)
    level = darkest * (0.90 + 0.20 * scatter(line, np.floor(piece), seed + 3)) + 0.035 * ripple(
        along / 16, line * 3.7, seed + 4
    )
    need = clip((level - tone_at) / 0.24)
    pressure = 0.55 + 0.45 * smooth(0, 0.12, start) * smooth(1.0, 0.88, start)
    half_width = (0.20 + 0.62 * np.sqrt(need)) * pressure * (spacing / 5.2)
    return np.where(need > 0, shapes.cover(off - half_width, 0.9), 0.0) * smooth(0.0, 0.10, need)


def contours(far, out, tone):
    """Ink of the outlines: where depth or the surface's direction jumps; heavier on the side of the shade."""

    def jump(values):
        padded = np.pad(values, 2, mode="edge")
        return np.maximum(
            np.abs(padded[2:-2, 3:-1] - padded[2:-2, 1:-3]), np.abs(padded[3:-1, 2:-2] - padded[1:-3, 2:-2])
        )

    bend = jump(out[0]) + jump(out[1]) + jump(out[2])
    edge = np.maximum(smooth(0.10, 0.30, jump(far)), 0.8 * smooth(0.55, 1.0, bend))
    return clip(canvas.soften(edge, 1)) * (1.35 - 0.5 * tone)


def draw():
    """The picture, (560, 720, 3) bytes, drawn at twice the size."""
    x, y = canvas.centres(WIDTH * 2, HEIGHT * 2)
    x, y = x / 2, y / 2
    coarse_x, coarse_y = canvas.centres(WIDTH, HEIGHT)
    tone, far, out, wall = shaded(coarse_x, coarse_y)
    ground = wall | (out[1] > 0.98)

    def fine(values):
        return canvas.sample(values, x, y)

    dark = fine(canvas.soften(tone, 1)) + 0.05 * clouds(x / 40, y / 40, 501, octaves=3)
    flat = fine(ground * 1.0) > 0.5
    ink = np.zeros(x.shape)
    # Unit vector across the lines (of whole-numbered triangles), spacing (pixels), tone below which they appear, seed.
    layers = (
        (0.6, 0.8, 5.2, 0.80, 511),
        (0.8, -0.6, 5.2, 0.56, 521),
        (0.0, 1.0, 4.4, 0.40, 531),
        (0.96, 0.28, 4.2, 0.27, 541),
        (0.28, -0.96, 3.6, 0.16, 551),
    )
    round_x, round_y = fine(out[0]), fine(out[1])
    for across_x, across_y, spacing, darkest, seed in layers:
        # On round bodies the lines bend with the surface.
        bend = np.where(flat, 0.0, 20 * (round_x * round_x * across_y - 0.8 * round_y * across_x))
        across, along = x * across_x + y * across_y + bend, x * across_y - y * across_x
        ink = 1 - (1 - ink) * (1 - 0.93 * strokes(across, along, dark, spacing, darkest, seed))
    line = fine(contours(far, out, tone)) * (0.85 + 0.45 * ripple(x / 14, y / 14, 561))
    ink = 1 - (1 - ink) * (1 - 0.95 * smooth(0.30, 0.62, line))
    margin = np.minimum(np.minimum(x, WIDTH - x), np.minimum(y, HEIGHT - y)) - 16 + 1.5 * ripple(x / 30, y / 30, 571)
    ink = ink * shapes.cover(-margin, 6)
    paper = 1 + 0.018 * clouds(x / 4, y / 4, 581, octaves=3) + 0.02 * clouds(x / 150, y / 150, 583, octaves=2)
    picture = mix(np.array(PAPER) * paper[..., None], np.array(INK), (0.94 * ink)[..., None])
    return canvas.to_bytes(canvas.shrink(picture, 2))
