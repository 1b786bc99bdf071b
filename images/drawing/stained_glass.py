"""A leaded window: a sun over hills and a river, cut into panes of glowing glass."""

import numpy as np

from . import canvas, shapes
from .arithmetic import blend_colours, clip, cosine, decay, direction, length, mix, sine, smooth
from .noise import clouds, nearest_cells, ripple, scatter

WIDTH, HEIGHT = 560, 700
SUN_X, SUN_Y = 350, 205
RINGS = (34, 66, 104, 152, 210, 278, 356, 450)
# x, y, radius and colour of the flowers in the foreground
FLOWERS = (
    (96, 585, 46, (0.90, 0.10, 0.12)),
    (196, 630, 36, (0.95, 0.42, 0.06)),
    (462, 600, 50, (0.62, 0.10, 0.50)),
    (372, 648, 34, (0.92, 0.16, 0.20)),
)
SUN_GLASS = ((0.0, (1.0, 0.95, 0.62)), (0.5, (1.0, 0.78, 0.18)), (1.0, (0.96, 0.46, 0.06)))
SKY_GLASS = (
    (0.0, (0.98, 0.62, 0.20)),
    (0.18, (0.93, 0.36, 0.30)),
    (0.36, (0.62, 0.30, 0.62)),
    (0.58, (0.16, 0.34, 0.80)),
    (1.0, (0.04, 0.12, 0.52)),
)
HILL_GLASS = (
    ((0.30, 0.16, 0.50), (0.16, 0.36, 0.62)),
    ((0.05, 0.46, 0.42), (0.10, 0.34, 0.30)),
    ((0.34, 0.62, 0.10), (0.10, 0.42, 0.12)),
    ((0.70, 0.66, 0.08), (0.16, 0.46, 0.10)),
)
RIVER_GLASS = ((0.10, 0.62, 0.84), (0.55, 0.88, 0.92))


def crests(x):
    """y of the crest of each range of hills, the farthest first."""
    return (
        345 - 46 * sine(x / 400 + 0.12) - 12 * sine(x / 150 + 0.4),
        412 + 34 * sine(x / 470 + 0.20),
        474 - 40 * sine(x / 600 + 0.02),
        552 + 22 * sine(x / 420 + 0.35),
    )


def river(x, y):
    """Distance to the river's bank: it winds from the second range to the lower edge and widens."""
    share = clip((y - 420) / 280)
    middle = 300 + 84 * sine(share * 0.9 + 0.02) * (0.4 + share) - 30 * share
    return np.maximum(np.abs(x - middle) - (5 + 62 * share * share + 18 * share), 424 - y)


def areas(x, y):
    """The number of the area at each place (see `colours`) and the distance to the nearest border between areas."""
    number, border = np.zeros(x.shape), np.full(x.shape, 1e9)

    def put(distance, name):
        nonlocal number, border
        # Only what stays in sight of the older borders still counts.
        border = np.where(distance < 0, np.minimum(1e9, -distance), np.minimum(border, distance))
        number = np.where(distance < 0, name, number)

    for ring, radius in enumerate(reversed(RINGS)):
        put(shapes.disc(x, y, SUN_X, SUN_Y, radius), len(RINGS) - 1 - ring)
    for index, crest in enumerate(crests(x)):
        put(0.88 * (crest - y), 20 + index)
    put(0.9 * river(x, y), 30)
    for index, (flower_x, flower_y, radius, _) in enumerate(FLOWERS):
        turned = direction(x - flower_x, y - flower_y)
        put(
            0.85 * (length(x - flower_x, y - flower_y) - radius * (0.82 + 0.18 * cosine(7 * turned + 0.3 * index))),
            40 + index,
        )
        put(shapes.disc(x, y, flower_x, flower_y, 0.30 * radius), 50 + index)
    return number, border


def spokes(x, y, centre_x, centre_y, count, offset):
    """Which of `count` wedges about a centre a place lies in, and its distance to the wedge's side."""
    turned = (direction(x - centre_x, y - centre_y) + offset) * count
    off = np.abs(turned - np.floor(turned) - 0.5)
    # The wedge that holds direction's seam has two numbers, a whole turn apart.
    return np.mod(np.floor(turned), count), (0.5 - off) / count * 6.283185307179586 * length(x - centre_x, y - centre_y)


def panes(x, y):
    """The area's number, a number in [0, 1) for each pane, the distances to the nearest lead and area's border."""
    bent_x, bent_y = x + 5 * ripple(x / 90, y / 90, 3), y + 5 * ripple(x / 90, y / 90, 4)
    number, border = areas(bent_x, bent_y)
    _, gap, cell = nearest_cells(bent_x / 46, bent_y / 40, 7, looseness=0.95)
    gap = gap * 42
    wedge = np.zeros(x.shape)
    for ring in range(len(RINGS)):
        name, side = spokes(bent_x, bent_y, SUN_X, SUN_Y, (1, 10, 14, 20, 24, 28, 32, 36)[ring], 0.03 + 0.37 * ring)
        here = number == ring
        gap = np.where(here, side if ring else 1e9, gap)
        wedge = np.where(here, name, wedge)
    for index, (flower_x, flower_y, _, _) in enumerate(FLOWERS):
        name, side = spokes(bent_x, bent_y, flower_x, flower_y, 7, 0.5 + 0.3 * index)
        gap = np.where(number == 40 + index, side, np.where(number == 50 + index, 1e9, gap))
        wedge = np.where(number >= 40, name, wedge)
    cell = np.where((number < 20) | (number >= 40), scatter(wedge + 64, number, 17), cell)
    cell = scatter(np.floor(cell * 4096), number, 19)
    return number, cell, np.minimum(gap, border), border


def colours(number, cell, x, y):
    """Colour of the glass of each pane."""
    far = length(x - SUN_X, y - SUN_Y)
    glass = blend_colours(SKY_GLASS, clip((number * 52 - 130 + 60 * (cell - 0.5)) / 260 + 0.06))
    glass = np.where((number < 3)[..., None], blend_colours(SUN_GLASS, clip(number / 2.4 + 0.3 * (cell - 0.5))), glass)
    for index, (light, dark) in enumerate(HILL_GLASS):
        glass = np.where(
            (number == 20 + index)[..., None], mix(np.array(light), np.array(dark), cell[..., None]), glass
        )
    glass = np.where(
        (number == 30)[..., None], mix(np.array(RIVER_GLASS[0]), np.array(RIVER_GLASS[1]), cell[..., None]), glass
    )
    for index, (_, _, _, petal) in enumerate(FLOWERS):
        glass = np.where((number == 40 + index)[..., None], np.array(petal) * (1.05 + 0.5 * cell)[..., None], glass)
        glass = np.where((number == 50 + index)[..., None], np.array((1.0, 0.80, 0.22)), glass)
    # One pane in nine is of another colour, as where a window was mended.
    odd = blend_colours(
        ((0.0, (0.86, 0.12, 0.16)), (0.5, (0.96, 0.72, 0.20)), (1.0, (0.10, 0.52, 0.66))),
        scatter(cell * 4096, number, 23),
    )
    glass = mix(
        glass,
        odd,
        np.where((scatter(cell * 4096, number, 29) < 0.11) & (number >= 20) & (number < 30), 0.55, 0.0)[..., None],
    )
    return glass * (0.80 + 0.34 * decay(far / 260) + 0.22 * (scatter(cell * 4096, number, 31) - 0.5))[..., None]


def texture(cell, x, y):
    """Brightness of the glass itself: streaks drawn out in one direction for each pane, ripples, seeds (bubbles)."""
    turn = scatter(cell * 4096, 0 * x, 41)
    along, across = x * cosine(turn) + y * sine(turn), y * cosine(turn) - x * sine(turn)
    streaks = clouds(along / 60 + 50 * cell, across / 7, 43, octaves=3)
    hammered = ripple(x / 5.5, y / 5.5, 47) - ripple((x + 1.5) / 5.5, (y + 1.5) / 5.5, 47)
    near, _, name = nearest_cells(x / 13, y / 13, 53)
    bubble = np.where(name < 0.22, smooth(0.13, 0.09, near) * (0.4 + 0.6 * smooth(0.05, 0.10, near)), 0.0)
    return 1 + 0.15 * streaks + 0.30 * hammered + 0.24 * bubble + 0.06 * ripple(x / 2.2, y / 2.2, 59)


def draw():
    """The picture, (700, 560, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    number, cell, gap, border = panes(x, y)
    glass = colours(number, cell, x, y)
    # Soot and paint gather along the leads; the middle of a pane glows.
    glow = 0.50 + 0.62 * smooth(1, 17, gap) * (0.85 + 0.15 * ripple(x / 30, y / 30, 61))
    picture = glass * (glow * texture(cell, x, y))[..., None]
    picture = picture + 0.30 * np.stack([canvas.soften(picture[..., channel], 9) for channel in range(3)], axis=-1)
    half_width = np.where(border < gap + 0.01, 3.4, 2.1) + 0.7 * ripple(x / 24, y / 24, 67)
    lead = shapes.cover(gap - half_width, 1.3)
    rounded = clip(gap / half_width)
    sheen = 0.07 + 0.16 * (1 - rounded * rounded) * (0.6 + 0.4 * ripple(x / 9, y / 9, 71))
    canvas.lay(picture, sheen[..., None] * np.array((0.92, 0.97, 1.05)), lead)
    frame = np.minimum(np.minimum(x, WIDTH - x), np.minimum(y, HEIGHT - y))
    canvas.lay(
        picture,
        (0.05 + 0.10 * smooth(0, 4, frame) * smooth(9, 5, frame))[..., None] * np.ones(3),
        shapes.cover(frame - 9),
    )
    return canvas.to_bytes(picture / (1 + 0.10 * picture) * 1.06)
