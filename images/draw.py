"""Draws the project's own pictures, or checks that the files are what the program draws.

python images/draw.py                          draws them all
python images/draw.py portrait wave_print      draws those named
python images/draw.py --check [names]          draws in memory and compares pixels; exits with 1 if any differ
"""

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

# Each picture is drawn by the module drawing/<name>.py.
CONTENTS = ("riverside_town", "mountain_lake", "portrait")
STYLES = ("swirling_strokes", "stained_glass", "wave_print", "crosshatching", "cut_outs")


def path_of(name: str) -> Path:
    """The file that holds a picture."""
    return FOLDER / ("content" if name in CONTENTS else "style") / f"{name}.png"


def draw(name: str) -> np.ndarray:
    """The pixels of a picture, (height, width, 3) bytes."""
    return importlib.import_module(f"drawing.{name}").draw()


def fault(name: str, pixels: np.ndarray) -> str | None:
    """What is wrong with the file of a picture whose pixels should be these; None if nothing is."""
    path = path_of(name)
    if not path.is_file():
        return f"{name}: {path} is missing; draw it with: python images/draw.py {name}"
    with Image.open(path) as image:
        if image.mode != "RGB" or image.size != (pixels.shape[1], pixels.shape[0]):
            size = (pixels.shape[1], pixels.shape[0])
            return f"{name}: the file is {image.mode} {image.size}, the program draws RGB {size}"
        found = np.asarray(image)
    places = np.argwhere((found != pixels).any(axis=-1))
    if not len(places):
        return None
    row, column = places[0]
    return (
        f"{name}: {len(places)} pixels differ, the first at column {column}, row {row}: "
        f"the file has {found[row, column].tolist()}, the program draws {pixels[row, column].tolist()}"
    )


def save(name: str, pixels: np.ndarray) -> None:
    """Writes a picture as PNG."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, optimize=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(CONTENTS + STYLES)}; all if none is given"
    )
    parser.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in CONTENTS + STYLES]
    if unknown:
        parser.error(f"there is no picture {unknown[0]}; there are {', '.join(CONTENTS + STYLES)}")
    faults = 0
    for name in options.names or CONTENTS + STYLES:
        pixels = draw(name)
        if not options.check:
            save(name, pixels)
            print(f"{path_of(name).relative_to(FOLDER)}  {pixels.shape[1]} x {pixels.shape[0]}")
        elif message := fault(name, pixels):
            faults += 1
            print(message, file=sys.stderr)
        else:
            print(f"{name}: as drawn")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
