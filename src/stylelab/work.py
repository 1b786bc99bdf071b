"""One run of a sweep as it travels to a worker: another process, perhaps on another machine."""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from stylelab.interrupts import named


@dataclass(frozen=True, kw_only=True)
class Work:
    """Called in a worker, it is the run; whatever the worker is and wherever it was started.

    What the run says goes to `<folder>/<number>.log`: of many runs at once nobody could read it on a terminal.
    """

    number: int
    overrides: tuple[str, ...]
    config: DictConfig  # the sweep's
    hydra: HydraContext
    task: TaskFunction
    singletons: Mapping[str, Any]  # Hydra's own, in the process that conducts the sweep
    directory: str  # that process's, which relative paths mean
    folder: str  # the sweep's
    environment: Mapping[str, str]  # set before torch is imported

    def __call__(self) -> JobReturn:
        """Paint.

        Raises:
            InterruptedError: the worker was asked to end; it is no interruption of whoever awaits the run.
        """
        try:
            return self.paint()
        except KeyboardInterrupt as interrupt:
            raise InterruptedError(named(interrupt)) from None

    def paint(self) -> JobReturn:
        """Compose the run's configuration and paint; the exception of a run that failed is its returned value.

        Raises:
            KeyboardInterrupt: Ctrl-C, SIGTERM or a cluster's notice.
        """
        os.environ |= self.environment
        os.chdir(self.directory)
        setup_globals()
        Singleton.set_state(self.singletons)
        config = self.hydra.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.number
        with (
            (Path(self.folder) / f"{self.number}.log").open("a", buffering=1) as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            return run_job(
                task_function=self.task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                hydra_context=self.hydra,
            )


def end_with_parent(parent: int) -> None:
    """End this process in order when the one that started it is gone; its Ctrl-C is not ours, its SIGTERM is.

    Args:
        parent: that process's id, as itself knows it: it may be gone before this one asks.
    """
    signal(SIGINT, SIG_IGN)

    def watch() -> None:
        while True:
            if os.getppid() != parent:
                os.kill(os.getpid(), SIGTERM)  # a run ends in order by the first, the process by the first after it
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()
