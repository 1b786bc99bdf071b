"""Runs laid out in a grid by their axes: what the sheet and the page both draw."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from stylelab.report.axes import EACH, SEED, Axis, axis, axis_of, determines
from stylelab.report.runs import Run

MOST_FACETS = 6
IN_A_LINE = 6  # cells, where there are no rows to break by


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Runs laid out by up to three axes; a cell without a run is a run that is missing."""

    facets: Axis | None
    rows: Axis | None
    columns: Axis | None
    cells: Mapping[tuple[Hashable, Hashable, Hashable], tuple[Run, ...]]  # several where more keys were swept

    def cell(self, facet: Hashable, row: Hashable, column: Hashable) -> tuple[Run, ...]:
        """The runs of one cell."""
        return self.cells.get((facet, row, column), ())

    def missing(self) -> list[tuple[Hashable, Hashable, Hashable]]:
        """The places that a run should have filled."""
        places = product(*(options_of(axis) for axis in self.axes))
        return [place for place in places if not self.cell(*place) and not self.idle(*place)]

    def idle(self, *place: Hashable) -> bool:
        """Whether a place needs no run: another seed's is there, and painting it drew nothing at random."""
        at = next((n for n, axis in enumerate(self.axes) if axis and axis.key == SEED), None)
        if at is None or self.cell(*place):
            return False
        others = [self.cell(*place[:at], seed, *place[at + 1 :]) for seed in self.axes[at].options]
        return any(run.finished and not run.random for cell in others for run in cell)

    @property
    def axes(self) -> tuple[Axis | None, Axis | None, Axis | None]:
        """Facets, rows and columns."""
        return self.facets, self.rows, self.columns


def options_of(axis: Axis | None) -> tuple[Hashable, ...]:
    """The options of an axis; one, None, where there is no axis."""
    return axis.options if axis else (None,)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A place of the grid: its column's label and its runs, none where the run is missing."""

    column: Hashable
    label: str
    runs: tuple[Run, ...]
    idle: bool  # no run, and none needed


@dataclass(frozen=True, kw_only=True)
class Line:
    """Cells side by side."""

    label: str
    row: Hashable
    cells: tuple[Cell, ...]


def lay_out(
    runs: Sequence[Run], found: Sequence[Axis], *, rows: str | None, columns: str | None, facets: str | None
) -> Grid:
    """The grid of some runs: the axes that the user named, the others filled up by `found` in its order."""
    named = {name: key for name, key in (("rows", rows), ("columns", columns), ("facets", facets)) if key}
    own = {*named.values(), *(other.key for other in found)}
    given = {name: axis(runs, key, but=own - {key}) for name, key in named.items()}
    keys = {chosen.key for chosen in given.values()}
    left = [other for other in found if other.key not in keys and not _settled(other, given.values())]
    if "columns" not in given and left and ("rows" in given or len(left) == 1):
        given["columns"] = left.pop(0)
    for name in ("rows", "columns"):
        if name not in given and left:
            given[name] = left.pop(0)
    if "facets" not in given and left and len(left[0].options) <= MOST_FACETS:
        given["facets"] = left.pop(0)
    if not given:
        given["columns"] = axis_of(
            EACH, {run.run_id: run.run_id for run in runs}, {run.run_id: run.name for run in runs}
        )
    axes = [given.get(name) for name in ("facets", "rows", "columns")]
    cells: dict[tuple, tuple[Run, ...]] = {}
    for run in runs:
        place = tuple(chosen.option[run.run_id] if chosen else None for chosen in axes)
        cells[place] = (*cells.get(place, ()), run)
    return Grid(facets=axes[0], rows=axes[1], columns=axes[2], cells=cells)


def lines(grid: Grid, facet: Hashable) -> list[Line]:
    """The lines of one facet: one for each row, or as many as it takes where there are no rows."""
    found = [
        Line(
            label=grid.rows.labels[row] if grid.rows else "",
            row=row,
            cells=tuple(
                Cell(
                    column=column,
                    label=_label(grid.columns, column),
                    runs=grid.cell(facet, row, column),
                    idle=grid.idle(facet, row, column),
                )
                for column in options_of(grid.columns)
            ),
        )
        for row in options_of(grid.rows)
    ]
    if grid.rows or len(found[0].cells) <= IN_A_LINE:
        return found
    cells = found[0].cells
    per_line = -(-len(cells) // -(-len(cells) // IN_A_LINE))  # as even as can be
    return [Line(label="", row=None, cells=cells[first : first + per_line]) for first in range(0, len(cells), per_line)]


def input_axis(grid: Grid, part: str) -> Axis | None:
    """The axis of the grid whose options carry the input pictures of a part, `content` or `style`."""
    return next((axis for axis in grid.axes if axis and axis.key in ("images", f"images.{part}")), None)


def _settled(other: Axis, given: Sequence[Axis]) -> bool:
    """Whether the given axes leave nothing to say for another one."""
    return any(determines(chosen.option, other.option) for chosen in given)


def _label(axis: Axis | None, option: Hashable) -> str:
    return axis.labels[option] if axis else ""
