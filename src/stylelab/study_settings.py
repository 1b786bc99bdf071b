"""What a study is told under `hydra.sweeper`, checked, and what Optuna makes of it: storage, sampler, pruner, space."""

import hashlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from stylelab.addresses import redacted
from stylelab.schema import KINDS, at_least, build, same_length, suggestion
from stylelab.search_space import Choice, Dimension

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "nsgaii": "NSGAIISampler", "random": "RandomSampler"}
PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "hyperband": "HyperbandPruner",
    "halving": "SuccessiveHalvingPruner",
    "threshold": "ThresholdPruner",
}
RULERS = ("reference/", "embedded_reference/")
WAIT = 60  # seconds for a SQLite file that another process writes to
ANSWER = 10  # seconds for a server to be reached


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of conf/hydra/sweeper/optuna.yaml, less `params`."""

    metrics: tuple[str, ...]
    directions: tuple[Literal["minimize", "maximize"], ...] | None
    n_trials: int
    batch_size: int | None
    storage: str
    sampler: dict  # kind, seed, and arguments of Optuna's class
    pruner: dict  # kind, every, and arguments of Optuna's class

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> "Settings":
        """The record of a resolved `hydra.sweeper`.

        Raises:
            ValueError: names the key, what was found and what would do.
        """
        told = {key: value for key, value in values.items() if key not in ("_target_", "params")}
        return build(cls, told, where="hydra.sweeper")

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(
                f"hydra.sweeper.metrics: found {list(self.metrics)}, expected one metric or several, each once"
            )
        if self.directions is not None:
            same_length(
                "hydra.sweeper.directions", self.directions, "hydra.sweeper.metrics", self.metrics, "per metric"
            )
        at_least("hydra.sweeper.n_trials", self.n_trials, 1)
        if self.batch_size is not None:
            at_least("hydra.sweeper.batch_size", self.batch_size, 1)
        _check_part("sampler", self.sampler, SAMPLERS, number="seed", least=0)
        _check_part("pruner", self.pruner, PRUNERS, number="every", least=1)
        if self.prunes and len(self.metrics) > 1:
            raise ValueError(
                f"hydra.sweeper.pruner.kind: Optuna prunes by one metric, but there are {len(self.metrics)}: give one "
                "in hydra.sweeper.metrics, or use none"
            )
        if self.prunes and not self.metrics[0].startswith(RULERS):
            raise ValueError(
                f"hydra.sweeper.pruner.kind: {self.metrics[0]} is known only at the end of a run: use "
                "hydra.sweeper.metrics=[reference/style] or [reference/content], or kind=none"
            )

    @property
    def prunes(self) -> bool:
        """Whether runs may be ended early."""
        return self.pruner["kind"] != "none"

    @property
    def aims(self) -> list[str]:
        """The direction of each metric."""
        return list(self.directions or ["minimize"] * len(self.metrics))


def _check_part(name: str, found: Mapping[str, Any], kinds: Mapping[str, str], *, number: str, least: int) -> None:
    for key, expected in (("kind", str), (number, int)):
        if type(found.get(key)) is not expected:
            raise ValueError(f"hydra.sweeper.{name}.{key}: found {found.get(key)!r}, expected {KINDS[expected]}")
    if found["kind"] not in kinds:
        raise ValueError(
            f"hydra.sweeper.{name}.kind: there is no {found['kind']}{suggestion(found['kind'], list(kinds))}"
        )
    at_least(f"hydra.sweeper.{name}.{number}", found[number], least)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ValueError("hydra/sweeper=optuna: Optuna is not installed: pip install 'stylelab[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    return optuna


def sampler(settings: Settings, number: int) -> "BaseSampler":
    """Optuna's sampler for the trial of this number, whose random numbers come of the study's seed and the number."""
    kind, arguments = _told(settings.sampler, "seed")
    digest = hashlib.sha256(f"{settings.sampler['seed']} {number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    return _made("sampler", getattr(_optuna().samplers, SAMPLERS[kind]), arguments | {"seed": seed})


def pruner(settings: Settings) -> "BasePruner":
    """Optuna's pruner."""
    kind, arguments = _told(settings.pruner, "every")
    return _made("pruner", getattr(_optuna().pruners, PRUNERS[kind]), arguments)


def _told(part: Mapping[str, Any], own: str) -> tuple[str, dict[str, Any]]:
    return part["kind"], {key: value for key, value in part.items() if key not in ("kind", own)}


def _made(name: str, of: type, arguments: Mapping[str, Any]) -> Any:
    known = list(inspect.signature(of).parameters)
    for key in arguments:
        if key not in known:
            raise ValueError(f"hydra.sweeper.{name}.{key}: {of.__name__} takes no {key}{suggestion(key, known)}")
    try:
        return of(**arguments)
    except (ValueError, TypeError) as error:
        raise ValueError(f"hydra.sweeper.{name}: {of.__name__} does not take {dict(arguments)}: {error}") from error


def distribution(of: Dimension) -> "BaseDistribution":
    """A dimension as Optuna describes it."""
    from optuna import distributions

    if isinstance(of, Choice):
        return distributions.CategoricalDistribution(of.values)
    if isinstance(of.low, int):
        return distributions.IntDistribution(of.low, of.high, step=int(of.step or 1), log=of.log)
    return distributions.FloatDistribution(of.low, of.high, step=of.step, log=of.log)


def open_study(settings: Settings, name: str, *, outputs: Path) -> "Study":
    """The study of a name, which is made where it is missing.

    Raises:
        ValueError: Optuna is not installed, the storage can't be used, or the study there has other metrics.
    """
    optuna = _optuna()
    made = {"sampler": sampler(settings, 0), "pruner": pruner(settings)}
    with FileLock(outputs / "optuna.lock"):  # the first use of a fresh storage is no race
        study = optuna.create_study(
            storage=open_storage(settings.storage),
            study_name=name,
            load_if_exists=True,
            directions=settings.aims,
            **made,
        )
        before = study.user_attrs.get("metrics")
        told = [f"{direction} {metric}" for direction, metric in zip(settings.aims, settings.metrics, strict=True)]
        if before is None:
            study.set_user_attr("metrics", told)
            study.set_metric_names(list(settings.metrics))
        elif before != told:
            raise ValueError(
                f"hydra.sweeper.metrics: the study {name} was begun to {' and '.join(before)}, not to "
                f"{' and '.join(told)}: name another study by sweep=NAME"
            )
    return study


def open_storage(address: str) -> "BaseStorage":
    """Optuna's storage; its tables are made where they are missing.

    Raises:
        ValueError: there is no such storage, or it does not answer.
    """
    optuna = _optuna()
    if "://" not in address:
        raise ValueError(
            f"hydra.sweeper.storage: found {redacted(address)!r}, expected sqlite:///FILE or postgresql://..."
        )
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        engine = {"connect_args": {"timeout": WAIT}}
    else:
        engine = {"connect_args": {"connect_timeout": ANSWER}, "pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(address, engine_kwargs=engine)
    except ImportError as error:  # Optuna's own words for a missing driver
        cure = ": pip install 'psycopg[binary]'" if address.startswith("postgresql:") else ""
        shown = redacted(address)
        raise ValueError(f"hydra.sweeper.storage: {shown} needs a driver that is not installed{cure}") from error
    except Exception as error:  # whatever a database's driver says
        said = " ".join(str(error.__cause__ or error).split()).replace(address, redacted(address))[:300]
        raise ValueError(f"hydra.sweeper.storage: {redacted(address)} can't be used: {said}") from error
