"""The plot of docs/performance.md: seconds of one evaluation by size, and loss by seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def draw(found: Mapping[str, Sequence[Mapping[str, Any]]], picture: Path) -> None:
    """Save a PNG of what was measured."""
    curves = found.get("equal_loss", ())
    figure, axes = pyplot.subplots(1, 1 + len(curves), figsize=(5.5 * (1 + len(curves)), 4.2), squeeze=False)
    _sizes(axes[0][0], found.get("evaluation", ()))
    for axis, each in zip(axes[0][1:], curves, strict=True):
        _descents(axis, each)
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
            axis.plot(seconds, losses, label=name, **_style(name))
    axis.axhline(of["target"], color="grey", linewidth=0.8, linestyle=":")
    axis.set(yscale="log", xlabel="CPU seconds", ylabel="loss in float32")
    axis.set_title(f"L-BFGS from {of['start']}, {of['side']} pixels", fontsize=10)
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
