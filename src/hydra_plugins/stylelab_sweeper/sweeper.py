"""Hydra's grid of overrides, carried out by `stylelab.sweep`: checked whole before the first run, whole at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import open_dict

from stylelab.configuration import as_yaml


class StylelabSweeper(BasicSweeper):
    """Expands the overrides as Hydra's basic sweeper does, and launches those whose runs are not finished."""

    given: Sequence[str] | None = None  # overrides of Hydra's own part, before those that launching adds

    def sweep(self, arguments: list[str]) -> None:
        """Expand, check, launch, sum up."""
        from stylelab.composition import Composer, runs_of  # heavy, and not wanted by --help
        from stylelab.sweep import conduct

        loader = self.hydra_context.config_loader
        runs = runs_of(arguments, params=self.params, config_loader=loader)
        conduct(runs, compose=Composer(self.config, loader), launch=self._launch, config=self.config)

    def _launch(self, jobs: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        """Launch jobs with these environment variables, which reach the workers of every launcher."""
        self.given = list(self.config.hydra.overrides.hydra) if self.given is None else self.given
        added = [f"++hydra.job.env_set.{name}={_quoted(value)}" for name, value in environment.items()]
        with open_dict(self.config.hydra.overrides):
            self.config.hydra.overrides.hydra = [*self.given, *added]
        self.launcher.config = self.config  # some launchers keep a copy from `setup`
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").write_text(as_yaml(self.config))
        size = self.max_batch_size or len(jobs)
        for first in range(0, len(jobs), size):
            self.launcher.launch(jobs[first : first + size], initial_job_idx=first)


def _quoted(value: str) -> str:
    """A text as Hydra's overrides take it, whatever is in it."""
    escaped = value.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"
