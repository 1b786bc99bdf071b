"""Letters and pictures fitted into a sheet."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from PIL import Image, ImageFont


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as large as fits, aspect kept."""
    factor = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def clip(lines: list[str], most: int) -> list[str]:
    """The first lines of a text, with a sign where more follow."""
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1]} …"]


def wrap(text: str, font: ImageFont.ImageFont, width: int) -> list[str]:
    """Lines of a text that fit a width, broken at spaces, after `_` and `/`, else anywhere."""
    found, line = [], ""
    for part in re.findall(r"\s+|[^\s_/]*[_/]|[^\s_/]+", text.strip()):
        if font.getlength(line + part.rstrip()) <= width:
            line += part
            continue
        found += [line.rstrip()] if line.strip() else []
        while font.getlength(part) > width:
            fits = next(n for n in range(len(part), 0, -1) if font.getlength(part[:n]) <= width or n == 1)
            found.append(part[:fits])
            part = part[fits:]
        line = part.lstrip()
    return [*found, line.rstrip()] if line.strip() else found


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib and so with MLflow; else the one that Pillow carries."""
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.submodule_search_locations:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        file = Path(matplotlib.submodule_search_locations[0], "mpl-data", "fonts", "ttf", name)
        if file.is_file():
            return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)
