"""What holds: which option is best by a fixed ruler, and whether it is so beyond the spread over seeds."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from stylelab.report.axes import SEED, Axis, decisive, differences
from stylelab.report.labels import measured
from stylelab.report.runs import Run
from stylelab.schema import suggestion

RULERS = ("reference", "embedded_reference")  # never mixed: each is a network of its own
COMPARED = ("style", "content")  # what a ruler measures; lower is better
MERITS = (*RULERS, "loss", "time", "memory")  # metrics of which less is better
# Student's t, 97.5 %, by degrees of freedom: NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.2.
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
NORMAL = 1.960  # the same for many degrees of freedom
INCOMPARABLE = {  # what raw losses can't be compared across, and why
    "network": "each network has features of its own, on a scale of its own",
    "pooling": "another pool changes the scale of every feature above it",
    "layers": "a loss sums over its layers, and each layer has a scale of its own",
    "weights.convention": "each convention divides by other numbers",
    "images": "a loss measures the distance to its own pictures, at their size",
    "precision": "the network's arithmetic differs",
}
WEIGHED = "the weights multiply it"
NOT_RULED = "images"  # group whose options the ruler can't rank: it measures against these very pictures


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
        spread = f" ± {measured(self.deviation)}" if self.deviation is not None else ""
        return f"{measured(self.mean)}{spread}"


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Finished runs that differ in nothing but their seed."""

    runs: tuple[Run, ...]

    def spread(self, metric: str) -> Spread | None:
        """A metric over them; None where they don't have it."""
        values = tuple(run.metrics[metric] for run in self.runs if metric in run.metrics)
        return Spread(values=values) if values else None

    @property
    def random(self) -> bool:
        """Whether the seed has anything to decide: painting from a picture draws nothing."""
        return any(run.configuration.get("canvas.start") == "noise" for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric over the options of one axis, each averaged over the same settings of everything else."""

    metric: str
    means: Mapping[Hashable, float]  # by option, the lowest first
    counts: Mapping[Hashable, int]  # runs behind each
    deviation: float | None  # over seeds, pooled over the settings
    threshold: float | None  # a difference that the spread explains in 19 of 20 cases; None: no claim possible
    settings: int  # of everything else, that all options share

    @property
    def best(self) -> Hashable:
        """The option with the lowest mean."""
        return next(iter(self.means))

    @property
    def lead(self) -> float:
        """How far the second is behind the best."""
        first, second = list(self.means.values())[:2]
        return second - first


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a report says of one axis by one ruler."""

    axis: Axis
    ruler: str
    comparisons: tuple[Comparison, ...]
    front: tuple[Hashable, ...]  # options that no other beats in every metric
    sentences: tuple[str, ...]


def rulers(runs: Sequence[Run]) -> list[str]:
    """The rulers that judged any of these runs."""
    return [ruler for ruler in RULERS if any(f"{ruler}/{name}" in run.metrics for run in runs for name in COMPARED)]


def judged(runs: Sequence[Run], ruler: str) -> list[Run]:
    """The finished runs that a ruler judged."""
    return [run for run in runs if run.finished and any(f"{ruler}/{name}" in run.metrics for name in COMPARED)]


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
            return f"{metric} can't be compared across {keys[0]}: {why}; the reference metrics can"
    weights = [key for key in differing if key.startswith("weights.")]
    if weights and metric.count("/") == 1:
        return f"{metric} can't be compared across {weights[0]}: {WEIGHED}; the reference metrics can"
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
        raise ValueError(f"--metric: {why}")


def conclude(runs: Sequence[Run], axes: Sequence[Axis], *, metric: str | None) -> list[Conclusion]:
    """What holds for each axis but the seed, by each ruler, or by one metric that `check_metric` let pass."""
    found = []
    for axis in axes:
        if axis.key == SEED or len(axis.options) < 2:
            continue
        if metric:
            found.append(
                _conclusion(axis, "", [metric], [run for run in runs if run.finished and metric in run.metrics])
            )
            continue
        for ruler in rulers(runs):
            found.append(_conclusion(axis, ruler, [f"{ruler}/{name}" for name in COMPARED], judged(runs, ruler)))
    return [conclusion for conclusion in found if conclusion.sentences]


def _conclusion(axis: Axis, ruler: str, metrics: Sequence[str], runs: Sequence[Run]) -> Conclusion:
    if axis.key.partition(".")[0] == NOT_RULED:
        text = f"No option of {axis.key} is called best: each run is measured against its own pictures, at its size."
        return Conclusion(axis=axis, ruler=ruler, comparisons=(), front=(), sentences=(text,))
    comparisons = tuple(found for found in (compare(axis, runs, metric=metric) for metric in metrics) if found)
    shared = [option for option in axis.options if comparisons and all(option in c.means for c in comparisons)]
    front = pareto_front({option: [c.means[option] for c in comparisons] for option in shared})
    return Conclusion(
        axis=axis,
        ruler=ruler,
        comparisons=comparisons,
        front=tuple(front),
        sentences=tuple(_sentences(axis, comparisons, front)),
    )


def compare(axis: Axis, runs: Sequence[Run], *, metric: str) -> Comparison | None:
    """A metric over an axis's options, within settings of everything else that every option with a run was painted in.

    None where fewer than two options share a setting.
    """
    blocks = _blocks(axis, [run for run in runs if metric in run.metrics])
    options = [option for option in axis.options if any(option in block for block in blocks)]
    shared = [block for block in blocks if all(option in block for option in options)]
    if len(options) < 2 or not shared:
        return None
    spreads = {option: [block[option].spread(metric) for block in shared] for option in options}
    means = {option: fmean(spread.mean for spread in spreads[option]) for option in options}
    ordered = sorted(options, key=means.__getitem__)
    chancy = all(block[option].random for block in shared for option in options)
    deviation, freedom = _pooled([spread for found in spreads.values() for spread in found])
    threshold = None
    if freedom and chancy:
        error = sum(1 / len(spread.values) for option in ordered[:2] for spread in spreads[option]) ** 0.5
        threshold = student(freedom) * deviation * error / len(shared)
    return Comparison(
        metric=metric,
        means={option: means[option] for option in ordered},
        counts={option: sum(len(spread.values) for spread in spreads[option]) for option in ordered},
        deviation=deviation if freedom and chancy else None,
        threshold=threshold,
        settings=len(shared),
    )


def student(freedom: int) -> float:
    """Student's t that bounds 95 % on both sides."""
    return STUDENT[freedom - 1] if freedom <= len(STUDENT) else NORMAL


def _pooled(spreads: Sequence[Spread]) -> tuple[float, int]:
    """The standard deviation over seeds, pooled over configurations, and its degrees of freedom."""
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


def _sentences(axis: Axis, comparisons: Sequence[Comparison], front: Sequence[Hashable]) -> list[str]:
    if not comparisons:
        return [f"Nothing can be said of {axis.key}: no two of its options were painted and judged under one setting."]
    found = [_verdict(axis, comparison) for comparison in comparisons]
    if len(comparisons) > 1:
        found.insert(0, _trade_off(axis, comparisons, front))
    absent = [axis.labels[option] for option in axis.options if option not in comparisons[0].means]
    if absent:
        found.append(f"Not judged, for want of a finished run: {', '.join(absent)}.")
    return found


def _trade_off(axis: Axis, comparisons: Sequence[Comparison], front: Sequence[Hashable]) -> str:
    compared = [option for option in axis.options if option in comparisons[0].means]
    if len(front) == 1:
        settled = all(c.threshold is not None and c.lead > c.threshold for c in comparisons)
        claim = "is best" if settled else "comes out lowest"
        return f"{axis.labels[front[0]]} {claim} in style and in content alike."
    beaten = [axis.labels[option] for option in compared if option not in front]
    if not beaten:
        return "A trade-off all along: whichever option is lower in style is higher in content."
    names = " and ".join(axis.labels[option] for option in front)
    lost = f"{', '.join(beaten)} {'is' if len(beaten) == 1 else 'are'} beaten in both"
    return f"A trade-off between {names}: one is lower in style, another in content; {lost}."


def _verdict(axis: Axis, comparison: Comparison) -> str:
    best, second = (axis.labels[option] for option in list(comparison.means)[:2])
    values = [measured(value) for value in comparison.means.values()]
    over = f", over {comparison.settings} settings of the rest" if comparison.settings > 1 else ""
    start = f"{comparison.metric}: {best} is lowest ({values[0]}), then {second} ({values[1]}){over}."
    if comparison.threshold is None:
        return f"{start} {_no_claim(comparison)}"
    gap = f"The difference of {measured(comparison.lead)}"
    limit = (
        f"what seeds explain ({measured(comparison.threshold)}; deviation over seeds {measured(comparison.deviation)})"
    )
    if comparison.lead > comparison.threshold:
        return f"{start} {gap} exceeds {limit}."
    return f"{start} {gap} does not exceed {limit}: no claim."


def _no_claim(comparison: Comparison) -> str:
    if max(comparison.counts.values()) > comparison.settings:
        return (
            "Painting from a picture draws nothing at random, so seeds give no spread to hold this against: no claim."
        )
    return "There is one seed only, so whether this exceeds the spread over seeds can't be said: no claim."
