"""One run's folder as a run in MLflow: found or made by its identity, then told whatever the folder has and it lacks.

All of it may be done again, by any process, after any interruption: what the store holds is not written twice, and
what is written keeps the time at which it was painted.
"""

import csv
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from PIL import Image

from stylelab import run_folder, spool
from stylelab.addresses import redacted
from stylelab.provenance import flattened

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

IDENTITY = "stylelab.identity"  # tag: made by us before the store is asked for anything, and never twice
SWEEP_IDENTITY = "stylelab.sweep_identity"  # tag of a sweep's runs: its parent's identity
PARENT = "mlflow.parentRunId"
LARGEST_BATCH = 1000  # metrics that MLflow takes in one request
MOST_METRICS_OF_A_STEP = 50  # four sums and every layer
MOST_PARAMETERS = 100  # parameters that MLflow takes in one request
LOGGED_FILES = (".png", ".csv", ".json", ".yaml")  # of a run's folder; the checkpoint is not among them
CANVAS = re.compile(r"images/canvas[+%]step[+%](\d+)[+%].*\.(png|webp)")


class Mirror:
    """A run's folder with its spool, and what the store holds of it.

    Args:
        client, experiment: `open_store`'s.
        folder: of the run, with a spool.
    """

    def __init__(self, client: "MlflowClient", experiment: str, folder: Path) -> None:
        self.client, self.experiment, self.folder = client, experiment, folder
        self.spool, self.record = spool.read(folder), run_folder.read(folder)
        if not self.spool or "configuration" not in self.record:
            raise ValueError(f"{folder}: its run.json or spool/tracking.json is damaged")
        self.run_id: str | None = None
        self.held: set[int] = set()  # the steps whose losses are in the store
        self.pictured: set[int] = set()  # the steps whose canvas is
        self.read_to = 0  # bytes of losses.csv that are dealt with
        self.header: list[str] = []

    @property
    def place(self) -> dict[str, Any]:
        """Where the run is tracked, as run.json says it."""
        return {
            "mlflow_uri": redacted(self.client.tracking_uri),
            "mlflow_run_id": self.run_id,
            "mlflow_experiment_id": self.experiment,
        }

    def open(self) -> None:
        """Find the run or make it; note what it holds, add what its beginning lacks."""
        found = of_identity(self.client, self.experiment, self.spool["identity"])
        run = next((run for run in found if run.info.run_id == self.record.get("mlflow_run_id")), (found or [None])[0])
        if run is None:
            run = self.client.create_run(
                self.experiment,
                start_time=int(self.record["started"] * 1000),
                run_name=self.spool["name"],
                tags=self.spool["tags"] | self._parent(),
            )
            self.run_id = run.info.run_id
        else:
            self.run_id = run.info.run_id
            self._note_held(run)
            self._tag(run, self.spool["tags"] | self._parent())
            if self.record["status"] == "RUNNING" and run.info.status != "RUNNING":
                self.client.update_run(self.run_id, status="RUNNING")
        self._log_parameters(run)
        logged = {entry.path for entry in self.client.list_artifacts(self.run_id, "inputs")} if found else set()
        for file in sorted((spool.path(self.folder) / "inputs").glob("*.png")):
            if f"inputs/{file.name}" not in logged:
                self.client.log_artifact(self.run_id, str(file), "inputs")

    def _parent(self) -> dict[str, str]:
        """The tag that links the run to its sweep's, where that is in the store already."""
        identity = self.spool["tags"].get(SWEEP_IDENTITY)
        found = of_identity(self.client, self.experiment, identity) if identity else []
        return {PARENT: found[0].info.run_id} if found else {}

    def _tag(self, run: "Run", tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        other = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        if other:
            self.client.log_batch(self.run_id, tags=other)
        if "stylelab.reason" in run.data.tags and not self.record.get("reason"):
            self.client.delete_tag(self.run_id, "stylelab.reason")

    def _note_held(self, run: "Run") -> None:
        if "loss/total" in run.data.metrics:  # all metrics of a step come in one request, which is taken whole or not
            self.held = {metric.step for metric in self.client.get_metric_history(self.run_id, "loss/total")}
        local = Path(unquote(urlparse(run.info.artifact_uri).path))
        for half in local.rglob(".artifact.uploading.*") if run.info.artifact_uri.startswith("file:") else ():
            half.unlink(missing_ok=True)  # MLflow hides them, and leaves them
        self._note_pictured(run)

    def _note_pictured(self, run: "Run") -> None:
        """Note the canvases that are there; remove what a killed process left of one: each comes as PNG and as WebP."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        by_step: dict[int, list[str]] = {}
        for artifact in self.client.list_artifacts(self.run_id, "images"):
            if match := CANVAS.fullmatch(artifact.path):
                by_step.setdefault(int(match.group(1)), []).append(artifact.path)
        store = None
        for step, paths in by_step.items():
            if sorted(Path(path).suffix for path in paths) == [".png", ".webp"]:
                self.pictured.add(step)
                continue
            store = store or get_artifact_repository(run.info.artifact_uri, tracking_uri=self.client.tracking_uri)
            for path in paths:
                store.delete_artifacts(path)

    def _log_parameters(self, run: "Run") -> None:
        """The configuration's values that the run lacks: a process killed in its first second left some out."""
        from mlflow.entities import Param

        values = flattened(self.record["configuration"])
        lacking = [
            Param(key, "null" if value is None else str(value))
            for key, value in values.items()
            if key not in run.data.params
        ]
        for first in range(0, len(lacking), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=lacking[first : first + MOST_PARAMETERS])

    def bring(self) -> None:
        """The losses and canvases that came since the last time."""
        times = self._times()
        self._bring_losses(times)
        every = self.record["configuration"]["tracking"]["pictures_every"]
        for folder in (spool.path(self.folder), self.folder) if every else ():
            for path in sorted(folder.glob("canvas_*.png")):
                step = int(path.stem.removeprefix("canvas_"))
                if step % every == 0 and step not in self.pictured and self._time(step, times) is not None:
                    self._bring_canvas(path, step, self._time(step, times))

    def _times(self) -> dict[int, int]:
        """When each step was painted first: one that is painted again after a kill keeps its time."""
        found: dict[int, int] = {}
        for line in _whole_lines(spool.path(self.folder) / "times.csv"):
            step, time = line.split(",")
            found.setdefault(int(step), int(time))
        return found

    def _time(self, step: int, times: Mapping[int, int]) -> int | None:
        """When a step was painted, in milliseconds since 1970; None: it is just being recorded.

        What was painted without a record of the time was there when the run ended.
        """
        if step in times:
            return times[step]
        if self.record["status"] == "RUNNING" and step > max(times, default=-1):
            return None
        return int((self.record.get("ended") or self.record["started"]) * 1000)

    def _bring_losses(self, times: Mapping[int, int]) -> None:
        lines = _whole_lines(self.folder / "losses.csv", self.read_to)
        if self.read_to == 0 and lines:
            self.header = next(csv.reader([lines.pop(0)]))
            self.read_to += len(",".join(self.header)) + 1
        waiting: list[Metric] = []
        for line in lines:
            row = dict(zip(self.header, line.split(","), strict=True))
            step = int(row["step"])
            time = self._time(step, times)
            if time is None:
                break
            if step not in self.held:
                waiting += _as_metrics(metrics_of_row(row), time, step)
            self.read_to += len(line) + 1
            if len(waiting) > LARGEST_BATCH - MOST_METRICS_OF_A_STEP:
                self.client.log_batch(self.run_id, metrics=waiting)
                waiting = []
        if waiting:
            self.client.log_batch(self.run_id, metrics=waiting)

    def _bring_canvas(self, path: Path, step: int, time: int) -> None:
        """A canvas under the names by which MLflow's pages know it, which are the same if it is brought again."""
        from mlflow.tracking.multimedia import compress_image_size

        known = uuid.uuid5(uuid.UUID(self.spool["identity"]), str(step))
        name = f"canvas+step+{step}+timestamp+{time}+{known}"
        with tempfile.TemporaryDirectory(prefix="stylelab-") as folder:
            files = Path(folder) / f"{name}.png", Path(folder) / f"{name}+compressed.webp"
            shutil.copyfile(path, files[0])
            with Image.open(path) as canvas:
                compress_image_size(canvas).save(files[1], method=0)  # the quickest: a page's thumbnail
            if not self.pictured:
                self.client.set_tag(self.run_id, "mlflow.loggedImages", "True")
            for file in files:
                self.client.log_artifact(self.run_id, str(file), "images")
        self.pictured.add(step)

    def close(self) -> None:
        """The run's end: final metrics, reason, folder, status. Then nothing waits any more."""
        self.record = record = run_folder.read(self.folder)
        if record.get("mlflow_run_id") != self.run_id:
            self.record = record = record | self.place
            run_folder.write(self.folder, record)
        self.bring()
        ended, more = int(record["ended"] * 1000), self.spool.get("more", {})
        final = {}
        if record["status"] == "FINISHED":  # an unfinished run goes on one day, and a metric is written once
            paper = {f"paper_units/{name}": value for name, value in record["weights_in_paper_units"].items()}
            final = record["metrics"] | paper
        final |= more.get("metrics", {})
        if final:
            self.client.log_batch(self.run_id, metrics=_as_metrics(final, ended, 0))
        tags = self._parent() | ({"stylelab.reason": record["reason"]} if record.get("reason") else {})
        for name, value in (tags | more.get("tags", {})).items():
            self.client.set_tag(self.run_id, name, value)
        for path in sorted(self.folder.rglob("*")):
            place = path.parent.relative_to(self.folder)
            if path.is_file() and path.suffix in LOGGED_FILES and spool.NAME not in place.parts:
                self.client.log_artifact(self.run_id, str(path), None if place == Path() else place.as_posix())
        self.client.set_terminated(self.run_id, status=record["status"], end_time=ended)
        self._settle(record["status"], ended)
        spool.remove(self.folder)

    def _settle(self, status: str, ended: int) -> None:
        """Undo what a server that had hung did late: a run made twice, a status from before."""
        for run in of_identity(self.client, self.experiment, self.spool["identity"]):
            if run.info.run_id != self.run_id:
                self.client.delete_run(run.info.run_id)
            elif run.info.status != status:
                self.client.set_terminated(self.run_id, status=status, end_time=ended)


def of_identity(client: "MlflowClient", experiment: str, identity: str) -> list["Run"]:
    """The runs of an identity: one, none, or several where a server did twice what it was asked twice."""
    return sorted(
        client.search_runs([experiment], f"tags.`{IDENTITY}` = '{identity}'"), key=lambda run: run.info.run_id
    )


def metrics_of_row(row: Mapping[str, str]) -> dict[str, float]:
    """A row of losses.csv under the names in MLflow: weighted sums, and each layer's unweighted term."""
    found = {f"loss/{name}": float(row[name]) for name in ("total", "content", "style", "variation")}
    for column, value in row.items():
        if (term := column.removesuffix("/unweighted")) != column and "/" in term:
            found[f"loss/{term}"] = float(value)
    return found


def _as_metrics(values: Mapping[str, float], time: int, step: int) -> "Iterable[Metric]":
    from mlflow.entities import Metric

    return [Metric(name, value, time, step) for name, value in values.items()]


def _whole_lines(path: Path, start: int = 0) -> list[str]:
    """The lines of a growing file from a byte on, those that are written to their end."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            found = file.read()
    except FileNotFoundError:
        return []
    return found[: found.rfind(b"\n") + 1].decode().splitlines()
