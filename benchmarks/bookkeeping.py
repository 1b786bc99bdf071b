"""What identity and checkpoints cost: `python benchmarks/bookkeeping.py`.

Prints the seconds of checking and identifying one run, the first time and again; of composing it by Hydra; of
recognising a hundred to a thousand finished runs; of one checkpoint by size; and the share of a real run that went into
checkpoints at the default interval and at one that asks for far too many.

With `--tracked 100 300 1000` instead: real sweeps of so many small runs in one experiment of one store, each with its
start (until its first run begins), the same command again, and its report. Each finds the runs of those before it.
"""

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch
from PIL import Image

from stylelab import run_folder
from stylelab.composition import Composer, composed, composed_sweep
from stylelab.configuration import plain
from stylelab.descent import Lbfgs
from stylelab.job import prepare
from stylelab.recorders import Checkpoint
from stylelab.runner import run
from stylelab.sweep import Batch, Parent, checked

REPORT = "from stylelab.report.command import main; main()"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracked", type=int, nargs="+", metavar="RUNS", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, seed in (("content", 1), ("style", 2)):
            values = bytes(random.Random(seed).randrange(256) for _ in range(64 * 48 * 3))
            Image.frombytes("RGB", (64, 48), values).resize((512, 384)).save(place / f"{name}.png")
        settings = [
            f"images.content={place}/content.png",
            f"images.style=[{place}/style.png]",
            f"outputs={place}/outputs",
        ]
        for before, count in itertools.pairwise([0, *options.tracked]):
            tracked(place, settings, count, before=before)
        if options.tracked:
            return
        identity(settings)
        for count in (100, 300, 1000):
            recognition(settings, count)
        for long_side in (256, 512, 1024):
            one_checkpoint(place, long_side)
        for interval in (30, 0.01):
            share(place, [*settings, f"checkpoint_seconds={interval}"], interval)


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def identity(settings: list[str]) -> None:
    """Composing, checking and identifying a run."""
    config = plain(composed([*settings, "network=embedded"]))
    time.sleep(2)  # files written a moment ago are hashed each time
    first, again = (seconds(lambda: prepare(config)) for _ in range(2))
    print(f"a run checked and identified: {first:.4f} s, again {again:.4f} s")
    composed_sweep([*settings, "network=embedded", "seed=range(20)"], one_by_one)


def one_by_one(runs: Sequence[Sequence[str]], compose: Composer) -> None:
    """What composing one run of a sweep takes by Hydra, and on what the runs share."""
    for name, act in (("by Hydra", compose.by_hydra), ("on what they share", compose)):
        act(runs[0])
        print(
            f"a run of a sweep composed {name}: {seconds(lambda act=act: [act(run) for run in runs]) / len(runs):.4f} s"
        )


def recognition(settings: list[str], count: int) -> None:
    """The start of a sweep of finished runs, files made by hand: composed, checked, identified, found whole."""
    arguments = [*settings, "network=embedded", "tracking=off", f"seed=range({count})"]
    for member in composed_sweep(arguments, checked):
        job = member.job
        if not job.folder.exists():
            job.folder.mkdir(parents=True)
            for name in run_folder.LASTING:
                (job.folder / name).write_bytes(os.urandom(400_000))
            files = run_folder.lasting_hashes(job.folder)
            record = {
                "status": "FINISHED",
                "decisive": job.decisive,
                "key": job.key,
                "files": files,
                "configuration": job.config,
            }
            run_folder.write(job.folder, record)
    began = time.process_time()
    members = composed_sweep(arguments, checked)
    read = time.process_time()
    batch = Batch(members, Parent([member.job for member in members], "x", fingerprint="x"), Path(settings[-1]))
    assert batch.wanted == []
    found = time.process_time()
    outcomes = batch.outcomes()
    assert set(outcomes) == {"done before"}
    said = time.process_time()
    parts = (
        f"composed and checked {read - began:.2f} s, found whole {found - read:.2f} s, outcomes {said - found:.2f} s"
    )
    print(f"{count} finished runs recognised: {said - began:.2f} s of the processor ({parts})", flush=True)


def tracked(place: Path, settings: list[str], count: int, *, before: int) -> None:
    """A real sweep of small runs, of which the first ones are finished before; the same again; its report."""
    small = ["network=embedded", "images.long_side=32", "optimizer.steps=2", "threads=1", "tracking.pictures_every=0"]
    grid = ["-m", *settings, *small, f"reference.cache={place}", f"seed=range({count})", f"sweep=of_{count}"]
    outputs = settings[-1].partition("=")[2]
    began, ahead = time.perf_counter(), run_number(outputs)
    process = subprocess.Popen([sys.executable, "-m", "stylelab", *grid], stdout=subprocess.DEVNULL, stderr=None)
    while process.poll() is None and run_number(outputs) == ahead:
        time.sleep(0.02)
    start = time.perf_counter() - began, processor_of(process.pid)
    if process.wait():
        sys.exit("the sweep failed")
    painting = time.perf_counter() - began - start[0]
    again = measured([sys.executable, "-m", "stylelab", *grid])
    report = measured([sys.executable, "-c", REPORT, f"of_{count}", "--outputs", outputs])
    shown = [f"{what} {clock:.1f} s, {cpu:.1f} s of the processor" for what, (clock, cpu) in
             (("start", start), ("the same again", again), ("report", report))]  # fmt: skip
    print(
        f"{count} runs, {count - before} new at {painting / (count - before):.2f} s each: {'; '.join(shown)}",
        flush=True,
    )


def run_number(outputs: str) -> int:
    """How many runs have begun."""
    return len(list(Path(outputs).glob("runs/*/run.json")))


def processor_of(pid: int) -> float:
    """Seconds of the processor that a process has taken so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a command takes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_checkpoint(place: Path, long_side: int) -> None:
    """A checkpoint of L-BFGS with twenty pairs."""

    class Job:
        folder, key = place, "0" * 64

        class spec:
            checkpoint_seconds = 30.0

    canvas = torch.rand(1, 3, long_side * 3 // 4, long_side)
    optimizer = Lbfgs(history=20, learning_rate=0.1)
    for _ in range(21):
        canvas = optimizer.step(canvas, canvas * 0.5)
    (place / "losses.csv").write_text("row\n" * 500)

    class Step:
        @staticmethod
        def state() -> dict:
            return {"number": 1, "canvas": canvas, "optimizer": optimizer.state()}

    took = seconds(lambda: Checkpoint(Job).save(Step))
    size = (place / "checkpoint.pt").stat().st_size / 1e6
    print(f"a checkpoint at {long_side} pixels, 20 pairs: {size:.0f} MB in {took:.2f} s, {took / 30:.1%} of 30 s")


def share(place: Path, settings: list[str], interval: float) -> None:
    """The part of a run's time that went into checkpoints."""
    more = [
        "network=embedded",
        "images.long_side=256",
        "optimizer.steps=150",
        "threads=1",
        "tracking=off",
        "device=cpu",
    ]
    record = run(prepare(plain(composed([*settings, *more, f"seed={int(interval)}"]))), hydra_record={})
    metrics = json.loads((Path(record["folder"]) / "run.json").read_text())["metrics"]
    spent, total = metrics["time/checkpoint_seconds"], metrics["time/total_seconds"]
    print(f"checkpoints asked for every {interval} s: {spent:.2f} s of {total:.1f} s, {spent / total:.1%}")


if __name__ == "__main__":
    main()
