"""Draws the loss over the batches of training from the losses.csv that distil.py leaves.

python -m training.curve runs/first/losses.csv --output docs/embedded/losses.png
"""

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure


def read(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Numbers and losses of the batches of pictures and of those painted by the student, which have more terms."""
    curves: dict[str, tuple[list[int], list[float]]] = {"pictures": ([], []), "painted by the student": ([], [])}
    with path.open(newline="") as file:
        for batch, _, painted, loss in csv.reader(file):
            batches, losses = curves["painted by the student" if painted == "1" else "pictures"]
            batches.append(int(batch))
            losses.append(float(loss))
    return curves


def smoothed(values: list[float]) -> list[float]:
    """Means over a twentieth of the curve to either side."""
    reach = len(values) // 20
    windows = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("losses", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for name, (batches, losses) in read(options.losses).items():
        if losses:
            axes.plot(batches, smoothed(losses), label=name)
    axes.set(xlabel="batches", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
