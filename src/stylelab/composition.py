"""Configurations composed outside Hydra's own entry, for the commands that paint nothing; and a sweep's runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from stylelab.configuration import CONF, register_resolvers


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of `stylelab OVERRIDES`, less Hydra's own part."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(config_name="config", overrides=list(overrides))


def runs_of(
    arguments: Sequence[str], *, params: Mapping[str, str] | None, config_loader: Any
) -> list[tuple[str, ...]]:
    """The overrides of every run of a sweep: the grid of what an experiment sweeps and what the command line adds."""
    parser = OverridesParser.create(config_loader=config_loader)
    swept = [f"{key}={values}" for key, values in (params or {}).items()]
    batches = BasicSweeper.split_arguments(parser.parse_overrides([*swept, *arguments]), None)
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
        return use(runs, lambda run: loader.load_sweep_config(config, list(run)))
