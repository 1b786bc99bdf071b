"""The MLflow store that runs are tracked in: where it is, and its first use without a race."""

import getpass
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from stylelab import addresses

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # a long value is an error, never cut
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
ANSWERS = {  # how long MLflow waits for a server; we try again ourselves, and wait for nothing meanwhile
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds without a byte
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "PGCONNECT_TIMEOUT": "10",  # seconds
}
FILES = ("sqlite",)  # stores that are a file: no server that could be away


def store_uri(uri: str | None, outputs: Path) -> str:
    """Where runs are tracked: the configured address, else MLFLOW_TRACKING_URI, else SQLite under outputs.

    Raises:
        ValueError: it can be no store's address.
    """
    given = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not given:
        return f"sqlite:///{(outputs / 'mlflow.db').resolve()}"
    addresses.check(given, key="tracking.uri" if uri else "MLFLOW_TRACKING_URI")
    return given


def is_file(address: str) -> bool:
    """Whether a store is a file, that is to say SQLite."""
    return address.partition("://")[0].partition("+")[0] in FILES


def is_server(address: str) -> bool:
    """Whether a store is a server of MLflow's, which keeps artifacts itself."""
    return address.startswith(("http://", "https://", "databricks", "uc"))


def check_driver(address: str) -> None:
    """Refuse a database whose driver is not installed.

    Raises:
        ValueError: says which package it needs.
    """
    if is_server(address) or is_file(address):
        return
    from sqlalchemy import make_url

    try:
        make_url(address).get_dialect().import_dbapi()
    except ImportError as error:
        package = "psycopg[binary]" if error.name == "psycopg" else error.name
        raise ValueError(
            f"tracking.uri: {addresses.redacted(address)} needs a driver that is not installed: pip install {package!r}"
        ) from error


def import_mlflow() -> None:
    """Import MLflow, which takes seconds, without telemetry, chatter and long waits."""
    for name, value in (QUIET | ANSWERS).items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print the address with its password
    import mlflow  # noqa: F401

    for chatty in ("mlflow", "alembic"):  # mlflow sets its own level when it is imported
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def open_store(uri: str | None, *, outputs: Path, experiment: str) -> tuple["MlflowClient", str]:
    """A client and the experiment's id; both store and experiment are made where they are missing.

    Parallel first use destroys a fresh database (its migrations race), so the first use is behind a lock; and the
    experiment is made here, because MLflow would put its artifacts below whatever the working directory is.
    """
    import_mlflow()
    from mlflow import MlflowClient

    address = store_uri(uri, outputs)
    check_driver(address)
    outputs.mkdir(parents=True, exist_ok=True)
    with nullcontext() if is_server(address) else FileLock(outputs / "mlflow.lock"):
        _make_whole(address)
        client = MlflowClient(tracking_uri=address)
        return client, _experiment(client, experiment, outputs)


def _experiment(client: "MlflowClient", name: str, outputs: Path) -> str:
    """The id of an experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    local = not is_server(client.tracking_uri)
    artifacts = (outputs / "mlartifacts" / name).resolve().as_uri() if local else None
    try:
        return client.create_experiment(name, artifact_location=artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_experiment_by_name(name).experiment_id  # another process was quicker


def _make_whole(address: str) -> None:
    """Make a missing SQLite store beside its place, then move it: killed amid its migrations it would never open."""
    path = Path(address.removeprefix("sqlite:///"))
    if not address.startswith("sqlite:///") or path.is_file():
        return
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    for left in (partial, partial.with_name(f"{partial.name}-journal")):
        left.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
    os.replace(partial, path)


def user() -> str:
    """Whose runs these are."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
