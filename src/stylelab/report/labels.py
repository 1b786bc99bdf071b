"""Values of a configuration as people read them."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

PICTURE = re.compile(r"\.(png|jpe?g|webp|tiff?|bmp|gif)$", re.IGNORECASE)
NAMES = {  # keys whose last word says too little, as headings
    "weights.alpha_over_beta": "α / β",
    "layers.style": "style layers",
    "layers.content": "content layers",
    "images.style": "style",
    "images.content": "content",
    "images.long_side": "long side",
    "canvas.start": "start",
    "experiment/start": "start",
    "pooling.kind": "pooling",
    "network.source": "network",
    "optimizer.kind": "optimizer",
}


def heading(key: str) -> str:
    """A key as the heading of an axis: `α / β`, `style layers`, `optimizer.steps`."""
    return NAMES.get(key, key)


def labels(values: Sequence[Any]) -> dict[Any, str]:
    """Labels for the options of one axis, alike in form and each a different one.

    Numbers share one form: where one needs an exponent, all have it. A list of layers is its ends, `relu1_1 … relu5_1`,
    unless two lists have the same ends.
    """
    numbers = [value for value in values if _is_number(value)]
    exponents = any(_needs_exponent(value) for value in numbers)
    found = {value: number(value, exponent=exponents) if _is_number(value) else label(value) for value in values}
    if len(set(found.values())) == len(found):
        return found
    return {value: _in_full(value) for value in values}


def label(value: Any) -> str:
    """One value: a list by its ends, a picture by its name, a number in its shortest form."""
    if _is_number(value):
        return number(value, exponent=_needs_exponent(value))
    if isinstance(value, tuple):
        return _listed(value)
    if value is None:
        return "none"
    text = str(value)
    return PurePath(text).stem.replace("_", " ") if PICTURE.search(text) else text


def number(value: float, *, exponent: bool) -> str:
    """`1e-3` with an exponent, `0.02` without."""
    if not exponent or value == 0 or not math.isfinite(value):
        return f"{value:.6g}"
    mantissa, _, power = f"{value:.5e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}"


def measured(value: float | None, *, digits: int = 3) -> str:
    """A measured value in three digits that count, or as many as told; a dash where there is none."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-3 <= abs(value) < 1e4:
        return number(float(f"{value:.{digits - 1}e}"), exponent=True)
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def wordy(mapping: Mapping[str, Any]) -> str:
    """Several keys with their values, by their last words: `source caffe, normalised true`."""
    return ", ".join(f"{key.rpartition('.')[2]} {label(value)}" for key, value in mapping.items())


def _listed(values: tuple) -> str:
    if not values:
        return "none"
    if len(values) == 1:
        return label(values[0])
    if any(PICTURE.search(str(value)) for value in values):
        return " + ".join(label(value) for value in values)
    if all(_is_number(value) for value in values):
        return ", ".join(label(value) for value in values)
    return f"{label(values[0])} … {label(values[-1])}"


def _in_full(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_in_full(item) for item in value) or "none"
    return repr(value) if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _needs_exponent(value: Any) -> bool:
    return _is_number(value) and value != 0 and not 0.01 <= abs(value) < 1e5
