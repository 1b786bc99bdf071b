"""Whether something got slower: `make benchmark-check`; `make benchmark-record` keeps what is true now.

This working tree takes turns with a commit, and with the plain implementation as a third, on one thread. The commit is
the last where src or conf differ from it, else the one that benchmarks/history.jsonl names last. Compared is the CPU
time that each turn took, which other work on the machine changes little, and round by round, so that what does change
hits both. New processes are started several times over, because where a process's memory happens to lie makes a per
cent or two. Exit code 1 where something costs over 5 % more than it did.
"""

import argparse
import compileall
import json
import math
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import machine
from sections import spread
from speed import PAIRS, PICTURES, say
from studio import ROOT, SHAPE, Studio, random_parameters
from turns import Table, Turn

HISTORY = ROOT / "benchmarks" / "history.jsonl"
LIMIT = 1.05  # of what it took before
SIDE = 128  # pixels: an evaluation takes about a tenth of a second
LBFGS_SIDE = 256
CLEAR = 0.02  # of the limit
BATCHES, MOST_BATCHES = 3, 8  # of new processes
ROUNDS = 10  # in each batch
DEVIATIONS = 2.6  # of a standard normal: the interval holds the true median 99 times of 100
NOW, BEFORE, PLAIN = "now", "before", "plain"


@dataclass
class Quantity:
    """CPU seconds, or MB, of the same thing: in pairs of now and before, and of plain."""

    unit: str
    now: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Now by before, pair by pair."""
        return [now / before for now, before in zip(self.now, self.before, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and bounds between which the true one lies 99 times of 100, whatever the distribution."""
    known = sorted(values)
    middle, reach = (len(known) - 1) / 2, DEVIATIONS * math.sqrt(len(known)) / 2
    low, high = max(0, math.floor(middle - reach)), min(len(known) - 1, math.ceil(middle + reach))
    return known[low], (known[math.floor(middle)] + known[math.ceil(middle)]) / 2, known[high]


def settled(ratios: Sequence[float]) -> bool:
    """Whether the interval lies on one side of the limit; of a few starts, whether the median lies clear below it."""
    low, middle, high = interval(ratios)
    return low > LIMIT or high < LIMIT or (len(ratios) < ROUNDS and middle < LIMIT - CLEAR)


def main() -> int:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append what this commit takes to the history")
    parser.add_argument(
        "--batches", type=int, default=BATCHES, help="of new processes, at least (default: %(default)s)"
    )
    parser.add_argument("--against", help="commit to compare with; the default is the last of the history")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return check(Path(folder), against=options.against, record=options.record, batches=options.batches)
    except ValueError as error:
        say(f"benchmark-check: {error}")
        return 2


def check(folder: Path, *, against: str | None, record: bool, batches: int) -> int:
    """Compare, print the table, and a line for each thing that got slower.

    Raises:
        ValueError: there is nothing to compare with, or the tree to record is not committed.
    """
    commit = machine.commit(ROOT)
    if record and (not commit or commit.endswith("+")):
        raise ValueError("--record: src or conf differ from the commit: commit first, then record")
    history = [json.loads(line) for line in HISTORY.read_text().splitlines()] if HISTORY.exists() else []
    before = against or compared_with(commit, history, record=record)
    now = Studio(
        folder=folder,
        parameters=random_parameters(folder),
        pairs=[(PICTURES / "content" / f"{one}.png", PICTURES / "style" / f"{other}.png") for one, other in PAIRS[:1]],
        device="cpu",
        threads=1,
    )
    found = measured(now, replace(now, source=checked_out(before, folder / "before")), batches)
    slower = report(found, before)
    if record:
        entry = {"when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": commit, "against": before}
        entry |= {"machine": machine.facts("cpu", ROOT), "by_plain": by_plain(found), "by_before": by_before(found)}
        with HISTORY.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        say(f"recorded {commit} in {HISTORY.relative_to(ROOT)}")
        return 0
    return 1 if slower else 0


def compared_with(commit: str, history: Sequence[Mapping[str, Any]], *, record: bool) -> str:
    """What to compare with: a change with the commit that it was made to, a commit with the one recorded last."""
    if commit.endswith("+"):
        return commit.removesuffix("+")
    if history:
        return history[-1]["commit"]
    if record:
        return commit
    raise ValueError(f"{HISTORY.name} is empty: record a first entry by make benchmark-record")


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit in a folder."""
    done = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True)
    if done.returncode:
        raise ValueError(f"this checkout has no commit {commit} to compare with: fetch the history, or give --against")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="tar")
    for source in (ROOT, folder):  # so that neither side pays for it in its first start
        for part in ("src", "benchmarks"):
            compileall.compile_dir(source / part, quiet=2)
    return folder


def measured(now: Studio, before: Studio, batches: int) -> dict[str, Quantity]:
    """All quantities, in batches until each is settled or enough has been tried."""
    found = {name: Quantity("CPU s") for name in (*PROGRAMS, "start to first evaluation")}
    found["peak memory"] = Quantity("MB")
    for batch in range(MOST_BATCHES):
        one_batch(now, before, found)
        say(f"{batch + 1}: " + ", ".join(f"{name} {interval(of.ratios)[1]:.3f}" for name, of in found.items()))
        if batch + 1 >= batches and all(settled(of.ratios) for of in found.values()):
            break
    return found


def one_batch(now: Studio, before: Studio, found: Mapping[str, Quantity]) -> None:
    """New processes, their turns."""
    contestants = [studio.several(which, programs(which, studio)) for which, studio in ((NOW, now), (BEFORE, before))]
    if len(found["peak memory"].now) % 2:  # whoever starts first finds the machine otherwise than the second
        contestants.reverse()
    with Table([now.plain(now.painting(SIDE)), *contestants]) as table:
        kept = table.rounds(ROUNDS)
        starts = {name: seat.start.cpu_seconds for name, seat in table.seats.items()}
    plain = [turn.cpu_seconds for turn in kept[PLAIN]]
    for name in PROGRAMS:
        of = found[name]
        of.now += [turn.cpu_seconds for turn in kept[f"{name}, {NOW}"]]
        of.before += [turn.cpu_seconds for turn in kept[f"{name}, {BEFORE}"]]
        of.plain += plain
    for of, taken in ((found["start to first evaluation"], starts), (found["peak memory"], _peaks(kept))):
        of.now.append(taken[NOW])
        of.before.append(taken[BEFORE])
        of.plain.append(taken[PLAIN])


def _peaks(kept: Mapping[str, Sequence[Turn]]) -> dict[str, float]:
    """Of each process, over all its programs."""
    return {
        which: max(turn.peak_mb for name, turns in kept.items() if name.endswith(which) for turn in turns)
        for which in (NOW, BEFORE, PLAIN)
    }


PROGRAMS = ("float32 evaluation", "bfloat16 evaluation", "L-BFGS step")


def programs(which: str, studio: Studio) -> dict[str, dict[str, Any]]:
    """What a process does in turn, by the quantity's name."""
    of, size = studio.painting(SIDE), (1, 3, round(LBFGS_SIDE * SHAPE), LBFGS_SIDE)
    settings = [studio.engine(of, precision) for precision in ("float32", "bfloat16")]
    settings.append({"who": "lbfgs", "torch": False, "history": 20, "size": size, "device": "cpu"})
    return {f"{name}, {which}": each for name, each in zip(PROGRAMS, settings, strict=True)}


def report(found: Mapping[str, Quantity], before: str) -> list[str]:
    """Print what was found; returns the lines about what got slower."""
    print(f"{'':28}{'before':>9}{'now':>9}{'':8}{'now by before':>15}{'99 % interval':>18}{'by plain':>10}")
    slower = []
    for name, of in found.items():
        low, middle, high = interval(of.ratios)
        was, is_now = (spread(values)["median"] for values in (of.before, of.now))
        by = by_plain({name: of})[name]["median"]
        print(f"{name:28}{was:9.4g}{is_now:9.4g} {of.unit:7}{middle:15.3f}{f'{low:.3f} to {high:.3f}':>18}{by:10.3f}")
        if middle > LIMIT:
            slower.append(
                f"slower: {name} takes {middle - 1:+.1%} {of.unit} than at {before} ({low:.3f} to {high:.3f})"
            )
    print("\n".join(slower) or f"nothing costs over {LIMIT - 1:.0%} more than at {before}")
    return slower


def by_plain(found: Mapping[str, Quantity]) -> dict[str, Any]:
    """Spread of now by plain."""
    return {name: spread([a / b for a, b in zip(of.now, of.plain, strict=True)]) for name, of in found.items()}


def by_before(found: Mapping[str, Quantity]) -> dict[str, Any]:
    """Spread of now by before."""
    return {name: spread(of.ratios) for name, of in found.items()}


if __name__ == "__main__":
    sys.exit(main())
