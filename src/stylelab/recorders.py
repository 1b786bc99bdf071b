"""Recorders: what is done with each step and with the end of a run, on disk and on the terminal."""

import csv
import io
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from tqdm import tqdm

from stylelab import images, pictures, run_folder
from stylelab.job import Job
from stylelab.objective import Losses
from stylelab.transfer import Step

FINISHED, FAILED, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"


@dataclass(kw_only=True)
class Record:
    """What is known of a run, growing while it goes on: the contents of run.json."""

    job: Job
    facts: dict[str, Any]  # commit, versions, machine, device
    started: float  # seconds since 1970
    ended: float | None = None
    status: str = RUNNING
    reason: str | None = None  # why it failed or was killed
    tracking: dict[str, Any] = field(default_factory=dict)  # where it is tracked
    weights_in_paper_units: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # reference/..., time/..., memory/...
    files: dict[str, str] = field(default_factory=dict)  # sha256 of the lasting files of a finished run

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "key": self.job.key,
            "status": self.status,
            "reason": self.reason,
            "folder": str(self.job.folder),
            **self.tracking,
            "configuration": self.job.config,
            "decisive": self.job.decisive,
            "inputs": {
                "content": {"path": self.job.spec.images.content, "sha256": self.job.decisive["content"]},
                "styles": [
                    {"path": path, "sha256": sha256}
                    for path, sha256 in zip(self.job.spec.images.style, self.job.decisive["styles"], strict=True)
                ],
                "parameters": {
                    part: {"path": str(path), "sha256": self.job.decisive["parameters"][part]}
                    for part, path in self.job.files.items()
                },
            },
            **self.facts,
            "started": self.started,
            "ended": self.ended,
            "weights_in_paper_units": self.weights_in_paper_units,
            "metrics": self.metrics,
            "files": self.files,
        }


class Recorder(Protocol):
    """Told of a run's start, steps and end, in this order; `finish` comes once, however the run ended."""

    def start(self, record: Record, resumed_at: int | None) -> None:
        """The run begins, or goes on with the step of this number."""

    def step(self, step: Step) -> None:
        """A canvas with its losses."""

    def finish(self, record: Record) -> None:
        """The run is over; `record.status` says how."""


class Folder:
    """The run's folder: losses.csv, canvases on their way, run.json. Its bytes depend on nothing but the key."""

    def __init__(self, folder: Path, *, pictures_every: int) -> None:
        self.folder, self.pictures_every = folder, pictures_every
        self.losses: TextIO | None = None

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Make the folder, or drop what a killed process wrote beyond its checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "losses.csv"
        kept = _rows_before(path, resumed_at) if resumed_at else ""
        self.losses = path.open("w", newline="")
        self.losses.write(kept)
        self.losses.flush()
        for canvas in self.folder.glob("canvas_*.png"):
            if int(canvas.stem.removeprefix("canvas_")) >= (resumed_at or 0):
                canvas.unlink()
        write_json(self.folder / "run.json", record.as_json())

    def step(self, step: Step) -> None:
        """One row of losses, and now and then the canvas."""
        if step.number == 0:
            self.losses.write(_csv_line(header(step.losses)))
        self.losses.write(_csv_line([step.number, step.level, *numbers(step.losses)]))
        if self.pictures_every and step.number and step.number % self.pictures_every == 0:
            self.losses.flush()
            save_canvas(step, self.folder)

    def finish(self, record: Record) -> None:
        """Close the losses and say in run.json how the run ended."""
        if self.losses is not None:
            self.losses.close()
        if record.status == FINISHED:
            record.files = run_folder.lasting_hashes(self.folder)
        if self.folder.is_dir():
            write_json(self.folder / "run.json", record.as_json())


def header(losses: Losses) -> list[str]:
    """The columns of losses.csv."""
    names = [f"{term.kind}/{term.layer}".rstrip("/") for term in losses.terms]
    weighted = [f"{name}/weighted" for name in names]
    return ["step", "level", "total", "content", "style", "variation", *weighted, *(f"{name}/unweighted" for name in names)]


def numbers(losses: Losses) -> list[float]:
    """A row of losses.csv after step and level."""
    values = losses.values()
    weighted = [term.weight * value for term, value in zip(losses.terms, values, strict=True)]
    return [*losses.summed().values(), *weighted, *values]


def _csv_line(row: list) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()


def _rows_before(path: Path, number: int) -> str:
    """The header and the rows of the steps before this one: an interrupted write leaves more, or half a row."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return "".join(lines[: number + 1])


def save_canvas(step: Step, folder: Path) -> Path:
    """Write the canvas of a step as canvas_<number>.png."""
    path = folder / f"canvas_{step.number:06d}.png"
    pictures.save_png(images.to_picture(step.canvas), path, texts={})
    return path


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=2, default=str) + "\n")
    os.replace(partial, path)


class Progress:
    """The losses and the time left: a bar on a terminal, a plain line now and then elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, steps: int, *, stream: TextIO | None = None) -> None:
        self.steps, self.stream = steps, stream or sys.stderr
        self.bar: tqdm | None = None
        self.first: tuple[int, float] | None = None  # number and time of the first step seen here
        self.last_line = float("-inf")

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Show where the run goes on."""
        if self.stream.isatty():
            self.bar = tqdm(total=self.steps, initial=resumed_at or 0, file=self.stream, unit="step", dynamic_ncols=True)

    def step(self, step: Step) -> None:
        """Show a step."""
        now = time.monotonic()
        self.first = self.first or (step.number, now)
        if self.bar is not None:
            self.bar.set_postfix_str(_shown(step.losses), refresh=False)
            self.bar.update(step.number - self.bar.n)
        elif now - self.last_line >= self.SECONDS_BETWEEN_LINES:
            self.last_line = now
            done = step.number - self.first[0]
            left = f", {(self.steps - step.number) * (now - self.first[1]) / done:.0f} s left" if done else ""
            print(f"step {step.number}/{self.steps}: {_shown(step.losses)}{left}", file=self.stream, flush=True)

    def finish(self, record: Record) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


def _shown(losses: Losses) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.summed().items() if value or name == "total")


class Checkpoint:
    """checkpoint.pt while the run is unfinished: whole or not there, at intervals of time, removed at the end."""

    def __init__(self, job: Job) -> None:
        self.path = job.folder / "checkpoint.pt"
        self.key, self.seconds = job.key, job.spec.checkpoint_seconds
        self.last = time.monotonic()

    def start(self, record: Record, resumed_at: int | None) -> None:
        """The interval begins."""
        self.last = time.monotonic()

    def step(self, step: Step) -> None:
        """Save where the interval has passed."""
        if step.number and time.monotonic() - self.last >= self.seconds:
            self.save(step)
            self.last = time.monotonic()

    def save(self, step: Step) -> None:
        """Save now."""
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({"key": self.key, "state": step.state()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)

    def load(self) -> dict[str, Any] | None:
        """The state to go on from; a damaged or foreign checkpoint is set aside, with a message."""
        if not self.path.is_file():
            return None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if found["key"] == self.key:
                return found["state"]
            reason = "it belongs to another run or algorithm"
        except Exception as error:  # whatever torch.load meets in damaged bytes
            reason = f"it can't be read ({type(error).__name__})"
        kept = run_folder.set_aside(self.path)
        print(f"checkpoint set aside as {kept.name}: {reason}; the run starts afresh", file=sys.stderr)
        return None

    def finish(self, record: Record) -> None:
        """A finished run needs none; one that failed or was killed goes on from it."""
        if record.status == FINISHED:
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(".partial").unlink(missing_ok=True)
