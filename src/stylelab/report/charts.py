"""Charts as Plotly describes them; their colours are the page's, so that they follow its light and dark."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from stylelab.report.axes import SEED, Axis
from stylelab.report.conclusions import COMPARED, has, judged, pareto_front, refusal
from stylelab.report.grid import Grid
from stylelab.report.runs import Run

LOSSES = ("loss/total", "loss/content", "loss/style")
POINTS = 90  # of a curve, at most: more can't be seen
ALL_POINTS = 18_000  # of the curves of one loss, about: a page of a thousand runs has shorter ones
WIDE = 20.0  # ratio of the largest to the smallest value from which an axis is logarithmic
Curve = Sequence[tuple[int, float]]


def trade_off(
    runs: Sequence[Run], titles: Mapping[str, str], *, colour: Axis | None, along: Axis | None, ruler: str
) -> dict[str, Any]:
    """A ruler's style against its content, each run a point, with the Pareto front.

    Args:
        colour: tells the runs apart by colour.
        along: joins runs of one colour by a line, where its options are numbers.

    Runs of other pictures have a front of their own: the ruler measures each against its own pictures.
    """
    shown = [run for run in judged(runs, ruler) if all(has(run, f"{ruler}/{name}") for name in COMPARED)]
    fronts = _fronts(shown, ruler)
    figure = go.Figure()
    for points in fronts:
        figure.add_scatter(
            x=[_short(x) for x, _ in points.values()], y=[_short(y) for _, y in points.values()],
            mode="lines", line={"shape": "hv", "width": 1.5, "dash": "dot"}, name="Pareto front", hoverinfo="skip",
            meta={"colour": "front"}, showlegend=points is fronts[0],
        )  # fmt: skip
    on_front = {run_id for points in fronts for run_id in points}
    for option, own in _by_option(shown, colour):
        if _ordered(own, along):
            own = sorted(own, key=lambda run: along.option[run.run_id])
        figure.add_scatter(
            x=[_short(run.metrics[f"{ruler}/style"]) for run in own],
            y=[_short(run.metrics[f"{ruler}/content"]) for run in own],
            mode="lines+markers" if _ordered(own, along) else "markers", line={"width": 1},
            name=colour.labels[option] if colour else "runs", showlegend=colour is not None,
            marker={"size": [13 if run.run_id in on_front else 9 for run in own],
                    "symbol": ["diamond" if run.run_id in on_front else "circle" for run in own]},
            customdata=[run.run_id for run in own], text=[titles[run.run_id] for run in own],
            hovertemplate="%{text}<br>style %{x:.3g} · content %{y:.3g}<extra></extra>",
            meta={"colour": _colour(colour, option)},
        )  # fmt: skip
    figure.update_layout(
        xaxis=_axis(f"{ruler}/style", [run.metrics[f"{ruler}/style"] for run in shown]),
        yaxis=_axis(f"{ruler}/content", [run.metrics[f"{ruler}/content"] for run in shown]),
        meta={"kind": "trade-off"},
    )
    return _plain(figure)


def loss_curves(
    runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]], titles: Mapping[str, str], *, colour: Axis | None
) -> dict[str, Any]:
    """The losses of every run by step; each divided by its own first value where runs can't be compared."""
    relative = apart(runs)
    most = max(12, min(POINTS, ALL_POINTS // max(1, len(runs))))
    figure = go.Figure()
    for name in LOSSES:
        for option, own in _by_option([run for run in runs if curves[run.run_id].get(name)], colour):
            for n, run in enumerate(own):
                curve = _divided(curves[run.run_id][name]) if relative else curves[run.run_id][name]
                curve = [(step, value) for step, value in thinned(curve, most) if 0 < value < float("inf")]
                figure.add_scatter(
                    x=[step for step, _ in curve], y=[_short(value) for _, value in curve], mode="lines",
                    line={"width": 1.6, "dash": "solid" if run.finished else "dash"},
                    name=colour.labels[option] if colour else titles[run.run_id], legendgroup=str(option),
                    showlegend=(n == 0 and colour is not None) or (colour is None and len(runs) <= 12),
                    hovertemplate=f"{titles[run.run_id]}<br>step %{{x}}: %{{y:.3g}}<extra></extra>",
                    meta={"colour": _colour(colour, option), "loss": name, "run": run.run_id},
                    visible=name == LOSSES[0],
                )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "step"}},
        yaxis={"title": {"text": "loss ÷ its own first value" if relative else "loss"}, "type": "log"}
        | _ticks([value for trace in figure.data for value in trace.y]),
        meta={"kind": "losses"},
    )
    return _plain(figure)


def apart(runs: Sequence[Run]) -> str | None:
    """Why the losses of these runs can't share a scale; None where they can."""
    return next((why for name in LOSSES if (why := refusal(name, runs))), None)


def colour_axis(grid: Grid) -> Axis | None:
    """The axis that colours tell apart: the rows, else the columns."""
    return grid.rows or grid.columns


def thinned(curve: Curve, most: int) -> list[tuple[int, float]]:
    """At most so many points: close at the start, where a loss falls fast, the last one kept."""
    count, half = len(curve), most // 2
    if count <= most:
        return list(curve)
    even = {round(n * (count - 1) / (half - 1)) for n in range(half)}
    growing = {round(count ** (n / (half - 1))) - 1 for n in range(half)}
    return [curve[index] for index in sorted(even | growing)]


def _fronts(runs: Sequence[Run], ruler: str) -> list[dict[str, tuple[float, float]]]:
    """The points of each front by run id, from left to right: one front for each set of pictures."""
    by_pictures: dict[tuple, dict[str, tuple[float, float]]] = {}
    for run in runs:
        pictures = tuple(run.configuration.get(f"images.{name}") for name in ("content", "style", "long_side"))
        by_pictures.setdefault(pictures, {})[run.run_id] = (
            run.metrics[f"{ruler}/style"],
            run.metrics[f"{ruler}/content"],
        )
    several = [points for points in by_pictures.values() if len(points) > 1]
    fronts = [{run_id: points[run_id] for run_id in pareto_front(points)} for points in several]
    return [dict(sorted(front.items(), key=lambda item: item[1])) for front in fronts]


def _ordered(runs: Sequence[Run], along: Axis | None) -> bool:
    """Whether an axis puts these runs in an order of numbers, each at its own."""
    options = [along.option[run.run_id] for run in runs] if along and along.key != SEED else []
    return len(set(options)) == len(runs) > 1 and all(type(option) in (int, float) for option in options)


def _by_option(runs: Sequence[Run], colour: Axis | None) -> list[tuple[Any, list[Run]]]:
    if colour is None:
        return [(run.run_id, [run]) for run in runs]
    groups = [(option, [run for run in runs if colour.option[run.run_id] == option]) for option in colour.options]
    return [(option, own) for option, own in groups if own]


def _colour(colour: Axis | None, option: Any) -> dict[str, float]:
    """A place on the page's ramp where options are ordered, else a number in its palette."""
    if colour is None:
        return {"slot": 0}
    place = colour.options.index(option)
    ordered = all(isinstance(value, int | float | tuple) and not isinstance(value, bool) for value in colour.options)
    if ordered or len(colour.options) > 8:
        return {"ramp": place / max(1, len(colour.options) - 1)}
    return {"slot": place}


def _divided(curve: Curve) -> Curve:
    first = next((value for _, value in curve if value > 0), 1.0)
    return [(step, value / first) for step, value in curve]


def _axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    wide = bool(values) and min(values) > 0 and max(values) / min(values) > WIDE
    return {"title": {"text": title}} | ({"type": "log"} | _ticks(values) if wide else {"type": "linear"})


def _ticks(values: Sequence[float]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 where a logarithmic axis spans little, else at powers of ten."""
    few = not values or max(values) / min(values) < 1e3
    return {"dtick": "D2" if few else 1, "tickformat": "~g"}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _plain(figure: go.Figure) -> dict[str, Any]:
    found = figure.to_plotly_json()
    found["layout"].pop("template", None)
    return found
