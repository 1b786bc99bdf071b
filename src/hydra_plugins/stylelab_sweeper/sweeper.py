"""Hydra's grid of overrides, carried out by `stylelab.sweep`: checked whole before the first run, finished whole after."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict


class StylelabSweeper(BasicSweeper):
    """Expands the overrides as Hydra's basic sweeper does, and launches those whose runs are not finished."""

    def sweep(self, arguments: list[str]) -> None:
        """Expand, check, launch, sum up."""
        from stylelab.sweep import conduct  # heavy, and not wanted by --help

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [list(job) for batch in self.split_arguments(overrides, None) for job in batch]
        conduct(jobs, compose=self._compose, launch=self._launch, config=self.config)

    def _compose(self, overrides: Sequence[str]) -> object:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))

    def _launch(self, jobs: Sequence[Sequence[str]], environment: dict[str, str]) -> None:
        """Launch jobs with these environment variables, which reach the workers of every launcher."""
        with open_dict(self.config.hydra.overrides):
            self.config.hydra.overrides.hydra += [
                f"+hydra.job.env_set.{name}='{value}'" for name, value in environment.items()
            ]
        self.launcher.config = self.config  # some launchers keep a copy from `setup`
        OmegaConf.save(self.config, f"{self.config.hydra.sweep.dir}/multirun.yaml")
        size = self.max_batch_size or len(jobs)
        for first in range(0, len(jobs), size):
            self.launcher.launch(jobs[first : first + size], initial_job_idx=first)
