"""Many small runs: a process for each, one process with and without what runs share, and one batch.

    python benchmarks/many.py [--runs 8] [--rounds 3] [OVERRIDES ...]

Each way paints the same runs into an empty outputs folder, the ways in turns; median over rounds of seconds of the
processor, children included, which other work on the machine disturbs less than the clock, and of their ratios to a
process for each run.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

STYLELAB = "import sys; from stylelab.__main__ import main; main()"
UNSHARED = "import stylelab.shelves as shelves; shelves.share_between_runs = lambda: None; " + STYLELAB
SETTINGS = ("images.long_side=128", "pyramid.long_sides=[128]", "optimizer.steps=10", "canvas=noise", "threads=1")


def main() -> None:
    """Measure and print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    seeds = f"seed=range({given.runs})"
    ways = {
        "a process for each run": [[STYLELAB, f"seed={number}"] for number in range(given.runs)],
        "one process, nothing shared": [[UNSHARED, "-m", seeds]],
        "one process": [[STYLELAB, "-m", seeds]],
        "hydra/launcher=batched": [[STYLELAB, "-m", seeds, "hydra/launcher=batched", f"batch={given.runs}"]],
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(given.rounds):
        for way, commands in ways.items():
            found[way].append(_timed(commands, [*SETTINGS, *given.overrides]))
    alone = found["a process for each run"]
    print(f"{given.runs} runs, {' '.join([*SETTINGS, *given.overrides])}; {given.rounds} rounds")
    for way, times in found.items():
        ratios = [used / of for (used, _), (of, _) in zip(times, alone, strict=True)]
        used, waited = (statistics.median(column) for column in zip(*times, strict=True))
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{way:<28} {used:7.1f} s of CPU, {waited:7.1f} s, ratio {statistics.median(ratios):.2f} ({spread})")


def _timed(commands: Sequence[Sequence[str]], settings: Sequence[str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock that commands take one after another in a fresh outputs folder."""
    with tempfile.TemporaryDirectory() as outputs:
        before, began = _used(), time.perf_counter()
        for program, *arguments in commands:
            command = [sys.executable, "-c", program, *arguments, *settings, f"outputs={outputs}"]
            said = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
            if said.returncode:
                sys.exit(f"{' '.join(arguments)} failed: {said.stderr[-2000:]}")
        return _used() - before, time.perf_counter() - began


def _used() -> float:
    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of.ru_utime + of.ru_stime


if __name__ == "__main__":
    main()
