"""The contact sheet: every run's picture at its place in the grid, labelled, with what went in beside it."""

import importlib.util
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from stylelab.report.axes import Axis, Grid, options_of
from stylelab.report.conclusions import COMPARED, rulers
from stylelab.report.labels import label, measured
from stylelab.report.runs import Run

PAPER, INK, MUTED, LINE, ALARM = "#fbfaf7", "#22252a", "#6b7078", "#d9d6cf", "#a33a2a"
PANEL = "#f1eee8"  # behind a cell without a picture
MARGIN, GAP, BETWEEN = 48, 14, 56  # pixels: around all; between cells; between facets
SMALLEST, LARGEST = 176, 384  # pixels of a cell's longer side
WIDEST = 3600  # pixels of all cells of a line together
IN_A_LINE = 6  # cells, where there are no rows to break by
ROW_LABEL = 190  # pixels


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The pictures that a run was given."""

    content: Image.Image | None
    styles: tuple[Image.Image, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A place of the grid: its column's label and its runs, none where the run is missing."""

    column: Hashable
    label: str
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Cells side by side."""

    label: str
    row: Hashable
    cells: tuple[Cell, ...]


def lines(grid: Grid, facet: Hashable) -> list[Line]:
    """The lines of one facet: one for each row, or as many as it takes where there are no rows."""
    found = [
        Line(
            label=grid.rows.labels[row] if grid.rows else "",
            row=row,
            cells=tuple(
                Cell(column=column, label=_label(grid.columns, column), runs=grid.cell(facet, row, column))
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


def caption(run: Run) -> str:
    """The ruler's verdict on a run, in a few characters; how it ended where it did not finish."""
    if not run.finished:
        return run.status.lower()
    found = [
        f"{name} {measured(run.metrics[f'{ruler}/{name}'])}"
        for ruler in rulers([run])[:1]
        for name in COMPARED
        if f"{ruler}/{name}" in run.metrics
    ]
    return " · ".join(found)


def draw(
    grid: Grid, pictures: Mapping[str, Image.Image], inputs: Mapping[str, Inputs], *, title: str, subtitle: str
) -> Image.Image:
    """The sheet.

    Args:
        pictures: by run id; a run without one is said in words.
        inputs: of each run, by run id.
        title, subtitle: over it.
    """
    return _Sheet(grid, pictures, inputs).drawn(title, subtitle)


class _Sheet:
    """The measures of one sheet, and the pen that draws it."""

    def __init__(self, grid: Grid, pictures: Mapping[str, Image.Image], inputs: Mapping[str, Inputs]) -> None:
        self.grid, self.pictures, self.inputs = grid, pictures, inputs
        self.facets = [(facet, lines(grid, facet)) for facet in options_of(grid.facets)]
        self.columns = max(len(line.cells) for _, found in self.facets for line in found)
        self.wrapped = grid.rows is None and len(self.facets[0][1]) > 1
        self.width, self.height = _cell_size(list(pictures.values()), self.columns)
        self.font, self.bold, self.small = _font(17), _font(17, bold=True), _font(14)
        self.beside = self._beside()
        heads = [input_axis(grid, part) for part in ("content", "style")]
        self.column_heads = self.height // 2 + GAP if grid.columns and grid.columns in heads else 0
        self.row_heads = self.width // 2 + GAP if grid.rows and grid.rows in heads else 0
        self.left = MARGIN + (self.width + 2 * GAP if self.beside else 0)
        self.cells_left = self.left + ((ROW_LABEL + self.row_heads) if grid.rows else 0)
        many = [len(cell.runs) for _, found in self.facets for line in found for cell in line.cells]
        self.caption = 28 if max(many) == 1 else 46

    def drawn(self, title: str, subtitle: str) -> Image.Image:
        right = self.cells_left + self.columns * (self.width + GAP) - GAP
        width = max(right, MARGIN + 640) + MARGIN
        heading = _wrap(title, _font(32, bold=True), width - 2 * MARGIN)
        under = _wrap(subtitle, self.font, width - 2 * MARGIN)
        top = MARGIN + 42 * len(heading) + 26 * len(under) + 30
        height = max(top + sum(self._facet_height(found) for _, found in self.facets), top + self._beside_height())
        sheet = Image.new("RGB", (width, height + MARGIN), PAPER)
        self.sheet, self.pen = sheet, ImageDraw.Draw(sheet)
        for n, text in enumerate(heading):
            self.pen.text((MARGIN, MARGIN + 42 * n), text, font=_font(32, bold=True), fill=INK)
        for n, text in enumerate(under):
            self.pen.text((MARGIN, MARGIN + 42 * len(heading) + 6 + 26 * n), text, font=self.font, fill=MUTED)
        self._draw_beside(top)
        for facet, found in self.facets:
            self._draw_facet(facet, found, top)
            top += self._facet_height(found)
        return sheet

    def _facet_height(self, found: Sequence[Line]) -> int:
        heads = len(found) if self.wrapped else 1
        facet_title = 40 if self.grid.facets else 0
        return facet_title + heads * self._head() + len(found) * (self.height + self.caption + GAP) + BETWEEN - GAP

    def _head(self) -> int:
        return (62 if not self.wrapped else 34) + self.column_heads if self.grid.columns else 0

    def _draw_facet(self, facet: Hashable, found: Sequence[Line], top: int) -> None:
        if self.grid.facets:
            text = f"{self.grid.facets.heading}: {self.grid.facets.labels[facet]}"
            self.pen.text((self.left, top), text, font=_font(21, bold=True), fill=INK)
            top += 40
        if self.grid.columns and not self.wrapped:
            self.pen.text((self.cells_left, top), self.grid.columns.heading, font=self.small, fill=MUTED)
        if self.grid.rows:
            self.pen.text((self.left, top), self.grid.rows.heading, font=self.small, fill=MUTED)
        for n, line in enumerate(found):
            if self.grid.columns and (n == 0 or self.wrapped):
                top += self._head()
                self._draw_column_labels(line, top)
            self._draw_row_label(line, top)
            for index, cell in enumerate(line.cells):
                self._draw_cell(cell, self.cells_left + index * (self.width + GAP), top)
            top += self.height + self.caption + GAP

    def _draw_column_labels(self, line: Line, top: int) -> None:
        for index, cell in enumerate(line.cells):
            left = self.cells_left + index * (self.width + GAP)
            text = _wrap(cell.label, self.bold, self.width)[:2]
            for n, part in enumerate(text):
                y = top - self.column_heads - 30 - 20 * (len(text) - 1 - n)
                self.pen.text((left, y), part, font=self.bold, fill=INK)
            if self.column_heads:
                box = (left, top - self.column_heads, self.width, self.column_heads - GAP)
                self._paste_heads(self._heads(self.grid.columns, cell.column), box)

    def _draw_row_label(self, line: Line, top: int) -> None:
        if not self.grid.rows:
            return
        text = _wrap(line.label, self.bold, ROW_LABEL - 2 * GAP)
        first = top + self.height // 2 - 11 * len(text)
        for n, part in enumerate(text):
            self.pen.text((self.left, first + 22 * n), part, font=self.bold, fill=INK)
        if self.row_heads:
            box = (self.left + ROW_LABEL, top, self.row_heads - GAP, self.height)
            self._paste_heads(self._heads(self.grid.rows, line.row), box)

    def _heads(self, axis: Axis, option: Hashable) -> list[Image.Image]:
        """The input pictures that an option of an axis stands for."""
        run_id = next(run_id for run_id, own in axis.option.items() if own == option)
        found = self.inputs[run_id]
        content = [found.content] if axis.key in ("images", "images.content") and found.content else []
        return content + (list(found.styles) if axis.key in ("images", "images.style") else [])

    def _paste_heads(self, heads: Sequence[Image.Image], box: tuple[int, int, int, int]) -> None:
        left, top, width, height = box
        for head in heads:
            part = (width - GAP * (len(heads) - 1)) // len(heads)
            fitted = _fit(head, part, height)
            self.sheet.paste(fitted, (left, top))
            left += part + GAP

    def _draw_cell(self, cell: Cell, left: int, top: int) -> None:
        if not cell.runs:
            self._draw_missing(left, top)
            return
        side = -(-(len(cell.runs) ** 0.5) // 1)
        side = int(side)
        width, height = (self.width - 4 * (side - 1)) // side, (self.height - 4 * (side - 1)) // side
        for n, run in enumerate(cell.runs):
            x, y = left + n % side * (width + 4), top + n // side * (height + 4)
            self._draw_run(run, (x, y, width, height), alone=len(cell.runs) == 1)
        self._draw_caption(cell, left, top + self.height + 6)

    def _draw_caption(self, cell: Cell, left: int, top: int) -> None:
        first = cell.runs[0]
        text = caption(first)
        if len(cell.runs) > 1:
            text = f"{len(cell.runs)} runs; the first: {text}"
        for n, part in enumerate(_wrap(text, self.small, self.width)[:2]):
            self.pen.text((left, top + 18 * n), part, font=self.small, fill=MUTED if first.finished else ALARM)

    def _draw_run(self, run: Run, box: tuple[int, int, int, int], *, alone: bool) -> None:
        left, top, width, height = box
        picture = self.pictures.get(run.run_id)
        if picture is not None:
            fitted = _fit(picture, width, height)
            if not run.finished:
                fitted = Image.blend(fitted, Image.new("RGB", fitted.size, PANEL), 0.55)
            self.sheet.paste(fitted, (left, top))
        else:
            self.pen.rectangle((left, top, left + width - 1, top + height - 1), fill=PANEL)
        if run.finished and picture is not None:
            return
        self.pen.rectangle((left, top, left + width - 1, top + height - 1), outline=ALARM, width=2)
        said = [run.status.lower() if not run.finished else "no picture"]
        if alone and run.reason:
            said += _wrap(run.reason, self.small, width - 24)[: max(1, height // 18 - 3)]
        for n, part in enumerate(said):
            font = self.bold if n == 0 else self.small
            self.pen.text(
                (left + 12, top + 10 + (4 if n else 0) + 18 * n), part, font=font, fill=ALARM if n == 0 else INK
            )

    def _draw_missing(self, left: int, top: int) -> None:
        right, bottom = left + self.width - 1, top + self.height - 1
        for x in range(left, right, 12):
            self.pen.line((x, top, min(x + 5, right), top), fill=MUTED)
            self.pen.line((x, bottom, min(x + 5, right), bottom), fill=MUTED)
        for y in range(top, bottom, 12):
            self.pen.line((left, y, left, min(y + 5, bottom)), fill=MUTED)
            self.pen.line((right, y, right, min(y + 5, bottom)), fill=MUTED)
        middle = (left + self.width // 2, top + self.height // 2)
        self.pen.text(middle, "no run", font=self.font, fill=MUTED, anchor="mm")

    def _beside(self) -> list[tuple[str, Image.Image]]:
        """The input pictures that no axis shows, each once, with their names."""
        found: dict[str, Image.Image] = {}
        for cell in (cell for _, all_lines in self.facets for line in all_lines for cell in line.cells):
            for run in cell.runs:
                own = self.inputs[run.run_id]
                if own.content is not None and not input_axis(self.grid, "content"):
                    found.setdefault(f"content: {label(run.configuration.get('images.content'))}", own.content)
                if not input_axis(self.grid, "style"):
                    names = run.configuration.get("images.style", ())
                    for name, style in zip(names, own.styles, strict=False):
                        found.setdefault(f"style: {label(name)}", style)
        return list(found.items())[:6]

    def _beside_height(self) -> int:
        return sum(_fit(picture, self.width, self.height).height + 52 for _, picture in self.beside)

    def _draw_beside(self, top: int) -> None:
        for name, picture in self.beside:
            fitted = _fit(picture, self.width, self.height)
            self.pen.text((MARGIN, top), _wrap(name, self.small, self.width)[0], font=self.small, fill=MUTED)
            self.sheet.paste(fitted, (MARGIN, top + 22))
            top += fitted.height + 52


def _label(axis: Axis | None, option: Hashable) -> str:
    return axis.labels[option] if axis else ""


def _cell_size(pictures: Sequence[Image.Image], columns: int) -> tuple[int, int]:
    """Width and height of a cell: the shape of most pictures, at a size that can be seen and still fits."""
    shapes = [picture.size for picture in pictures] or [(4, 3)]
    width, height = max(set(shapes), key=shapes.count)
    longest = min(max(SMALLEST, min(LARGEST, max(width, height))), max(96, WIDEST // columns))
    factor = longest / max(width, height)
    return round(width * factor), round(height * factor)


def _fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as large as fits, aspect kept."""
    factor = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.ImageFont, width: int) -> list[str]:
    """Lines of a text that fit a width, broken at spaces, else anywhere."""
    found, line = [], ""
    for word in text.split():
        if font.getlength(f"{line} {word}".strip()) <= width:
            line = f"{line} {word}".strip()
            continue
        found += [line] if line else []
        while font.getlength(word) > width:
            fits = next(n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= width or n == 1)
            found.append(word[:fits])
            word = word[fits:]
        line = word
    return [*found, line] if line else found


def _font(size: int, *, bold: bool = False) -> ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib and so with MLflow; else the one that Pillow carries."""
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.submodule_search_locations:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        file = Path(matplotlib.submodule_search_locations[0], "mpl-data", "fonts", "ttf", name)
        if file.is_file():
            return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)
