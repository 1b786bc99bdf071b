"""The space that a study searches, from Hydra's overrides: `interval(1e-4,1e-1)`, `tag(log, ...)`, `max,average`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ParsedElementType, Quote, QuotedString, Transformer


@dataclass(frozen=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[bool | int | float | str, ...]  # a list or a quoted text as an override writes it

    @property
    def extremes(self) -> tuple:
        """The values that are tried before a study begins."""
        return self.values


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    low: float  # whole numbers where both ends are
    high: float
    step: float | None  # None: every number between
    log: bool

    @property
    def extremes(self) -> tuple:
        """The values that are tried before a study begins."""
        return (self.low, self.high)


Dimension = Choice | Interval


@dataclass(frozen=True)
class SearchSpace:
    """What a study varies, by key, and the overrides that all its runs have in common."""

    dimensions: Mapping[str, Dimension]
    fixed: tuple[str, ...]

    def run(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The overrides of the run with these values."""
        return (*self.fixed, *(f"{key}={written(values[key])}" for key in self.dimensions))

    def extremes(self) -> list[tuple[str, ...]]:
        """Runs that have every choice and both ends of every interval at least once."""
        first = {key: of.extremes[0] for key, of in self.dimensions.items()}
        others = [first | {key: value} for key, of in self.dimensions.items() for value in of.extremes[1:]]
        return [self.run(values) for values in (first, *others)]


def written(value: bool | int | float | str) -> str:
    """A value as an override writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def search_space(arguments: Sequence[str], *, params: Mapping[str, str] | None, config_loader: Any) -> SearchSpace:
    """What the overrides of a command line and an experiment's `hydra.sweeper.params` span; the command line wins.

    Raises:
        ValueError: a range is empty or can't be searched as it is tagged, or nothing varies.
    """
    lines = [f"{key}={values}" for key, values in (params or {}).items()]
    dimensions: dict[str, Dimension] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create(config_loader=config_loader).parse_overrides([*lines, *arguments]):
        key = override.get_key_element()
        for known in (dimensions, fixed):
            known.pop(key, None)
        if override.is_sweep_override():
            dimensions[key] = _dimension(key, override)
        else:
            fixed[key] = override.input_line
    if not dimensions:
        raise ValueError(
            "hydra/sweeper=optuna: nothing varies: give a key a range to search, as in "
            "weights.alpha_over_beta='tag(log, interval(1e-4, 1e-1))' or pooling=max,average"
        )
    return SearchSpace(dimensions, tuple(fixed.values()))


def _dimension(key: str, override: Override) -> Dimension:
    value = override.value()
    tags = getattr(value, "tags", set())
    if unknown := tags - {"log"}:
        raise ValueError(f"{key}: found the tag {', '.join(sorted(unknown))}, expected log or none")
    if override.is_choice_sweep():
        choices = {repr(choice): choice for choice in override.sweep_iterator(transformer=_encoded)}
        if not choices:
            raise ValueError(f"{key}: found no value to choose from: give at least two")
        if tags:
            raise ValueError(f"{key}: the tag log has no effect on a choice: give an interval or a range")
        return Choice(tuple(choices.values()))
    if override.is_interval_sweep():
        return _checked(key, Interval(value.start, value.end, step=None, log="log" in tags), override.input_line)
    values = sorted(value.range())
    if not values:
        raise ValueError(f"{key}: found the empty range {override.input_line.partition('=')[2]}")
    step = abs(value.step)
    if tags and (step != 1 or not isinstance(values[0], int)):
        raise ValueError(f"{key}: a range tagged log counts in steps of 1: use interval(...), or no tag")
    return _checked(key, Interval(values[0], values[-1], step=step, log="log" in tags), override.input_line)


def _encoded(value: ParsedElementType) -> bool | int | float | str:
    """A choice as a plain value; a text that an override could not hold bare in quotes, a list as it is written."""
    if isinstance(value, str) and re.search(r"""[,'"=(){}\[\]]""", value):
        return QuotedString(value, Quote.single).with_quotes()
    return Transformer.encode(value)


def _checked(key: str, found: Interval, line: str) -> Interval:
    line = line.partition("=")[2]
    if not found.low <= found.high:
        raise ValueError(f"{key}: found {line}, which ends before it starts")
    if found.log and found.low <= 0:
        raise ValueError(
            f"{key}: found {line}, but a logarithm needs numbers above zero: start above it, or leave log out"
        )
    return found
