"""The tracking store: first use, where artifacts go, what is shown of an address."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylelab import addresses, store

FIRST_USE = """
import sys
from pathlib import Path
from stylelab.store import open_store
client, experiment = open_store(None, outputs=Path(sys.argv[1]), experiment="together")
client.create_run(experiment)
"""


def test_four_processes_may_use_a_fresh_store_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("together")
    assert len(client.search_runs([experiment.experiment_id])) == 4
    assert experiment.artifact_location == f"file://{tmp_path}/mlartifacts/together"


def test_the_configured_store_comes_before_the_environments_and_sqlite_last(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.store_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert store.store_uri(None, tmp_path) == "http://server:5000"
    assert store.store_uri("http://other:5000", tmp_path) == "http://other:5000"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://host:5432/db"),
        ("https://token@host/mlflow", "https://host/mlflow"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("https://me:p@ss@host/x", "https://host/x"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert addresses.redacted(address) == shown


def test_telemetry_is_off_and_nothing_is_truncated(tmp_path: Path) -> None:
    store.open_store(None, outputs=tmp_path, experiment="quiet")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_TRUNCATE_LONG_VALUES"] == "false"
