"""A breaking wave and a snow-capped hill, as a print from carved wood blocks in six inks."""

import numpy as np

from . import canvas, shapes
from .arithmetic import clip, cosine, direction, mix, sine, smooth
from .noise import Dice, clouds, ripple

WIDTH, HEIGHT = 768, 528
PAPER, OUTLINE, DEEP, MIDDLE, PALE = (
    (0.93, 0.88, 0.76),
    (0.10, 0.15, 0.30),
    (0.12, 0.22, 0.44),
    (0.30, 0.47, 0.66),
    (0.62, 0.74, 0.78),
)
FOAM = (0.955, 0.935, 0.865)
# Each wave: back and crest (from the left foot over the lip), then the hollow face down, as corners of a curve.
BIG = ((-60, 470), (-20, 330), (40, 225), (120, 140), (215, 92), (310, 88), (385, 124), (425, 185))
BIG_HOLLOW = (
    (425, 185),
    (372, 172),
    (322, 186),
    (285, 228),
    (268, 290),
    (282, 356),
    (330, 412),
    (420, 452),
    (520, 470),
)
SECOND = ((470, 480), (520, 420), (570, 360), (628, 318), (690, 310), (738, 334), (760, 372))
SECOND_HOLLOW = ((760, 372), (722, 366), (692, 384), (680, 418), (694, 450), (740, 478), (800, 490))
SWELL = (
    (-20, 470),
    (60, 440),
    (150, 446),
    (240, 476),
    (330, 492),
    (430, 474),
    (520, 446),
    (620, 452),
    (700, 482),
    (790, 500),
)


def paper_grain(x, y):
    """The paper: fibres, blotches, and a slight tooth."""
    fibres = clouds(x / 40, y / 4.2, 301, octaves=2) + clouds(x / 5, y / 34, 303, octaves=2)
    return 1 + 0.022 * fibres + 0.020 * clouds(x / 120, y / 120, 305, octaves=2) + 0.018 * ripple(x / 2, y / 2, 307)


def wood_grain(x, y, seed: int):
    """How well the ink of one block took, 0 to 1: the rings of the board show as long fine bands."""
    warp = y + 26 * ripple(x / 420, y / 110, seed) + 5 * ripple(x / 90, y / 30, seed + 1)
    rings = 0.5 + 0.5 * sine(warp / 9.5) + 0.5 * sine(warp / 4.1)
    speckle = ripple(x / 2.3, y / 1.7, seed + 2)
    return clip(0.88 + 0.075 * rings + 0.07 * speckle + 0.06 * clouds(x / 60, y / 60, seed + 3, octaves=2))


def ink(view, colour, share, take):
    """Prints one block: the ink is transparent, and lies thin where it did not take."""
    canvas.lay(view, colour, share * take)


def sky(picture, x, y):
    """The shaded sky (wiped by hand on the block) and a bank of cloud."""
    take = wood_grain(x, y, 311)
    canvas.lay(picture, (0.36, 0.42, 0.50), 0.85 * smooth(110, -30, y + 9 * ripple(x / 200, 0 * y, 313)) * take)
    canvas.lay(picture, (0.90, 0.74, 0.58), 0.60 * smooth(190, 400, y) * take)
    bank = y - 214 - 22 * ripple(x / 120, y / 90, 317) - 10 * np.abs(ripple(x / 38, y / 60, 319))
    below = 262 + 8 * ripple(x / 80, 0 * y, 321) - y
    canvas.lay(picture, (0.80, 0.78, 0.72), 0.75 * shapes.cover(np.maximum(-bank, -below)) * take)


def hill(picture, x, y):
    """The far hill with its snow."""
    top_x, top_y = 560, 250
    flank = np.abs(x - top_x)
    slope = top_y + 0.42 * flank + 0.0011 * flank * flank + 3 * ripple(x / 18, y / 30, 331) - 6 * smooth(16, 0, flank)
    take = wood_grain(x, y, 333)
    canvas.lay(
        picture,
        mix(np.array((0.24, 0.34, 0.50)), np.array((0.55, 0.62, 0.66)), smooth(290, 400, y)[..., None]),
        shapes.cover(slope - y) * take,
    )
    snow = y - (top_y + 42 + 20 * np.abs(ripple(x / 13, 0 * y, 335)) + 0.10 * flank)
    canvas.lay(picture, FOAM, shapes.cover(np.maximum(slope - y, snow)))
    canvas.lay(picture, OUTLINE, shapes.cover(np.abs(slope - y) - 0.8))


def body(crest, hollow):
    """The corners of a wave's outline."""
    return shapes.curve(crest, 8)[:-1] + shapes.curve(hollow, 8) + [(900, 620), (-200, 620)]


def wave(picture, x, y, crest, hollow, stripes: float, seed: int):
    """Prints a wave: a dark body, paler bands that run along with its back, and its outline."""
    corners = body(crest, hollow)
    inside = shapes.polygon(x, y, corners)
    back = shapes.ribbon(x, y, shapes.curve(crest, 4), [0] * 200)[0]
    face = shapes.ribbon(x, y, shapes.curve(hollow, 4), [0] * 200)[0]
    share = back / np.maximum(back + face, 1e-6)
    take = wood_grain(x, y, seed)
    within = shapes.cover(inside)
    canvas.lay(picture, DEEP, within * take)
    # The bands thin out towards the foot, as if water were drawn up from the trough.
    bend = share * stripes + 0.5 * ripple(x / 120, y / 120, seed + 5) + 0.12 * ripple(x / 34, y / 34, seed + 6)
    off = np.abs(bend - np.floor(bend) - 0.5)
    width = 0.20 + 0.10 * ripple(x / 90, y / 90, seed + 7)
    pixels = (off - width) * (back + face) / stripes
    canvas.lay(picture, MIDDLE, within * shapes.cover(pixels, 1.4) * take)
    canvas.lay(picture, PALE, within * shapes.cover(pixels + 0.075 * (back + face) / stripes * 1.2, 1.4) * take)
    canvas.lay(picture, OUTLINE, shapes.cover(np.abs(inside) - 1.3))


def claw(start, heading: float, reach: float, half_width: float, curl: float):
    """A finger of foam: points and half-widths of a line that hooks over and ends in a point."""
    (x, y), points, widths = start, [start], [half_width]
    for index in range(6):
        heading = heading + curl * (0.4 + 0.25 * index)
        x, y = x + reach / 6 * float(cosine(heading)), y + reach / 6 * float(sine(heading))
        points.append((x, y))
        widths.append(half_width * (0.94, 0.84, 0.70, 0.52, 0.32, 0.10)[index])
    return points, widths


def foam_fingers(crest, size: float, dice):
    """The fingers along a crest, from its middle to its lip, the rear ones first: large ones, each with small ones."""
    line, fingers = shapes.curve(crest, 10), []
    first = len(line) // 3
    for index in range(first, len(line), 2):
        (x1, y1), (x2, y2) = line[index - 1], line[index]
        share = (index - first) / (len(line) - first)
        heading = float(direction(np.array(x2 - x1), np.array(y2 - y1)))
        reach = size * (0.55 + 0.75 * share) * dice.between(0.85, 1.2)
        thick, curl = size * (0.085 + 0.03 * share), dice.between(0.024, 0.040)
        # Every other finger reaches out over the back of the crest, the rest hang into the hollow.
        splay = dice.between(-0.10, -0.04) if (index - first) % 6 == 2 else dice.between(0.05, 0.14)
        big = claw((x2, y2), heading + splay, reach, thick, curl)
        small = []
        for step in (1, 2, 3, 4):
            (x3, y3), (x4, y4) = big[0][step], big[0][step + 1]
            turn = float(direction(np.array(x4 - x3), np.array(y4 - y3)))
            for side in (-0.10, 0.14):
                small.append(
                    claw(
                        (x3, y3),
                        turn + side + dice.between(-0.03, 0.03),
                        reach * dice.between(0.24, 0.36),
                        thick * (0.62 - 0.07 * step),
                        curl * 1.8,
                    )
                )
        fingers.append([big, *small])
    return fingers


def finger(picture, limbs, size: float, seed: int):
    """Prints one finger of foam: white, with its outline and a pale line of shade within."""
    places = [point for points, _ in limbs for point in points]
    across, down = [place[0] for place in places], [place[1] for place in places]
    reach = 0.2 * size + 4
    view, x, y = canvas.region(picture, min(across) - reach, min(down) - reach, max(across) + reach, max(down) + reach)
    if not view.size:
        return
    distance = np.full(x.shape, 1e9)
    for points, widths in limbs:
        distance = np.minimum(distance, shapes.ribbon(x, y, points, widths)[0])
    distance = distance + 0.5 * ripple(x / 6, y / 6, seed)
    canvas.lay(view, OUTLINE, 0.92 * shapes.cover(distance - 1.35))
    canvas.lay(view, FOAM, shapes.cover(distance))
    inner = distance + size * 0.050
    canvas.lay(view, PALE, 0.9 * shapes.cover(np.abs(inner) - 0.7) * (ripple(x / 10, y / 10, seed + 1) > -0.2))


def foam(picture, crest, size: float, dice):
    """Prints the foam over a wave's crest: its roll, the fingers, and spray."""
    line = shapes.curve(crest, 10)
    first = len(line) // 5
    roll = (
        line[first:],
        [size * 0.17 * min(1.0, 1.8 * index / (len(line) - first)) for index in range(len(line) - first)],
    )
    finger(picture, [roll], size, 351)
    fingers = foam_fingers(crest, size, dice)
    for index, limbs in enumerate(fingers):
        finger(picture, limbs, size, 353 + 2 * index)
    for _ in range(int(size * 4.4)):
        base = fingers[dice.whole(len(fingers))][0][0][-1]
        far, turn = size * dice.between(0.0, 1.7) * dice.between(0.2, 1), dice.between(-0.22, 0.36)
        drop_x, drop_y = base[0] + far * float(cosine(turn)), base[1] + far * float(sine(turn))
        radius = dice.between(0.9, 2.9) * (1.1 - 0.35 * far / size / 1.7)
        spot, spot_x, spot_y = canvas.region(picture, drop_x - 6, drop_y - 6, drop_x + 6, drop_y + 6)
        canvas.lay(spot, FOAM, shapes.cover(shapes.disc(spot_x, spot_y, drop_x, drop_y, radius)))


def swell(picture, x, y):
    """Prints the sea in front: rows of low waves, striped, each with a ruffle of foam along its back."""
    for row in range(4):
        line = [(px + 57 * (row % 2), py + 19 * row) for px, py in SWELL]
        top = shapes.curve(line, 6)
        corners = [(-200, 470), *top, (1000, 480), (1000, 700), (-200, 700)]
        inside = shapes.polygon(x, y, corners)
        take = wood_grain(x, y, 361 + row)
        canvas.lay(picture, (DEEP, MIDDLE, DEEP, (0.09, 0.16, 0.34))[row], shapes.cover(inside) * take)
        stripe = -inside / 7.5 + 0.5 * ripple(x / 60, y / 20, 371 + row)
        off = np.abs(stripe - np.floor(stripe) - 0.5) * 7.5
        canvas.lay(
            picture,
            (PALE, PALE, MIDDLE, MIDDLE)[row],
            0.9 * shapes.cover(inside + 4) * shapes.cover(off - 1.3 - 0.9 * ripple(x / 45, y / 30, 381 + row)) * take,
        )
        scallop = 5.2 + 4.0 * np.abs(ripple(x / 17, y / 60, 391 + row)) + 2.5 * np.abs(ripple(x / 6, y / 20, 395 + row))
        crestline = np.abs(inside + 1) - scallop * smooth(-0.2, 0.55, ripple(x / 130, 0 * y, 401 + row) + 0.25)
        canvas.lay(picture, OUTLINE, shapes.cover(crestline - 1.2) * shapes.cover(inside - 8))
        canvas.lay(picture, FOAM, shapes.cover(crestline))


def draw():
    """The picture, (528, 768, 3) bytes."""
    x, y = canvas.centres(WIDTH, HEIGHT)
    picture, dice = canvas.blank(WIDTH, HEIGHT, PAPER), Dice(8)
    sky(picture, x, y)
    hill(picture, x, y)
    wave(picture, x, y, SECOND, SECOND_HOLLOW, 5, 341)
    foam(picture, SECOND, 34, dice)
    wave(picture, x, y, BIG, BIG_HOLLOW, 7, 343)
    foam(picture, BIG, 66, dice)
    swell(picture, x, y)
    margin = np.minimum(np.minimum(x, WIDTH - x), np.minimum(y, HEIGHT - y)) - 12
    canvas.lay(picture, PAPER, shapes.cover(margin + 0.6 * ripple(x / 20, y / 20, 411)))
    canvas.lay(picture, OUTLINE, 0.9 * shapes.cover(np.abs(margin - 1) - 0.8))
    return canvas.to_bytes(picture * paper_grain(x, y)[..., None])
