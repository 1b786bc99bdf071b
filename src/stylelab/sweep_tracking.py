"""The parent run of a sweep in MLflow."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylelab.job import Job
from stylelab.membership import MEMBERS, plan, question
from stylelab.recorders import KILLED
from stylelab.run_folder import Claim
from stylelab.store import open_store, user
from stylelab.sweep import Member, claim_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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

    MEMBERS_IN_A_TAG = 200  # ids of 32 characters; MLflow takes 8000 characters

    def __init__(self, job: Job, name: str, *, fingerprint: str, alone: bool, reopens: bool = False) -> None:
        of = job.spec.tracking
        self.outputs = Path(job.spec.outputs)
        self.client, self.experiment = open_store(of.uri, outputs=self.outputs, experiment=of.experiment)
        found = self._left_running(fingerprint, alone=alone)
        if found is None and reopens:
            found = self._latest(fingerprint)
        self.name = found.data.tags["stylelab.sweep"] if found is not None else name
        tags = {
            "stylelab.sweep": self.name,
            "stylelab.role": "sweep",
            "stylelab.fingerprint": fingerprint,
            "stylelab.outputs": str(self.outputs.resolve()),
            "stylelab.command": shlex.join(sys.argv)[:LONGEST_TAG],
            "stylelab.host": platform.node(),
            "stylelab.pid": str(os.getpid()),
            "mlflow.user": user(),
        }
        if found is None:
            self.run_id = self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
            return
        self.run_id = found.info.run_id
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def _left_running(self, fingerprint: str, *, alone: bool) -> "Run | None":
        """A dead process's parent run of the same runs, to go on with; those of other sweeps are closed."""
        running = "tags.`stylelab.role` = 'sweep' and attributes.status = 'RUNNING'"
        found = None
        for run in self.client.search_runs([self.experiment], running, order_by=["attributes.start_time DESC"]):
            tags = run.data.tags
            if tags.get("stylelab.outputs") != str(self.outputs.resolve()):
                continue
            if tags.get("stylelab.fingerprint") == fingerprint:
                if alone and found is None:
                    found = run
                elif alone:
                    self.mark_killed(run.info.run_id, "its process died", status="FAILED")
                continue
            claim = Claim(self.outputs, claim_name(tags.get("stylelab.fingerprint", "")))
            if claim.try_to_acquire():
                self.mark_killed(run.info.run_id, "its process died", status="FAILED")
                claim.release()
        return found

    def _latest(self, fingerprint: str) -> "Run | None":
        """The last parent of the same fingerprint, running again."""
        same = f"tags.`stylelab.fingerprint` = '{fingerprint}'"
        for run in self.client.search_runs([self.experiment], same, order_by=["attributes.start_time DESC"]):
            if run.data.tags.get("stylelab.outputs") == str(self.outputs.resolve()):
                self.client.update_run(run.info.run_id, status="RUNNING")
                return run
        return None

    def describe(
        self, members: Sequence[Member], outcomes: Sequence[str] | None, *, experiment: str | None
    ) -> None:
        """Keep the members, so that those never painted can be told, and the experiment's question as description."""
        self.client.log_dict(self.run_id, plan(members, outcomes), MEMBERS)
        if asked := question(experiment):
            self.client.set_tag(self.run_id, "mlflow.note.content", asked)

    def mark_killed(self, run_id: str, reason: str, *, status: str = KILLED) -> None:
        """End a dead process's run."""
        self.client.set_tag(run_id, "stylelab.reason", reason)
        self.client.set_terminated(run_id, status=status)

    def finished_among(self, run_ids: Sequence[str]) -> set[str]:
        """Those of some runs that the store knows as FINISHED."""
        return finished_among(self.client, self.experiment, run_ids)

    def close(self, members: Sequence[str], counts: Mapping[str, int]) -> None:
        """Link the members, write the counts of outcomes, and end FINISHED where every run is, else FAILED."""
        for number, first in enumerate(range(0, len(members), self.MEMBERS_IN_A_TAG)):
            name = "stylelab.members" if number == 0 else f"stylelab.members.{number}"
            self.client.set_tag(self.run_id, name, json.dumps(members[first : first + self.MEMBERS_IN_A_TAG]))
        named = {outcome.replace(" ", "_"): count for outcome, count in counts.items()}
        self.client.set_tag(self.run_id, "stylelab.counts", json.dumps(named))
        for outcome, count in named.items():
            self.client.log_metric(self.run_id, f"runs/{outcome}", count)
        whole = set(named) <= {"finished", "done_before", "pruned", "failed_earlier"}
        self.client.set_terminated(self.run_id, status="FINISHED" if whole else "FAILED")


def finished_among(client: "MlflowClient", experiment: str, run_ids: Sequence[str]) -> set[str]:
    """Those of some runs that a store knows as FINISHED."""
    found = set()
    for first in range(0, len(run_ids), RUNS_IN_A_QUESTION):
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + RUNS_IN_A_QUESTION])
        asked = f"attributes.run_id IN ({listed}) and attributes.status = 'FINISHED'"
        found |= {run.info.run_id for run in client.search_runs([experiment], asked)}
    return found
