"""The tables that take whole paintings: time to equal loss, loss after equal evaluations, eight runs."""

import math
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sections import PEER, YARDSTICK
from studio import Studio
from turns import Contestant, Seat, Table, Turn, whole

LABELS = {"single": "", "coarse_to_fine": ", coarse to fine"}  # by pyramid
JUDGEMENTS = 100  # of a painting of ours: its steps are told apart to a hundredth of the yardstick's
FURTHER = 1.25  # steps that ours may take: the float32 finish, the last fifth, begins where the yardstick ends


def equal_loss(
    studio: Studio, side: int, *, start: str, steps: int, history: int, pyramids: Sequence[str]
) -> dict[str, Any]:
    """Time to the float32 loss that the yardstick reaches in some evaluations of L-BFGS, all taking turns.

    Args:
        history: pairs that ours remembers; the yardstick and neural-style-pt remember 100.
        pyramids: those that ours paints on, single or coarse_to_fine; from noise only.
    """
    of = studio.painting(side, start=start, optimizer="lbfgs", steps=steps)
    longer = replace(of, steps=round(FURTHER * steps))
    recipes = {
        f"stylelab {precision}{LABELS[pyramid]}": (precision, (f"pyramid={pyramid}", f"optimizer.history={history}"))
        for pyramid in (pyramids if start == "noise" else ("single",))
        for precision in studio.precisions
    }
    judged = max(1, steps // JUDGEMENTS)
    ours = [studio.ours(longer, which, *more, name=name, judge_every=judged) for name, (which, more) in recipes.items()]
    peers = [begin(of) for begin in studio.peers if begin(of).name == PEER]  # its loss is the yardstick's
    with Table([studio.plain(of), *peers, *ours]) as table:
        kept = {name: _Entrant(seat, steps) for name, seat in table.seats.items()}
        names = list(kept)
        while any(not kept[name].done for name in names):  # turns for all that are not done, in changing order
            for name in names:
                if not kept[name].done:
                    kept[name].turn()
            names = names[1:] + names[:1]
            target = kept[YARDSTICK].lowest if kept[YARDSTICK].done else None
            for name in recipes:
                kept[name].target = target
    target = kept[YARDSTICK].lowest
    rows = [{"name": name, **found.reached(target)} for name, found in kept.items()]
    for row in rows:
        for key in ("seconds", "cpu_seconds"):
            row[f"{key}_ratio"] = row[key] / rows[0][key]
    return {
        "side": side,
        "start": start,
        "threads": studio.threads,
        "steps": steps,
        "history": history,
        "target": target,
        "rows": rows,
        "curves": {name: found.curve() for name, found in kept.items()},
    }


class _Entrant:
    """A contestant's turns until it has made its steps, or has reached a target that may be set later."""

    def __init__(self, seat: Seat, steps: int) -> None:
        self.seat, self.steps, self.turns = seat, steps, [seat.start]
        self.target: float | None = None
        self.ended = False
        self.fixed = not seat.contestant.name.startswith("stylelab")  # makes its steps and no more

    @property
    def done(self) -> bool:
        """Whether it needs no more turns."""
        reached = self.target is not None and self.lowest <= self.target
        return self.ended or reached or (self.fixed and len(self.turns) > self.steps - 1)

    @property
    def lowest(self) -> float:
        """The least loss so far."""
        return min((turn.loss for turn in self.turns if not math.isnan(turn.loss)), default=math.inf)

    def turn(self) -> None:
        """One more evaluation."""
        found = self.seat.turn()
        self.ended = found is None
        if found is not None:
            self.turns.append(found)

    def reached(self, target: float) -> dict[str, Any]:
        """Evaluations, wall and CPU seconds up to the target; the start and its evaluation are not counted."""
        evaluations = next((n for n, turn in enumerate(self.turns) if turn.loss <= target), None)
        if evaluations is None:
            return {"evaluations": None, "seconds": math.nan, "cpu_seconds": math.nan, "lowest": self.lowest}
        taken = self.turns[1 : evaluations + 1]
        return {
            "evaluations": evaluations + 1,
            "seconds": sum(turn.seconds for turn in taken),
            "cpu_seconds": sum(turn.cpu_seconds for turn in taken),
            "lowest": self.lowest,
        }

    def curve(self) -> list[tuple[float, float]]:
        """CPU seconds and loss."""
        seconds, found = 0.0, []
        for turn in self.turns[1:]:
            seconds += turn.cpu_seconds
            if not math.isnan(turn.loss):
                found.append((round(seconds, 3), float(f"{turn.loss:.5g}")))
        return found


def fidelity(studio: Studio, side: int, *, steps: int, pairs: int) -> dict[str, Any]:
    """The float32 loss after as many evaluations in each precision, for L-BFGS and Adam and some picture pairs."""
    rows = []
    for optimizer in ("lbfgs", "adam"):
        for pair in range(pairs):
            of = studio.painting(side, optimizer=optimizer, steps=steps, pair=pair)
            found = {
                precision: _last_loss(studio.ours(of, precision, judge_every=steps)) for precision in studio.precisions
            }
            content, style = studio.pairs[pair % len(studio.pairs)]
            row = {"optimizer": optimizer, "pair": f"{content.stem}, {style.stem}", "losses": found}
            row["excess"] = {name: loss / found["float32"] - 1 for name, loss in found.items()}
            rows.append(row)
    return {"side": side, "steps": steps, "threads": studio.threads, "rows": rows}


def _last_loss(contestant: Contestant) -> float:
    last = math.nan
    with Table([contestant]) as table:
        seat = table.seats[contestant.name]
        turn: Turn | None = seat.start
        while turn is not None:
            last = last if math.isnan(turn.loss) else turn.loss
            turn = seat.turn()
    return last


def eight(studio: Studio, side: int, *, steps: int, runs: int = 8) -> dict[str, Any]:
    """Eight runs: one sweep of the command line against as many processes of the yardstick, and of neural-style-pt."""
    of = studio.painting(side, start="noise", optimizer="lbfgs", steps=steps)
    rows = []
    for begin in (studio.plain, *studio.peers):
        contestant = begin(of)
        if contestant.name in (YARDSTICK, PEER):
            taken = [_painted(contestant, steps) for _ in range(runs)]
            rows.append(_summed(f"{contestant.name}, {runs} processes", taken))
    for precision in studio.precisions:
        sweep = ["-m", f"seed=range({runs})", *studio.command(of, precision)]
        command = [sys.executable, "-m", "stylelab", *sweep]
        rows.append(_summed(f"stylelab {precision}, one sweep", [whole(command, studio.environment)]))
        shutil.rmtree(Path(studio.folder) / "outputs", ignore_errors=True)
    for row in rows:
        row["ratio"], row["cpu_ratio"] = (row[key] / rows[0][key] for key in ("seconds", "cpu_seconds"))
    return {"side": side, "steps": steps, "runs": runs, "threads": studio.threads, "rows": rows}


def _painted(contestant: Contestant, steps: int) -> tuple[float, float]:
    began = time.perf_counter()
    seat = Seat(contestant)
    turns = [seat.start, *(seat.turn() for _ in range(steps - 1))]
    seat.close()
    return time.perf_counter() - began, sum(turn.cpu_seconds for turn in turns)


def _summed(name: str, taken: Sequence[tuple[float, float]]) -> dict[str, Any]:
    seconds, cpu_seconds = (sum(times) for times in zip(*taken, strict=True))
    return {
        "name": name,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median": statistics.median(s for s, _ in taken),
    }
