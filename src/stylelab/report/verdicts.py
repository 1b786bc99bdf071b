"""What a report says of each axis: which option is best, in words that claim no more than the seeds bear out."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from stylelab.report.axes import SEED, Axis, seedless
from stylelab.report.conclusions import COMPARED, RULERS, Comparison, compare, judged, pareto_front, rulers
from stylelab.report.labels import measured
from stylelab.report.runs import Run

MOST_NAMED = 6  # options in one sentence
NOT_RULED = "images"  # group whose options the ruler can't rank: it measures against these very pictures
FAVOURED = {  # groups of which the ruler itself has an option
    "pooling": "The ruler pools by averages, which favours them",
    "network": "The ruler is Caffe's VGG-19 as trained, which favours it",
    "layers": "The ruler takes style at relu1_1 to relu5_1 and content at relu4_2, which favours runs painted by these",
}


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a report says of one axis by one ruler."""

    axis: Axis
    ruler: str
    comparisons: tuple[Comparison, ...]
    front: tuple[Hashable, ...]  # options that no other beats in every metric
    sentences: tuple[str, ...]
    caveat: str | None = None


def conclude(runs: Sequence[Run], axes: Sequence[Axis], *, metric: str | None) -> list[Conclusion]:
    """What holds for each axis but the seed, by each ruler, or by one metric that `check_metric` let pass."""
    found = []
    for axis in axes:
        if axis.key == SEED or len(axis.options) < 2:
            continue
        axis = seedless(axis, runs)
        if metric:
            found.append(
                _conclusion(axis, "", [metric], [run for run in runs if run.finished and metric in run.metrics])
            )
            continue
        for ruler in rulers(runs):
            found.append(_conclusion(axis, ruler, [f"{ruler}/{name}" for name in COMPARED], judged(runs, ruler)))
    return [conclusion for conclusion in found if conclusion.sentences]


def _conclusion(axis: Axis, ruler: str, metrics: Sequence[str], runs: Sequence[Run]) -> Conclusion:
    if ruler and axis.key.partition(".")[0] == NOT_RULED:
        text = f"No option of {axis.key} is called best: each run is measured against its own pictures, at its size."
        return Conclusion(axis=axis, ruler=ruler, comparisons=(), front=(), sentences=(text,))
    comparisons = tuple(found for found in (compare(axis, runs, metric=metric) for metric in metrics) if found)
    shared = [option for option in axis.options if comparisons and all(option in c.means for c in comparisons)]
    front = pareto_front({option: [c.means[option] for c in comparisons] for option in shared})
    favoured = FAVOURED.get(axis.key.partition(".")[0]) if ruler == RULERS[0] and comparisons else None
    return Conclusion(
        axis=axis,
        ruler=ruler,
        comparisons=comparisons,
        front=tuple(front),
        sentences=tuple(sentences(axis, comparisons, front)),
        caveat=f"{favoured}: read the figures with the pictures." if favoured else None,
    )


def sentences(axis: Axis, comparisons: Sequence[Comparison], front: Sequence[Hashable]) -> list[str]:
    """What the comparisons of one axis say, the most general first."""
    if not comparisons:
        return [f"Nothing can be said of {axis.key}: no two of its options were painted and judged under one setting."]
    found = [_verdict(axis, comparison) for comparison in comparisons]
    if len(comparisons) > 1:
        found.insert(0, _summary(axis, comparisons, front))
    absent = [axis.labels[option] for option in axis.options if option not in comparisons[0].means]
    if absent:
        found.append(f"Left out, for want of a finished run that was judged so: {_listed(absent, ', ')}.")
    return found


def _summary(axis: Axis, comparisons: Sequence[Comparison], front: Sequence[Hashable]) -> str:
    compared = [option for option in axis.options if option in comparisons[0].means]
    unsettled = "" if any(comparison.explained for comparison in comparisons) else f"; {_why_no_claim(comparisons[0])}"
    if len(front) == 1:
        if all(len(comparison.behind) == len(compared) - 1 for comparison in comparisons):
            return f"{axis.labels[front[0]]} is best in style and in content alike."
        lowest = f"{axis.labels[front[0]]} comes out lowest in style and in content alike"
        return f"{lowest}{unsettled or _borne_out(axis, comparisons)}."
    beaten = [axis.labels[option] for option in compared if option not in front]
    if not beaten:
        return f"As measured, a trade-off all along: whichever is lower in style is higher in content{unsettled}."
    names = _listed([axis.labels[option] for option in front], ", ")
    lost = f"{_listed(beaten, ', ')} {'is' if len(beaten) == 1 else 'are'} beaten in both"
    return f"As measured, a trade-off between {names}: one is lower in style, another in content; {lost}{unsettled}."


def _borne_out(axis: Axis, comparisons: Sequence[Comparison]) -> str:
    """Against which options a lead in every metric is more than the seeds explain."""
    behind = [
        _listed([axis.labels[option] for option in axis.options if option in comparison.behind], ", ")
        for comparison in comparisons
    ]
    if not any(behind):
        return "; no lead exceeds what the seeds explain: no claim"
    if len(set(behind)) == 1:
        return f"; the lead exceeds what the seeds explain against {behind[0]} only"
    each = [
        f"in {comparison.metric.rpartition('/')[2]} against {names or 'none'}"
        for comparison, names in zip(comparisons, behind, strict=True)
    ]
    return f"; the lead exceeds what the seeds explain only {' and '.join(each)}"


def _listed(names: Sequence[str], joint: str) -> str:
    """Names in a row, the last of many as a number."""
    others = len(names) - MOST_NAMED
    return joint.join(names if others < 2 else [*names[:MOST_NAMED], f"{others} others"])


def _verdict(axis: Axis, comparison: Comparison) -> str:
    best, *others = comparison.means
    over = f", over {comparison.settings} settings of the rest" if comparison.settings > 1 else ""
    start = f"{comparison.metric}: {axis.labels[best]} is lowest, {measured(comparison.means[best])}{over}"
    if comparison.deviation is None:
        second = f"{axis.labels[others[0]]} next, {measured(comparison.means[others[0]])}"
        return f"{start}; {second}; {_why_no_claim(comparison)}."
    near = [option for option in others if option in comparison.explained and option not in comparison.behind]
    fixed = [option for option in others if option not in comparison.explained]
    said = [f"{start}. Seeds alone scatter by {measured(comparison.deviation, digits=2)}{_explained(comparison)}."]
    if comparison.behind:
        said.append(f"Higher by more than that explains: {_gaps(axis, comparison, comparison.behind)}.")
    if near:
        said.append(f"Higher, but not by more than that explains, so no claim: {_gaps(axis, comparison, near)}.")
    if fixed:
        drawn = "higher, and nothing drawn at random there to hold it against, so no claim"
        said.append(f"{_listed([axis.labels[option] for option in fixed], ', ')}: {drawn}.")
    return " ".join(said)


def _explained(comparison: Comparison) -> str:
    """What the seeds explain, where it is the same for every option; else `_gaps` says it of each."""
    limits = {measured(explained, digits=2) for explained in comparison.explained.values()}
    return f", which explains a difference of up to {limits.pop()}" if len(limits) == 1 else ""


def _gaps(axis: Axis, comparison: Comparison, options: Sequence[Hashable]) -> str:
    each = not _explained(comparison)
    said = []
    for option in options:
        limit = f"; up to {measured(comparison.explained[option], digits=2)} explained" if each else ""
        said.append(f"{axis.labels[option]} (by {measured(comparison.lead(option))}{limit})")
    return _listed(said, ", ")


def _why_no_claim(comparison: Comparison) -> str:
    if comparison.by_chance:
        return "one seed, so no claim"
    return "nothing is drawn at random from a picture, so seeds give no spread to hold this against: no claim"
