"""Recorders: what is done with each step and with the end of a run, on disk and on the terminal."""

import csv
import io
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from tqdm import tqdm

from stylelab import images, pictures, run_folder
from stylelab.aside import Aside
from stylelab.interrupts import Preempted, notice_was_given, raise_again
from stylelab.job import Job
from stylelab.objective import Losses
from stylelab.provenance import key_of
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
    resumed: list[dict[str, Any]] = field(default_factory=list)  # where and when it went on after a process had died
    files: dict[str, str] = field(default_factory=dict)  # sha256 of the lasting files of a finished run

    @classmethod
    def of_finished(cls, job: Job, before: Mapping[str, Any]) -> "Record":
        """The record that a finished run's run.json was written from."""
        facts = ("commit", "dirty", "versions", "machine", "device")
        known = ("started", "ended", "status", "metrics", "weights_in_paper_units", "resumed", "files")
        tracking = {key: value for key, value in before.items() if key.startswith("mlflow_")}
        return cls(
            job=job,
            facts={key: before[key] for key in facts},
            tracking=tracking,
            **{key: before[key] for key in known},
        )

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
            "resumed": self.resumed,
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
    """The run's folder: losses.csv, canvases on their way, run.json. The bytes of the pictures and of losses.csv depend
    on nothing but the key.

    Args:
        aside: where canvases are encoded and written.
    """

    def __init__(self, folder: Path, *, pictures_every: int, aside: Aside) -> None:
        self.folder, self.pictures_every, self.aside = folder, pictures_every, aside
        self.losses: TextIO | None = None

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Make the folder; `Checkpoint.load` has brought one that is gone on with back to the checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if resumed_at is None:
            forget_after(self.folder, 0)
        path = self.folder / "losses.csv"
        self.losses = path.open("w" if resumed_at is None else "a", newline="", buffering=1)  # a row is written at once
        run_folder.write(self.folder, record.as_json())

    def step(self, step: Step) -> None:
        """One row of losses, and now and then the canvas."""
        if step.number == 0:
            self.losses.write(_csv_line(header(step.losses)))
        self.losses.write(_csv_line([step.number, step.level, *numbers(step.losses)]))
        if self.pictures_every and step.number and step.number % self.pictures_every == 0:
            self.aside.do(saving_canvas(step, self.folder))

    def finish(self, record: Record) -> None:
        """Close the losses and say in run.json how the run ended; raise what could not be written beside the run."""
        try:
            self.aside.close()
        finally:
            self._close(record)

    def _close(self, record: Record) -> None:
        if self.losses is not None:
            self.losses.flush()
            os.fsync(self.losses.fileno())
            self.losses.close()
        if record.status == FINISHED:
            record.files = run_folder.lasting_hashes(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        run_folder.write(self.folder, record.as_json())


def forget_after(folder: Path, number: int) -> None:
    """Remove the canvases of this step and of later ones: they will be painted again."""
    for canvas in folder.glob("canvas_*.png"):
        if int(canvas.stem.removeprefix("canvas_")) >= number:
            canvas.unlink()


def header(losses: Losses) -> list[str]:
    """The columns of losses.csv."""
    names = [f"{term.kind}/{term.layer}".rstrip("/") for term in losses.terms]
    weighted = [f"{name}/weighted" for name in names]
    return [
        "step",
        "level",
        "total",
        "content",
        "style",
        "variation",
        *weighted,
        *(f"{name}/unweighted" for name in names),
    ]


def numbers(losses: Losses) -> list[float]:
    """A row of losses.csv after step and level."""
    values = losses.values()
    weighted = [term.weight * value for term, value in zip(losses.terms, values, strict=True)]
    return [*losses.summed().values(), *weighted, *values]


def _csv_line(row: list) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()


def saving_canvas(step: Step, folder: Path) -> Callable[[], None]:
    """What writes the canvas of a step as canvas_<number>.png; a GPU's canvas is on its way from now on."""
    path, picture = folder / f"canvas_{step.number:06d}.png", images.on_its_way(step.canvas)
    return lambda: pictures.save_png(picture(), path, texts={})


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
            known = os.get_terminal_size(self.stream.fileno()).columns > 0  # a bare pseudo-terminal has no size
            width = {"dynamic_ncols": True} if known else {"ncols": 100, "nrows": 20}
            self.bar = tqdm(total=self.steps, initial=resumed_at or 0, file=self.stream, unit="step", **width)

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
    """checkpoint.pt while the run is unfinished: whole or not there, at intervals of time, removed at the end.

    It holds all that painting on needs and the losses so far, so that what a killed process left beside it, more rows
    or half a row, does not matter.

    Args:
        aside: where the run's canvases are written: a checkpoint comes after those before it.
        companions: runs that go on beside it in this process.
    """

    LAYOUT = 1  # raised whenever an older checkpoint could not be read
    LARGEST_PART = 0.02  # of the time that may go into checkpoints
    SPEED = 100e6  # bytes per second that a disk is thought to take until the first checkpoint has been timed

    def __init__(self, job: Job, *, aside: Aside | None = None, companions: int = 0) -> None:
        self.aside = aside or Aside(threaded=False)
        self.part = self.LARGEST_PART / (1 + companions)  # those of this process take time of each other's
        self.path, self.losses = job.folder / "checkpoint.pt", job.folder / "losses.csv"
        self.key, self.decisive, self.interval = job.key, job.decisive, job.spec.checkpoint_seconds
        self.spent = 0.0  # seconds in all
        self.cost: float | None = None  # seconds for one: a guess at first, then what the last one took
        self.last = time.monotonic()
        self.newest: Step | None = None  # the last to have begun: of those before, the state has gone on

    def start(self, record: Record, resumed_at: int | None) -> None:
        """The interval begins."""
        self.last = time.monotonic()

    def wants(self, step: Step) -> bool:
        """Whether a step that has begun is to be recorded before the next one is asked for, since it is to be saved."""
        self.newest = step
        return notice_was_given() or (step.number > 0 and self._is_due())

    def step(self, step: Step) -> None:
        """Save where the interval has passed; it grows where the disk is slow.

        Raises:
            Preempted: the cluster gave notice; this step is saved.
        """
        raise_again()
        if step is not self.newest:
            return
        if notice_was_given():
            if step.number:
                self.save(step)
            raise Preempted
        if not step.number or not self._is_due():
            return
        if self.cost is None:
            self.cost = _bytes_of(step.state()) / self.SPEED
            if not self._is_due():
                return
        began = time.monotonic()
        self.save(step)
        self.last = time.monotonic()
        self.cost = self.last - began
        self.spent += self.cost

    def _is_due(self) -> bool:
        return time.monotonic() - self.last >= max(self.interval, (self.cost or 0) / self.part)

    def save(self, step: Step) -> None:
        """Save now. The losses of this step stand in losses.csv already, and the canvases before it in the folder."""
        self.aside.wait()
        partial = self.path.with_suffix(".partial")
        values = {"layout": self.LAYOUT, "key": self.key, "state": step.state(), "losses": self.losses.read_text()}
        try:
            with partial.open("wb") as file:
                torch.save(values, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        except Exception:
            partial.unlink(missing_ok=True)  # a full disk needs the space for saying that it is full
            raise

    def load(self) -> dict[str, Any] | None:
        """The state to go on from, the folder brought back to it; a damaged or foreign checkpoint is set aside."""
        if not self.path.exists():
            self._set_other_versions_aside()
            return None
        found, reason = read_checkpoint(self.path, self.key)
        if reason is not None:
            kept = run_folder.set_aside(self.path)
            print(f"checkpoint set aside as {kept.name}: {reason}; the run starts afresh", file=sys.stderr)
            return None
        state = found["state"]
        rows = found["losses"].splitlines(keepends=True)
        run_folder.write_whole(self.losses, "".join(rows[: state["number"] + 1]))  # its own step is painted again
        forget_after(self.path.parent, state["number"])
        return state

    def _set_other_versions_aside(self) -> None:
        """Say of the same run's checkpoints by other versions of the algorithm that they will not be gone on with."""
        folder = self.path.parent
        for path in folder.parent.glob(f"*/{self.path.name}"):
            before = run_folder.read(path.parent).get("decisive")
            if not before or key_of(before | {"algorithm": 0}) != key_of(dict(self.decisive) | {"algorithm": 0}):
                continue
            claim = run_folder.Claim(folder.parents[1], key_of(before)[:12])
            if claim.try_to_acquire():  # else an older program is painting it at this moment
                kept = run_folder.set_aside(path)
                claim.release()
                reason = f"by version {before['algorithm']} of the algorithm, this is {self.decisive['algorithm']}"
                print(f"checkpoint set aside as {kept}: {reason}; the run starts afresh", file=sys.stderr)

    def finish(self, record: Record) -> None:
        """A finished run needs none; one that failed or was killed goes on from it."""
        if record.status == FINISHED:
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(".partial").unlink(missing_ok=True)


def read_checkpoint(path: Path, key: str) -> tuple[Mapping[str, Any], str | None]:
    """What a checkpoint holds, and why it does not do for a run of this key, if it does not."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums and does not read them
            if archive.testzip() is not None:
                return {}, "its bytes were changed after it had been written"
        found = torch.load(path, map_location="cpu", weights_only=True)
        if found["layout"] != Checkpoint.LAYOUT or found["key"] != key:
            return {}, "it belongs to another run or to another version of the algorithm"
        rows, number = found["losses"].splitlines(), found["state"]["number"]
        if len(rows) != number + 2 or not rows[-1].startswith(f"{number},"):
            return {}, "its losses are not complete"
    except Exception as error:  # whatever torch.load meets in damaged bytes
        return {}, f"it can't be read ({type(error).__name__})"
    return found, None


def _bytes_of(state: Mapping[str, Any]) -> int:
    """Bytes of a state's tensors, the optimizer's included."""
    values = [*state.values(), *state["optimizer"].values()]
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
