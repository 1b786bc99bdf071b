"""How far apart descents end that differ in their first step alone, and in the pairs that they remember.

    python benchmarks/endings.py --parameters FILE [--side 128] [--steps 500] CONTENT,STYLE ...

From the content picture, with the settings of plain.py, torch.optim.LBFGS with 100 pairs moves pixels of several units.
It is the same descent in each, but for the length of its first step, which torch makes 1 / sum |gradient| of them; the
peers' unit is a 255th of white. Beside it ours with several numbers of pairs. All have losses and gradients from the
engine in float32. Told are the loss at the end against the peers', and the evaluation at which the peers' was reached.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import plain
import torch
from torch import Tensor

from stylelab import engine, images, parameters, pictures, vgg
from stylelab.descent import Lbfgs
from stylelab.objective import CONVENTIONS, Objective, Weighting

PEERS = 255.0
UNITS = (64.0, 1000.0)  # of which white has so many
HISTORIES = (20, 40, 100)
FURTHER = 1.4  # evaluations that ours may take


def main() -> None:
    """Print a row for each descent of each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=Path, required=True, help="safetensors: neural-style's VGG-19")
    parser.add_argument("--side", type=int, default=128, help="pixels of the longer side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="evaluations of torch's (default: %(default)s)")
    parser.add_argument("pairs", nargs="+", type=_pair, metavar="CONTENT,STYLE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = engine.fastest(encoder(given.parameters), torch.float32)
    print("| pictures | descent | loss at the end | peers' loss after |\n| --- | --- | ---: | ---: |", flush=True)
    for content, style in given.pairs:
        names = ", ".join(Path(name).stem for name in (content, style))
        start, painted = _picture(content, given.side), _picture(style, given.side)
        objective = Objective(network, weighting=weighting(), content=start, styles=[(1.0, painted)])
        goal = None
        for name, descend in _descents(given.steps).items():
            losses = descend(objective, start)
            goal = losses[given.steps] if goal is None else goal
            reached = next((number for number, loss in enumerate(losses) if loss <= goal), None)
            after = f"not in {len(losses) - 1}" if reached is None else f"{reached}"
            print(f"| {names} | {name} | {losses[given.steps] / goal - 1:+.2%} | {after} |", flush=True)


def _pair(given: str) -> tuple[str, str]:
    content, found, style = given.partition(",")
    if not found:
        raise argparse.ArgumentTypeError(f"found {given}, expected two pictures with a comma between")
    return content, style


def _descents(steps: int) -> dict[str, Callable[[Objective, Tensor], list[float]]]:
    """By name, the one that the others are held against first."""
    further = round(FURTHER * steps)
    lengths = {f"torch, first step {PEERS / unit:.2g} times the peers'": unit for unit in UNITS}
    torchs = {name: partial(by_torch, steps=steps, unit=unit) for name, unit in lengths.items()}
    ours = {f"ours, {history} pairs": partial(_ours, steps=further, history=history) for history in HISTORIES}
    return {"torch, as the peers": partial(by_torch, steps=steps, unit=PEERS), **torchs, **ours}


def by_torch(objective: Objective, start: Tensor, *, steps: int, unit: float) -> list[float]:
    """The losses of the first canvas and of those after each step, of pixels from nought to `unit`."""
    canvas = (start * unit).contiguous().requires_grad_()
    moving = torch.optim.LBFGS([canvas], max_iter=1, history_size=100, tolerance_grad=-1, tolerance_change=-1)
    found: list[float] = []

    def closure() -> Tensor:
        losses, gradient = objective.evaluate(canvas.detach() / unit)
        canvas.grad = gradient.contiguous() / unit
        found.append(losses.total)
        return torch.tensor(losses.total)

    for _ in range(steps + 1):
        moving.step(closure)
    return found


def _ours(objective: Objective, canvas: Tensor, *, steps: int, history: int) -> list[float]:
    moving, found = Lbfgs(history=history, learning_rate=1.0), []
    for _ in range(steps + 1):
        losses, gradient = objective.evaluate(canvas)
        found.append(losses.total)
        canvas = moving.step(canvas, gradient)
    return found


def encoder(path: Path) -> vgg.Encoder:
    """Plain's network."""
    layers = [f"relu{name}" for name in (plain.CONTENT, *plain.STYLES)]
    read = parameters.read(path, vgg.CAFFE)
    return vgg.Encoder(read, layers=layers, pool="average", pool_factor=1.0, padding="zeros")


def weighting() -> Weighting:
    """Plain's."""
    return Weighting(
        convention=CONVENTIONS["johnson"],
        alpha=plain.ALPHA,
        beta=plain.BETA,
        content={f"relu{plain.CONTENT}": 1.0},
        style={f"relu{name}": 1.0 for name in plain.STYLES},
        variation=0.0,
        variation_norm="absolute",
    )


def _picture(name: str, side: int) -> Tensor:
    """(1, 3, H, W) in [0, 1], its longer side as long as asked for."""
    picture = pictures.load(name, key="CONTENT,STYLE")
    return images.from_picture(pictures.resize(picture, pictures.scaled_to_long_side(picture.size, side)))


if __name__ == "__main__":
    main()
