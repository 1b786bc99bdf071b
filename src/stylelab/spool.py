"""The spool of a run's folder: what MLflow is still to be told of the run and the folder does not hold otherwise.

    tracking.json      where the run is to be tracked, under which identity and name, with which tags
    times.csv          step and time of each row of losses.csv, in milliseconds since 1970
    inputs/*.png       the pictures as the run sees them
    canvas_000000.png  the canvas that painting starts from

A spool is there from a run's start until MLflow holds the whole run. Its tracking.json goes first: a folder without one
waits for nothing.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from stylelab import pictures, run_folder

NAME = "spool"


def path(folder: Path) -> Path:
    """The spool of a run's folder."""
    return folder / NAME


def read(folder: Path) -> dict[str, Any]:
    """The tracking.json of a run's folder; empty where nothing waits there."""
    try:
        found = json.loads((path(folder) / "tracking.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def begin(folder: Path, tracking: Mapping[str, Any], inputs: Mapping[str, Image.Image]) -> None:
    """Make the spool, or go on with a dead process's.

    Args:
        tracking: `uri` (less credentials), `experiment`, `identity`, `name` and `tags`; where something comes late of
            a finished run, `more`: further `tags` and `metrics`.
        inputs: content and styles, by their names.
    """
    (path(folder) / "inputs").mkdir(parents=True, exist_ok=True)
    for name, picture in inputs.items():
        file = path(folder) / "inputs" / f"{name}.png"
        if not file.is_file():
            pictures.save_png(picture, file, texts={})
    run_folder.write_whole(path(folder) / "tracking.json", json.dumps(tracking, indent=2) + "\n")


def remove(folder: Path) -> None:
    """Nothing waits any more."""
    (path(folder) / "tracking.json").unlink(missing_ok=True)
    shutil.rmtree(path(folder), ignore_errors=True)


def waiting(outputs: Path) -> Iterator[Path]:
    """The folders of runs, reproductions included, whose spool waits, in the order of their names."""
    for pattern in ("runs/*", "reproductions/*/runs/*"):
        for file in sorted(outputs.glob(f"{pattern}/{NAME}/tracking.json")):
            if read(file.parents[1]):
                yield file.parents[1]
