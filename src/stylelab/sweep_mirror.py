"""A sweep's own run, under which its members appear in MLflow: kept in outputs/sweeps/tracked/IDENTITY, brought there.

tracking.json  identity, name, where it is tracked, tags, metrics, members, status, times; `waits`: MLflow lacks some
files/         its artifacts
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylelab import run_folder
from stylelab.addresses import redacted
from stylelab.mirror import PARENT, SWEEP_IDENTITY, of_identity
from stylelab.patience import Talk
from stylelab.run_folder import Claim
from stylelab.store import open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

MEMBERS_IN_A_TAG = 200  # ids of 32 characters; MLflow takes 8000 characters
TAGS_IN_A_REQUEST = 100
RUNS_IN_A_PAGE = 1000


def folder_of(outputs: Path, identity: str) -> Path:
    """Where a sweep's own run is kept."""
    return outputs / "sweeps" / "tracked" / identity


def read(folder: Path) -> dict[str, Any]:
    """The tracking.json of a sweep; empty where there is none or it is damaged."""
    try:
        found = json.loads((folder / "tracking.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the tracking.json of a sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    run_folder.write_whole(folder / "tracking.json", json.dumps(record, indent=2) + "\n")


def folders(outputs: Path) -> list[Path]:
    """The folders of all sweeps, the latest first."""
    found = [file.parent for file in (outputs / "sweeps" / "tracked").glob("*/tracking.json")]
    return sorted(found, key=lambda folder: read(folder).get("started", 0), reverse=True)


def waiting(outputs: Path, address: str | None = None) -> Iterator[Path]:
    """The folders of sweeps that wait for a store."""
    for folder in folders(outputs):
        record = read(folder)
        if record.get("waits") and (address is None or record.get("uri") == redacted(address)):
            yield folder


def bring_ended(folder: Path, address: str, talk: Talk) -> bool:
    """Bring a sweep's own run into MLflow where no living process conducts it; whether MLflow holds all of it."""
    record = read(folder)
    claim = Claim(folder.parents[2], record["claim"])
    if record["status"] == "RUNNING" or not claim.try_to_acquire():
        return False
    try:
        write(folder, record | bring(folder, address, talk))
    finally:
        claim.release()
    return True


def bring(folder: Path, address: str, talk: Talk) -> dict[str, Any]:
    """Bring a sweep's own run into MLflow: as often as one likes, it stays one run.

    Returns:
        What is new in its record then.
    """
    record, outputs = read(folder), folder.parents[2]
    client, experiment = open_store(address, outputs=outputs, experiment=record["experiment"])
    client = talk.heed(client)
    found = of_identity(client, experiment, record["identity"])
    run = next((run for run in found if run.info.run_id == record.get("run_id")), (found or [None])[0])
    if run is None:
        started = int(record["started"] * 1000)
        run = client.create_run(experiment, start_time=started, run_name=record["name"], tags=record["tags"])
    run_id, ended = run.info.run_id, record.get("ended")
    for other in found:
        if other.info.run_id != run_id:  # a server that had hung made it late
            client.delete_run(other.info.run_id)
    _tag(client, run, record["tags"] | (_members(record, outputs) if ended else {}))
    for file in sorted((folder / "files").glob("*")):
        client.log_artifact(run_id, str(file))
    if ended is None:
        if run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        return {"run_id": run_id}
    from mlflow.entities import Metric

    metrics = [Metric(name, value, int(ended * 1000), 0) for name, value in record["metrics"].items()]
    if metrics:
        client.log_batch(run_id, metrics=metrics)
    if record.get("late"):
        _link(client, experiment, record["identity"], run_id)
    client.set_terminated(run_id, status=record["status"], end_time=int(ended * 1000))
    return {"run_id": run_id, "waits": False}


def _tag(client: Any, run: "Run", tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    other = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
    for first in range(0, len(other), TAGS_IN_A_REQUEST):
        client.log_batch(run.info.run_id, tags=other[first : first + TAGS_IN_A_REQUEST])


def _members(record: Mapping[str, Any], outputs: Path) -> dict[str, str]:
    """The tags that list the members' runs."""
    ids = list(record["members"])
    if record["keys"]:  # some of them may have come to MLflow after the sweep had ended
        by_key = {path.name[-12:]: path for path in (outputs / "runs").glob("*") if ".before-" not in path.name}
        found = [by_key[key[:12]] for key in record["keys"] if key[:12] in by_key]
        ids = [run_folder.read(path).get("mlflow_run_id") for path in found]
    ids = [run_id for run_id in dict.fromkeys(ids) if run_id]
    parts = [ids[first : first + MEMBERS_IN_A_TAG] for first in range(0, len(ids), MEMBERS_IN_A_TAG)] or [[]]
    return {f"stylelab.members.{n}" if n else "stylelab.members": json.dumps(part) for n, part in enumerate(parts)}


def _link(client: Any, experiment: str, identity: str, run_id: str) -> None:
    """Link the runs that came to MLflow before their sweep's own."""
    token = None
    while True:
        of_sweep = f"tags.`{SWEEP_IDENTITY}` = '{identity}'"
        page = client.search_runs([experiment], of_sweep, max_results=RUNS_IN_A_PAGE, page_token=token)
        for run in page:
            if run.data.tags.get(PARENT) != run_id:
                client.set_tag(run.info.run_id, PARENT, run_id)
        token = page.token
        if not token:
            return
