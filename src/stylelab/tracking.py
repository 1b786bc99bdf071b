"""The MLflow recorder: parameters, tags, metrics in batches, pictures; and the store that they go to."""

import getpass
import json
import logging
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stylelab import images, pictures
from stylelab.job import Job
from stylelab.objective import Losses
from stylelab.provenance import flattened
from stylelab.recorders import RUNNING, Record
from stylelab.sweep import SWEEP_NAME, SWEEP_RUN
from stylelab.transfer import Step

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LARGEST_BATCH = 1000  # metrics that MLflow takes in one request
MOST_METRICS_OF_A_STEP = 50  # four sums and every layer
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


def without_password(uri: str) -> str:
    """An address as it may be shown: user and password left out."""
    return re.sub(r"^(\w[\w+]*://)[^/]*@", r"\1", uri)


def open_store(uri: str | None, *, outputs: Path, experiment: str) -> tuple["MlflowClient", str]:
    """A client and the experiment's id; both store and experiment are made where they are missing.

    Parallel first use destroys a fresh SQLite store (its migrations race), so the first use is behind a lock; and the
    experiment is made here, because MLflow would put its artifacts below whatever the working directory is.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):  # mlflow sets its own level when it is imported
        logging.getLogger(chatty).setLevel(logging.WARNING)
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

    def __init__(self, client: "MlflowClient", experiment: str, *, pictures_every: int) -> None:
        self.client, self.experiment, self.pictures_every = client, experiment, pictures_every
        self.run_id: str | None = None
        self.waiting: list = []
        self.last_write = time.monotonic()
        self.first_number = 0  # the losses of the steps before this one are in the store already
        self.pictured: set[int] = set()  # and the pictures of these

    def holds_finished(self, run_id: str | None) -> bool:
        """Whether the store knows a run as FINISHED."""
        run = self._find(run_id)
        return run is not None and run.info.status == "FINISHED"

    def _find(self, run_id: str | None) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id) if run_id else None
        except MlflowException:  # a run of another store
            return None
        return run if run is not None and run.info.lifecycle_stage == "active" else None

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Create the run, or go on with the unfinished one that the folder names."""
        unfinished = self._find(record.tracking.get("mlflow_run_id"))
        if unfinished is not None and unfinished.info.status != "FINISHED":
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
        record.tracking = {
            "mlflow_uri": without_password(self.client.tracking_uri),
            "mlflow_run_id": self.run_id,
            "mlflow_experiment_id": self.experiment,
        }
        self.last_write = time.monotonic()

    def _take_over(self, run: "Run", record: Record) -> None:
        self.run_id = run_id = run.info.run_id
        self.client.update_run(run_id, status=RUNNING)
        for name, value in _tags(record).items():
            self.client.set_tag(run_id, name, value)
        history = self.client.get_metric_history(run_id, "loss/total")
        self.first_number = 1 + max((metric.step for metric in history), default=-1)
        names = [artifact.path for artifact in self.client.list_artifacts(run_id, "images")]
        self.pictured = {int(match.group(1)) for name in names if (match := re.search(r"canvas%step%(\d+)%", name))}
        parameters = flattened(record.job.config)  # a process killed in its first second left some out
        self._log_parameters({key: value for key, value in parameters.items() if key not in run.data.params})
        self._log_inputs(record)

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
        if step.number >= self.first_number:
            self.waiting += self._metrics(metrics(step.losses), int(time.time() * 1000), step.number)
        due = self.pictures_every and step.number % self.pictures_every == 0
        if due and step.number not in self.pictured:
            picture = images.to_picture(step.canvas)
            self.client.log_image(self.run_id, picture, key="canvas", step=step.number, synchronous=True)
        late = time.monotonic() - self.last_write >= self.SECONDS_BETWEEN_WRITES
        if late or len(self.waiting) > LARGEST_BATCH - MOST_METRICS_OF_A_STEP:
            self._write()

    @staticmethod
    def _metrics(values: Mapping[str, float], timestamp: int, number: int) -> list:
        from mlflow.entities import Metric

        return [Metric(name, value, timestamp, number) for name, value in values.items()]

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
    if os.environ.get(SWEEP_RUN):
        tags |= {"mlflow.parentRunId": os.environ[SWEEP_RUN], "stylelab.sweep": os.environ[SWEEP_NAME]}
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


class SweepTracker:
    """The parent run of a sweep, under which its members appear.

    Args:
        job: any member's, for its store.
        name: the sweep's.
    """

    def __init__(self, job: Job, name: str) -> None:
        of = job.spec.tracking
        self.client, self.experiment = open_store(of.uri, outputs=Path(job.spec.outputs), experiment=of.experiment)
        tags = {
            "stylelab.sweep": name,
            "stylelab.role": "sweep",
            "stylelab.command": shlex.join(sys.argv),
            "mlflow.user": _user(),
        }
        self.run_id = self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
        self.finished = self._finished_runs()

    def _finished_runs(self) -> set[str]:
        """The ids of every FINISHED run of the experiment."""
        found, token = set(), None
        while True:
            page = self.client.search_runs(
                [self.experiment], "attributes.status = 'FINISHED'", max_results=1000, page_token=token
            )
            found |= {run.info.run_id for run in page}
            token = page.token
            if not token:
                return found

    def close(self, members: Sequence[str], outcomes: Sequence[str]) -> None:
        """Link the members, count the outcomes, and end FINISHED where every run is, else FAILED."""
        counts = Counter(outcome.partition(":")[0].replace(" ", "_") for outcome in outcomes)
        self.client.set_tag(self.run_id, "stylelab.members", json.dumps(members))
        self.client.set_tag(self.run_id, "stylelab.counts", json.dumps(counts))
        for outcome, count in counts.items():
            self.client.log_metric(self.run_id, f"runs/{outcome}", count)
        whole = set(counts) <= {"finished", "done_before"}
        self.client.set_terminated(self.run_id, status="FINISHED" if whole else "FAILED")
