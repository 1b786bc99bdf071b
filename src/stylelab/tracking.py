"""The MLflow recorder: what a run leaves for MLflow in its spool, and how long its end waits for the store."""

import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from stylelab import images, pictures, run_folder, spool
from stylelab.addresses import redacted
from stylelab.job import Job
from stylelab.mirror import IDENTITY, SWEEP_IDENTITY, of_identity
from stylelab.patience import Talk, Unanswered, ask, wait
from stylelab.recorders import Record
from stylelab.store import check_driver, open_store, store_uri, user
from stylelab.sweep import SWEEP_NAME, SWEEP_RUN
from stylelab.transfer import Step
from stylelab.uploader import Uploader

REPRODUCES = "STYLELAB_REPRODUCES"  # environment of a reproduction: the MLflow run id, or the key, of the original
LONGEST_END = 60.0  # seconds that the end of a run waits for a server that does answer
LONGEST_FOR_OTHERS = 30.0  # and then for the earlier runs that the server lacks


class MlflowRecorder:
    """One run in MLflow: an own run, or a sweep's child.

    The run's folder and its spool hold all of it; an `Uploader` brings it into MLflow. Painting never waits for the
    store, only a run's end does, for as long as there is patience.

    Raises:
        ValueError: the address can be no store's, or its driver is not installed.
    """

    def __init__(self, job: Job) -> None:
        of = job.spec.tracking
        self.job, self.outputs, self.pictures_every = job, Path(job.spec.outputs).resolve(), of.pictures_every
        self.address, self.experiment = store_uri(of.uri, self.outputs), of.experiment
        check_driver(self.address)
        self.record: Record | None = None
        self.uploader: Uploader | None = None
        self.times: TextIO | None = None
        self.told = False

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Make the spool, or go on with a dead process's; from here on the run is brought into MLflow."""
        self.record = record
        self._begin_spool(record)
        run_folder.write(self.job.folder, record.as_json())  # it names the identity
        self.times = (spool.path(self.job.folder) / "times.csv").open("a", buffering=1)
        self._upload(self.job.folder)

    def _begin_spool(self, record: Record) -> None:
        folder, last = self.job.folder, self.job.levels[-1]
        before = spool.read(folder)
        identity = before.get("identity") or record.tracking.get("mlflow_identity") or uuid.uuid4().hex
        record.tracking["mlflow_identity"] = identity
        inputs = {"content": pictures.resize(self.job.content, last.canvas)}
        for n, (style, size) in enumerate(zip(self.job.styles, last.styles, strict=True)):
            inputs[f"style_{n}"] = pictures.resize(style, size)
        tracking = {
            "uri": redacted(self.address),
            "experiment": self.experiment,
            "identity": identity,
            "name": before.get("name", folder.name),
            "tags": {IDENTITY: identity} | _tags(record),
        }
        spool.begin(folder, tracking, inputs)

    def _upload(self, folder: Path | None) -> None:
        self.uploader = Uploader(folder, self.address, outputs=self.outputs, experiment=self.experiment)
        self.uploader.start()

    def step(self, step: Step) -> None:
        """Note the time, and the canvas that painting starts from; the folder holds the rest."""
        waits = spool.path(self.job.folder)
        if step.number == 0 and self.pictures_every:
            pictures.save_png(images.to_picture(step.canvas), waits / "canvas_000000.png", texts={})
        self.times.write(f"{step.number},{time.time_ns() // 1_000_000}\n")
        if self.uploader.trouble and not self.told:
            self.told = True
            _tell(f"tracking: {self.uploader.trouble}; painting goes on, what MLflow lacks waits in {waits}")
        place = self.uploader.place or {}
        if self.record.tracking != self.record.tracking | place:
            self.record.tracking |= place
            run_folder.write(self.job.folder, self.record.as_json())

    def finish(self, record: Record) -> None:
        """Wait until MLflow holds the run, or for as long as patience lasts: what it lacks then stays in the spool."""
        if self.uploader is None:
            return
        if self.times is not None:
            self.times.close()
        _wait_for(self.uploader)
        record.tracking |= self.uploader.place or {}

    def complete(self, record: Record, before: Mapping[str, Any]) -> None:
        """See to it that MLflow holds a finished run, from its files where it does not; the record names it then.

        Args:
            before: the run's run.json.
        """
        folder = self.job.folder
        if spool.read(folder):
            self._upload(folder)
        else:
            spool.remove(folder)  # what a process left that was killed while it did so
            found = self._known(record)
            if found == {}:
                self._begin_spool(record)
                run_folder.write(folder, dict(before) | record.tracking)
            self._upload(folder if found == {} else None)
            record.tracking |= found or {}
        self.finish(record)

    def _known(self, record: Record) -> dict[str, Any] | None:
        """Where a finished run is tracked; empty where the store has no such run, None where that can't be known.

        A run that was brought to this store has no spool left: its word counts where the store is silent.
        """
        identity = record.tracking.get("mlflow_identity")
        if identity is None:
            return {}

        def question(talk: Talk) -> dict[str, Any]:
            client, experiment = open_store(self.address, outputs=self.outputs, experiment=self.experiment)
            found = of_identity(talk.heed(client), experiment, identity)
            ids = [run.info.run_id for run in found if run.info.status == "FINISHED"]
            place = {"mlflow_uri": redacted(self.address), "mlflow_experiment_id": experiment}
            return place | {"mlflow_run_id": ids[0]} if ids else {}

        try:
            return ask(question, self.address)
        except Unanswered:
            return None if record.tracking.get("mlflow_uri") == redacted(self.address) else {}


def add(folder: Path, more: Mapping[str, Any], *, address: str, experiment: str) -> str | None:
    """Add to a finished run what became known of it later; its id in MLflow, if it has one yet.

    Args:
        folder: the run's.
        more: `tags` and `metrics`.
    """
    identity = run_folder.read(folder)["mlflow_identity"]
    tracking = {"uri": redacted(address), "experiment": experiment, "identity": identity, "name": folder.name}
    before = spool.read(folder) or tracking | {"tags": {IDENTITY: identity}}
    spool.begin(folder, before | {"more": more}, {})
    uploader = Uploader(folder, address, outputs=folder.parents[1], experiment=experiment)
    uploader.start()
    _wait_for(uploader)
    return run_folder.read(folder).get("mlflow_run_id")


def _wait_for(uploader: Uploader) -> None:
    """Wait until MLflow holds the run, then for what else waits; for as long as there is patience."""
    uploader.end()
    if not wait(uploader.whole, uploader.talk, longest=LONGEST_END):
        uploader.give_up()
        _tell(
            f"warning: {uploader.trouble or f'{redacted(uploader.address)} did not answer'}: what MLflow lacks of the "
            f"run waits in {spool.path(uploader.folder)}; the next run brings it there, or stylelab-sync"
        )
    elif os.environ.get(SWEEP_RUN):
        return  # the others are brought beside the next run, and at the sweep's end
    elif not wait(uploader.over, uploader.talk, longest=LONGEST_FOR_OTHERS):
        uploader.give_up()
        _tell("warning: earlier runs still wait for MLflow: the next run brings them there, or stylelab-sync")


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


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
        tags |= {SWEEP_IDENTITY: os.environ[SWEEP_RUN], "stylelab.sweep": os.environ[SWEEP_NAME]}
    if os.environ.get(REPRODUCES):
        tags["stylelab.reproduces"] = os.environ[REPRODUCES]
    return tags
