"""Holds what stylelab-plan expects against what runs then take: `python benchmarks/plan_accuracy.py [--threads N]`.

One calibration comes first, as `stylelab-plan` makes it; then each run is painted by a process of its own. Seconds are
those of the processor, of all threads together, which other work on the machine hardly changes; with --wall those of
the wall's clock too, from a calibration of their own, for a machine that does nothing else. Peak memory is the
process's, start and judging included. Prints every run and how many lie within 25 %.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from stylelab import cost
from stylelab.calibration import Calibration
from stylelab.composition import composed
from stylelab.configuration import plain
from stylelab.job import Job, prepare

RUNS = (
    "network=vgg19_random images.long_side=64 optimizer.steps=100",
    "network=vgg19_random images.long_side=128 optimizer.steps=40",
    "network=vgg19_random images.long_side=256 optimizer.steps=12",
    "network=vgg19_random images.long_side=512 optimizer.steps=4",
    "network=vgg19_random images.long_side=256 optimizer.steps=20 layers=style_to_relu2_1 layers.content=[]",
    "network=vgg19_random images.long_side=384 optimizer.steps=8 layers=style_to_relu3_1 layers.content=[relu3_1]",
    "network=vgg19_random images.long_side=256 optimizer.steps=12 optimizer=adam pooling=max",
    "network=vgg19_random images.long_side=192 optimizer.steps=20 precision=bfloat16",
    "network=vgg19_random images.long_side=256 optimizer.steps=8 pyramid=coarse_to_fine",
    "network=embedded images.long_side=64 optimizer.steps=150",
    "network=embedded images.long_side=256 optimizer.steps=40 optimizer=adam",
    "network=embedded images.long_side=384 optimizer.steps=20 canvas=noise pyramid=coarse_to_fine",
    "network=embedded images.long_side=512 optimizer.steps=20 optimizer.history=50",
    "network=embedded images.long_side=128 optimizer.steps=60 tracking=mlflow tracking.pictures_every=5",
    "network=vgg19_random images.long_side=128 optimizer.steps=40 tracking=mlflow",
)
WITH_PARAMETERS = (  # where VGG-19's Caffe parameters are at hand
    "images.long_side=256 optimizer.steps=12",
    "images.long_side=384 optimizer.steps=6 precision=bfloat16 tracking=mlflow",
    "network=embedded images.long_side=256 optimizer.steps=40 reference.path={}",
)


def main() -> None:
    """Calibrate, then paint in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="compare seconds by the wall's clock too")
    parser.add_argument("--parameters", type=Path, help="a file of VGG-19's Caffe parameters")
    parser.add_argument("runs", nargs="*", default=RUNS)
    options = parser.parse_args()
    runs = list(options.runs)
    if options.parameters:
        runs += [f"{run} network.path={{}}".format(*2 * [options.parameters]) if "embedded" not in run
                 else run.format(options.parameters) for run in WITH_PARAMETERS]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, seed in (("content", 1), ("style", 2)):
            values = bytes(random.Random(seed).randrange(256) for _ in range(64 * 48 * 3))
            Image.frombytes("RGB", (64, 48), values).resize((1024, 768)).save(place / f"{name}.png")
        compare(
            place, [arguments(place, n, run, options.threads) for n, run in enumerate(runs)], runs, wall=options.wall
        )


def arguments(place: Path, number: int, run: str, threads: int) -> list[str]:
    """The command line of a run, in an outputs folder of its own."""
    pictures = [f"images.content={place}/content.png", f"images.style=[{place}/style.png]"]
    given = run.split()
    ruler = [] if any("path=" in each for each in given) else ["reference.path=null", f"reference.cache={place}"]
    tracking = [] if any(each.startswith("tracking=") for each in given) else ["tracking=off"]
    return [*tracking, *given, *pictures, *ruler, f"outputs={place}/{number}", "device=cpu", f"threads={threads}"]


def compare(place: Path, commands: Sequence[Sequence[str]], names: Sequence[str], *, wall: bool) -> None:
    """Print every run's expectations and measurements."""
    jobs = [prepare(plain(composed(command))) for command in commands]
    clocks = (time.process_time, time.perf_counter)[: 1 + wall]
    tables = [calibrated(place / "cache", jobs, clock) for clock in clocks]
    named = ("processor's seconds", "MB", "wall's seconds")[: 2 + wall]
    print("expected, measured and ratio: " + ", ".join(named))
    within = [0] * len(named)
    for job, command, name in zip(jobs, commands, names, strict=True):
        expected = [cost.expected(job, table) for table in tables]
        found = [seconds(job, table) for table in tables]
        found.insert(1, expected[0].peak_mb)
        taken = painted(command)[: len(found)]
        ratios = [a / b for a, b in zip(found, taken, strict=True)]
        within = [count + (abs(ratio - 1) <= 0.25) for count, ratio in zip(within, ratios, strict=True)]
        columns = [f"{a:>7.1f} {b:>7.1f}  {ratio:.2f}" for a, b, ratio in zip(found, taken, ratios, strict=True)]
        print(f"{'     '.join(columns)}  {name}", flush=True)
    counts = ", ".join(f"{what} {count}" for what, count in zip(named, within, strict=True))
    print(f"within 25 %: {counts}, out of {len(jobs)} runs")


def calibrated(cache: Path, jobs: Sequence[Job], clock: Callable[[], float]) -> cost.Table:
    """The table of this machine."""
    calibration = Calibration(cache, device="cpu", threads=jobs[0].spec.threads, clock=clock)
    began = time.perf_counter()
    calibration.complete(jobs)
    print(
        f"calibration by {clock.__name__}: {time.perf_counter() - began:.0f} s, {len(calibration.table)} parts",
        flush=True,
    )
    return calibration.table


def seconds(job: Job, table: cost.Table) -> float:
    """Expected of a process that paints this run alone, with a store to make where it is tracked."""
    return cost.seconds_to_start(job, table, new_store=True) + cost.expected(job, table).seconds


PROGRAM = """
import sys
from pathlib import Path
from stylelab.__main__ import main
main()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""  # the parent's reading of a child's peak would count the parent's own memory, as it was when the child began


def painted(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds of the processor, peak MiB and seconds by the wall's clock of `stylelab COMMAND`."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *command], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"stylelab {' '.join(command)} failed: {done.stderr[-1000:]}")
    processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return processor, int(done.stdout.split()[-1]) / 1024, wall


if __name__ == "__main__":
    main()
