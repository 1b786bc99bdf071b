"""The parent run of a sweep: what it holds is kept under outputs and brought into MLflow, now or once it answers."""

import json
import os
import platform
import shlex
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylelab import run_folder, sweep_mirror
from stylelab.addresses import redacted, redacted_values
from stylelab.job import Job
from stylelab.membership import MEMBERS, plan, question
from stylelab.mirror import IDENTITY
from stylelab.patience import Talk, Unanswered, ask, renew, wait
from stylelab.run_folder import Claim
from stylelab.store import check_driver, import_mlflow, open_store, store_uri, user
from stylelab.sweep import Member, claim_name, tell
from stylelab.uploader import Uploader

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_TAG = 8000  # characters that MLflow takes in a tag
RUNS_IN_A_QUESTION = 500  # run ids in one search


class SweepTracker:
    """The parent run of a sweep, under which its members appear.

    Args:
        job: any member's, for its store.
        name: the sweep's; a parent that is gone on with keeps its own.
        fingerprint: the same for sweeps of the same runs.
        alone: whether no living process conducts a sweep of the same runs.
        reopens: whether a parent that has ended is gone on with too.
    """

    def __init__(self, job: Job, name: str, *, fingerprint: str, alone: bool, reopens: bool = False) -> None:
        of = job.spec.tracking
        self.outputs = Path(job.spec.outputs).resolve()
        self.address, self.experiment = store_uri(of.uri, self.outputs), of.experiment
        import_mlflow()
        check_driver(self.address)
        self.silent = False  # whether it was said that the store is
        found = self._left(fingerprint, reopens=reopens) if alone else None
        before = sweep_mirror.read(found) if found else {}
        self.identity = before.get("identity") or uuid.uuid4().hex
        self.name = before.get("name", name)
        self.folder = sweep_mirror.folder_of(self.outputs, self.identity)
        tags = {
            IDENTITY: self.identity,
            "stylelab.sweep": self.name,
            "stylelab.role": "sweep",
            "stylelab.fingerprint": fingerprint,
            "stylelab.outputs": str(self.outputs),
            "stylelab.command": redacted(shlex.join(sys.argv))[:LONGEST_TAG],
            "stylelab.host": platform.node(),
            "stylelab.pid": str(os.getpid()),
            "mlflow.user": user(),
        }
        record = {
            "identity": self.identity,
            "name": self.name,
            "uri": redacted(self.address),
            "experiment": self.experiment,
            "fingerprint": fingerprint,
            "claim": claim_name(fingerprint),
            "started": time.time(),
            "metrics": {},
            "members": [],
            "keys": [],
        }
        record |= before | {"status": "RUNNING", "ended": None, "tags": before.get("tags", {}) | tags}
        sweep_mirror.write(self.folder, record)
        self._bring()

    def _left(self, fingerprint: str, *, reopens: bool) -> Path | None:
        """The sweep of the same runs to go on with: a dead process's, or the latest. Dead ones of others are ended."""
        same = []
        for folder in sweep_mirror.folders(self.outputs):
            record = sweep_mirror.read(folder)
            if (record["uri"], record["experiment"]) != (redacted(self.address), self.experiment):
                continue
            if record["fingerprint"] == fingerprint:
                same.append(folder)
            elif record["status"] == "RUNNING":
                self._end_if_dead(folder, record)
        running = [folder for folder in same if sweep_mirror.read(folder)["status"] == "RUNNING"]
        return next(iter(running or (same if reopens else [])), None)

    def _end_if_dead(self, folder: Path, record: Mapping[str, Any]) -> None:
        claim = Claim(self.outputs, record["claim"])
        if claim.try_to_acquire():
            tags = record["tags"] | {"stylelab.reason": "its process died"}
            ended = {"status": "FAILED", "ended": time.time(), "tags": tags, "waits": True}
            sweep_mirror.write(folder, dict(record) | ended)
            with suppress(Unanswered):  # it waits then, as everything does
                brought = ask(lambda talk: sweep_mirror.bring(folder, self.address, talk), self.address)
                sweep_mirror.write(folder, sweep_mirror.read(folder) | brought)
            claim.release()

    def _update(self, **values: Any) -> None:
        sweep_mirror.write(self.folder, sweep_mirror.read(self.folder) | values)

    def _bring(self) -> None:
        """Bring the parent run into MLflow; where that does not answer, it is told when it does."""
        self._update(waits=True)
        try:
            self._update(**ask(lambda talk: sweep_mirror.bring(self.folder, self.address, talk), self.address))
        except Unanswered as unanswered:
            self._update(late=True)
            if not self.silent:
                self.silent = True
                tell(f"tracking: {unanswered}; painting goes on, what MLflow lacks waits in {self.outputs}")

    def describe(self, members: Sequence[Member], outcomes: Sequence[str] | None, *, experiment: str | None) -> None:
        """Keep the members, so that those never painted can be told, and the experiment's question as description."""
        asked = question(experiment)
        tags = sweep_mirror.read(self.folder)["tags"] | ({"mlflow.note.content": asked} if asked else {})
        self._update(keys=[member.job.key for member in members], tags=tags)
        self.keep(plan(members, outcomes), MEMBERS)

    def keep(self, values: Mapping[str, Any], name: str) -> None:
        """Keep values with the run, under this name among its artifacts."""
        file = self.folder / "files" / name
        file.parent.mkdir(exist_ok=True)
        run_folder.write_whole(file, json.dumps(redacted_values(values), indent=2))
        self._bring()

    def finished_among(self, run_ids: Sequence[str]) -> set[str]:
        """Those of some whole folders' runs that the store knows as FINISHED; all of them where it is silent."""
        try:
            return finished_among(self.address, self.outputs, self.experiment, run_ids)
        except Unanswered:
            return set(run_ids)

    def close(self, members: Sequence[str], counts: Mapping[str, int]) -> None:
        """Link the members, write the counts of outcomes, and end FINISHED where every run is, else FAILED."""
        renew()  # no painting is held up any more
        self._bring_members()
        named = {outcome.replace(" ", "_"): count for outcome, count in counts.items()}
        whole = set(named) <= {"finished", "done_before", "pruned", "failed_earlier"}
        tags = sweep_mirror.read(self.folder)["tags"] | {"stylelab.counts": json.dumps(named)}
        self._update(
            tags=tags,
            metrics={f"runs/{outcome}": count for outcome, count in named.items()},
            members=list(members),
            status="FINISHED" if whole else "FAILED",
            ended=time.time(),
        )
        self._bring()
        if sweep_mirror.read(self.folder)["waits"]:
            tell("warning: MLflow lacks some of this sweep: the next run brings it there, or stylelab-sync")

    def _bring_members(self) -> None:
        """Bring what MLflow still lacks of the members, for as long as it answers."""
        up = Uploader(None, self.address, outputs=self.outputs, experiment=self.experiment)
        up.start()
        up.end()
        if not wait(up.over, up.talk):
            up.give_up()


def finished_among(address: str, outputs: Path, experiment: str, run_ids: Sequence[str]) -> set[str]:
    """Those of some runs that a store knows as FINISHED.

    Raises:
        Unanswered: it did not answer in time, or refused.
    """

    def question(talk: Talk) -> set[str]:
        client, of = open_store(address, outputs=outputs, experiment=experiment)
        return _finished_among(talk.heed(client), of, run_ids)

    return ask(question, address) if run_ids else set()


def _finished_among(client: "MlflowClient", experiment: str, run_ids: Sequence[str]) -> set[str]:
    found = set()
    for first in range(0, len(run_ids), RUNS_IN_A_QUESTION):
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + RUNS_IN_A_QUESTION])
        asked = f"attributes.run_id IN ({listed}) and attributes.status = 'FINISHED'"
        found |= {run.info.run_id for run in client.search_runs([experiment], asked)}
    return found
