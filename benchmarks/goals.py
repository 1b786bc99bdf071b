"""What was aimed at, beside what was measured: against neural-style-pt where it took part, else against plain."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
PEER = "neural-style-pt"


def table(found: Tables, *, gpu: bool = False) -> str:
    """A Markdown table of the goals that issue 6 set for 2 cores with AMX, or for a GPU."""
    rows = (
        _together(found)
        if gpu
        else [
            *_evaluation(found, "float32", 0.75, 0.85),
            *_evaluation(found, "bfloat16", 0.14, 0.75),
            *(_equal_loss(found, start, goal) for start, goal in (("noise", 1 / 15), ("content", 1 / 6))),
            *(_fidelity(found, optimizer) for optimizer in ("lbfgs", "adam")),
            *(_memory(found, precision, goal) for precision, goal in (("float32", 0.6), ("bfloat16", 0.4))),
            *_optimizer(found),
            *_start(found),
            _eight(found),
        ]
    )
    lines = [("what", "goal", "measured here", "on"), ("---", "---", "---", "---"), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


NOTHING = ("not measured", "")
Row = tuple[str, str, str, str]


def _evaluation(found: Tables, precision: str, ratio: float, part: float) -> list[Row]:
    at = _last(found, "evaluation", 512)
    what = f"{precision}: CPU time of an evaluation by the peer's"
    of_peak = f"{precision}: part of the measured peak"
    if at is None:
        return [(what, f"{ratio}", *NOTHING), (of_peak, f"{part:.0%}", *NOTHING)]
    row = _row(at, f"stylelab {precision}")
    key, against = ("cpu_ratio_to_peer", PEER) if "cpu_ratio_to_peer" in row else ("cpu_ratio", "plain")
    of, peak = row[key], row["part_of_peak"]
    here = f"{at['side']} pixels, {threads(at)}"
    return [
        (what, f"{ratio}", f"{of['median']:.2f} [{of['low']:.2f}, {of['high']:.2f}]", f"{here}, against {against}"),
        (of_peak, f"{part:.0%}", f"{peak['median']:.0%} [{peak['low']:.0%}, {peak['high']:.0%}]", here),
    ]


def _equal_loss(found: Tables, start: str, goal: float) -> Row:
    what = f"CPU time to the peer's float32 loss, from {start}"
    at = _last(found, "equal_loss", 512, start=start)
    if at is None:
        return (what, f"1/{1 / goal:.0f}", *NOTHING)
    against = _against(at)
    other = _row(at, against)["cpu_seconds"]
    reached = [row for row in at["rows"] if row["name"].startswith("stylelab") and row["cpu_seconds"] > 0]
    here = f"{at['side']} pixels, {at['steps']} evaluations, history {at.get('history', 20)}, against {against}"
    if not reached or math.isnan(other):
        return (what, f"1/{1 / goal:.0f}", "not reached", here)
    best = min(reached, key=lambda row: row["cpu_seconds"])
    return (what, f"1/{1 / goal:.0f}", f"1/{other / best['cpu_seconds']:.1f} ({best['name'][9:]})", here)


def _fidelity(found: Tables, optimizer: str) -> Row:
    what = f"bfloat16: float32 loss beyond float32's, {optimizer}"
    at = _last(found, "fidelity", 512)
    if at is None:
        return (what, "0.3 %", *NOTHING)
    excess = [row["excess"]["bfloat16"] for row in at["rows"] if row["optimizer"] == optimizer]
    shown = ", ".join(f"{each:+.2%}" for each in excess)
    return (what, "0.3 %", shown, f"{at['side']} pixels, {at['steps']} steps, {len(excess)} pairs")


def _memory(found: Tables, precision: str, goal: float) -> Row:
    what = f"{precision}: peak memory above the imports by the peer's"
    at = _last(found, "evaluation", 1024)
    if at is None:
        return (what, f"{goal}", *NOTHING)
    ours, against = _row(at, f"stylelab {precision}"), _against(at)
    other = _row(at, against)
    painting, whole = (ours[key] / other[key] for key in ("peak_mb", "start_peak_mb"))
    here = f"{at['side']} pixels, painting (start) against {against}"
    return (what, f"{goal}", f"{painting:.2f} ({whole:.2f})", here)


def _optimizer(found: Tables) -> list[Row]:
    names = "L-BFGS, history 20: of one bfloat16 evaluation", "L-BFGS, history 20: memory in pictures"
    at = _last(found, "optimizer", 1024)
    if at is None:
        return [(names[0], "5 %", *NOTHING), (names[1], "24", *NOTHING)]
    row = _row(at, "ours, history 20")
    here = f"{at['side']} pixels, {threads(at)}"
    share = row["of_evaluation"]["stylelab bfloat16"]["median"]
    return [(names[0], "5 %", f"{share:.1%}", here), (names[1], "24", f"{row['pictures']:.0f}", here)]


def _start(found: Tables) -> list[Row]:
    names = "start to first evaluation by the peer's", "the same beyond `import torch`"
    at = _last(found, "start", 512)
    if at is None:
        return [(names[0], "0.6", *NOTHING), (names[1], "1.5 s", *NOTHING)]
    against, imported = _against(at), _row(at, "import torch")
    commands = [row for row in at["rows"] if row["name"].endswith(", the command")]
    by_precision = [(row["name"].split(",")[0].removeprefix("stylelab "), row) for row in commands]
    shares = [
        f"{row['seconds']['median'] / _row(at, against)['seconds']['median']:.2f} ({precision})"
        for precision, row in by_precision
    ]
    beyond = [
        f"{row['seconds']['median'] - imported['seconds']['median']:.1f} s ({precision})"
        for precision, row in by_precision
    ]
    here = f"wall time, {at['side']} pixels, {threads(at)}"
    return [
        (names[0], "0.6", ", ".join(shares), f"{here}, against {against}"),
        (names[1], "1.5 s", ", ".join(beyond), here),
    ]


def _eight(found: Tables) -> Row:
    what = "eight runs, times faster than the peer's"
    at = _last(found, "eight", 256)
    if at is None:
        return (what, "6", *NOTHING)
    other = next((row for row in at["rows"] if row["name"].startswith(PEER)), at["rows"][0])
    best = min((row for row in at["rows"] if row["name"].startswith("stylelab")), key=lambda row: row["cpu_seconds"])
    here = f"CPU time, {at['side']} pixels, {at['steps']} steps, against {other['name']}"
    return (what, "6", f"{other['cpu_seconds'] / best['cpu_seconds']:.1f} ({best['name'][9:]})", here)


def _together(found: Tables) -> list[Row]:
    what = "runs together, times the throughput of one after another"
    at = _last(found, "together", 256)
    if at is None:
        return [(what, "3 (H200)", *NOTHING)]
    best = min(at["rows"], key=lambda row: row["ratio"]["median"])
    return [(what, "3 (H200)", f"{1 / best['ratio']['median']:.1f} ({best['name']})", f"{at['side']} pixels, L-BFGS")]


def threads(of: Mapping[str, Any]) -> str:
    """`1 thread`, `2 threads`."""
    return f"{of['threads']} thread{'s' if of['threads'] > 1 else ''}"


def _last(found: Tables, section: str, side: int, **wanted: object) -> Mapping[str, Any] | None:
    """The last table of the size that a goal is for, else of any, where it may be with the peer and on most threads."""
    tables = [each for each in found.get(section, ()) if all(each.get(key) == value for key, value in wanted.items())]

    def likeness(of: Mapping[str, Any]) -> tuple[bool, bool, int, str]:
        return of["side"] == side, _against(of) == PEER, of.get("threads", 1), of["when"]

    return max(tables, key=likeness, default=None)


def _row(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(row for row in of["rows"] if row["name"] == name)


def _against(of: Mapping[str, Any]) -> str:
    return PEER if any(row.get("name") == PEER for row in of["rows"]) else "plain"
