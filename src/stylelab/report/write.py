"""A report, from the selection of runs to the files in its folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from stylelab.report import charts, page, sheet, tables
from stylelab.report.axes import swept
from stylelab.report.conclusions import COMPARED, check_metric, rulers
from stylelab.report.grid import lay_out
from stylelab.report.labels import label
from stylelab.report.runs import Run, Selection, folder_name
from stylelab.report.store import Store

PUBLISHED = "report"  # folder of the report among the artifacts of a sweep's own run
MOST_CONCLUSIONS = 4  # of a sheet
LONGEST = 1024  # pixels of a picture's longer side in a report


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The keys that the user named; None: found."""

    rows: str | None
    columns: str | None
    facets: str | None


def write(
    store: Store, selection: Selection, axes: Axes, *, reports: Path, name: str | None, metric: str | None
) -> Path:
    """Write sheet.png, report.html and runs.csv, and keep them with the sweep's own run.

    Returns:
        The folder.

    Raises:
        ValueError: an axis is no key, or the metric can't be compared over these runs.
    """
    runs = selection.runs
    if metric:
        check_metric(metric, runs)
    found = swept(runs)
    grid = lay_out(runs, found, rows=axes.rows, columns=axes.columns, facets=axes.facets)
    named = [chosen for chosen in (grid.rows, grid.columns, grid.facets) if chosen]
    every = named + [other for other in found if other.key not in {chosen.key for chosen in named}]
    material = page.Material(
        selection=selection,
        grid=grid,
        axes=tuple(every),
        pictures=store.pictures(runs, longest=LONGEST),
        inputs=inputs(store, runs),
        curves=store.curves(runs, charts.LOSSES),
        studies=tuple(store.studies(selection.parents)),
        metric=metric,
        written=time.strftime("%Y-%m-%d %H:%M"),
    )
    folder = reports / (folder_name([name]) if name else selection.name)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = sheet.draw(grid, material.pictures, material.inputs, words(material))
    drawn.save(folder / "sheet.png")
    tables.write_csv(runs, grid, folder / "runs.csv")
    (folder / "report.html").write_text(page.render(material))
    for parent in selection.parents:
        store.publish(folder, parent, PUBLISHED)
    return folder


def inputs(store: Store, runs: Sequence[Run]) -> dict[str, sheet.Inputs]:
    """The pictures that each run was given, by run id; runs of the same pictures share them."""
    found: dict[tuple, sheet.Inputs] = {}
    for run in runs:
        pictures = page.pictures_of(run)
        if pictures not in found or (run.tracked and found[pictures].content is None):
            content, styles = store.inputs(run)
            for picture in (content, *styles):
                if picture is not None:
                    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            found[pictures] = sheet.Inputs(content=content, styles=styles)
    return {run.run_id: found[page.pictures_of(run)] for run in runs}


def words(material: page.Material) -> sheet.Words:
    """What stands around the grid of the sheet."""
    runs = material.selection.runs
    found = rulers(runs)
    captions = " and ".join(f"{found[0]}/{name}" for name in COMPARED) if found else ""
    return sheet.Words(
        title=material.selection.title,
        questions=tuple(paragraph for text in material.selection.questions for paragraph in page.paragraphs(text)),
        facts=(
            shared(material),
            *([f"Below each picture: {captions}, how far from style and content; lower is nearer."] if found else []),
        ),
        conclusions=tuple(
            " ".join([f"{one.axis.heading}: {one.sentences[0]}", *([one.caveat] if one.caveat else [])])
            for one in page.conclusions(material)[:MOST_CONCLUSIONS]
        ),
    )


def shared(material: page.Material) -> str:
    """How the runs ended, and what all of them had in common."""
    selection = material.selection

    def common(key: str) -> Any:
        values = {run.configuration.get(key) for run in selection.runs}
        return values.pop() if len(values) == 1 else None

    told = [f"{what} {label(value)}" for what, key in page.TOLD.items() if (value := common(key)) is not None]
    if common("network.normalised"):
        told.insert(1, "normalised")
    return " · ".join([page.counted(selection.runs, len(material.grid.missing())), *told])
