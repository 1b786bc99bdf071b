"""Two runs over each other: how their configurations differ, their pictures and their curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylelab.report import charts
from stylelab.report.axes import ABSENT, EACH, Axis, common, differences
from stylelab.report.conclusions import refusal
from stylelab.report.embedding import compressed_plotly, data_uri, embedded_json, environment
from stylelab.report.labels import label, labels, measured
from stylelab.report.page import metric_order
from stylelab.report.runs import Run, folder_name
from stylelab.report.store import Store

NAMES = ("A", "B")


def write(store: Store, wanted: Sequence[str], *, reports: Path, name: str | None) -> Path:
    """Write compare.html and difference.png.

    Args:
        wanted: two runs, by MLflow run id or name.

    Returns:
        The folder.
    """
    runs = [store.run(one) for one in wanted]
    if runs[0].run_id == runs[1].run_id:
        raise ValueError(f"--compare: {wanted[0]} and {wanted[1]} are the same run: give two")
    pictures = [store.picture(run) for run in runs]
    folder = reports / folder_name([name] if name else ["compare", *(run.run_id[:8] for run in runs)])
    folder.mkdir(parents=True, exist_ok=True)
    if None not in pictures:
        enlarged(difference(*pictures)).save(folder / "difference.png")
    (folder / "compare.html").write_text(render(runs, pictures, store.curves(runs, charts.LOSSES)))
    return folder


def render(
    runs: Sequence[Run], pictures: Sequence[Image.Image | None], curves: Mapping[str, Mapping[str, charts.Curve]]
) -> str:
    """The page's text."""
    titles = {run.run_id: f"{name}: {run.name}" for name, run in zip(NAMES, runs, strict=True)}
    ids = tuple(run.run_id for run in runs)
    each = Axis(key=EACH, option={run_id: run_id for run_id in ids}, options=ids, labels=titles)
    return environment().get_template("compare.html.jinja").render(
        title=" against ".join(run.name for run in runs),
        runs=[{"name": name, "run": run} for name, run in zip(NAMES, runs, strict=True)],
        pictures=[data_uri(picture, 1024) if picture else None for picture in pictures],
        distance=distance(*pictures) if None not in pictures else None,
        differed=_differed(runs),
        common=[(key, label(value)) for key, value in sorted(common(runs).items())],
        metrics=_metrics(runs),
        raw_losses=charts.apart(runs),
        data=embedded_json({}),
        charts=embedded_json({"losses": charts.loss_curves(runs, curves, titles, colour=each)}),
        plotly=compressed_plotly(),
    )  # fmt: skip


def difference(first: Image.Image, second: Image.Image) -> np.ndarray:
    """(H, W), the largest difference of the three channels at each pixel, 0 to 255, at the first picture's size."""
    other = second if second.size == first.size else second.resize(first.size, Image.Resampling.LANCZOS)
    apart = np.abs(np.asarray(first, dtype=np.int16) - np.asarray(other, dtype=np.int16))
    return apart.max(axis=2)


def enlarged(values: np.ndarray) -> Image.Image:
    """The difference as a picture: black where there is none, white at the largest."""
    largest = int(values.max())
    return Image.fromarray((values * (255 / largest if largest else 0)).astype(np.uint8))


def distance(first: Image.Image, second: Image.Image) -> Mapping[str, Any]:
    """How far two pictures are apart, in numbers, and the picture of their difference."""
    values = difference(first, second)
    return {
        "same": first.size == second.size and not values.any(),
        "resized": first.size != second.size,
        "mean": measured(float(values.mean())),
        "largest": int(values.max()),
        "part": f"{100 * float((values > 0).mean()):.3g}",
        "picture": data_uri(enlarged(values).convert("RGB"), 1024),
    }


def _differed(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    found = []
    for key in differences(runs):
        values = [run.configuration.get(key, ABSENT) for run in runs]
        words = labels(values)
        found.append((key, [words[value] for value in values]))
    return found


def _metrics(runs: Sequence[Run]) -> list[Mapping[str, Any]]:
    """Each metric of both runs, and the difference where it can be compared."""
    first, second = runs
    found = []
    for name in sorted(first.metrics.keys() | second.metrics.keys(), key=metric_order):
        values = [run.metrics.get(name) for run in runs]
        comparable = None not in values and refusal(name, runs) is None
        gap = values[1] - values[0] if comparable else None
        found.append(
            {
                "name": name,
                "values": [measured(value) for value in values],
                "gap": f"{'+' if gap and gap > 0 else ''}{measured(gap)}",
            }
        )
    return found
