"""Registers `hydra/sweeper=stylelab`; Hydra finds it by the name of this folder's parent."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from hydra_plugins.stylelab_sweeper.sweeper import StylelabSweeper

__all__ = ["StylelabSweeper"]


@dataclass
class StylelabSweeperConf:
    """The same two settings as Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.stylelab_sweeper.sweeper.StylelabSweeper"
    max_batch_size: int | None = None  # jobs launched at a time; None: all
    params: dict[str, str] | None = None  # swept values that an experiment's file brings along


ConfigStore.instance().store(group="hydra/sweeper", name="stylelab", node=StylelabSweeperConf, provider="stylelab")
