"""Addresses of stores: which can be one, and that no credentials of them are shown."""

import os

import pytest

from stylelab import addresses


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://host:5432/db"),
        ("https://token@host/mlflow", "https://host/mlflow"),
        ("https://me:p@ss@host/x", "https://host/x"),
        ("postgresql://me:pa/ss@host/db", "postgresql://host/db"),
        ("postgresql+psycopg2://me:secret@host/db?sslmode=require", "postgresql+psycopg2://host/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=***&password=***"),
        ("https://host?token=secret", "https://host?token=***"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("'http://host:5000', 'http://[::1]:5000/x'", "'http://host:5000', 'http://[::1]:5000/x'"),
        ("postgresql://me:secret", "postgresql://me:***"),
        (
            "API request to http://me:secret@host/api failed: see tracking.uri=http://me:secret@host,seed=1",
            "API request to http://host/api failed: see tracking.uri=http://host,seed=1",
        ),
        (r"tracking.uri=http\://me\:secret@host\:5000?a\=b", r"tracking.uri=http\://host\:5000?a\=***"),
        ("env_set.MLFLOW_TRACKING_PASSWORD=secret,seed=1", "env_set.MLFLOW_TRACKING_PASSWORD=***,seed=1"),
    ],
)
def test_a_text_is_shown_without_credentials(text: str, shown: str) -> None:
    assert addresses.redacted(text) == shown


def test_every_text_of_nested_values_is_shown_without_credentials() -> None:
    values = {"a": ["x=http://me:secret@h", 1, None], "MLFLOW_TRACKING_TOKEN": "secret", "b": {"c": "ftp://u@h/x"}}
    assert addresses.redacted_values(values) == {
        "a": ["x=http://h", 1, None], "MLFLOW_TRACKING_TOKEN": "***", "b": {"c": "ftp://h/x"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////tmp/x/mlflow.db", "sqlite:///here.db", "http://host:5000", "https://me:secret@host/below",
        "postgresql://me:s%40cret@host:5432/db?sslmode=require", "postgresql+psycopg2:///db?host=/run", "databricks",
        "mysql+pymysql://me@host/db",
    ],
)  # fmt: skip
def test_what_can_be_a_store_is_let_through(address: str) -> None:
    addresses.check(address, key="tracking.uri")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mlruns", "is no store that MLflow still writes to"),
        ("file:///tmp/mlruns", "is no store that MLflow still writes to"),
        ("htp://me:secret@host", "MLflow knows no store of the kind htp"),
        ("http://me:sec@ret@host", "can't be taken apart"),
        ("http://me:12/secret@host", "can't be taken apart"),
        ("http://me:sec ret@host", "can't be taken apart"),
        ("http://", "can't be taken apart"),
        ("http://:5000", "names no host"),
        ("postgresql://me:secret@host:port/db", r"the port of postgresql://host:\*\*\*/db is no number"),
        ("postgresql://me:secret", r"the port of postgresql://me:\*\*\* is no number"),
    ],
)
def test_what_can_not_be_a_store_is_refused_without_its_secrets(address, reason, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ValueError, match=rf"^tracking.uri: .*{reason}") as refused:
        addresses.check(address, key="tracking.uri")
    assert "sec" not in str(refused.value) and "ret@" not in str(refused.value)
    assert addresses.redacted(str(refused.value)) == str(refused.value)  # as it is shown: the example stays whole


def test_credentials_come_from_the_environment_where_it_names_the_same_store(monkeypatch) -> None:
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", "postgresql://me:secret@host/db")
    assert addresses.with_credentials("postgresql://host/db") == "postgresql://me:secret@host/db"
    assert addresses.with_credentials("postgresql://other/db") == "postgresql://other/db"
