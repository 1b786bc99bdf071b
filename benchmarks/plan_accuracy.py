"""Holds what stylelab-plan expects against what runs then take: `python benchmarks/plan_accuracy.py [--threads N]`.

Each run is planned with a calibration of the same minute, then painted by a process of its own; other work on the
machine changes both. Prints expected and measured seconds and peak memory, and how many lie within 25 %.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

RUNS = (
    "network=vgg19_random images.long_side=128 optimizer.steps=40",
    "network=vgg19_random images.long_side=256 optimizer.steps=12",
    "network=vgg19_random images.long_side=512 optimizer.steps=3",
    "network=vgg19_random images.long_side=256 optimizer.steps=20 layers=style_to_relu2_1 layers.content=[]",
    "network=vgg19_random images.long_side=384 optimizer.steps=8 layers=style_to_relu3_1 layers.content=[relu3_1]",
    "network=vgg19_random images.long_side=256 optimizer.steps=12 optimizer=adam pooling=max",
    "network=vgg19_random images.long_side=192 optimizer.steps=20 precision=bfloat16",
    "network=vgg19_random images.long_side=256 optimizer.steps=8 pyramid=coarse_to_fine",
    "network=embedded images.long_side=256 optimizer.steps=40",
    "network=embedded images.long_side=384 optimizer.steps=20 canvas=noise",
    "network=embedded images.long_side=512 optimizer.steps=20 optimizer.history=50",
)


def main() -> None:
    """Plan and paint in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("runs", nargs="*", default=RUNS)
    options = parser.parse_args()
    within = {"seconds": 0, "MB": 0}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, seed in (("content", 1), ("style", 2)):
            values = bytes(random.Random(seed).randrange(256) for _ in range(64 * 48 * 3))
            Image.frombytes("RGB", (64, 48), values).resize((1024, 768)).save(place / f"{name}.png")
        print("expected s  measured s  ratio  expected MB  measured MB  ratio  run")
        for number, run in enumerate(options.runs):
            seconds, peak, measured = plan_and_paint(place, number, [*run.split(), f"threads={options.threads}"])
            took, used = measured["wall"], measured["memory/peak_mb"]
            within["seconds"] += abs(seconds / took - 1) <= 0.25
            within["MB"] += abs(peak / used - 1) <= 0.25
            times = f"{seconds:>10.1f}  {took:>10.1f}  {seconds / took:>5.2f}"
            print(f"{times}  {peak:>11.0f}  {used:>11.0f}  {peak / used:>5.2f}  {run}", flush=True)
    print(f"within 25 %: seconds of {within['seconds']}, memory of {within['MB']} out of {len(options.runs)} runs")


def plan_and_paint(place: Path, number: int, settings: list[str]) -> tuple[float, float, dict[str, float]]:
    """What was expected of a run, the metrics of its run.json and the seconds of its process."""
    outputs = place / f"outputs{number}"
    pictures = [f"images.content={place}/content.png", f"images.style=[{place}/style.png]"]
    arguments = [*settings, *pictures, f"outputs={outputs}", "tracking=off", "device=cpu"]
    planned = said("stylelab.commands.plan", "--calibrate", *arguments)
    _, row, whole = planned.splitlines()
    seconds = float(re.search(r"about ([\d.]+) s,", whole).group(1))  # the start of the process included
    began = time.perf_counter()
    said("stylelab", *arguments)
    wall = time.perf_counter() - began
    (record,) = outputs.glob("runs/*/run.json")
    return seconds, float(row.split()[-1]), json.loads(record.read_text())["metrics"] | {"wall": wall}


def said(module: str, *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


if __name__ == "__main__":
    main()
