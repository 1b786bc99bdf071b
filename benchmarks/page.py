"""The measured part of docs/performance.md: tables and a plot from benchmarks/results/*.json, newest first."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import goals

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Found = Mapping[str, Any]


def write(results: Path, docs: Path) -> None:
    """Renew the part between the markers, and the plots."""
    page = docs / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    runs = sorted((json.loads(path.read_text()) for path in results.glob("*.json")), key=lambda run: run["when"])
    parts = []
    for number, (name, own) in enumerate(_by_machine(runs).items()):
        picture = docs / f"performance{number or ''}.png"
        parts += [
            f"## {name}",
            *_about(own),
            *_tables(newest(own), gpu=bool(own[0]["machine"]["gpu"])),
            *_plotted(newest(own), picture),
            *_history(own),
        ]
    page.write_text(before + "\n\n".join([BEGIN, *parts, END]) + after)


def _by_machine(runs: Iterable[Found]) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    for run in reversed(list(runs)):
        of = run["machine"]
        found.setdefault(of["gpu"] or f"{of['processor']}, {of['cores']} cores", []).append(run)
    return found


def newest(runs: Sequence[Found]) -> dict[str, list[Found]]:
    """Of every section the newest table for each size, number of threads, first canvas and number of pairs."""
    found: dict[str, dict[tuple, Found]] = {}
    for run in runs:  # newest first
        for section, tables in run["sections"].items():
            for table in tables:
                key = tuple(table.get(name, "") for name in ("side", "threads", "start", "steps"))
                key += (table.get("history", 20),)
                found.setdefault(section, {}).setdefault(
                    key, table | {"commit": run["machine"]["commit"], "when": run["when"]}
                )
    return {section: [tables[key] for key in sorted(tables)] for section, tables in found.items()}


def _about(runs: Sequence[Found]) -> list[str]:
    run = runs[0]
    of, versions = run["machine"], run["machine"]["versions"]
    has = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in of["features"].items())
    lines = [
        f"{of['system']}, {of['memory_gb']} GB, {has}; torch uses {of['torch_uses']}",
        ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        f"parameters {run['parameters']}, pictures {'; '.join(run['pairs'])}; last measured {run['when']} UTC",
    ]
    return ["\n".join(f"- {line}" for line in lines)]


def _tables(found: Mapping[str, Sequence[Found]], *, gpu: bool) -> list[str]:
    writers = {
        "limits": _limits,
        "evaluation": _evaluation,
        "start": _start,
        "optimizer": _optimizer,
        "equal_loss": _equal_loss,
        "fidelity": _fidelity,
        "together": _together,
        "eight": _eight,
    }
    parts = ["### The goals", goals.table(found, gpu=gpu)]
    for section, writer in writers.items():
        for each in found.get(section, ()):
            parts += writer(each)
    return parts


def grid(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A number to some significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def ranged(of: Mapping[str, float]) -> str:
    """Median, and the 10th to the 90th percentile in brackets."""
    if math.isnan(of["median"]):
        return "-"
    return f"{of['median']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"


def _limits(of: Found) -> list[str]:
    scale = {"FLOP": (1e9, "GFLOP/s"), "B": (1e9, "GB/s")}
    rows = [
        (
            row["name"],
            *(f"{number(row[key] / scale[row['unit']][0])} {scale[row['unit']][1]}" for key in ("best", "median")),
        )
        for row in of["rows"]
    ]
    title = f"### The machine's limits, {goals.threads(of)}, by CPU time of one core ({of['commit']})"
    return [title, grid(("kernel", "best", "median"), rows)]


def _evaluation(of: Found) -> list[str]:
    header = ("program", "s", "CPU s", "CPU time by plain's", "wall time by plain's", "of peak")
    header += ("peak MB", "at start", "J")
    rows = [
        (
            row["name"],
            number(row["seconds"]["median"]),
            number(row["cpu_seconds"]["median"]),
            ranged(row["cpu_ratio"]),
            ranged(row["ratio"]),
            f"{row['part_of_peak']['median']:.0%}",
            f"{row['peak_mb']:.0f}",
            f"{row['start_peak_mb']:.0f}",
            number(row["joules"]["median"]),
        )
        for row in of["rows"]
    ]
    title = f"### One evaluation at {of['side']} pixels, {goals.threads(of)}, {of['rounds']} rounds ({of['commit']})"
    return [title, grid(header, rows)]


def _start(of: Found) -> list[str]:
    header = ("program", "s", "CPU s", "CPU time by plain's", "wall time by plain's")
    rows = [
        (
            row["name"],
            *(number(row[key]["median"]) for key in ("seconds", "cpu_seconds")),
            *(ranged(row[key]) for key in ("cpu_ratio", "ratio")),
        )
        for row in of["rows"]
    ]
    title = f"### From the process's start to the end of the first evaluation, {of['side']} pixels, {goals.threads(of)}"
    return [f"{title}, {of['repetitions']} times ({of['commit']})", grid(header, rows)]


def _optimizer(of: Found) -> list[str]:
    rows = [
        (
            row["name"],
            f"{row['seconds']['median'] * 1000:.1f}",
            *(f"{share['median']:.1%}" for share in row["of_evaluation"].values()),
            f"{row['pictures']:.0f}",
        )
        for row in of["rows"]
    ]
    header = ("L-BFGS", "ms a step", *(f"of one evaluation, {name}" for name in of["rows"][0]["of_evaluation"]))
    title = f"### A step of L-BFGS at {of['side']} pixels, {goals.threads(of)} ({of['commit']})"
    return [title, grid((*header, "memory in pictures"), rows)]


def _equal_loss(of: Found) -> list[str]:
    rows = [
        (
            row["name"],
            row["evaluations"] or f"not reached: {row['lowest'] / of['target'] - 1:+.2%}",
            *(number(row[key]) for key in ("seconds", "cpu_seconds", "cpu_seconds_ratio", "seconds_ratio")),
        )
        for row in of["rows"]
    ]
    header = ("program", "evaluations", "s", "CPU s", "CPU time by plain's", "wall time by plain's")
    title = f"### Time to the float32 loss of plain after {of['steps']} evaluations of L-BFGS, from {of['start']}"
    if "history" in of:
        title += f", history {of['history']}"
    return [f"{title}, {of['side']} pixels, {goals.threads(of)} ({of['commit']})", grid(header, rows)]


def _fidelity(of: Found) -> list[str]:
    names = list(of["rows"][0]["losses"])
    rows = [
        (
            f"{row['pair']}, {row['optimizer']}",
            *(number(row["losses"][name], 6) for name in names),
            *(f"{row['excess'][name]:+.2%}" for name in names[1:]),
        )
        for row in of["rows"]
    ]
    header = ("pictures", *names, *(f"{name} against float32" for name in names[1:]))
    title = f"### Float32 loss after {of['steps']} steps, {of['side']} pixels ({of['commit']})"
    return [title, grid(header, rows)]


def _together(of: Found) -> list[str]:
    rows = [(row["name"], f"{row['seconds']['median'] * 1000:.2f}", ranged(row["ratio"])) for row in of["rows"]]
    title = f"### A step of one of many runs, {of['side']} pixels, L-BFGS from noise, {goals.threads(of)}"
    return [f"{title} ({of['commit']})", grid(("runs", "ms a step", "time by one after another's"), rows)]


def _eight(of: Found) -> list[str]:
    keys = ("seconds", "cpu_seconds", "cpu_ratio", "ratio")
    rows = [(row["name"], *(number(row[key]) for key in keys)) for row in of["rows"]]
    title = f"### {of['runs']} runs of {of['steps']} steps, {of['side']} pixels, from noise, {goals.threads(of)}"
    return [
        f"{title} ({of['commit']})",
        grid(("programs", "s", "CPU s", "CPU time by plain's", "wall time by plain's"), rows),
    ]


def _history(runs: Sequence[Found]) -> list[str]:
    """CPU time by plain's of every measured commit."""
    rows = []
    for run in runs:
        for table in run["sections"].get("evaluation", ()):
            found = {row["name"]: ranged(row["cpu_ratio"]) for row in table["rows"]}
            ours = [found.get(f"stylelab {precision}", "-") for precision in ("float32", "bfloat16")]
            rows.append((f"{run['when']}, {run['machine']['commit']} {run['label']}", table["side"], *ours))
    header = ("measured, commit", "pixels", "float32", "bfloat16")
    return ["### What each commit took, CPU time by plain's", grid(header, rows)] if rows else []


def _plotted(found: Mapping[str, Sequence[Found]], picture: Path) -> list[str]:
    if not found.get("evaluation"):
        return []
    try:
        import plot
    except ModuleNotFoundError:
        return ["No plot: matplotlib is missing here."]
    plot.draw(found, picture)
    return [f"![CPU seconds of one evaluation by size, and loss by CPU seconds]({picture.name})"]
