"""What the landscapes share: a sky with clouds, water that mirrors, and foliage laid leaf by leaf."""

from itertools import pairwise

import numpy as np

from . import canvas, shapes
from .arithmetic import blend_colours, clip, decay, length, mix, power, smooth
from .noise import clouds, ripple


def sky(x, y, horizon: float, ramp, *, seed: int, amount: float, scale: float):
    """A sky that pales towards the horizon (pixels), with heaped clouds lit from the upper left.

    ramp: colours from the zenith (0) to the horizon (1); amount: how much is cloud, about 0 to 1; scale: pixels.
    """
    colour = blend_colours(ramp, clip(y / horizon))
    # Towards the horizon clouds are seen from the side, and farther off: flatter and smaller.
    fall = clip(y / horizon)
    across, down = (x - 300) / scale * (0.80 + 0.45 * fall), horizon / scale * (1.25 * fall + 0.75 * fall * fall)

    def thickness(shift_x, shift_y):
        bent = 0.35 * clouds(across * 0.8 + shift_x, down * 0.9 + shift_y, seed + 50, octaves=2)
        return (
            clouds(across + bent + shift_x, down * 1.15 + bent + shift_y, seed, octaves=7, gain=0.53)
            + 2.0 * amount
            - 1.0
        )

    dense = thickness(0.0, 0.0)
    towards_light = thickness(-0.10, -0.16)
    share = smooth(-0.02, 0.34, dense)
    lit = smooth(-0.30, 0.34, dense - towards_light) * (1 - 0.45 * smooth(0.25, 0.9, dense))
    white = blend_colours(((0.0, (0.60, 0.66, 0.76)), (0.45, (0.83, 0.86, 0.90)), (1.0, (1.0, 0.985, 0.955))), lit)
    haze = decay(clip(horizon - y, 0, horizon) / (0.14 * horizon))[..., None]
    return mix(mix(colour, white, (share * 0.96)[..., None]), np.array(ramp[-1][1]), 0.55 * haze)


def mirror(picture, shore: int, deep, *, seed: int, roughness: float, clearness: float):
    """Fills everything below the row `shore` with water that mirrors what lies above, in place.

    deep: the water's own colour; roughness: slope of the ripples; clearness: share of its own colour near the viewer.
    """
    height, width = picture.shape[:2]
    view, x, y = canvas.region(picture, 0, shore, width, height)
    below = y - shore
    # Ripples shrink with distance: on the picture, depth goes as 1 / below.
    depth = 2600 / (below + 9)
    slope = ripple(x / (5 + 0.55 * below), depth / 3.1, seed) + 0.6 * ripple(
        x / (2.5 + 0.24 * below), depth / 1.3, seed + 1
    )
    slope = slope + 0.5 * ripple(x / 160, depth / 20, seed + 2)
    reach = roughness * (1.5 + 0.22 * below)
    sway = 0.22 * reach * ripple(x / (4 + 0.35 * below), depth / 2.1, seed + 3)
    source_y = clip(shore - 1.03 * below - 1 + reach * slope, 0, shore - 1)
    image = canvas.sample(picture[:shore], x + sway, source_y)
    own = clip(clearness * smooth(0, height - shore, below) * (0.75 + 0.5 * clip(slope, -1, 1)) + 0.10)
    shade = 0.90 + 0.10 * clip(slope, -1, 1)
    water = mix(image * shade[..., None], np.array(deep), own[..., None])
    # Gusts dull the mirror in long streaks; the shore is met by a thin dark line.
    gust = smooth(0.18, 0.75, ripple(x / 260, depth / 26, seed + 4) + 0.35 * ripple(x / 60, depth / 7, seed + 5))
    pale = np.array(picture[2:6, :].reshape(-1, 3)[width // 2])
    water = mix(water, pale * 0.92, (0.26 * gust * smooth(2, 26, below))[..., None])
    view[...] = mix(water, water * 0.55, (0.8 * smooth(4, 0, below))[..., None])


def leaves(picture, clumps, tones, dice, *, size: float, density: float):
    """Lays a tree's crown: `clumps` are balls of leaves (x, y, radius) from the back to the front.

    tones: colours from the deepest shade to full light; size of a leaf in pixels; density in leaves per square pixel.
    """
    for clump_x, clump_y, radius in clumps:
        view, x, y = canvas.region(picture, clump_x - radius, clump_y - radius, clump_x + radius, clump_y + radius)
        ragged = shapes.disc(x, y, clump_x, clump_y, radius * 0.80) + 0.3 * radius * ripple(
            x / 6, y / 6, dice.whole(999)
        )
        canvas.lay(view, np.array(tones[0][1]), 0.85 * shapes.cover(ragged))
        count = int(3.1416 * radius * radius * density)
        for index in range(count):
            place_x, place_y = dice.between(-1, 1), dice.between(-1, 1)
            far = place_x * place_x + place_y * place_y
            if far > 1:
                continue
            # Light falls from the upper left; the clump bulges towards the viewer.
            light = 0.46 - 0.34 * place_x - 0.50 * place_y + 0.10 * (1 - far) + dice.between(-0.20, 0.20)
            light *= 0.75 + 0.25 * index / count
            leaf(
                picture,
                clump_x + radius * place_x,
                clump_y + radius * place_y,
                size * dice.between(0.6, 1.3),
                tones,
                light,
                dice,
            )


def leaf(picture, x: float, y: float, size: float, tones, light: float, dice):
    """Lays one leaf, a short blade at any turn."""
    view, across, down = canvas.region(picture, x - size, y - size, x + size, y + size)
    if not view.size:
        return
    run_x, run_y = dice.between(-1, 1), dice.between(-0.7, 0.7)
    distance = shapes.segment(
        across, down, (x - 0.5 * size * run_x, y - 0.5 * size * run_y), (x + 0.5 * size * run_x, y + 0.5 * size * run_y)
    )[0]
    canvas.lay(view, ramp_colour(tones, light), 0.9 * shapes.cover(distance - 0.30 * size))


def ramp_colour(tones, position: float):
    """One colour of a ramp, for one number (quicker than for an array)."""
    for (start, first), (end, second) in pairwise(tones):
        if position < end:
            share = max(0.0, (position - start) / (end - start))
            return tuple(low + (high - low) * share for low, high in zip(first, second, strict=True))
    return tones[-1][1]


def sun_bloom(x, y, centre_x: float, centre_y: float, reach: float):
    """How much haze glows about a light, 1 at its middle."""
    return decay(power(length(x - centre_x, y - centre_y) / reach, 2))


def finish(picture, seed: int):
    """What a lens and film add: darker corners, a soft shoulder in the lights, fine grain."""
    height, width = picture.shape[:2]
    x, y = canvas.centres(width, height)
    corner = length((x - width / 2) / width, (y - height / 2) / height)
    picture = picture * (1.04 - 0.26 * power(corner, 2) * 1.6)[..., None]
    picture = picture + (0.008 * clouds(x / 2.0, y / 2.0, seed, octaves=2))[..., None]
    return canvas.to_bytes(clip(picture * (1.10 - 0.10 * clip(picture))))
