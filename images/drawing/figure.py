"""The sitter of the portrait as solid bodies: head, eyes, hair and clothes, in units of about 10 cm.

The head is described as it looks straight at us (x to our right, y up, z towards us) and then turned to the side.
"""

import numpy as np

from . import shapes, solids
from .arithmetic import clip, direction, length, smooth
from .noise import clouds, ripple

# The head turns by the smaller angle of the 5-12-13 triangle and leans by that of 20-99-101.
TURN, LEAN = (24 / 25, 7 / 25), (1.0, 0.0)
EYES = ((-0.285, 0.055, 0.545), (0.285, 0.055, 0.545))
EYE_RADIUS = 0.158


def to_head(place):
    """Place in the head's own coordinates."""
    x, y, z = place
    x, y = x * LEAN[0] + (y + 1.0) * LEAN[1], (y + 1.0) * LEAN[0] - x * LEAN[1] - 1.0
    return x * TURN[0] + z * TURN[1], y, z * TURN[0] - x * TURN[1]


def mirrored(place):
    """The right half of the head, for what it has twice."""
    return np.abs(place[0]), place[1], place[2]


def carve(body, hollow, roundness: float):
    """The body without the hollow."""
    return -shapes.union(-body, hollow, roundness)


def nose(head, half):
    """Distance to the nose."""
    bridge = solids.limb(head, (0.0, 0.10, 0.645), (0.0, -0.20, 0.845), 0.062, 0.070)
    tip = solids.ellipsoid(head, (0.0, -0.235, 0.845), (0.092, 0.082, 0.092))
    wing = solids.ellipsoid(half, (0.092, -0.275, 0.745), (0.062, 0.058, 0.085))
    body = shapes.union(shapes.union(bridge, tip, 0.07), wing, 0.05)
    return carve(body, solids.ellipsoid(half, (0.050, -0.330, 0.800), (0.032, 0.026, 0.045)), 0.03)


def lips(head):
    """Distances to the upper and the lower lip."""
    half = mirrored(head)
    upper = solids.limb(half, (0.030, -0.520, 0.715), (0.185, -0.565, 0.600), 0.048, 0.016)
    lower = solids.limb(half, (0.0, -0.618, 0.700), (0.150, -0.580, 0.605), 0.060, 0.018)
    return upper, lower


def lids(head, half):
    """Distance to the eyelids: a ball round each eye, open in an almond."""
    eye = EYES[1]
    ball = length(half[0] - eye[0], half[1] - eye[1], half[2] - eye[2]) - (EYE_RADIUS + 0.022)
    across = (half[0] - eye[0]) / 0.185
    top = eye[1] + 0.062 * (1 - across * across) - 0.012 * across
    foot = eye[1] - 0.052 * (1 - across * across)
    gap = np.minimum(np.minimum(top - half[1], half[1] - foot), half[2] - eye[2] + 0.02)
    return np.maximum(ball, gap)


def skin(place):
    """Distance to face, ears and neck."""
    head = to_head(place)
    half = mirrored(head)
    body = shapes.union(solids.ellipsoid(head, (0.0, 0.30, -0.14), (0.72, 0.84, 0.88)), solids.ellipsoid(head, (0.0, -0.24, 0.12), (0.555, 0.74, 0.585)), 0.30)
    body = shapes.union(body, solids.ellipsoid(head, (0.0, -0.86, 0.42), (0.17, 0.13, 0.16)), 0.26)
    body = shapes.union(body, solids.ellipsoid(half, (0.335, -0.20, 0.44), (0.20, 0.20, 0.18)), 0.26)
    body = shapes.union(body, solids.limb(half, (0.10, 0.225, 0.635), (0.42, 0.245, 0.475), 0.060, 0.055), 0.18)
    body = shapes.union(body, solids.ellipsoid(head, (0.0, -0.56, 0.46), (0.24, 0.20, 0.20)), 0.16)
    body = carve(body, solids.ellipsoid(half, (0.275, 0.050, 0.760), (0.185, 0.105, 0.135)), 0.14)
    body = shapes.union(body, lids(head, half), 0.035)
    body = shapes.union(body, nose(head, half), 0.085)
    upper, lower = lips(head)
    body = shapes.union(shapes.union(body, lower, 0.05), upper, 0.045)
    seam = solids.limb(half, (0.0, -0.566, 0.765), (0.19, -0.578, 0.625), 0.010, 0.006)
    body = carve(body, seam, 0.022)
    body = carve(body, solids.ellipsoid(head, (0.0, -0.43, 0.775), (0.030, 0.055, 0.030)), 0.05)
    ear = carve(solids.ellipsoid(half, (0.69, -0.03, -0.06), (0.075, 0.22, 0.14)), solids.ellipsoid(half, (0.76, 0.0, -0.02), (0.05, 0.13, 0.07)), 0.06)
    body = shapes.union(body, ear, 0.06)
    neck = solids.limb(place, (0.02, -0.65, -0.22), (0.05, -1.75, -0.30), 0.365, 0.43)
    chest = solids.ellipsoid(place, (0.05, -2.25, -0.28), (1.10, 0.62, 0.52))
    return shapes.union(body, shapes.union(neck, chest, 0.35), 0.16)


def eyes(place):
    """Distance to the eyeballs."""
    half = mirrored(to_head(place))
    return length(half[0] - EYES[1][0], half[1] - EYES[1][1], half[2] - EYES[1][2]) - EYE_RADIUS


def strands(head):
    """Where in the hair a place lies: a coordinate across the strands and one along them."""
    around = direction(head[2] + 0.1, head[0]) * 6.283185307179586
    fall = head[1] + 0.35 * smooth(0.2, 1.2, head[1]) * head[2]
    return around + 0.10 * ripple(head[1] * 1.1, around * 1.2, 811), fall


def hair(place):
    """Distance to the hair: a cap parted on one side that falls in waves to the shoulders."""
    head = to_head(place)
    cap = solids.ellipsoid(head, (0.0, 0.36, -0.20), (0.84, 0.90, 0.97))
    face = solids.ellipsoid(head, (0.06, -0.30, 0.90), (0.600, 0.960, 0.780))
    cap = carve(cap, face, 0.10)
    half = mirrored(head)
    wave = 0.05 * ripple(head[1] * 1.7, head[0], 813)
    side = solids.limb((half[0] + wave, half[1], half[2]), (0.70, 0.30, 0.02), (0.80, -0.95, -0.10), 0.19, 0.27)
    curl = solids.limb((half[0] + wave, half[1], half[2]), (0.80, -0.95, -0.10), (0.60, -1.42, 0.06), 0.27, 0.13)
    back = solids.ellipsoid(head, (0.0, -0.45, -0.55), (0.88, 1.05, 0.52))
    body = shapes.union(shapes.union(shapes.union(side, curl, 0.12), back, 0.2), cap, 0.16)
    across, along = strands(head)
    locks = 0.030 * ripple(across * 4.5, along * 0.9, 815) + 0.012 * ripple(across * 13, along * 1.1, 817)
    part = 0.045 * smooth(0.05, 0.0, np.abs(head[0] - 0.20)) * smooth(0.6, 0.9, head[1])
    return 0.8 * (body + locks + part)


def clothes(place):
    """Distance to the dress and its collar."""
    x, y, z = place
    torso = solids.ellipsoid(place, (0.05, -2.95, -0.25), (1.42, 1.05, 0.74))
    arm = solids.limb((np.abs(x - 0.05), y, z), (0.0, -2.02, -0.30), (1.22, -2.42, -0.32), 0.30, 0.36)
    sleeve = solids.limb((np.abs(x - 0.05), y, z), (1.22, -2.42, -0.32), (1.48, -3.6, -0.20), 0.40, 0.46)
    body = shapes.union(shapes.union(torso, arm, 0.40), sleeve, 0.25)
    folds = 0.030 * ripple(x * 2.6 + 0.9 * y, y * 0.9 - 0.5 * x, 821) + 0.016 * ripple(x * 6 - 1.5 * y, y * 2.2, 823)
    neckline = solids.ellipsoid(place, (0.05, -1.62, 0.34), (0.62, 0.62, 0.80))
    return 0.85 * carve(body + folds, neckline, 0.06)


def collar(place):
    """Distance to the pale collar, a soft roll of cloth about the neckline."""
    x, y, z = place[0] - 0.05, place[1], place[2]
    radius = length(x, (z + 0.12) * 1.05)
    height = -1.90 - 0.36 * clip((z + 0.5) / 1.0)
    pleat = 0.02 * ripple(direction(x, z + 0.12) * 34, y * 1.5, 831)
    return 0.8 * (length(radius - 0.66, (y - height) * 0.75) - 0.115 + pleat)


def hair_tone(head):
    """Brightness of the single hairs, about 0 on average."""
    across, along = strands(head)
    return clouds(across * 16, along * 0.8, 841, octaves=3) + 0.7 * ripple(across * 52, along * 1.3, 843)
