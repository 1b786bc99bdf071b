"""Trains what lies above relu4_2 alone, on features that are computed once and kept: many batches in little time.

relu5_1 is the hardest layer, and a whole training step spends nearly all of its time below it. Here the trunk up to
conv4_2 stays as it is; its response to some thousand crops, and VGG-19's relu5_1, are kept in memory. Where the
parameters given lack the deep convolutions or hold others of another size, they start from VGG-19 thinned.

    python -m training.deepen --teacher … --photographs … --paintings … --start a.safetensors --output b.safetensors \
        --crops 4000 --minutes 8
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from stylelab.embedded import MEAN_RGB, TRUNK, layer_shapes
from stylelab.vgg import Encoder, Parameters
from training.data import Pictures, split_photographs
from training.distil import rate_at
from training.errors import GRAM_WEIGHT, layer_errors
from training.muon import Muon
from training.start import chosen, fitted
from training.teacher import encoder, normalised

NAMES = [name for name, *_ in TRUNK]
BELOW = TRUNK[: NAMES.index("conv4_2") + 1]
ABOVE = TRUNK[NAMES.index("conv4_2") + 1 :]
SIZE = 160  # pixels of a crop: ten places a side at relu5_1
PART = 16  # crops that pass through VGG-19 at a time


def respond(hidden: Tensor, trunk: tuple, parameters: dict[str, Tensor]) -> Tensor:
    """What a part of the trunk makes of its input."""
    for name, _, _, kernel, stride, _ in trunk:
        if name == "pool":
            hidden = functional.avg_pool2d(hidden, 2)
            continue
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        hidden = functional.relu(functional.conv2d(hidden, weight, bias, stride, padding=(kernel - 1) // 2))
    return hidden


@torch.no_grad()
def keep(pictures: Pictures, parameters: dict[str, Tensor], teacher: Encoder, crops: int) -> dict[str, Tensor]:
    """The student's conv4_2 and the teacher's layers for so many crops, all in bfloat16."""
    mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    kept: dict[str, list[Tensor]] = {}
    for _ in range(crops // PART):
        images = pictures.batch(PART, SIZE).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            found = teacher(images) | {"below": respond(images - mean, BELOW, parameters)}
        for layer, features in found.items():
            kept.setdefault(layer, []).append(features)
    return {layer: torch.cat(parts).contiguous(memory_format=torch.channels_last) for layer, parts in kept.items()}


@torch.no_grad()
def thinned(kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions above conv4_2 by least squares, one after the other, as start.py does from the first on."""
    found, hidden = {}, kept["below"].float()
    for name, _, outputs, kernel, stride, layer in ABOVE:
        if name == "pool":
            hidden = functional.avg_pool2d(hidden, 2)
            continue
        aim = kept[name].float()
        values = functional.relu(aim).transpose(0, 1).flatten(1)
        indices = chosen(values[:, :: max(1, values.shape[1] // 20000)], outputs)
        weight, bias = fitted(hidden, aim[:, indices], kernel, stride)
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
        hidden = functional.relu(functional.conv2d(hidden, weight, bias, stride, padding=(kernel - 1) // 2))
        if layer:
            weight, bias = fitted(hidden, aim, 1, 1)
            found |= {f"head.{layer}.weight": weight, f"head.{layer}.bias": bias}
    return found


def deep_errors(parameters: dict[str, Tensor], below: Tensor, truth: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Relative errors of relu5_1, as in distil.py."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = respond(below, ABOVE, parameters)
        head = functional.conv2d(hidden, parameters["head.relu5_1.weight"], parameters["head.relu5_1.bias"])
        return layer_errors(functional.relu(head), truth, mean, 0)


def train(
    deep: dict[str, Tensor], kept: dict[str, Tensor], fresh: dict[str, Tensor], mean: Tensor, options
) -> dict[str, Tensor]:
    """The deep parameters after so many minutes, averaged over the last batches; reports on crops kept out."""
    optimizer = Muon(list(deep.values()), lr=options.rate)
    average = {name: value.detach().clone() for name, value in deep.items()}
    started, batches, reported = time.time(), 0, 0.0
    draw = torch.Generator().manual_seed(options.seed)
    while (progress := (time.time() - started) / 60 / options.minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(progress, batches, options.rate)
        chosen_crops = torch.randint(len(kept["below"]), (options.batch,), generator=draw)
        found = deep_errors(deep, kept["below"][chosen_crops], kept["relu5_1"][chosen_crops], mean)
        loss = sum((GRAM_WEIGHT if "gram" in name else 1.0) * error for name, error in found.items())
        for value, gradient in zip(deep.values(), torch.autograd.grad(loss, list(deep.values())), strict=True):
            value.grad = gradient
        optimizer.step()
        batches += 1
        with torch.no_grad():
            for name, value in deep.items():
                average[name].lerp_(value, max(0.01, 1 / batches))
        if time.time() - reported > 60 or progress > 0.99:
            reported = time.time()
            with torch.no_grad():
                found = deep_errors(average, fresh["below"], fresh["relu5_1"], mean)
            table = "  ".join(f"{name} {error.item():.4f}" for name, error in found.items())
            print(f"{progress * options.minutes:5.1f} min {batches:5d} {table}", flush=True)
    return average


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="VGG-19's Caffe parameters, safetensors")
    parser.add_argument("--photographs", type=Path, required=True, help="folder; every tenth is kept for validation")
    parser.add_argument("--paintings", type=Path, nargs="*", default=[], help="pictures to train on besides")
    parser.add_argument("--start", type=Path, required=True, help="parameters to start from")
    parser.add_argument("--output", type=Path, required=True, help="file for the parameters found")
    parser.add_argument("--crops", type=int, default=4000, help="0.3 MB of memory each")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    training, validation = split_photographs(options.photographs)
    rescaled, means = normalised(options.teacher)
    start = {name: value.float() for name, value in load_file(options.start).items()}
    pictures = Pictures(training, options.paintings, options.seed)
    deep = first_parameters(start, rescaled, pictures, options.crops // 8)
    teacher = encoder(rescaled, ("relu5_1",)).to(torch.bfloat16)
    kept = keep(pictures, start, teacher, options.crops)
    fresh = keep(Pictures(validation, [], 1), start, teacher, 48)
    deep = train(deep, kept, fresh, means["relu5_1"], options)
    wanted = {f"{name}.{part}" for name in layer_shapes() for part in ("weight", "bias")}
    found = {name: value.contiguous() for name, value in (start | deep).items() if name in wanted}
    save_file(found, options.output)


def first_parameters(
    start: dict[str, Tensor], rescaled: Parameters, pictures: Pictures, crops: int
) -> dict[str, Tensor]:
    """The deep convolutions of start where they have the right shapes, else VGG-19 thinned on so many crops."""
    shapes = {f"{name}.weight": shape for name, shape in layer_shapes().items()}
    names = {f"{name}.{part}" for name, *_ in ABOVE if name != "pool" for part in ("weight", "bias")}
    names |= {"head.relu5_1.weight", "head.relu5_1.bias"}
    if all(name in start and tuple(start[name].shape) == shapes.get(name, start[name].shape) for name in names):
        deep = {name: start[name] for name in sorted(names)}
    else:
        teacher = encoder(rescaled, tuple(name for name, *_ in ABOVE if name != "pool")).to(torch.bfloat16)
        deep = thinned(keep(pictures, start, teacher, crops))
    return {name: value.detach().clone().requires_grad_() for name, value in deep.items()}


if __name__ == "__main__":
    main()
