"""`hydra/launcher=batched`: this process, several runs at a time."""

from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher

from hydra_plugins.stylelab_launchers.engine import at_least


class BatchedLauncher(BasicLauncher):
    """Hydra's own launcher; the sweep bundles the runs that it is given.

    Args:
        batch: see conf/hydra/launcher/batched.yaml; `stylelab.sweep` reads it.
    """

    def __init__(self, *, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def setup(self, **given: Any) -> None:
        """Keep what Hydra hands over.

        Raises:
            ValueError: the batch is no whole number, or below one.
        """
        at_least("batch", self.batch, 1)
        super().setup(**given)
