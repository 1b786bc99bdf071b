"""A tracking server that is killed, away or hung costs a run nothing but patience, and loses nothing."""

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from victims import Place, kills

from stylelab import run_folder, spool
from stylelab.commands import sync
from stylelab.errors import SyncFailed
from stylelab.patience import PATIENCE

STEPS = ("optimizer.steps=30", "tracking.pictures_every=10")
SWEEP = ("-m", "optimizer.steps=4", "sweep=three", "seed=range(3)")


@pytest.fixture(scope="module")
def nursery() -> Iterator[servers.Nursery]:
    found = servers.Nursery()
    yield found
    found.close()


@pytest.fixture
def server(nursery: servers.Nursery, tmp_path: Path, empty_store: Path) -> Iterator[servers.Server]:
    """A tracking server with an empty store of its own, not started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes((empty_store / "mlflow.db").read_bytes())
    found = servers.Server(nursery, folder)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def truth(nursery: servers.Nursery, tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict:
    """What a server holds of a run and of a sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("truth")
    undisturbed = servers.Server(nursery, folder)
    (folder / "mlflow.db").write_bytes((empty_store / "mlflow.db").read_bytes())
    undisturbed.start()
    place = Place(folder / "place", empty_store)
    uri = f"tracking.uri={undisturbed.address}"
    assert place.stylelab(*SWEEP, uri)[0] == 0
    found = {"sweep": held(undisturbed)}
    place.renew()
    place.paint(*STEPS, uri, "tracking.experiment=single")
    found["run"] = held(undisturbed, "single")
    undisturbed.kill()
    return found


def held(server: servers.Server, experiment: str = "stylelab") -> dict:
    from mlflow import MlflowClient

    return servers.tracked(MlflowClient(server.address), experiment)


def painted(place: Place, *settings: str) -> str:
    """Paint to the end, exit code 0; what was said."""
    place.log.unlink(missing_ok=True)
    kills.finish(servers.painting, place.configured(*settings), log=place.log)
    return place.log.read_text()


def test_a_server_killed_at_random_moments_holds_what_it_would_hold_undisturbed(place, server, truth: dict) -> None:
    dice = random.Random(1)
    server.start()
    place.log.unlink(missing_ok=True)
    configuration = place.configured(*STEPS, f"tracking.uri={server.address}", "tracking.experiment=single")
    painter = kills.begin(servers.painting, configuration, log=place.log)
    for _ in range(3):
        painter.join(dice.uniform(0, 0.6))
        server.kill()
        painter.join(dice.uniform(0, 0.3))
        server.start(wait=False)
    painter.join()
    assert painter.exitcode == 0, place.log.read_text()
    while not server.answers():
        time.sleep(0.05)
    sync.sync(place.outputs, None)
    assert held(server, "single") == truth["run"]
    assert list(spool.waiting(place.outputs)) == []


def test_a_run_whose_server_is_away_or_hung_ends_with_its_picture_and_is_brought_later(place, server, truth) -> None:
    uri = f"tracking.uri={server.address}"
    settings = (*STEPS, uri, "tracking.experiment=single")
    said = painted(place, *settings)
    (folder,) = place.folders()
    assert run_folder.is_whole(folder) and "mlflow_run_id" not in run_folder.read(folder)
    assert f"warning: {server.address}: " in said and f"waits in {folder}/spool" in said
    assert PATIENCE <= float(re.search(r"waited ([\d.]+) s", said).group(1)) < PATIENCE + 1
    with pytest.raises(SyncFailed, match="1 of 1 still wait"):
        sync.sync(place.outputs, None)

    server.start()
    server.hang()
    other = (*settings, "seed=1", "canvas=noise")
    said = painted(place, *other)
    assert float(re.search(r"waited ([\d.]+) s", said).group(1)) < PATIENCE + 1
    assert f"warning: {server.address}" in said
    assert len(list(spool.waiting(place.outputs))) == 2

    server.go_on()
    said = painted(place, *other)  # the next run brings what waits
    assert "warning" not in said and list(spool.waiting(place.outputs)) == []
    found = held(server, "single")
    assert len(found) == 2 and found[folder.name] == truth["run"][folder.name]
    record = run_folder.read(folder)
    began, ended = int(record["started"] * 1000), int(record["ended"] * 1000)
    from mlflow import MlflowClient

    run = MlflowClient(server.address).get_run(record["mlflow_run_id"])
    assert (run.info.start_time, run.info.end_time) == (began, ended)
    times = MlflowClient(server.address).get_metric_history(run.info.run_id, "loss/total")
    assert began < times[0].timestamp < times[-1].timestamp < ended


def test_a_sweep_without_its_server_paints_everything_and_looks_undisturbed_afterwards(place, server, truth) -> None:
    code, said = place.stylelab(*SWEEP, f"tracking.uri={server.address}")
    assert code == 0 and "3 finished" in said
    assert said.count("painting goes on") >= 1 and "stylelab-sync" in said
    server.start()
    sync.sync(place.outputs, None)
    found = held(server)
    assert found == truth["sweep"]
    assert [("tag", "mlflow.parentRunId") in found[name] for name in sorted(found)] == [True, True, True, False]
    from mlflow import MlflowClient

    client = MlflowClient(server.address)
    runs = client.search_runs([client.get_experiment_by_name("stylelab").experiment_id])
    tags = next(run.data.tags for run in runs if "stylelab.role" in run.data.tags)
    members = {run.info.run_id for run in runs if "stylelab.key" in run.data.tags}
    assert set(json.loads(tags["stylelab.members"])) == members
    assert json.loads(tags["stylelab.counts"]) == {"finished": 3}


def test_credentials_of_an_address_reach_no_file_no_log_and_no_tag(place, server) -> None:
    server.start()
    secret = f"{server.address.replace('//', '//someone:s3cretword@')}"
    assert place.stylelab(*SWEEP, f"tracking.uri={secret}")[0] == 0
    said = place.log.read_text()
    server.kill()
    assert place.stylelab("optimizer.steps=4", f"tracking.uri='{secret}?token=s3cretword'")[0] == 0
    said += place.log.read_text()
    for wrong in (f"{secret}/a@b", f"xyz{secret}", f"'{secret}:port/x'", f"{secret}=[", "'postgresql://a:s3cretword'"):
        code, more = place.stylelab(f"tracking.uri={wrong}")
        assert code == 1 and "tracking.uri" in more and "Traceback" not in more, more
        said += more
    files = [path for top in (place.folder, server.folder) for path in top.rglob("*") if path.is_file()]
    assert any(path.name == "multirun.yaml" for path in files) and len(files) > 40
    assert [path for path in files if b"s3cretword" in path.read_bytes()] == []
    assert "s3cretword" not in said and server.address in said
