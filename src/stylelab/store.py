"""The MLflow store that runs are tracked in: where it is, and its first use without a race."""

import getpass
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # a long value is an error, never cut
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
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
        _make_whole(address)
        client = MlflowClient(tracking_uri=address)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, found.experiment_id
        local = address.startswith("sqlite:")
        artifacts = (outputs / "mlartifacts" / experiment).resolve().as_uri() if local else None
        return client, client.create_experiment(experiment, artifact_location=artifacts)


def _make_whole(address: str) -> None:
    """Make a missing SQLite store beside its place and move it there: killed amid its migrations it would never open."""
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
