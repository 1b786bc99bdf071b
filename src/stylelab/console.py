"""What the command line says: errors in one line, Hydra's own record, where a finished run is."""

import functools
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from stylelab.addresses import redacted
from stylelab.configuration import CONFIGURATION_ERRORS, as_yaml, in_one_line
from stylelab.errors import Pruned, SweepFailed, SyncFailed
from stylelab.sweep import note_fault

USERS_ERRORS = (ValueError, OSError, FloatingPointError, MemoryError, SweepFailed, SyncFailed, *CONFIGURATION_ERRORS)
OURS = "STYLELAB_FULL_ERROR_IS_OURS"  # so that a process started from here does not take our setting for the user's
FULL_ERROR = "HYDRA_FULL_ERROR"  # Hydra's own switch: with it set, every error shows its traceback


@functools.cache
def _wants_tracebacks() -> bool:
    """Whether the user asked for full errors; from then on Hydra hands errors on instead of printing them itself."""
    asked = os.environ.get(FULL_ERROR, "0") not in ("", "0") and OURS not in os.environ
    if not asked:
        os.environ |= {FULL_ERROR: "1", OURS: "1"}
    return asked


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's error leaves one line on stderr and exit code 1; ours leave their traceback."""
    wants_traceback = _wants_tracebacks()
    try:
        yield
    except KeyboardInterrupt as interrupt:
        terminated = type(interrupt).__name__ == "Terminated"
        sys.exit(143 if terminated else 130)  # 128 + the signal's number, as shells report it
    except USERS_ERRORS as error:
        if wants_traceback:
            raise
        sys.exit(f"stylelab: {in_one_line(error)}")


def is_of_a_sweep() -> bool:
    """Whether Hydra's job is one of a sweep's."""
    return not OmegaConf.is_missing(HydraConfig.get().job, "num")


@contextmanager
def one_line_errors_of_a_job() -> Iterator[None]:
    """The errors of one run. A single run ends here, before Hydra prints a line of its own.

    A sweep's run says its line and lets the others go on: the sweep's table repeats what became of it.
    """
    if not is_of_a_sweep():
        with one_line_errors():
            yield
        return
    try:
        yield
    except Exception as error:
        say_how_it_failed(HydraConfig.get().job.num, error)


def say_how_it_failed(number: int, error: Exception) -> None:
    """Say of a sweep's run what ended it, ours with its traceback, and leave it where the sweep finds it."""
    if not isinstance(error, Pruned):
        note_fault(number, error)
    if isinstance(error, (Pruned, *USERS_ERRORS)):
        print(f"stylelab: {in_one_line(error)}", file=sys.stderr, flush=True)
    else:
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="", flush=True)


def hydra_record(config: DictConfig) -> Mapping[str, str]:
    """The three files that Hydra leaves in a job's folder, less credentials."""
    hydra = HydraConfig.get()
    return {
        ".hydra/config.yaml": as_yaml(config),
        ".hydra/hydra.yaml": as_yaml(OmegaConf.create({"hydra": hydra})),
        ".hydra/overrides.yaml": as_yaml(OmegaConf.create(list(hydra.overrides.task))),
    }


def report(run: Mapping[str, Any]) -> None:
    """Say where the picture and the tracked run are, and how to open MLflow on it.

    Args:
        run: `stylelab.runner.run`'s.
    """
    if run.get("skipped"):
        print("this picture is painted already; force=true paints it again")
    print(f"picture: {Path(run['folder']) / 'pastiche.png'}")
    for name, value in sorted(run["metrics"].items()):
        if name.endswith(("reference/style", "reference/content")):
            print(f"{name}: {value:.4f}")
    if "mlflow_run_id" in run:
        uri = run["mlflow_uri"]
        print(f"tracked run: {run['mlflow_run_id']} in {uri}")
        if uri.startswith("http"):
            page = f"experiments/{run['mlflow_experiment_id']}/runs/{run['mlflow_run_id']}"
            print(f"to see it: {uri.rstrip('/')}/#/{page}")
            return
        mlflow = Path(sys.executable).with_name("mlflow")
        print(f"to see it: {shlex.quote(str(mlflow))} ui --backend-store-uri {shlex.quote(uri)}")
