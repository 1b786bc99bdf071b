"""The HTML page: everything in one file, no address outside it."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from stylelab.report import charts, sheet, study, tables
from stylelab.report.axes import ABSENT, EACH, SEED, Axis, common, differences
from stylelab.report.conclusions import RULERS, refusal, replicates, rulers
from stylelab.report.embedding import compressed_plotly, data_uri, embedded_json, environment, pixels
from stylelab.report.grid import Grid, input_axis, lines
from stylelab.report.labels import label, labels, measured
from stylelab.report.runs import MISSING, Run, Selection
from stylelab.report.verdicts import Conclusion, conclude

RULER_NAMES = {
    "reference": "VGG-19 with Caffe’s parameters and average pooling, whatever network the run itself used",
    "embedded_reference": "the embedded network, for want of VGG-19’s parameters: a sketch, never mixed with them",
}
TOLD = {"network": "network.source", "start": "canvas.start", "optimizer": "optimizer.kind", "steps": "optimizer.steps",
        "long side": "images.long_side"}  # fmt: skip # keys of the sentence under the title, with their words
INPUT_PIXELS = 768  # of an input picture's longer side


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that a page shows."""

    selection: Selection
    grid: Grid
    axes: tuple[Axis, ...]  # of the grid, then what else was swept
    pictures: Mapping[str, Image.Image]  # by run id
    inputs: Mapping[str, sheet.Inputs]  # by run id
    curves: Mapping[str, Mapping[str, charts.Curve]]  # by run id and metric
    studies: tuple[Mapping[str, Any], ...]  # study.json of each
    metric: str | None  # the one to judge by; None: the reference metrics
    written: str


def render(material: Material) -> str:
    """The page's text."""
    runs, grid = material.selection.runs, material.grid
    shown = tables.columns(runs, material.metric)
    titles = {run.run_id: title(run, material.axes) for run in runs}
    several = any(len(found.runs) > 1 for found in replicates(runs))
    table_axes = [axis for axis in material.axes if axis.key != EACH]
    return environment().get_template("page.html.jinja").render(
        title=material.selection.title,
        summary=counted(runs, len(grid.missing())),
        facts=facts(material),
        questions=[paragraphs(text) for text in material.selection.questions],
        conclusions=[spoken(found) for found in conclusions(material)],
        raw_losses=refusal("loss/total", runs),
        sheet_inputs=_sheet_inputs(material),
        facets=_facets(material, titles),
        facet_heading=grid.facets.heading if grid.facets else None,
        rows_heading=grid.rows.heading if grid.rows else None,
        columns_heading=grid.columns.heading if grid.columns else None,
        several_pictures=len({pictures_of(run) for run in runs}) > 1,
        rulers=[(ruler, RULER_NAMES[ruler]) for ruler in rulers(runs)],
        studies=[study.section(found, runs, material.pictures) for found in material.studies],
        axes=table_axes,
        rows=[_row(run, table_axes, shown) for run in runs],
        missing=[[label_of(axis, found) for axis in table_axes] for found in tables.missing(grid)],
        metrics=[(name, tables.UNITS.get(name, name)) for name in shown],
        seeds=tables.over_seeds(runs, [axis for axis in table_axes if axis.key != SEED], shown) if several else [],
        differed=tables.differed(runs),
        common=[(key, label(value)) for key, value in sorted(common(runs).items())],
        measured=measured,
        written=material.written,
        data=embedded_json(_data(material, titles)),
        charts=embedded_json(_charts(material, titles)),
        plotly=compressed_plotly(),
    )  # fmt: skip


def paragraphs(text: str) -> list[str]:
    """An experiment's opening words: its question, then the rest of them in one."""
    question, _, rest = text.strip().partition("\n")
    return [" ".join(part.split()) for part in (question, rest) if part.strip()]


def conclusions(material: Material) -> list[Conclusion]:
    """What holds for each axis."""
    axes = [axis for axis in material.axes if axis.key != EACH]
    return conclude(material.selection.runs, axes, metric=material.metric)


def counted(runs: Sequence[Run], missing: int) -> str:
    """`20 runs: 17 finished, 2 failed, 1 missing`."""
    endings = Counter(run.status for run in runs)
    endings[MISSING] += missing
    words = [f"{count} {status.lower()}" for status, count in endings.items() if count]
    total = len(runs) + missing
    return f"{total} run{'' if total == 1 else 's'}: {', '.join(words)}"


def title(run: Run, axes: Sequence[Axis]) -> str:
    """A run by its options along the axes."""
    return " · ".join(f"{axis.heading} {axis.labels[axis.option[run.run_id]]}" for axis in axes) or run.name


def metric_order(name: str) -> tuple[int, str]:
    """Where a metric stands among others: what rulers measured first, the losses after it."""
    return next((n for n, prefix in enumerate((*RULERS, "loss", "time", "memory")) if name.startswith(prefix)), 9), name


def label_of(axis: Axis, options: Mapping[str, Hashable]) -> str:
    """The label of an axis's option in a mapping by keys; a dash where it has none."""
    return axis.labels[options[axis.key]] if axis.key in options else ABSENT


def pictures_of(run: Run) -> tuple:
    """What decides the pictures that a run was given."""
    return tuple((key, value) for key, value in sorted(run.configuration.items()) if key.startswith("images."))


def spoken(found: Conclusion) -> Mapping[str, Any]:
    """A conclusion as the page says it."""
    return {
        "heading": found.axis.heading,
        "key": found.axis.key,
        "ruler": found.ruler,
        "sentences": [*found.sentences, *([found.caveat] if found.caveat else [])],
        "metrics": [comparison.metric for comparison in found.comparisons],
        "options": [
            {
                "label": found.axis.labels[option],
                "front": len(found.comparisons) > 1 and option in found.front,
                "values": [
                    {
                        "mean": measured(comparison.means.get(option)),
                        "best": option == comparison.best,
                        "runs": comparison.counts.get(option, 0),
                    }
                    for comparison in found.comparisons
                ],
            }
            for option in found.axis.options
            if found.comparisons
        ],
    }


def facts(material: Material) -> list[str]:
    """What a reader should know before reading on."""
    runs, found = material.selection.runs, []
    if material.selection.superseded:
        count = material.selection.superseded
        found.append(
            f"{count} earlier attempt{'' if count == 1 else 's'} left out: a later run of the same key replaces each."
        )
    if len(rulers(runs)) > 1:
        found.append(
            "Some runs were judged by reference, others by embedded_reference: two rulers, kept apart throughout."
        )
    unjudged = sum(run.finished and not rulers([run]) for run in runs)
    if unjudged:
        found.append(f"{unjudged} finished run{'' if unjudged == 1 else 's'} without reference metrics: not judged.")
    commits = {run.tags["stylelab.commit"] for run in runs if "stylelab.commit" in run.tags}
    if len(commits) > 1:
        found.append(
            f"The runs come from {len(commits)} commits: {', '.join(sorted(commit[:10] for commit in commits))}."
        )
    dirty = sum(run.tags.get("stylelab.dirty") == "true" for run in runs)
    if dirty:
        found.append(f"{dirty} run{'' if dirty == 1 else 's'} painted with changes that were not committed.")
    return [*found, *material.selection.notes]


def _facets(material: Material, titles: Mapping[str, str]) -> list[Mapping[str, Any]]:
    grid, longest = material.grid, pixels(len(material.selection.runs))
    found = []
    for facet in grid.facets.options if grid.facets else (None,):
        found_lines = lines(grid, facet)
        found.append(
            {
                "label": grid.facets.labels[facet] if grid.facets else None,
                "flows": grid.rows is None,
                "lines": [
                    {
                        "label": line.label,
                        "heads": _heads(material, grid.rows, line.row),
                        "cells": [
                            {
                                "label": cell.label,
                                "idle": cell.idle,
                                "heads": _heads(material, grid.columns, cell.column),
                                "runs": [_thumbnail(material, run, titles[run.run_id], longest) for run in cell.runs],
                            }
                            for cell in line.cells
                        ],
                    }
                    for line in found_lines
                ],
            }
        )
    return found


def _thumbnail(material: Material, run: Run, words: str, longest: int) -> Mapping[str, Any]:
    picture = material.pictures.get(run.run_id)
    state = "" if run.finished else f", {run.status.lower()}"
    return {
        "id": run.run_id,
        "src": data_uri(picture, longest) if picture else None,
        "size": picture.size if picture else None,
        "alt": f"{'Pastiche' if run.finished else 'Last canvas'}: {words}{state}",
        "status": run.status,
        "reason": run.reason,
        "caption": sheet.caption(run),
        "title": words,
    }


def _heads(material: Material, axis: Axis | None, option: Hashable) -> list[Mapping[str, str]]:
    """Small input pictures beside an option that stands for one."""
    if axis is None or axis.key not in ("images", "images.content", "images.style"):
        return []
    run_id = next(run_id for run_id, own in axis.option.items() if own == option)
    run = next(run for run in material.selection.runs if run.run_id == run_id)
    parts = ("content", "style") if axis.key == "images" else (axis.key.removeprefix("images."),)
    return [
        {"src": data_uri(picture, 160), "alt": name}
        for name, picture in sheet.named_inputs(run, material.inputs[run_id])
        if name.partition(":")[0] in parts
    ]


def _input_sets(material: Material) -> tuple[list[list[tuple[str, Image.Image]]], dict[str, int]]:
    """The sets of input pictures, each once, and the number of each run's set."""
    sets: dict[tuple, list] = {}
    for run in material.selection.runs:
        sets.setdefault(pictures_of(run), sheet.named_inputs(run, material.inputs[run.run_id]))
    order = list(sets)
    return list(sets.values()), {run.run_id: order.index(pictures_of(run)) for run in material.selection.runs}


def _sheet_inputs(material: Material) -> list[Mapping[str, Any]]:
    """The input pictures beside the sheet: those that no axis shows."""
    sets, _ = _input_sets(material)
    found: dict[str, tuple[int, int]] = {}
    for number, named in enumerate(sets):
        for index, (name, _) in enumerate(named):
            if not input_axis(material.grid, name.partition(":")[0]):
                found.setdefault(name, (number, index))
    return [{"name": name, "set": place[0], "index": place[1]} for name, place in list(found.items())[:6]]


def _row(run: Run, axes: Sequence[Axis], shown: Sequence[str]) -> Mapping[str, Any]:
    return {
        "id": run.run_id,
        "name": run.name,
        "status": run.status,
        "options": [
            (axis.labels[axis.option[run.run_id]], axis.options.index(axis.option[run.run_id])) for axis in axes
        ],
        "values": [value if math.isfinite(value) else None for value in (run.metrics.get(n, math.nan) for n in shown)],
    }


def _data(material: Material, titles: Mapping[str, str]) -> Mapping[str, Any]:
    """What the page's script shows of a run on a click."""
    runs = material.selection.runs
    differing = {key: labels(list(counts)) for key, counts in differences(runs).items()}
    sets, number_of = _input_sets(material)
    return {
        "inputs": [
            [{"name": name, "src": data_uri(picture, INPUT_PIXELS)} for name, picture in named] for named in sets
        ],
        "common": [[key, label(value)] for key, value in sorted(common(runs).items())],
        "runs": [
            {
                "id": run.run_id,
                "title": titles[run.run_id],
                "name": run.name,
                "status": run.status,
                "reason": run.reason,
                "inputs": number_of[run.run_id],
                "settings": [
                    [key, words[run.configuration[key]]] for key, words in differing.items() if key in run.configuration
                ],
                "metrics": [
                    [name, measured(value)]
                    for name, value in sorted(run.metrics.items(), key=lambda item: metric_order(item[0]))
                ],
            }
            for run in runs
        ],
    }


def _charts(material: Material, titles: Mapping[str, str]) -> Mapping[str, Any]:
    runs = material.selection.runs
    colour, along = charts.colour_axis(material.grid), material.grid.columns if material.grid.rows else None
    found = {ruler: charts.trade_off(runs, titles, colour=colour, along=along, ruler=ruler) for ruler in rulers(runs)}
    return found | {"losses": charts.loss_curves(runs, material.curves, titles, colour=colour)}
