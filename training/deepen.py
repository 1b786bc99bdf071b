"""Trains what lies above relu4_1 alone, on features that are computed once and kept: many batches in little time.

relu5_1 is the hardest layer, and a step of distil.py spends nearly all of its time below it, in VGG-19 above all. Here
the trunk up to conv4_1 stays as it is; its response to some thousand crops, and VGG-19's relu4_2 and relu5_1, are kept
in memory. Every round first paints with the student as it is now and keeps those canvases and their styles too.
Convolutions that the parameters given lack, or have in another size, start from VGG-19 thinned.

    python -m training.deepen --teacher … --photographs … --paintings … --start a.safetensors --output b.safetensors \
        --crops 2400 --visits 40 --rounds 2 --minutes 6
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from stylelab.embedded import LAYERS, MEAN_RGB, TRUNK, EmbeddedEncoder, layer_shapes
from stylelab.vgg import Encoder
from training.data import Pictures, split_photographs
from training.distil import rate_at
from training.errors import GRAM_WEIGHT, layer_errors
from training.feedback import Easel
from training.muon import Muon
from training.start import chosen, fitted
from training.teacher import encoder, normalised

NAMES = [name for name, *_ in TRUNK]
BELOW = TRUNK[: NAMES.index("conv4_1") + 1]
ABOVE = TRUNK[NAMES.index("conv4_1") + 1 :]
WEIGHTS = {"relu4_2": 1.0, "relu5_1": 2.0}
SIZE = 160  # pixels of a crop: ten places a side at relu5_1
PART = 8  # crops that pass through VGG-19, and canvases that are painted, at a time
PAINTED = 1 / 4  # of a batch are canvases, with their styles
AVERAGING = 0.99

Features = dict[str, Tensor]


def respond(hidden: Tensor, trunk: tuple, parameters: Features) -> Features:
    """What a part of the trunk, with its heads, makes of its input; under "out" what the last convolution does."""
    found = {}
    for name, _, _, kernel, stride, layer in trunk:
        if name == "pool":
            hidden = functional.avg_pool2d(hidden, 2)
            continue
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        hidden = functional.relu(functional.conv2d(hidden, weight, bias, stride, padding=(kernel - 1) // 2))
        if layer in WEIGHTS:
            head = parameters[f"head.{layer}.weight"], parameters[f"head.{layer}.bias"]
            found[layer] = functional.relu(functional.conv2d(hidden, *head))
    return found | {"out": hidden}


@torch.no_grad()
def features_of(images: Tensor, start: Features, teacher: Encoder) -> Features:
    """The student's conv4_1 as "below", and the teacher's layers, in bfloat16."""
    mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1) / 255
    with torch.autocast("cpu", torch.bfloat16):
        below = respond((images - mean).contiguous(memory_format=torch.channels_last), BELOW, start)["out"]
        return teacher(images) | {"below": below}


def together(parts: list[Features]) -> Features:
    return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}


def keep(pictures: Pictures, start: Features, teacher: Encoder, crops: int) -> Features:
    """The features of so many crops."""
    return together([features_of(pictures.batch(PART, SIZE), start, teacher) for _ in range(crops // PART)])


def keep_painted(easel: Easel, student: nn.Module, start: Features, teacher: Encoder, visits: int) -> list[Features]:
    """The features of canvases and, at the same places of a second dictionary, of the styles that they strive for."""
    parts = [easel.next(student) for _ in range(visits)]
    return [together([features_of(images, start, teacher) for images in kind]) for kind in zip(*parts, strict=True)]


@torch.no_grad()
def completed(start: Features, kept: Features) -> Features:
    """The convolutions above conv4_1: those of start, or VGG-19 thinned where it lacks them in the right shape."""
    shapes, found, hidden = layer_shapes(), {}, kept["below"].float()
    for name, _, outputs, kernel, stride, layer in ABOVE:
        if name == "pool":
            hidden = functional.avg_pool2d(hidden, 2)
            continue
        aim = kept[name].float()
        for part, inputs, targets in ((name, hidden, aim), (f"head.{layer}", None, aim)):
            if part == "head.None":
                continue
            if f"{part}.weight" in start and tuple(start[f"{part}.weight"].shape) == shapes[part]:
                weight, bias = start[f"{part}.weight"], start[f"{part}.bias"]
            elif part == name:
                values = functional.relu(targets).transpose(0, 1).flatten(1)
                indices = chosen(values[:, :: max(1, values.shape[1] // 20000)], outputs)
                weight, bias = fitted(inputs, targets[:, indices], kernel, stride)
            else:
                weight, bias = fitted(hidden, targets, 1, 1)
            found |= {f"{part}.weight": weight, f"{part}.bias": bias}
            if part == name:
                hidden = functional.relu(functional.conv2d(hidden, weight, bias, stride, padding=(kernel - 1) // 2))
    return {name: value.detach().clone().requires_grad_() for name, value in found.items()}


def deep_errors(deep: Features, kept: Features, means: Features, canvases: int = 0) -> Features:
    """layer/kind -> relative error of relu4_2 and relu5_1, as in errors.py."""
    with torch.autocast("cpu", torch.bfloat16):
        answers = respond(kept["below"], ABOVE, deep)
        return {
            f"{layer}/{kind}": error
            for layer in WEIGHTS
            for kind, error in layer_errors(answers[layer], kept[layer], means[layer], canvases).items()
        }


class Trainer:
    """The deep parameters, their average, and the features kept."""

    def __init__(self, deep: Features, kept: Features, fresh: Features, means: Features, options: argparse.Namespace):
        self.deep, self.kept, self.fresh, self.means, self.options = deep, kept, fresh, means, options
        self.painted: list[Features] = []
        self.optimizer = Muon(list(deep.values()), lr=options.rate)
        self.average = {name: value.detach().clone() for name, value in deep.items()}
        self.draw = torch.Generator().manual_seed(options.seed)
        self.batches = 0

    def round(self, number: int) -> None:
        """So many minutes; the rate falls over all rounds as one cosine."""
        started, reported = time.time(), 0.0
        while (progress := (time.time() - started) / 60 / self.options.minutes) < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at((number + progress) / self.options.rounds, self.batches, self.options.rate)
            self._step()
            if time.time() - reported > 60:
                reported = time.time()
                self.report()
        self.report()

    def _step(self) -> None:
        batch, canvases = self._batch()
        found = deep_errors(self.deep, batch, self.means, canvases)
        loss = sum(
            WEIGHTS[name.split("/")[0]] * (GRAM_WEIGHT if name.endswith("gram") else 1.0) * error
            for name, error in found.items()
        )
        values = list(self.deep.values())
        for value, gradient in zip(values, torch.autograd.grad(loss, values), strict=True):
            value.grad = gradient
        self.optimizer.step()
        self.batches += 1
        with torch.no_grad():
            for name, value in self.deep.items():
                self.average[name].lerp_(value, max(1 - AVERAGING, 1 / self.batches))

    def _batch(self) -> tuple[Features, int]:
        """Canvases, their styles, then crops; and how many canvases."""
        canvases = round(self.options.batch * PAINTED / 2) if self.painted else 0
        crops = self._some(len(self.kept["below"]), self.options.batch - 2 * canvases)
        parts = [{layer: value[crops] for layer, value in self.kept.items()}]
        if canvases:
            places = self._some(len(self.painted[0]["below"]), canvases)
            parts = [{layer: value[places] for layer, value in kind.items()} for kind in self.painted] + parts
        return together(parts), canvases

    def _some(self, end: int, count: int) -> Tensor:
        return torch.randint(end, (count,), generator=self.draw)

    @torch.no_grad()
    def report(self) -> None:
        """The averaged parameters' errors on crops of photographs kept out."""
        found = deep_errors(self.average, self.fresh, self.means)
        table = "  ".join(f"{name} {error.item():.3f}" for name, error in found.items())
        print(f"{time.strftime('%H:%M:%S')} {self.batches:5d} {table}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="VGG-19's Caffe parameters")
    parser.add_argument("--photographs", type=Path, required=True, help="folder; every tenth is kept for validation")
    parser.add_argument("--paintings", type=Path, nargs="*", default=[], help="pictures to train on besides")
    parser.add_argument("--start", type=Path, required=True, help="parameters to start from")
    parser.add_argument("--output", type=Path, required=True, help="file for the parameters found")
    parser.add_argument("--crops", type=int, default=2400, help="0.7 MB of memory each")
    parser.add_argument("--visits", type=int, default=40, help=f"to the easel by round: {PART} canvases each")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, required=True, help="of training by round")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.manual_seed(options.seed)
    training, validation = split_photographs(options.photographs)
    rescaled, means = normalised(options.teacher)
    start = {name: value.float() for name, value in load_file(options.start).items()}
    pictures = Pictures(training, options.paintings, options.seed)
    aims = tuple(name for name, *_ in ABOVE if name != "pool")
    few = keep(pictures, start, encoder(rescaled, aims).to(torch.bfloat16), max(PART, options.crops // 16))
    deep = completed(start, few)
    teacher = encoder(rescaled, tuple(WEIGHTS)).to(torch.bfloat16)
    kept = keep(pictures, start, teacher, options.crops)
    trainer = Trainer(deep, kept, keep(Pictures(validation, [], 1), start, teacher, 48), means, options)
    easel = Easel(pictures, PART, SIZE, torch.device("cpu"))
    trainer.report()
    for number in range(options.rounds):
        painter = EmbeddedEncoder(LAYERS, start | trainer.average)
        painted = keep_painted(easel, painter, start, teacher, options.visits)
        if number:
            painted = [together([*kind]) for kind in zip(trainer.painted, painted, strict=True)]
        trainer.painted = painted
        trainer.round(number)
        wanted = {f"{name}.{part}" for name in layer_shapes() for part in ("weight", "bias")}
        found = start | trainer.average
        save_file({name: found[name].contiguous() for name in sorted(wanted)}, options.output)


if __name__ == "__main__":
    main()
