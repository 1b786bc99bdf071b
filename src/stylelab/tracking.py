"""The MLflow recorder: a run's parameters, tags, metrics in batches and pictures."""

import csv
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from PIL import Image

from stylelab import images, pictures
from stylelab.job import Job
from stylelab.objective import Losses
from stylelab.provenance import flattened
from stylelab.recorders import FINISHED, RUNNING, Record
from stylelab.store import user, without_password
from stylelab.sweep import SWEEP_NAME, SWEEP_RUN
from stylelab.transfer import Step

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LARGEST_BATCH = 1000  # metrics that MLflow takes in one request
MOST_METRICS_OF_A_STEP = 50  # four sums and every layer
LOGGED_FILES = (".png", ".csv", ".json", ".yaml")  # of a run's folder; the checkpoint is not among them
REPRODUCES = "STYLELAB_REPRODUCES"  # environment of a reproduction: the MLflow run id, or the key, of the original
MOST_PARAMETERS = 100  # parameters that MLflow takes in one request


class MlflowRecorder:
    """One run in MLflow: an own run, or a sweep's child.

    A run that a dead process left is gone on with: what the store holds already is not written again, and what it
    lacks of the steps before is taken from the folder.

    Args:
        client, experiment: `open_store`'s.
        pictures_every: steps between two pictures of the canvas; 0 for none.
    """

    SECONDS_BETWEEN_WRITES = 5.0

    def __init__(self, client: "MlflowClient", experiment: str, *, pictures_every: int) -> None:
        self.client, self.experiment, self.pictures_every = client, experiment, pictures_every
        self.run_id: str | None = None
        self.waiting: list = []
        self.last_write = time.monotonic()
        self.held: dict[str, int] = {}  # the last step of each metric in the store
        self.pictured: set[int] = set()  # the steps whose canvas is in the store

    def finished_run(self, run_id: str | None, job: Job) -> dict[str, Any] | None:
        """Where a job's finished run is tracked, if the store has it: the run that the folder names, else one by key."""
        named = self._find(run_id)
        found = named if named is not None and named.info.status == "FINISHED" else self._by_key(job, "= 'FINISHED'")
        return None if found is None else self._place(found.info.run_id)

    def _find(self, run_id: str | None) -> "Run | None":
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id) if run_id else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # a run of another store
        return run if run is not None and run.info.lifecycle_stage == "active" else None

    def _by_key(self, job: Job, status: str) -> "Run | None":
        """The last run of a job's key in its outputs folder, whose claim this process has: no other is painting it."""
        of_key = f"tags.`stylelab.key` = '{job.key}' and attributes.status {status}"
        runs = self.client.search_runs([self.experiment], of_key, order_by=["attributes.start_time DESC"])
        return next((run for run in runs if run.data.tags.get("stylelab.outputs") == str(Path(job.spec.outputs).resolve())), None)

    def _place(self, run_id: str) -> dict[str, Any]:
        return {
            "mlflow_uri": without_password(self.client.tracking_uri),
            "mlflow_run_id": run_id,
            "mlflow_experiment_id": self.experiment,
        }

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Create the run, or go on with the unfinished one that the folder names or that has its key."""
        unfinished = self._find(record.tracking.get("mlflow_run_id"))
        if unfinished is None or unfinished.info.status == "FINISHED":
            unfinished = self._by_key(record.job, "!= 'FINISHED'")  # a process killed before its folder named the run
        if unfinished is not None:
            self._take_over(unfinished, record)
        else:
            run = self.client.create_run(
                self.experiment,
                start_time=int(record.started * 1000),
                run_name=record.job.folder.name,
                tags=_tags(record),
            )
            self.run_id = run.info.run_id
            self._log_parameters(flattened(record.job.config))
            self._log_inputs(record)
        record.tracking = self._place(self.run_id)
        self._catch_up(record.job.folder)
        self.last_write = time.monotonic()

    def _take_over(self, run: "Run", record: Record) -> None:
        self.run_id = run_id = run.info.run_id
        self.client.update_run(run_id, status=RUNNING)
        for name, value in _tags(record).items():
            self.client.set_tag(run_id, name, value)
        if "stylelab.reason" in run.data.tags:
            self.client.delete_tag(run_id, "stylelab.reason")
        for name in run.data.metrics:
            self.held[name] = max(metric.step for metric in self.client.get_metric_history(run_id, name))
        self._keep_whole_pictures(run)
        parameters = flattened(record.job.config)  # a process killed in its first second left some out
        self._log_parameters({key: value for key, value in parameters.items() if key not in run.data.params})
        self._log_inputs(record)

    def _keep_whole_pictures(self, run: "Run") -> None:
        """Note the canvases that are there; remove what a killed process left of one: each comes as PNG and as WebP."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        local = Path(unquote(urlparse(run.info.artifact_uri).path))
        for half in local.rglob(".artifact.uploading.*") if run.info.artifact_uri.startswith("file:") else ():
            half.unlink(missing_ok=True)  # MLflow hides them, and leaves them
        by_step: dict[int, list[str]] = {}
        for artifact in self.client.list_artifacts(run.info.run_id, "images"):
            if match := re.fullmatch(r"images/canvas[+%]step[+%](\d+)[+%].*\.(?:png|webp)", artifact.path):
                by_step.setdefault(int(match.group(1)), []).append(artifact.path)
        store = get_artifact_repository(run.info.artifact_uri, tracking_uri=self.client.tracking_uri)
        for step, paths in by_step.items():
            if sorted(Path(path).suffix for path in paths) == [".png", ".webp"]:
                self.pictured.add(step)
                continue
            for path in paths:
                store.delete_artifacts(path)

    def _catch_up(self, folder: Path) -> None:
        """Log what the folder holds and the store lacks: a dead process's last rows and pictures, or a whole run."""
        for row in csv.DictReader((folder / "losses.csv").read_text().splitlines()):
            self._keep(_metrics_of_row(row), int(row["step"]))
            if len(self.waiting) > LARGEST_BATCH - MOST_METRICS_OF_A_STEP:
                self._write()
        self._write()
        for path in sorted(folder.glob("canvas_*.png")):
            number = int(path.stem.removeprefix("canvas_"))
            if self._is_due(number):
                self._log_canvas(pictures.load(path, key="canvas"), number)

    def _log_parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        parameters = [Param(key, "null" if value is None else str(value)) for key, value in values.items()]
        for first in range(0, len(parameters), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=parameters[first : first + MOST_PARAMETERS])

    def _log_inputs(self, record: Record) -> None:
        job = record.job
        last = job.levels[-1]
        named = [("content", job.content, last.canvas)]
        named += [
            (f"style_{n}", style, size) for n, (style, size) in enumerate(zip(job.styles, last.styles, strict=True))
        ]
        for name, picture, size in named:
            self.client.log_image(self.run_id, pictures.resize(picture, size), artifact_file=f"inputs/{name}.png")

    def step(self, step: Step) -> None:
        """Keep the losses until the next write; log the canvas now and then."""
        self._keep(metrics(step.losses), step.number)
        if self._is_due(step.number):
            self._log_canvas(images.to_picture(step.canvas), step.number)
        late = time.monotonic() - self.last_write >= self.SECONDS_BETWEEN_WRITES
        if late or len(self.waiting) > LARGEST_BATCH - MOST_METRICS_OF_A_STEP:
            self._write()

    def _is_due(self, number: int) -> bool:
        return bool(self.pictures_every) and number % self.pictures_every == 0 and number not in self.pictured

    def _log_canvas(self, canvas: Image.Image, number: int) -> None:
        self.client.log_image(self.run_id, canvas, key="canvas", step=number, synchronous=True)
        self.pictured.add(number)

    def _keep(self, values: Mapping[str, float], number: int) -> None:
        """Let values wait for the next write, those that the store has not got yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.waiting += [
            Metric(name, value, now, number) for name, value in values.items() if number > self.held.get(name, -1)
        ]

    def _write(self) -> None:
        """Write what waits in one request, which the store takes whole or not at all."""
        if self.waiting:
            self.client.log_batch(self.run_id, metrics=self.waiting)
        self.waiting = []
        self.last_write = time.monotonic()

    def finish(self, record: Record) -> None:
        """Write what waits, the final metrics and the folder; set the status."""
        if self.run_id is None:
            return
        self._write()
        if record.status == FINISHED:  # an unfinished run goes on one day, and a metric is written once
            paper = {f"paper_units/{name}": value for name, value in record.weights_in_paper_units.items()}
            self._keep(record.metrics | paper, 0)
            self._write()
        if record.reason:
            self.client.set_tag(self.run_id, "stylelab.reason", record.reason)
        for path in sorted(record.job.folder.rglob("*")):
            if path.is_file() and path.suffix in LOGGED_FILES:
                place = path.parent.relative_to(record.job.folder).as_posix()
                self.client.log_artifact(self.run_id, str(path), None if place == "." else place)
        self.client.set_terminated(self.run_id, status=record.status)


def metrics(losses: Losses) -> dict[str, float]:
    """The losses under their names in MLflow: weighted sums, and each layer's unweighted term."""
    found = {f"loss/{name}": value for name, value in losses.summed().items()}
    for term, value in zip(losses.terms, losses.values(), strict=True):
        if term.layer:
            found[f"loss/{term.kind}/{term.layer}"] = value
    return found


def _metrics_of_row(row: Mapping[str, str]) -> dict[str, float]:
    """What `metrics` gave for the step of a row of losses.csv."""
    found = {f"loss/{name}": float(row[name]) for name in ("total", "content", "style", "variation")}
    for column, value in row.items():
        if (term := column.removesuffix("/unweighted")) != column and "/" in term:
            found[f"loss/{term}"] = float(value)
    return found


def _tags(record: Record) -> dict[str, str]:
    facts = record.facts
    tags = {
        "stylelab.key": record.job.key,
        "stylelab.outputs": str(Path(record.job.spec.outputs).resolve()),
        "stylelab.host": facts["machine"]["host"],
        "stylelab.pid": str(os.getpid()),
        "mlflow.user": user(),
        "mlflow.source.name": "stylelab",
        "mlflow.source.type": "LOCAL",
    }
    if facts["commit"] is not None:
        tags |= {
            "mlflow.source.git.commit": facts["commit"],
            "stylelab.commit": facts["commit"],
            "stylelab.dirty": str(facts["dirty"]).lower(),
        }
    if os.environ.get(SWEEP_RUN):
        tags |= {"mlflow.parentRunId": os.environ[SWEEP_RUN], "stylelab.sweep": os.environ[SWEEP_NAME]}
    if os.environ.get(REPRODUCES):
        tags["stylelab.reproduces"] = os.environ[REPRODUCES]
    return tags
