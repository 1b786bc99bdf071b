"""Configurations composed outside Hydra's own entry, for the commands that paint nothing; and a sweep's runs."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylelab.configuration import CONF, ours, register_resolvers


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of `stylelab OVERRIDES`, less Hydra's own part."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(config_name="config", overrides=list(overrides))


def runs_of(arguments: Sequence[str], *, params: Mapping[str, str] | None, config_loader: Any) -> list[tuple[str, ...]]:
    """The overrides of every run of a sweep: the grid of what an experiment sweeps and what the command line adds."""
    parser = OverridesParser.create(config_loader=config_loader)
    swept = [f"{key}={values}" for key, values in (params or {}).items()]
    overrides = parser.parse_overrides([*swept, *arguments])
    for override in overrides:
        if override.is_interval_sweep():
            key, _, interval = override.input_line.partition("=")
            raise ValueError(
                f"{key}: {interval} lists no values: a study searches it, by hydra/sweeper=optuna; a sweep or a plan "
                f"takes values, as in {key}=0.1,0.2"
            )
    batches = BasicSweeper.split_arguments(overrides, None)
    return [tuple(run) for batch in batches for run in batch]


def composed_sweep(
    overrides: Sequence[str], use: Callable[[list[tuple[str, ...]], Callable[[Sequence[str]], DictConfig]], Any]
) -> Any:
    """What `use` makes of the runs of `stylelab -m OVERRIDES` and of a function that composes each."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="stylelab"):
        hydra = GlobalHydra.instance().hydra
        config = hydra.compose_config(config_name="config", overrides=list(overrides), run_mode=RunMode.MULTIRUN)
        arguments, params = config.hydra.overrides.task, config.hydra.sweeper.get("params")
        loader = hydra.config_loader
        runs = runs_of(arguments, params=params, config_loader=loader)
        return use(runs, Composer(config, loader))


class Composer:
    """Composes the runs of a sweep to what Hydra makes of them, at a tenth of its time and less.

    Hydra puts the options of groups together, then sets values one after another. The runs of a sweep share most of
    their options, so those are put together once by Hydra itself, and on a copy of that the values are set as it does.
    Whatever else an override can do, adding and deleting keys above all, is left to Hydra, and so is every error.

    Args:
        config: the sweep's own configuration.
        loader: Hydra's.
    """

    def __init__(self, config: DictConfig, loader: Any) -> None:
        self.config, self.loader = config, loader
        self.parser = OverridesParser.create(config_loader=loader)
        self.parsed: dict[str, Override] = {}
        self.is_group: dict[str, bool] = {}
        self.composed: dict[tuple[str, ...], DictConfig] = {}  # options of groups -> our part of what they make

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a run, less Hydra's own part."""
        parted = self._options_and_values(overrides)
        if parted is None:
            return self.by_hydra(overrides)
        options, values = parted
        if options not in self.composed:
            self.composed[options] = self.by_hydra(options)
        found = copy.deepcopy(self.composed[options])
        try:
            for value in values:
                OmegaConf.update(found, value.key_or_group, value.value(), merge=True)
        except OmegaConfBaseException:
            return self.by_hydra(overrides)  # raises with Hydra's words
        return found

    def by_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """The same, by Hydra alone."""
        found = ours(self.loader.load_sweep_config(self.config, list(overrides)))
        OmegaConf.copy_cache(from_config=self.config, to_config=found)
        OmegaConf.set_struct(found, True)
        return found

    def _options_and_values(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]] | None:
        """The overrides that choose options or are Hydra's own, and those that set values; None for any others."""
        options, values = [], []
        for text in overrides:
            if text not in self.parsed:
                (self.parsed[text],) = self.parser.parse_overrides([text])
            override = self.parsed[text]
            key, is_group = override.key_or_group, self._is_group(override.key_or_group)
            if key.startswith("hydra.") or (is_group and not isinstance(override.value(), dict)):
                options.append(text)
            elif is_group or override.type != OverrideType.CHANGE or override.package or override.is_sweep_override():
                return None
            else:
                values.append(override)
        return tuple(options), values

    def _is_group(self, name: str) -> bool:
        if name not in self.is_group:
            self.is_group[name] = bool(self.loader.get_group_options(name, results_filter=None))
        return self.is_group[name]
