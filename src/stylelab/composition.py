"""Configurations composed outside Hydra's own entry: for the commands that take the same overrides but paint nothing."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from stylelab.configuration import CONF, register_resolvers


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of `stylelab OVERRIDES`, less Hydra's own part."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(config_name="config", overrides=list(overrides))
