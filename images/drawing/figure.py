"""The sitter of the portrait as solid bodies: head, eyes, hair and clothes, in units of about 10 cm.

The head is described as it looks straight at us (x to our right, y up, z towards us) and then turned to the side.
"""

import numpy as np

from . import shapes, solids
from .arithmetic import clip, direction, length, sine, smooth
from .noise import clouds, ripple

# The head turns by the smaller angle of the 7-24-25 triangle and leans by that of 41-840-841.
TURN, LEAN = (24 / 25, 7 / 25), (840 / 841, 41 / 841)
EYE = (0.285, 0.055, 0.540)
EYE_RADIUS, EYE_HALF_WIDTH = 0.158, 0.180


def to_head(place):
    """Place in the head's own coordinates."""
    x, y, z = place
    x, y = x * LEAN[0] + (y + 1.0) * LEAN[1], (y + 1.0) * LEAN[0] - x * LEAN[1] - 1.0
    return x * TURN[0] + z * TURN[1], y, z * TURN[0] - x * TURN[1]


def mirrored(place):
    """The right half of a place, for what a body has twice."""
    return np.abs(place[0]), place[1], place[2]


def carve(body, hollow, roundness: float):
    """The body without the hollow."""
    return -shapes.union(-body, hollow, roundness)


def lid_lines(across):
    """Height of the upper and of the lower lid's edge above the eye's middle; across is -1 at the nose, 1 outside."""
    arch = 1 - across * across
    return 0.056 * arch - 0.004 + 0.010 * across, -0.046 * arch - 0.004 + 0.010 * across


def lids(half):
    """Distance to the eyelids: a ball round each eye, open in an almond."""
    x, y, z = (here - middle for here, middle in zip(half, EYE, strict=True))
    upper, lower = lid_lines(x / EYE_HALF_WIDTH)
    gap = np.minimum(np.minimum(upper - y, y - lower), z + 0.02)
    return np.maximum(length(x, y, z) - (EYE_RADIUS + 0.020), gap)


def nose(head, half):
    """Distance to the nose."""
    bridge = solids.limb(head, (0.0, 0.12, 0.640), (0.0, -0.20, 0.835), 0.058, 0.066)
    tip = solids.ellipsoid(head, (0.0, -0.228, 0.838), (0.086, 0.076, 0.086))
    wing = solids.ellipsoid(half, (0.088, -0.265, 0.735), (0.058, 0.054, 0.085))
    body = shapes.union(shapes.union(bridge, tip, 0.08), wing, 0.055)
    return carve(body, solids.ellipsoid(half, (0.046, -0.318, 0.790), (0.028, 0.022, 0.040)), 0.03)


def lips(half):
    """Distances to the upper and the lower lip."""
    upper = solids.limb(half, (0.035, -0.528, 0.682), (0.225, -0.552, 0.590), 0.040, 0.012)
    lower = solids.limb(half, (0.0, -0.606, 0.668), (0.180, -0.572, 0.610), 0.052, 0.018)
    return upper, lower


def lip_lines(x):
    """Heights of the upper lip's edge, the mouth's line and the lower lip's edge; the corners lie higher."""
    share = clip(x / 0.238)
    arch, line = 1 - share * share, -0.572 + 0.020 * share * share
    return (
        line + arch * (0.062 + 0.014 * smooth(0.0, 0.25, share)),
        line - 0.010 * smooth(0.35, 0.0, share),
        line - 0.088 * arch,
    )


def face(head, half):
    """Distance to skull, cheeks, jaw and chin."""
    body = shapes.union(
        solids.ellipsoid(head, (0.0, 0.30, -0.14), (0.72, 0.84, 0.88)),
        solids.ellipsoid(head, (0.0, -0.24, 0.12), (0.560, 0.74, 0.575)),
        0.30,
    )
    body = shapes.union(body, solids.ellipsoid(head, (0.0, -0.84, 0.40), (0.20, 0.13, 0.17)), 0.28)
    body = shapes.union(body, solids.ellipsoid(half, (0.345, -0.52, 0.08), (0.17, 0.22, 0.26)), 0.26)
    body = shapes.union(body, solids.ellipsoid(half, (0.340, -0.17, 0.43), (0.20, 0.17, 0.17)), 0.28)
    body = shapes.union(body, solids.limb(half, (0.0, 0.205, 0.640), (0.42, 0.235, 0.470), 0.042, 0.052), 0.20)
    body = shapes.union(body, solids.ellipsoid(head, (0.0, -0.55, 0.44), (0.27, 0.20, 0.21)), 0.18)
    return carve(body, solids.ellipsoid(half, (0.275, 0.050, 0.770), (0.195, 0.105, 0.145)), 0.15)


def features(body, head, half):
    """The head with its nose, lids, lips and ears."""
    body = shapes.union(body, lids(half), 0.030)
    body = shapes.union(body, nose(head, half), 0.10)
    upper, lower = lips(half)
    body = shapes.union(shapes.union(body, lower, 0.06), upper, 0.05)
    body = carve(body, solids.ellipsoid(head, (0.0, -0.42, 0.770), (0.026, 0.055, 0.030)), 0.05)
    shell = solids.ellipsoid(half, (0.635, -0.06, -0.06), (0.075, 0.21, 0.13))
    return shapes.union(
        body, carve(shell, solids.ellipsoid(half, (0.75, -0.02, -0.02), (0.05, 0.12, 0.07)), 0.06), 0.06
    )


def skin(place):
    """Distance to face, ears, neck and breast."""
    head = to_head(place)
    neck = solids.limb(place, (0.03, -0.60, -0.26), (0.06, -1.35, -0.32), 0.335, 0.375)
    breast = solids.ellipsoid(place, (0.06, -2.10, -0.26), (0.98, 0.57, 0.47))
    bust = shapes.union(neck, breast, 0.38)
    bound = solids.ellipsoid(head, (0.0, 0.05, 0.0), (0.90, 1.20, 1.10))
    # The margin exceeds the joint's roundness, so that the joint never meets the rougher bound.
    inner = solids.within(bound, 0.20, lambda near: features(face(near, mirrored(near)), near, mirrored(near)), head)
    return shapes.union(inner, bust, 0.16)


def eyes(place):
    """Distance to the eyeballs."""
    half = mirrored(to_head(place))
    return length(half[0] - EYE[0], half[1] - EYE[1], half[2] - EYE[2]) - EYE_RADIUS


def pearls(place):
    """Distance to the earrings: a drop under each ear."""
    half = mirrored(to_head(place))
    return solids.ellipsoid(half, (0.690, -0.345, -0.02), (0.058, 0.074, 0.058))


def hairline(head):
    """How far inside the hair a place of the head lies (below 0: on the bare face)."""
    x, y, z = head[0] - 0.02, head[1], head[2]
    brow = length(x / 0.545, (y + 0.24) / 0.92, (z - 0.80) / 0.90) - 1
    return brow + 0.025 * ripple(x * 6, y * 6, 809)


def strands(head):
    """Where in the hair a place lies: a coordinate across the strands and one along them.

    The strands lie in slanting planes: from the parting they run sideways and down over the head, then fall.
    """
    x, y, z = head
    across = 0.95 * np.abs(x) + 0.30 * y - z + 0.07 * ripple(x * 1.6, y * 1.6, 811)
    return across + 2.0 * (x > 0.06), 0.6 * np.abs(x) - y


def hair(place):
    """Distance to the hair: parted, swept over the ears, and falling behind the shoulders."""
    head = to_head(place)
    half = mirrored(head)
    wave = 0.07 * sine(head[1] * 0.42 + 0.1 * head[0])
    waved = half[0] + wave, half[1], half[2] + wave
    side = shapes.union(
        solids.limb(waved, (0.60, 0.30, -0.12), (0.70, -0.42, -0.34), 0.19, 0.21),
        solids.limb(waved, (0.70, -0.42, -0.34), (0.70, -2.10, -0.52), 0.21, 0.30),
        0.1,
    )
    back = solids.ellipsoid(head, (0.0, -0.75, -0.66), (0.80, 1.45, 0.40))
    body = shapes.union(side, back, 0.2)
    # The cap stays within this ball; near it or the falling hair, strands and hairline matter.
    cap = solids.ellipsoid(head, (0.0, 0.42, -0.17), (0.98, 0.90, 1.10))
    result = np.minimum(cap, body - 0.09)
    near = result < 0.10
    if near.any():
        result[near] = combed(body[near], cap[near], tuple(way[near] for way in head))
    return 0.75 * result


def combed(falling, cap, head):
    """The falling hair and the cap with their locks; the cap rises from the skin along the hairline."""
    depth = hairline(head)
    grown = face(head, mirrored(head)) + 0.010 - 0.165 * smooth(-0.03, 0.36, depth)
    body = shapes.union(falling, -shapes.union(-grown, -cap, 0.10), 0.14)
    across, along = strands(head)
    locks = 0.026 * ripple(across * 7, along * 0.9, 815) + 0.010 * ripple(across * 21, along * 1.1, 817)
    part = 0.05 * smooth(0.05, 0.0, np.abs(head[0] - 0.06)) * smooth(0.5, 0.8, head[1])
    return body + (locks + part) * smooth(0.0, 0.2, depth)


def neckline(place):
    """How far outside the dress' opening a place lies."""
    return solids.ellipsoid(place, (0.06, -1.22, 0.42), (0.70, 0.66, 0.86))


def clothes(place):
    """Distance to the dress: its folds are looked at only near by."""
    bound = trunk(place) - 0.10
    return solids.within(bound, 0.10, dress, place)


def trunk(place):
    """Distance to the trunk and arms under the dress."""
    half = np.abs(place[0] - 0.06), place[1], place[2]
    torso = solids.ellipsoid(place, (0.06, -2.62, -0.25), (1.36, 1.02, 0.70))
    arm = solids.limb(half, (0.0, -1.74, -0.30), (1.16, -2.08, -0.34), 0.29, 0.34)
    sleeve = solids.limb(half, (1.16, -2.08, -0.34), (1.42, -3.4, -0.16), 0.40, 0.50)
    return shapes.union(shapes.union(torso, arm, 0.42), sleeve, 0.28)


def dress(place):
    """The dress with its folds, gathered at the opening, and hollowed there."""
    body, opening, y = trunk(place), neckline(place), place[1]
    around = direction(place[0] - 0.06, place[1] + 1.0) * 6.283185307179586
    gathers = 0.024 * ripple(around * 7.5, opening * 1.3, 821) * smooth(0.9, 0.0, opening)
    drape = np.abs(ripple(place[0] * 1.5 + 0.55 * y, y * 0.8 - 0.5 * place[0], 823)) * 0.11 * smooth(0.0, 0.5, opening)
    hem = 0.030 * smooth(0.10, 0.05, opening)
    return 0.75 * carve(body + gathers + drape - hem, opening, 0.05)


def hair_tone(head, detail):
    """Brightness of the single hairs, about 0 on average; detail (0 to 1) fades what would be finer than a pixel."""
    across, along = strands(head)
    return clouds(across * 22, along * 0.9, 841, octaves=2) * (0.4 + 0.6 * detail) + 0.7 * detail * ripple(
        across * 75, along * 1.3, 843
    )
