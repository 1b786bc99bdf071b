"""`hydra/sweeper=optuna`: a study, carried out by `stylelab.study`."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from hydra_plugins.stylelab_sweeper.sweeper import StylelabSweeper


class OptunaSweeper(StylelabSweeper):
    """Launches what Optuna asks for, until the study has its trials.

    Args:
        params: what is searched, by key.
        settings: the other keys of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, params: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Check, open the study, paint, sum up."""
        from stylelab.composition import Composer  # heavy, and not wanted by --help
        from stylelab.search_space import search_space
        from stylelab.study import conduct
        from stylelab.study_settings import Settings

        settings = Settings.from_config(OmegaConf.to_container(self.config.hydra.sweeper, resolve=True))
        settings = replace(settings, batch_size=settings.batch_size or self._places())
        loader = self.hydra_context.config_loader
        space = search_space(arguments, params=self.params, config_loader=loader)
        conduct(space, settings, compose=Composer(self.config, loader), launch=self._launch, config=self.config)

    def _places(self) -> int:
        """Runs that the launcher has at a time, where that is known beforehand."""
        of = self.config.hydra.launcher
        if "runs_per_gpu" not in of:
            return 1
        from hydra_plugins.stylelab_launchers.engine import shares

        device = self.config.device
        told = {"n_jobs": of.n_jobs, "threads": of.threads, "runs_per_gpu": of.runs_per_gpu, "device": device}
        return len(shares(runs=sys.maxsize, **told))
