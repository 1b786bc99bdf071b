"""What holds: which option is best by a fixed ruler, and whether it is so beyond the spread over seeds."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

from stylelab.report.axes import SEED, Axis, decisive, differences
from stylelab.report.labels import measured
from stylelab.report.runs import Run
from stylelab.schema import suggestion

RULERS = ("reference", "embedded_reference")  # never mixed: each is a network of its own
COMPARED = ("style", "content")  # what a ruler measures; lower is better
MERITS = (*RULERS, "loss", "time", "memory")  # metrics of which less is better
CONFIDENCE = 0.95  # that none of the differences claimed of one axis is chance
INCOMPARABLE = {  # what raw losses can't be compared across, and why
    "network": "each network has features of its own, on a scale of its own",
    "pooling": "another pool changes the scale of every feature above it",
    "layers": "a loss sums over its layers, and each layer has a scale of its own",
    "weights.convention": "each convention divides by other numbers",
    "images": "a loss measures the distance to its own pictures, at their size",
    "precision": "the network's arithmetic differs",
}
WEIGHED = "the weights multiply it"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric over the seeds of one configuration."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample's standard deviation; None of a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        spread = f" ± {measured(self.deviation, digits=2)}" if self.deviation is not None else ""
        return f"{measured(self.mean)}{spread}"


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Finished runs that differ in nothing but their seed."""

    runs: tuple[Run, ...]

    def spread(self, metric: str) -> Spread | None:
        """A metric over them; None where they don't have it, or have no finite one."""
        values = tuple(run.metrics[metric] for run in self.runs if has(run, metric))
        return Spread(values=values) if values else None

    @property
    def random(self) -> bool:
        """Whether the seed has anything to decide: painting from a picture draws nothing."""
        return any(run.random for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric over the options of one axis, each averaged over the same settings of everything else."""

    metric: str
    means: Mapping[Hashable, float]  # by option, the lowest first
    counts: Mapping[Hashable, int]  # runs behind each
    deviation: float | None  # over seeds, pooled over options and settings; None: no claim possible
    explained: Mapping[
        Hashable, float
    ]  # how far above the best chance alone puts an option; none where no seed decides
    by_chance: bool  # whether seeds decide anything: painting from a picture draws nothing
    settings: int  # of everything else, that all options share

    @property
    def best(self) -> Hashable:
        """The option with the lowest mean."""
        return next(iter(self.means))

    def lead(self, option: Hashable) -> float:
        """How far an option is above the best."""
        return self.means[option] - self.means[self.best]

    @property
    def behind(self) -> list[Hashable]:
        """The options that are above the best by more than the spread over seeds explains."""
        return [option for option, explained in self.explained.items() if self.lead(option) > explained]


def has(run: Run, metric: str) -> bool:
    """Whether a run has a finite value of a metric."""
    return math.isfinite(run.metrics.get(metric, math.nan))


def rulers(runs: Sequence[Run]) -> list[str]:
    """The rulers that judged any of these runs."""
    return [ruler for ruler in RULERS if any(f"{ruler}/{name}" in run.metrics for run in runs for name in COMPARED)]


def judged(runs: Sequence[Run], ruler: str) -> list[Run]:
    """The finished runs that a ruler judged."""
    return [run for run in runs if run.finished and any(has(run, f"{ruler}/{name}") for name in COMPARED)]


def replicates(runs: Sequence[Run]) -> list[Replicates]:
    """Finished runs, those that differ in their seed only together."""
    found: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.finished:
            found.setdefault(_setting(run, ()), []).append(run)
    return [Replicates(runs=tuple(together)) for together in found.values()]


def pareto_front(points: Mapping[Hashable, Sequence[float]]) -> list[Hashable]:
    """The points that no other matches in every coordinate and beats in one; lower is better."""

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    return [name for name, point in points.items() if not any(beats(other, point) for other in points.values())]


def refusal(metric: str, runs: Sequence[Run]) -> str | None:
    """Why a metric can't be compared over these runs; None where it can."""
    if not metric.startswith("loss/"):
        return None
    differing = [key for key in differences(runs) if decisive(key)]
    for where, why in INCOMPARABLE.items():
        keys = [key for key in differing if key == where or key.startswith(f"{where}.")]
        if keys:
            return f"{metric} can't be compared across {keys[0]}: {why}"
    weights = [key for key in differing if key.startswith("weights.")]
    if weights and metric.count("/") == 1:
        return f"{metric} can't be compared across {weights[0]}: {WEIGHED}"
    return None


def check_metric(metric: str, runs: Sequence[Run]) -> None:
    """Refuse a metric that these runs don't have, or that can't be compared over them.

    Raises:
        ValueError: says why.
    """
    known = sorted({name for run in runs for name in run.metrics if name.partition("/")[0] in MERITS})
    if metric not in known:
        raise ValueError(f"--metric: no run has a {metric}{suggestion(metric, known) if known else ''}")
    if why := refusal(metric, [run for run in runs if metric in run.metrics]):
        raise ValueError(f"--metric: {why}; leave --metric out for the reference metrics")


def compare(axis: Axis, runs: Sequence[Run], *, metric: str) -> Comparison | None:
    """A metric over an axis's options, within settings of everything else that every option with a run was painted in.

    None where fewer than two options share a setting.
    """
    blocks = _blocks(axis, [run for run in runs if has(run, metric)])
    options = [option for option in axis.options if any(option in block for block in blocks)]
    shared = [block for block in blocks if all(option in block for option in options)]
    if len(options) < 2 or not shared:
        return None
    spreads = {option: [block[option].spread(metric) for block in shared] for option in options}
    means = {option: fmean(spread.mean for spread in spreads[option]) for option in options}
    ordered = sorted(options, key=means.__getitem__)
    timed = metric.startswith(("time/", "memory/"))  # which scatter whatever painting starts from
    by_chance = {
        option: [block[option].spread(metric) for block in shared if timed or block[option].random]
        for option in options
    }
    deviation, freedom = _pooled([spread for found in by_chance.values() for spread in found])
    explained = {}
    for option in ordered[1:]:
        pair = [*by_chance[ordered[0]], *by_chance[option]]
        if freedom and pair:
            error = deviation * sum(1 / len(spread.values) for spread in pair) ** 0.5 / len(shared)
            explained[option] = tukey(len(options), freedom) * error
    return Comparison(
        metric=metric,
        means={option: means[option] for option in ordered},
        counts={option: sum(len(spread.values) for spread in spreads[option]) for option in ordered},
        deviation=deviation if explained else None,
        explained=explained,
        by_chance=any(by_chance.values()),
        settings=len(shared),
    )


@cache
def tukey(options: int, freedom: int) -> float:
    """How many standard errors apart chance alone puts any two of so many options' means: Tukey's range test.

    With two options it is Student's t; with more it grows, for the best and the worst are picked after the fact.
    """
    from scipy.stats import studentized_range  # takes a second to import

    return float(studentized_range.ppf(CONFIDENCE, options, freedom)) / math.sqrt(2)


def _pooled(spreads: Sequence[Spread]) -> tuple[float, int]:
    """The standard deviation over seeds, as if alike in all configurations, and its degrees of freedom."""
    freedom = sum(len(spread.values) - 1 for spread in spreads)
    squares = sum((len(spread.values) - 1) * spread.deviation**2 for spread in spreads if spread.deviation is not None)
    return ((squares / freedom) ** 0.5 if freedom else 0.0), freedom


def _blocks(axis: Axis, runs: Sequence[Run]) -> list[dict[Hashable, Replicates]]:
    """Runs by the settings of everything but the axis and the seed; in each, the replicates of every option."""
    moved = {key for key in differences(runs) if decisive(key) and _follows(axis, runs, key)}
    found: dict[tuple, dict[Hashable, list[Run]]] = {}
    for run in runs:
        found.setdefault(_setting(run, moved), {}).setdefault(axis.option[run.run_id], []).append(run)
    return [
        {option: Replicates(runs=tuple(together)) for option, together in block.items()} for block in found.values()
    ]


def _follows(axis: Axis, runs: Sequence[Run], key: str) -> bool:
    """Whether a key has one value for each option of the axis."""
    pairs = {(axis.option[run.run_id], run.configuration.get(key)) for run in runs}
    return len(pairs) == len({option for option, _ in pairs})


def _setting(run: Run, but: Sequence[str]) -> tuple:
    kept = {key: value for key, value in run.configuration.items() if decisive(key) and key != SEED and key not in but}
    return tuple(sorted((key, repr(value)) for key, value in kept.items()))
