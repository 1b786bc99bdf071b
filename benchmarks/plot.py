"""The plot of docs/performance.md: seconds of one evaluation by size, and loss by seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

COLUMNS = 3
LEAST, MOST = 1e-4, 10.0  # of a loss above the target, by the target, that is shown


def draw(found: Mapping[str, Sequence[Mapping[str, Any]]], picture: Path) -> None:
    """Save a PNG of what was measured."""
    curves = found.get("equal_loss", ())
    columns = min(COLUMNS, 1 + len(curves))
    lines = -(-(1 + len(curves)) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(5.5 * columns, 4.2 * lines), squeeze=False)
    first, *others = axes.flat
    _sizes(first, found.get("evaluation", ()))
    for axis, each in zip(others, curves, strict=False):
        _descents(axis, each)
    for axis in others[len(curves) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(picture, dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def _sizes(axis: Any, tables: Sequence[Mapping[str, Any]]) -> None:
    threads = min((table["threads"] for table in tables), default=1)
    shown = [table for table in tables if table["threads"] == threads]
    last = max((table["when"], table["commit"]) for table in shown)[1]
    lines: dict[str, list[tuple[float, dict[str, float]]]] = {}
    for table in sorted(shown, key=lambda table: table["when"], reverse=True):
        for row in table["rows"]:
            earlier = row["name"].startswith("stylelab") and table["commit"] != last
            name = f"{row['name']}, {table['commit']}" if earlier else row["name"]
            lines.setdefault(name, []).append((table["side"], row["cpu_seconds"]))
    for name, points in lines.items():
        sides, spreads = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        medians = [of["median"] for of in spreads]
        errors = [[of["median"] - of["low"] for of in spreads], [of["high"] - of["median"] for of in spreads]]
        axis.errorbar(sides, medians, yerr=errors, label=name, marker="o", markersize=4, **_style(name))
    axis.set(xscale="log", yscale="log", xlabel="longer side, pixels", ylabel="CPU seconds of one evaluation")
    ticks = sorted({table["side"] for table in tables})
    axis.set_xticks(ticks, [str(side) for side in ticks])
    axis.minorticks_off()
    axis.set_title(f"One evaluation, {threads} thread{'s' if threads > 1 else ''}", fontsize=10)
    axis.legend(fontsize=7)


def _descents(axis: Any, of: Mapping[str, Any]) -> None:
    for name, points in of["curves"].items():
        if points:
            seconds, losses = zip(*points, strict=True)
            beyond = [max(loss / of["target"] - 1, LEAST) for loss in losses]
            axis.plot(seconds, beyond, label=name, **_style(name))
    axis.set(yscale="log", ylim=(LEAST, MOST), xlabel="CPU seconds", ylabel="float32 loss above plain's last, by it")
    pairs = f", ours with {of['history']} pairs" if "history" in of else ""
    axis.set_title(f"L-BFGS from {of['start']}, {of['side']} pixels{pairs}", fontsize=10)
    axis.legend(fontsize=7)


COLOURS = {"plain": "black", "neural-style-pt": "grey", "stylelab float32": "tab:blue", "stylelab bfloat16": "tab:red"}
COLOURS |= {"style-transfer-pytorch": "tab:olive", "gordicaleksa": "tab:brown", "stylelab tf32": "tab:green"}
COLOURS |= {"stylelab float16": "tab:purple"}


def _style(name: str) -> dict[str, Any]:
    """One colour for a program everywhere; dashed for an earlier commit, dotted from coarse to fine."""
    program, _, more = name.partition(", ")
    line = "-" if not more else ":" if more == "coarse to fine" else "--"
    width = 2.2 if name.startswith("stylelab") else 1.2
    return {"color": COLOURS.get(program, "tab:pink"), "linestyle": line, "linewidth": width}
