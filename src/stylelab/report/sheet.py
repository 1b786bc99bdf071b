"""The contact sheet: every run's picture at its place in the grid, labelled, with what went in beside it."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from stylelab.report.axes import Axis
from stylelab.report.conclusions import COMPARED, rulers
from stylelab.report.grid import Cell, Grid, Line, input_axis, lines, options_of
from stylelab.report.labels import label, measured
from stylelab.report.lettering import clip, fit, font, wrap
from stylelab.report.runs import Run

PAPER, INK, MUTED, ALARM = "#fbfaf7", "#22252a", "#6b7078", "#a33a2a"
PANEL = "#f1eee8"  # behind a cell without a picture
MARGIN, GAP, BETWEEN = 48, 14, 48  # pixels: around all; between cells; between facets
SMALLEST, LARGEST = 176, 448  # pixels of a cell's longer side
WIDEST = 3600  # pixels of all cells of a line together
AREA = 1_600_000  # pixels of all cells: about 4 MB of PNG, which still opens at once and can be sent around
LINES_OF_LABEL = 3  # at most
MOST_BESIDE = 6  # input pictures beside the grid
SHORTEST_LINE = 52  # units of type: room for words above and below a small grid


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The pictures that a run was given."""

    content: Image.Image | None
    styles: tuple[Image.Image, ...]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is written around the grid, each paragraph a text."""

    title: str
    questions: tuple[str, ...] = ()  # what was asked, and where it departs from its source
    facts: tuple[str, ...] = ()  # how the runs ended, what they share, what the captions mean
    conclusions: tuple[str, ...] = ()  # below the grid


def named_inputs(run: Run, inputs: Inputs) -> list[tuple[str, Image.Image]]:
    """A run's input pictures as `content: riverside town` and `style: swirling strokes`."""
    styles = zip(run.configuration.get("images.style", ()), inputs.styles, strict=False)
    content = [(f"content: {label(run.configuration.get('images.content'))}", inputs.content)] if inputs.content else []
    return content + [(f"style: {label(name)}", style) for name, style in styles]


def caption(run: Run) -> str:
    """The ruler's verdict on a run, in a few characters; how it ended where it did not finish."""
    if not run.finished:
        return run.status.lower()
    found = [
        f"{name}\u00a0{measured(run.metrics[f'{ruler}/{name}'])}"
        for ruler in rulers([run])[:1]
        for name in COMPARED
        if f"{ruler}/{name}" in run.metrics
    ]
    return " · ".join(found)


def draw(grid: Grid, pictures: Mapping[str, Image.Image], inputs: Mapping[str, Inputs], words: Words) -> Image.Image:
    """The sheet.

    Args:
        pictures: by run id; a run without one is said in words.
        inputs: of each run, by run id.
        words: around the grid.
    """
    return _Sheet(grid, pictures, inputs).drawn(words)


Paragraph = tuple[str, ImageFont.ImageFont, str, float]  # text, face, colour, units of type from line to line


class _Sheet:
    """The measures of one sheet, and the pen that draws it; lengths in pixels, type in units of `em`."""

    def __init__(self, grid: Grid, pictures: Mapping[str, Image.Image], inputs: Mapping[str, Inputs]) -> None:
        self.grid, self.pictures, self.inputs = grid, pictures, inputs
        self.facets = [(facet, lines(grid, facet)) for facet in options_of(grid.facets)]
        self.cells = [cell for _, found in self.facets for line in found for cell in line.cells]
        self.columns = max(len(line.cells) for _, found in self.facets for line in found)
        self.wrapped = grid.rows is None and len(self.facets[0][1]) > 1
        self.width, self.height = _cell_size(list(pictures.values()), self.columns, len(self.cells))
        self.height = round(self.height * max(_share(len(cell.runs)) for cell in self.cells))
        self.em = round(min(22, max(15, self.width / 17)))
        self.plain, self.bold, self.small = font(self.em), font(self.em, bold=True), font(round(0.86 * self.em))
        self._measure_labels()
        self.beside = self._beside()
        self.aside = (
            max(self.width, SMALLEST),
            max(self.height, SMALLEST * 3 // 4),
        )  # pixels of a picture beside the grid
        self.left = MARGIN + (self.aside[0] + 3 * GAP if self.beside else 0)
        self.cells_left = self.left + self.row_label + self.row_heads
        fits = all(self.small.getlength(caption(run)) <= self.width for cell in self.cells for run in cell.runs[:1])
        self.caption = round(1.5 * self.em) * (1 if fits and max(len(cell.runs) for cell in self.cells) == 1 else 2)

    def _measure_labels(self) -> None:
        """Room for the labels and the input pictures of rows and columns."""
        heads = [input_axis(self.grid, part) for part in ("content", "style")]
        rows, columns = self.grid.rows, self.grid.columns
        self.column_heads = self.height // 2 + GAP if columns and columns in heads else 0
        self.row_heads = self.width // 2 + GAP if rows and rows in heads else 0
        longest = max(
            (self.bold.getlength(word) for o in options_of(rows) if rows for word in rows.labels[o].split()), default=0
        )
        heading = self.small.getlength(rows.heading) if rows else 0
        self.row_label = round(min(max(longest, heading), 11 * self.em)) + 2 * GAP if rows else 0
        label_lines = max(len(self._column_label(cell)) for cell in self.cells)
        self.head = round((1.3 * label_lines + 0.5) * self.em) + self.column_heads if columns else 0

    def _column_label(self, cell: Cell) -> list[str]:
        return clip(wrap(cell.label, self.bold, self.width), LINES_OF_LABEL)

    def drawn(self, words: Words) -> Image.Image:
        """The sheet under its title and above its conclusions."""
        right = self.cells_left + self.columns * (self.width + GAP) - GAP
        width = max(right, MARGIN + SHORTEST_LINE * self.em // 2) + MARGIN
        large = font(round(1.9 * self.em), bold=True)
        above = [(words.title, large, INK, 2.4), *((text, self.plain, INK, 1.4) for text in words.questions)]
        above += [(text, self.small, MUTED, 1.4) for text in words.facts]
        below = [(text, self.plain, INK, 1.4) for text in words.conclusions]
        top = MARGIN - self.em // 2 + self._height(above, width) + 2 * self.em
        middle = max(sum(self._facet_height(found) for _, found in self.facets), self._beside_height()) - BETWEEN
        self.sheet = Image.new("RGB", (width, top + middle + self._height(below, width) + MARGIN), PAPER)
        self.pen = ImageDraw.Draw(self.sheet)
        self._write_all(above, MARGIN - self.em // 2, width)
        self._write_all(below, top + middle, width)
        self._draw_beside(top)
        for facet, found in self.facets:
            self._draw_facet(facet, found, top)
            top += self._facet_height(found)
        return self.sheet

    def _height(self, paragraphs: Sequence[Paragraph], width: int) -> int:
        return sum(
            round(leading * self.em) * len(wrap(text, face, width - 2 * MARGIN)) + self.em // 3
            for text, face, _, leading in paragraphs
        )

    def _write_all(self, paragraphs: Sequence[Paragraph], top: int, width: int) -> None:
        for paragraph in paragraphs:
            text, face, colour, leading = paragraph
            self._write(wrap(text, face, width - 2 * MARGIN), (MARGIN, top), face, colour, leading)
            top += self._height([paragraph], width)

    def _write(
        self, texts: Sequence[str], place: tuple[int, int], face: ImageFont.ImageFont, colour: str, leading: float
    ) -> None:
        for n, text in enumerate(texts):
            self.pen.text((place[0], place[1] + round(n * leading * self.em)), text, font=face, fill=colour)

    def _facet_height(self, found: Sequence[Line]) -> int:
        title = 2 * self.em if self.grid.facets else 0
        headings = round(1.6 * self.em)
        heads = self.head * (len(found) if self.wrapped else 1)
        return title + headings + heads + len(found) * (self.height + self.caption + GAP) + BETWEEN

    def _draw_facet(self, facet: Hashable, found: Sequence[Line], top: int) -> None:
        facets, rows, columns = self.grid.axes
        if facets:
            text = f"{facets.heading}: {facets.labels[facet]}"
            self.pen.text((self.left, top), text, font=font(round(1.25 * self.em), bold=True), fill=INK)
            top += 2 * self.em
        if columns:
            self.pen.text((self.cells_left, top), columns.heading, font=self.small, fill=MUTED)
        if rows:
            self.pen.text((self.left, top), rows.heading, font=self.small, fill=MUTED)
        top += round(1.6 * self.em)
        for n, line in enumerate(found):
            if columns and (n == 0 or self.wrapped):
                top += self.head
                self._draw_column_labels(line, top)
            self._draw_row_label(line, top)
            for index, cell in enumerate(line.cells):
                self._draw_cell(cell, self.cells_left + index * (self.width + GAP), top)
            top += self.height + self.caption + GAP

    def _draw_column_labels(self, line: Line, top: int) -> None:
        for index, cell in enumerate(line.cells):
            left = self.cells_left + index * (self.width + GAP)
            text = self._column_label(cell)
            first = top - self.column_heads - round((1.3 * len(text) + 0.3) * self.em)
            self._write(text, (left, first), self.bold, INK, 1.3)
            if self.column_heads:
                box = (left, top - self.column_heads, self.width, self.column_heads - GAP)
                self._paste_heads(self._heads(self.grid.columns, cell.column), box)

    def _draw_row_label(self, line: Line, top: int) -> None:
        text = wrap(line.label, self.bold, self.row_label - GAP)
        self._write(text, (self.left, top + self.height // 2 - round(0.65 * len(text) * self.em)), self.bold, INK, 1.3)
        if self.row_heads:
            box = (self.left + self.row_label, top, self.row_heads - GAP, self.height)
            self._paste_heads(self._heads(self.grid.rows, line.row), box)

    def _heads(self, axis: Axis, option: Hashable) -> list[Image.Image]:
        """The input pictures that an option of an axis stands for."""
        run_id = next(run_id for run_id, own in axis.option.items() if own == option)
        found = self.inputs[run_id]
        content = [found.content] if axis.key in ("images", "images.content") and found.content else []
        return content + (list(found.styles) if axis.key in ("images", "images.style") else [])

    def _paste_heads(self, heads: Sequence[Image.Image], box: tuple[int, int, int, int]) -> None:
        left, top, width, height = box
        part = (width - GAP * (len(heads) - 1)) // max(1, len(heads))
        for head in heads:
            self.sheet.paste(fit(head, part, height), (left, top))
            left += part + GAP

    def _draw_cell(self, cell: Cell, left: int, top: int) -> None:
        if not any(run.tracked for run in cell.runs):
            self._draw_missing(cell, left, top)
            return
        side = _abreast(len(cell.runs))
        rows = math.ceil(len(cell.runs) / side)
        width, height = (self.width - 4 * (side - 1)) // side, (self.height - 4 * (rows - 1)) // rows
        for n, run in enumerate(cell.runs):
            place = left + n % side * (width + 4), top + n // side * (height + 4)
            self._draw_run(run, (*place, width, height), alone=side == 1)
        said = caption(cell.runs[0]) if side == 1 else f"{len(cell.runs)} runs; the first: {caption(cell.runs[0])}"
        colour = MUTED if cell.runs[0].finished else ALARM
        self._write(wrap(said, self.small, self.width)[:2], (left, top + self.height + 6), self.small, colour, 1.15)

    def _draw_run(self, run: Run, box: tuple[int, int, int, int], *, alone: bool) -> None:
        left, top, width, height = box
        picture = self.pictures.get(run.run_id)
        if picture is None:
            self.pen.rectangle((left, top, left + width - 1, top + height - 1), fill=PANEL)
        else:
            fitted = fit(picture, width, height)
            faded = Image.blend(fitted, Image.new("RGB", fitted.size, PANEL), 0.7)
            self.sheet.paste(fitted if run.finished else faded, (left, top))
        if run.finished and picture is not None:
            return
        self.pen.rectangle((left, top, left + width - 1, top + height - 1), outline=ALARM, width=2)
        inside = left + self.em // 2, top + self.em // 2
        self._write(["no picture" if run.finished else run.status.lower()], inside, self.bold, ALARM, 1)
        if alone and run.reason:
            fits = max(1, int(height / self.em / 1.15) - 2)
            text = clip(wrap(run.reason, self.small, width - self.em), fits)
            self._write(text, (inside[0], inside[1] + round(1.5 * self.em)), self.small, INK, 1.15)

    def _draw_missing(self, cell: Cell, left: int, top: int) -> None:
        if not cell.idle:
            self._draw_dashes(left, top, left + self.width - 1, top + self.height - 1)
        reasons = dict.fromkeys(run.reason for run in cell.runs if run.reason)
        said = " · ".join(reasons) or ("as for the other seeds" if cell.idle else "no run")
        fits = max(1, int((self.height - self.em) / self.em / 1.15))
        text = clip(wrap(said, self.small, self.width - self.em), fits)
        middle = top + (self.height - round(1.15 * self.em) * len(text)) // 2
        for n, line in enumerate(text):
            place = (left + self.width // 2, middle + round(1.15 * n * self.em))
            self.pen.text(place, line, font=self.small, fill=MUTED, anchor="ma")

    def _draw_dashes(self, left: int, top: int, right: int, bottom: int) -> None:
        for x in range(left, right, 12):
            for y in (top, bottom):
                self.pen.line((x, y, min(x + 5, right), y), fill=MUTED)
        for y in range(top, bottom, 12):
            for x in (left, right):
                self.pen.line((x, y, x, min(y + 5, bottom)), fill=MUTED)

    def _beside(self) -> list[tuple[str, Image.Image]]:
        """The input pictures that no axis shows, each once, with their names."""
        found: dict[str, Image.Image] = {}
        for run in (run for cell in self.cells for run in cell.runs):
            for name, picture in named_inputs(run, self.inputs[run.run_id]):
                if not input_axis(self.grid, name.partition(":")[0]):
                    found.setdefault(name, picture)
        return list(found.items())[:MOST_BESIDE]

    def _beside_height(self) -> int:
        heights = [fit(picture, *self.aside).height for _, picture in self.beside]
        return sum(heights) + round(3.4 * self.em) * len(heights) + BETWEEN

    def _draw_beside(self, top: int) -> None:
        for name, picture in self.beside:
            fitted = fit(picture, *self.aside)
            self._write(wrap(name, self.small, self.aside[0])[:1], (MARGIN, top), self.small, MUTED, 1)
            self.sheet.paste(fitted, (MARGIN, top + round(1.6 * self.em)))
            top += fitted.height + round(3.4 * self.em)


def _abreast(runs: int) -> int:
    """How many runs of one cell stand side by side."""
    return max(1, math.ceil(runs**0.5))


def _share(runs: int) -> float:
    """The part of a cell's height that so many runs fill."""
    return math.ceil(runs / _abreast(runs)) / _abreast(runs) if runs else 1.0


def _cell_size(pictures: Sequence[Image.Image], columns: int, cells: int) -> tuple[int, int]:
    """Width and height of a cell: the shape of most pictures, at a size that can be seen and still fits."""
    shapes = [picture.size for picture in pictures] or [(4, 3)]
    width, height = max(set(shapes), key=shapes.count)
    longest = min(max(SMALLEST, min(LARGEST, max(width, height))), max(96, WIDEST // columns))
    factor = min(longest / max(width, height), max(96 / max(width, height), (AREA / cells / (width * height)) ** 0.5))
    return round(width * factor), round(height * factor)
