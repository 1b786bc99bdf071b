"""The levels of a run, coarse to fine, and the size of every picture at each. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass

from stylelab.layers import deepest
from stylelab.pictures import Size, scaled_to_area, scaled_to_long_side
from stylelab.spec import Spec


@dataclass(frozen=True)
class Level:
    """One level: the canvas's size, each style picture's, and how many steps are painted there."""

    number: int
    canvas: Size
    styles: tuple[Size, ...]
    steps: int


def levels(spec: Spec, *, content: Size, styles: Sequence[Size]) -> tuple[Level, ...]:
    """Every level of a run over pictures of these sizes (width, height).

    Raises:
        ValueError: a picture is too small there for the deepest layer in use.
    """
    found = []
    for number, (long_side, steps) in enumerate(zip(spec.pyramid.long_sides, spec.pyramid.steps, strict=True)):
        canvas = scaled_to_long_side(content, long_side)
        _check(spec, f"images.content ({spec.images.content})", canvas, number)
        sizes = tuple(_style_size(spec, style, canvas, long_side) for style in styles)
        for path, size in zip(spec.images.style, sizes, strict=True):
            _check(spec, f"images.style ({path})", size, number)
        found.append(Level(number, canvas, sizes, steps))
    return tuple(found)


def _style_size(spec: Spec, style: Size, canvas: Size, long_side: int) -> Size:
    scale = spec.images.style_scale
    match spec.images.style_size:
        case "area":
            return scaled_to_area(style, canvas[0] * canvas[1] * scale**2)
        case "long_side":
            return scaled_to_long_side(style, round(long_side * scale))
        case "stretch":  # as several programs read "resized to the same size as the content image", Gatys et al. (2016)
            return canvas
        case "original":  # at the last level; the coarser ones keep the proportion to the canvas
            return scaled_to_long_side(style, max(1, round(max(style) * long_side / spec.images.long_side)))
    raise AssertionError(spec.images.style_size)


def _check(spec: Spec, what: str, size: Size, level: int) -> None:
    least = spec.smallest_side
    if min(size) < least:
        raise ValueError(
            f"{what}: {size[0]} x {size[1]} pixels at level {level} is too small: {deepest(spec.all_layers)} needs at "
            f"least {least} on each side: raise images.long_side, or leave out the deepest layers"
        )
