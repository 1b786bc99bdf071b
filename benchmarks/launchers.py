"""What launchers cost and bring: `python benchmarks/launchers.py throughput` and `... overhead LAUNCHER ...`.

throughput: a sweep by joblib with 1, 2 and 4 workers, one thread each; runs per minute against as many times one
worker's as there are workers or cores, whichever are fewer. Every count is taken in turn, several times, because other
work comes and goes; where it does, the processor's seconds by run say more, and how many cores the sweep got.
overhead: a sweep of runs of a single step by each launcher named, one at a time: seconds from the first run's start to
the last one's end, by run, and the seconds that the sweep takes beside that.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = (
    "network=embedded",
    "images.long_side=128",
    "threads=1",
    "tracking.pictures_every=0",
    "checkpoint_seconds=1000",
)
ONE_AT_A_TIME = {
    "basic": (),
    "joblib": ("hydra.launcher.n_jobs=1",),
    "submitit_local": ("hydra.launcher.n_jobs=1",),
    "submitit_slurm": ("hydra.launcher.array_parallelism=1", "hydra.launcher.threads=1", "hydra.launcher.mem_gb=1"),
    "ray": ("hydra.launcher.address=local",),
}


def main() -> None:
    """Run a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    throughput = commands.add_parser("throughput")
    throughput.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    throughput.add_argument("--runs", type=int, default=8)
    throughput.add_argument("--steps", type=int, default=200)
    throughput.add_argument("--turns", type=int, default=3)
    overhead = commands.add_parser("overhead")
    overhead.add_argument("launchers", nargs="+", choices=ONE_AT_A_TIME)
    overhead.add_argument("--runs", type=int, default=5)
    overhead.add_argument("--set", nargs="*", default=[], help="further overrides, as hydra.launcher.address=...")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.command == "throughput":
        measure_throughput(options)
    else:
        measure_overhead(options)


def measure_throughput(options: argparse.Namespace) -> None:
    """Print runs per minute by workers."""
    rates: dict[int, list[float]] = {workers: [] for workers in options.workers}
    for turn in range(options.turns):
        for workers in options.workers if turn % 2 == 0 else reversed(options.workers):
            launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", f"optimizer.steps={options.steps}")
            first, last, wall, processor = sweep(*launcher, runs=options.runs)
            rates[workers].append(60 * options.runs / (last - first))
            print(
                f"  {workers} workers: {rates[workers][-1]:.2f} runs a minute, {processor / options.runs:.1f} s of the "
                f"processor a run, {processor / wall:.2f} cores got, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    one = statistics.median(rates[options.workers[0]]) / options.workers[0]
    for workers, found in rates.items():
        ideal = one * min(workers, os.cpu_count())
        rate = statistics.median(found)
        print(f"{workers} workers: {rate:.2f} runs a minute, {rate / ideal:.0%} of ideal")


def measure_overhead(options: argparse.Namespace) -> None:
    """Print seconds by run of each launcher."""
    for launcher in options.launchers:
        settings = (f"hydra/launcher={launcher}", *ONE_AT_A_TIME[launcher], "optimizer.steps=1", *options.set)
        first, last, wall, processor = sweep(*settings, runs=options.runs)
        by_run, beside = (last - first) / options.runs, wall - (last - first)
        print(
            f"{launcher}: {by_run:.2f} s a run, {beside:.1f} s beside, {processor / options.runs:.1f} s of the "
            "processor a run in all (less Slurm's and Ray's own processes)",
            flush=True,
        )


def sweep(*overrides: str, runs: int) -> tuple[float, float, float, float]:
    """Start of the first run, end of the last one, seconds of the whole command, and its seconds of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            *SMALL,
            f"outputs={folder}/outputs",
            f"reference.cache={folder}",
            f"seed=range({runs})",
            *overrides,
        ]
        command = [sys.executable, "-m", "stylelab", "-m", *arguments]
        began, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        wall, after = time.time() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        records = [json.loads(path.read_text()) for path in Path(folder).glob("outputs/runs/*/run.json")]
    first, last = min(record["started"] for record in records), max(record["ended"] for record in records)
    return first, last, wall, processor


if __name__ == "__main__":
    main()
