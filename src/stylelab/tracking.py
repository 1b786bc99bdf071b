"""The MLflow recorder: parameters, tags, metrics in batches, pictures; and the store that they go to."""

import getpass
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stylelab import images, pictures
from stylelab.objective import Losses
from stylelab.provenance import flattened
from stylelab.recorders import RUNNING, Record
from stylelab.transfer import Step

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEEP_RUN = "STYLELAB_SWEEP_RUN"  # environment: the parent's MLflow run id, set for every job of a sweep
SWEEP_NAME = "STYLELAB_SWEEP"  # environment: the sweep's name
LARGEST_BATCH = 1000  # metrics that MLflow takes in one request
MOST_PARAMETERS = 100  # parameters that MLflow takes in one request
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # a long value is an error, never cut
    "GIT_PYTHON_REFRESH": "quiet",
}


def store_uri(uri: str | None, outputs: Path) -> str:
    """Where runs are tracked: the configured address, else MLFLOW_TRACKING_URI, else SQLite under outputs."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(outputs / 'mlflow.db').resolve()}"


def open_store(uri: str | None, *, outputs: Path, experiment: str) -> tuple["MlflowClient", str]:
    """A client and the experiment's id; both store and experiment are made where they are missing.

    Parallel first use destroys a fresh SQLite store (its migrations race), so the first use is behind a lock; and the
    experiment is made here, because MLflow would put its artifacts below whatever the working directory is.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    address = store_uri(uri, outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / "mlflow.lock"):
        client = MlflowClient(tracking_uri=address)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, found.experiment_id
        local = address.startswith("sqlite:")
        artifacts = (outputs / "mlartifacts" / experiment).resolve().as_uri() if local else None
        return client, client.create_experiment(experiment, artifact_location=artifacts)


class MlflowRecorder:
    """One run in MLflow: an own run, or a sweep's child.

    Args:
        client, experiment: `open_store`'s.
        pictures_every: steps between two pictures of the canvas; 0 for none.
    """

    SECONDS_BETWEEN_WRITES = 5.0

    def __init__(self, client: "MlflowClient", experiment: str, *, pictures_every: int, run_id: str | None = None) -> None:
        self.client, self.experiment, self.pictures_every = client, experiment, pictures_every
        self.run_id = run_id
        self.waiting: list = []
        self.last_write = time.monotonic()
        self.first_number = 0  # steps before this one are in the store already

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Create the run, or go on with the one that a dead process left."""
        if self.run_id is None:
            run = self.client.create_run(
                self.experiment,
                start_time=int(record.started * 1000),
                run_name=record.job.folder.name,
                tags=_tags(record),
            )
            self.run_id = run.info.run_id
            self._log_parameters(flattened(record.job.config))
            self._log_inputs(record)
        else:
            self.client.update_run(self.run_id, status=RUNNING)
            self.first_number = self._stored_steps()
        record.tracking |= {"mlflow_run_id": self.run_id, "mlflow_experiment_id": self.experiment}
        self.last_write = time.monotonic()

    def _stored_steps(self) -> int:
        history = self.client.get_metric_history(self.run_id, "loss/total")
        return 1 + max((metric.step for metric in history), default=-1)

    def _log_parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        parameters = [Param(key, "null" if value is None else str(value)) for key, value in values.items()]
        for first in range(0, len(parameters), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=parameters[first : first + MOST_PARAMETERS])

    def _log_inputs(self, record: Record) -> None:
        job = record.job
        last = job.levels[-1]
        named = [("content", job.content, last.canvas)]
        named += [(f"style_{n}", style, size) for n, (style, size) in enumerate(zip(job.styles, last.styles, strict=True))]
        for name, picture, size in named:
            self.client.log_image(self.run_id, pictures.resize(picture, size), artifact_file=f"inputs/{name}.png")

    def step(self, step: Step) -> None:
        """Keep the losses until the next write; log the canvas now and then."""
        if step.number < self.first_number:
            return
        now = int(time.time() * 1000)
        self.waiting += self._metrics(metrics(step.losses), now, step.number)
        if self.pictures_every and step.number % self.pictures_every == 0:
            picture = images.to_picture(step.canvas)
            self.client.log_image(self.run_id, picture, key="canvas", step=step.number, synchronous=True)
        due = time.monotonic() - self.last_write >= self.SECONDS_BETWEEN_WRITES
        if due or len(self.waiting) >= LARGEST_BATCH:
            self._write()

    @staticmethod
    def _metrics(values: Mapping[str, float], timestamp: int, number: int) -> list:
        from mlflow.entities import Metric

        return [Metric(name, value, timestamp, number) for name, value in values.items()]

    def _write(self) -> None:
        for first in range(0, len(self.waiting), LARGEST_BATCH):
            self.client.log_batch(self.run_id, metrics=self.waiting[first : first + LARGEST_BATCH])
        self.waiting = []
        self.last_write = time.monotonic()

    def finish(self, record: Record) -> None:
        """Write what waits, the final metrics and the folder; set the status."""
        if self.run_id is None:
            return
        final = record.metrics | {f"paper_units/{name}": value for name, value in record.weights_in_paper_units.items()}
        self.waiting += self._metrics(final, int(time.time() * 1000), 0)
        self._write()
        if record.reason:
            self.client.set_tag(self.run_id, "stylelab.reason", record.reason)
        for path in sorted(record.job.folder.rglob("*")):
            if path.is_file() and path.suffix not in (".pt", ".lock", ".partial"):
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


def _tags(record: Record) -> dict[str, str]:
    facts = record.facts
    tags = {
        "stylelab.key": record.job.key,
        "stylelab.host": facts["machine"]["host"],
        "stylelab.pid": str(os.getpid()),
        "mlflow.user": _user(),
        "mlflow.source.name": "stylelab",
        "mlflow.source.type": "LOCAL",
    }
    if facts["commit"] is not None:
        tags |= {
            "mlflow.source.git.commit": facts["commit"],
            "stylelab.commit": facts["commit"],
            "stylelab.dirty": str(facts["dirty"]).lower(),
        }
    if SWEEP_RUN in os.environ:
        tags |= {"mlflow.parentRunId": os.environ[SWEEP_RUN], "stylelab.sweep": os.environ[SWEEP_NAME]}
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


@contextmanager
def sweep_run(client: "MlflowClient", experiment: str, *, name: str, description: str) -> Iterator[str]:
    """The parent run of a sweep: FINISHED or FAILED at the end, KILLED when it was interrupted.

    Yields:
        Its MLflow run id.
    """
    tags = {"stylelab.sweep": name, "stylelab.role": "sweep", "mlflow.user": _user(), "stylelab.command": description}
    run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status=status)
