"""A run's folder becomes one run in MLflow, however often it is brought and whatever a server did late."""

import json
from pathlib import Path

import pytest
from victims import Place

from stylelab import run_folder, spool, store
from stylelab.mirror import IDENTITY, Mirror, of_identity
from stylelab.patience import Talk
from stylelab.uploader import bring

STEPS = ("optimizer.steps=4", "tracking.pictures_every=2")


def test_a_folder_brought_again_is_the_same_run_and_a_late_double_is_removed(place: Place) -> None:
    place.paint(*STEPS)
    (folder,) = place.folders()
    record, address = run_folder.read(folder), f"sqlite:///{place.outputs}/mlflow.db"
    identity = record["mlflow_identity"]
    before = place.ask("select key, step, timestamp, value from metrics order by key, step")
    client, experiment = store.open_store(address, outputs=place.outputs, experiment="stylelab")
    double = client.create_run(experiment, tags={IDENTITY: identity}).info.run_id
    client.update_run(record["mlflow_run_id"], status="RUNNING")  # as a hung server may do late

    tracking = {"uri": address, "experiment": "stylelab", "identity": identity, "name": folder.name}
    more = {"tags": {"stylelab.verdict": "identical"}, "metrics": {}}
    spool.begin(folder, tracking | {"tags": {IDENTITY: identity}, "more": more}, {})
    assert bring(folder, address, Talk(address))
    (run,) = of_identity(client, experiment, identity)
    assert run.info.run_id == record["mlflow_run_id"] != double
    assert (run.info.status, run.data.tags["stylelab.verdict"]) == ("FINISHED", "identical")
    assert place.ask("select key, step, timestamp, value from metrics order by key, step") == before
    assert list(spool.waiting(place.outputs)) == [] and not spool.path(folder).exists()


def test_a_damaged_spool_waits_for_nothing_and_can_not_be_brought(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    spool.begin(folder, {"identity": "0" * 32}, {})
    run_folder.write(folder, {"status": "FINISHED"})
    assert list(spool.waiting(tmp_path)) == [folder]
    with pytest.raises(ValueError, match=r"its run.json or spool/tracking.json is damaged"):
        Mirror(None, "0", folder)
    for damaged in ("{", json.dumps([1])):
        (spool.path(folder) / "tracking.json").write_text(damaged)
        assert list(spool.waiting(tmp_path)) == []


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^tracking.uri: mysql\+pymysql://host/db needs a driver .* pip install"):
        store.check_driver("mysql+pymysql://me:secret@host/db")
