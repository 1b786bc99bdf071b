"""Draws the loss over the batches of training from the losses.csv that distil.py leaves, stage after stage.

python -m training.curve runs/first/losses.csv runs/second/losses.csv --output docs/embedded/losses.png
"""

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure

KINDS = {"0": "pictures", "1": "painted by the student"}  # the latter's loss has more terms


def read(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Numbers and losses of the batches of each kind."""
    curves: dict[str, tuple[list[int], list[float]]] = {kind: ([], []) for kind in KINDS.values()}
    with path.open(newline="") as file:
        for batch, _, painted, loss in csv.reader(file):
            batches, losses = curves[KINDS[painted]]
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
    parser.add_argument("losses", type=Path, nargs="+", help="of each stage, in their order")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes, before, shown = figure.subplots(), 0, set()
    for number, path in enumerate(options.losses):
        if number:
            axes.axvline(before, color="lightgrey")
        curves = read(path)
        for place, (kind, (batches, losses)) in enumerate(curves.items()):
            if losses:
                label = kind if kind not in shown else None
                shown.add(kind)
                axes.plot([before + batch for batch in batches], smoothed(losses), color=f"C{place}", label=label)
        before += max(batches[-1] for batches, _ in curves.values() if batches)
    axes.set(xlabel="batches", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
