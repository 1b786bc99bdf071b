"""`hydra/launcher=ray`: tasks of a Ray cluster."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from hydra_plugins.stylelab_launchers.engine import EngineLauncher, at_least, threads_environment

# Of the environment, which Ray itself does not hand on.
FORWARDED = ("MLFLOW_", "STYLELAB_", "AWS_", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "THP_")


class RayLauncher(EngineLauncher):
    """One task for each run; Ray places them and starts those again whose worker or node died.

    Args:
        address, threads, gpus, memory_gb, retries: see conf/hydra/launcher/ray.yaml.
    """

    engine = extra = "ray"

    def __init__(self, *, address: str, threads: int, gpus: float, memory_gb: float | None, retries: int) -> None:
        self.address, self.threads, self.gpus = address, threads, gpus
        self.memory_gb, self.retries = memory_gb, retries

    def check(self) -> None:
        """Refuse settings that are out of their range."""
        at_least("threads", self.threads, 1)
        at_least("gpus", self.gpus, 0, kind=float)
        at_least("memory_gb", self.memory_gb, 0, kind=float)
        at_least("retries", self.retries, 0)

    def open(self, runs: int, folder: Path) -> None:
        """Join the cluster.

        Raises:
            ValueError: there is none.
        """
        if "RAY_AUTH_MODE" not in os.environ and self.address != "local" and _has_token():
            os.environ["RAY_AUTH_MODE"] = "token"  # as `ray start` decides it; joining, Ray does not look by itself
        import ray

        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="warning", ignore_reinit_error=True)
        except ConnectionError as error:
            refused = "InvalidAuthToken" in str(error.__cause__)
            raise ValueError(
                f"hydra.launcher.address: the Ray cluster at {self.address} refuses the token: set RAY_AUTH_TOKEN_PATH"
                if refused
                else f"hydra.launcher.address: found no Ray cluster at {self.address}: start one by ray start --head, "
                "or use hydra.launcher.address=local"
            ) from error
        self.options = {"num_cpus": self.threads, "num_gpus": self.gpus, "max_retries": self.retries}
        if self.memory_gb:
            self.options["memory"] = self.memory_gb * 1e9
        environment = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
        self.environment = environment | threads_environment(self.threads)

    def start(self, works: Sequence[Any]) -> Sequence[Any]:
        """A task for each."""
        import ray

        task = ray.remote(_paint)
        return [
            task.options(name=f"run {work.number}", **self.options).remote(replace(work, environment=self.environment))
            for work in works
        ]

    def ended(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Those that have ended within a second."""
        import ray

        return ray.wait(list(handles), num_returns=1, timeout=1)[0]

    def result(self, handle: Any) -> JobReturn:
        """What the run returned."""
        import ray

        return ray.get(handle)

    def stop(self, handles: Sequence[Any]) -> None:
        """A KeyboardInterrupt in each; those that wait are forgotten."""
        import ray

        for handle in handles:
            ray.cancel(handle)

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        ray.shutdown()


def _paint(work: Any) -> JobReturn:
    """A run within a task."""
    return work()


def _has_token() -> bool:
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return given or (Path.home() / ".ray" / "auth_token").is_file()
