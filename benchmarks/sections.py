"""The tables of the benchmark: each function measures one and returns it as plain values."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import limit
from studio import SHAPE, Studio
from turns import Contestant, Table, Turn, once

YARDSTICK, PEER = "plain", "neural-style-pt"
FEWEST_ROUNDS, MOST_ROUNDS = 3, 60


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median with the 10th and the 90th percentile."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return {"median": math.nan, "low": math.nan, "high": math.nan}
    edges = statistics.quantiles(known, n=10, method="inclusive") if len(known) > 1 else known * 9
    return {"median": statistics.median(known), "low": edges[0], "high": edges[-1]}


def ratios(turns: Sequence[Turn], others: Sequence[Turn], of: str) -> dict[str, float]:
    """Spread of what a turn took by what another contestant's turn of the same round took."""
    pairs = zip(turns, others, strict=True)
    return spread([getattr(one, of) / getattr(other, of) for one, other in pairs])


def compared(turns: Sequence[Turn], kept: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """Ratios to the yardstick and, where it takes part, to neural-style-pt."""
    found: dict[str, Any] = {
        "ratio": ratios(turns, kept[YARDSTICK], "seconds"),
        "cpu_ratio": ratios(turns, kept[YARDSTICK], "cpu_seconds"),
    }
    if PEER in kept:
        found["ratio_to_peer"] = ratios(turns, kept[PEER], "seconds")
        found["cpu_ratio_to_peer"] = ratios(turns, kept[PEER], "cpu_seconds")
    return found


def _rounds(table: Table, seconds: float) -> dict[str, list[Turn]]:
    """As many rounds as fit into some seconds, after one to warm up and one to learn how long a round takes."""
    probe = table.rounds(1)
    whole = sum(turn.seconds for turns in probe.values() for turn in turns)
    return table.rounds(max(FEWEST_ROUNDS, min(MOST_ROUNDS, round(seconds / whole))), warm_up=0)


def evaluation(studio: Studio, side: int, *, seconds: float) -> dict[str, Any]:
    """One evaluation with its gradient and a step of Adam, against the yardstick and the machine's peak."""
    of = studio.painting(side)
    kernels = {
        name: each for name, each in limit.kernels(studio.precisions, studio.device).items() if each[2] == "FLOP"
    }
    with Table([*studio.everybody(of), _kernels(studio, kernels)]) as table:
        kept = _rounds(table, seconds)
        starts = {name: seat.start for name, seat in table.seats.items()}
    flop = limit.total(side, round(side * SHAPE))
    peaks = {arithmetic: _peaks(studio, kernels, kept, arithmetic) for arithmetic in studio.precisions}
    rows = []
    for name, turns in kept.items():
        if name in kernels:
            continue
        peak = peaks[name.split()[-1] if name.startswith("stylelab") else "float32"]
        rows.append(
            {
                "name": name,
                "seconds": spread([turn.seconds for turn in turns]),
                "cpu_seconds": spread([turn.cpu_seconds for turn in turns]),
                **compared(turns, kept),
                "joules": spread([turn.joules for turn in turns]),
                "peak_mb": max(turn.peak_mb for turn in turns),
                "start_peak_mb": starts[name].peak_mb,
                "imports_mb": starts[name].imports_mb,
                "gflop_per_second": flop / statistics.median(turn.seconds for turn in turns) / 1e9,
                "part_of_peak": spread(
                    [flop / studio.working(turn) / most for most, turn in zip(peak, turns, strict=True)]
                ),
            }
        )
    return {"side": side, "threads": studio.threads, "rounds": len(kept[YARDSTICK]), "flop": flop, "rows": rows}


def _kernels(studio: Studio, kernels: Mapping[str, limit.Kernel]) -> Contestant:
    return studio.several("the machine", {name: settings for name, (settings, *_) in kernels.items()})


def _peaks(
    studio: Studio, kernels: Mapping[str, limit.Kernel], kept: Mapping[str, Sequence[Turn]], arithmetic: str
) -> list[float]:
    """In each round the quicker of matrix product and convolution, in operations per second."""
    of_arithmetic = [name for name in kernels if name.endswith(arithmetic)]
    by_kernel = [[kernels[name][1] / studio.working(turn) for turn in kept[name]] for name in of_arithmetic]
    return [max(rates) for rates in zip(*by_kernel, strict=True)]


def machine_limits(studio: Studio, *, seconds: float) -> dict[str, Any]:
    """The best and the median of each kernel, in work per second of one core or of the GPU."""
    kernels = limit.kernels(studio.precisions, studio.device)
    with Table([_kernels(studio, kernels)]) as table:
        kept = _rounds(table, seconds)
    rows = [
        {
            "name": name,
            "unit": kernels[name][2],
            "best": kernels[name][1] / min(studio.working(turn) for turn in turns),
            "median": kernels[name][1] / statistics.median(studio.working(turn) for turn in turns),
            "best_by_clock": kernels[name][1] / min(turn.seconds for turn in turns),
        }
        for name, turns in kept.items()
    ]
    return {"threads": studio.threads, "rounds": len(next(iter(kept.values()))), "rows": rows}


def starts(studio: Studio, side: int, *, repetitions: int) -> dict[str, Any]:
    """From the start of the process to the end of the first evaluation, one contestant after another."""
    of = studio.painting(side, steps=2, optimizer="lbfgs")
    commands = {precision: studio.command(of, precision) for precision in studio.precisions}
    everybody = [
        studio.contestant("import torch", {"who": "import"}),
        *studio.everybody(replace(of, steps=100)),
        *(
            studio.contestant(f"stylelab {precision}, the command", {"who": "command", "overrides": overrides})
            for precision, overrides in commands.items()
        ),
    ]
    found: dict[str, list[Turn]] = {each.name: [] for each in everybody}
    for _ in range(repetitions):
        for each in everybody:
            found[each.name].append(once(each))
    rows = [
        {
            "name": name,
            "seconds": spread([turn.seconds for turn in turns]),
            "cpu_seconds": spread([turn.cpu_seconds for turn in turns]),
            **compared(turns, found),
        }
        for name, turns in found.items()
    ]
    return {"side": side, "threads": studio.threads, "repetitions": repetitions, "rows": rows}


def together(studio: Studio, side: int, *, seconds: float, runs: Sequence[int] = (8, 32)) -> dict[str, Any]:
    """Steps of L-BFGS of many runs in one process, their canvases one after another or as one batch."""
    of, rounds = studio.painting(side, start="noise", optimizer="lbfgs"), 10 if studio.gpu else 1
    tables = []
    for precision in studio.precisions:
        ways = {f"{count} runs, one after another": (count, 1) for count in runs}
        ways |= {f"{count} runs, together": (count, count) for count in runs}
        entrants = [
            studio.together(of, precision, name=name, runs=count, most=most, rounds=rounds)
            for name, (count, most) in ways.items()
        ]
        with Table(entrants) as table:
            kept = _rounds(table, seconds)
        for name, (count, _) in ways.items():
            turns, alone = kept[name], kept[f"{count} runs, one after another"]
            a_step = [turn.seconds / (count * rounds) for turn in turns]
            row = {"name": f"{precision}, {name}", "seconds": spread(a_step), "runs": count}
            tables.append(row | {"ratio": ratios(turns, alone, "seconds")})
    return {"side": side, "threads": studio.threads, "rounds": rounds, "rows": tables}


def optimizers(studio: Studio, side: int, *, seconds: float) -> dict[str, Any]:
    """A step of L-BFGS with its history full beside one evaluation, and its memory in pictures."""
    size = (1, 3, round(side * SHAPE), side)
    shown = {"ours, history 20": (False, 20), "torch, history 20": (True, 20), "torch, history 100": (True, 100)}
    optimizers = [
        studio.contestant(
            name, {"who": "lbfgs", "torch": torch, "history": history, "size": size, "device": studio.device}
        )
        for name, (torch, history) in shown.items()
    ]
    evaluations = [studio.ours(studio.painting(side), precision) for precision in ("float32", "bfloat16")]
    with Table([*evaluations, *optimizers]) as table:
        kept = _rounds(table, seconds)
        peaks = {name: max(seat.start.peak_mb, *(t.peak_mb for t in kept[name])) for name, seat in table.seats.items()}
    picture_mb = math.prod(size) * 4 / 1e6
    rows = [
        {
            "name": name,
            "seconds": spread([turn.seconds for turn in kept[name]]),
            "of_evaluation": {each.name: ratios(kept[name], kept[each.name], studio.measure) for each in evaluations},
            "pictures": peaks[name] / picture_mb,
        }
        for name in shown
    ]
    return {"side": side, "threads": studio.threads, "rows": rows}
