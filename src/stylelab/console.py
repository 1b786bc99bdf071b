"""What the command line says: errors in one line, Hydra's own record, where a finished run is."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stylelab.configuration import CONFIGURATION_ERRORS, in_one_line

if TYPE_CHECKING:
    from stylelab.recorders import Record

FULL_ERROR = "HYDRA_FULL_ERROR"  # Hydra's own switch: with it set, every error shows its traceback


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's error leaves one line on stderr and exit code 1; ours leave their traceback."""
    wants_traceback = os.environ.get(FULL_ERROR, "0") not in ("", "0")
    os.environ[FULL_ERROR] = "1"  # so that Hydra hands errors on instead of printing them its own way
    try:
        yield
    except KeyboardInterrupt as interrupt:
        terminated = type(interrupt).__name__ == "Terminated"
        sys.exit(143 if terminated else 130)  # 128 + the signal's number, as shells report it
    except (ValueError, OSError, FloatingPointError, MemoryError, *CONFIGURATION_ERRORS) as error:
        if wants_traceback:
            raise
        text = in_one_line(error) if isinstance(error, CONFIGURATION_ERRORS) else " ".join(str(error).split())
        sys.exit(f"stylelab: {text}")


@contextmanager
def one_line_errors_of_a_single_run() -> Iterator[None]:
    """End a single run here: Hydra would print a line of its own first. A sweep goes on with its other runs."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        yield
        return
    with one_line_errors():
        yield


def hydra_record(config: DictConfig) -> Mapping[str, str]:
    """The three files that Hydra leaves in a job's folder."""
    hydra = HydraConfig.get()
    return {
        ".hydra/config.yaml": OmegaConf.to_yaml(config),
        ".hydra/hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        ".hydra/overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(hydra.overrides.task))),
    }


def report(record: "Record") -> None:
    """Say where the picture and the tracked run are, and how to open MLflow on it."""
    from stylelab.tracking import store_uri

    spec = record.job.spec
    print(f"picture: {record.job.folder / 'pastiche.png'}")
    for name in sorted(record.metrics):
        if name.endswith(("reference/style", "reference/content")):
            print(f"{name}: {record.metrics[name]:.4f}")
    if spec.tracking.store == "mlflow":
        uri = store_uri(spec.tracking.uri, Path(spec.outputs))
        print(f"tracked run: {record.tracking['mlflow_run_id']} in {uri}")
        mlflow = Path(sys.executable).with_name("mlflow")
        print(f"to see it: {shlex.quote(str(mlflow))} ui --backend-store-uri {shlex.quote(uri)}")
