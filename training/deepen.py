"""Trains what lies above one part of the embedded network, the rest frozen. README.md has the command that was used.

    python -m training.deepen --start src/stylelab/data/embedded.safetensors --below conv4_2 \
        --teacher ../shared/weights/vgg19_caffe_features_fp16.safetensors \
        --photographs ../shared/photographs --paintings a.jpg b.jpg --output runs/deeper --minutes 60

What the frozen part and VGG-19 make of a crop is computed once and kept, and learned from several times while new crops
come in. The output folder receives checkpoint.pt (from which the same command resumes, with new crops), losses.csv.
"""

import argparse
import csv
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stylelab.embedded import LAYERS, TRUNK, EmbeddedEncoder, layer_shapes, preprocess, through
from stylelab.engine import fastest
from stylelab.vgg import Parameters
from training.data import Pictures, split_photographs, uniform
from training.distil import Average, common_arguments, plain_names, rate_at, save, table
from training.errors import layer_errors, total
from training.feedback import Easel
from training.muon import Muon
from training.start import AIMS, starting_parameters
from training.teacher import encoder, normalised

GROUP = 8  # crops that come in together; of those painted, half are canvases and half the styles that they strive for
DRAWN = 4  # groups in a batch


class Crops:
    """What the frozen part makes of crops and what VGG-19 does, in groups; the oldest give way to new ones."""

    def __init__(self, capacity: int):
        self.capacity = capacity // GROUP  # groups
        self.below: list[Tensor] = []  # (GROUP, C, H, W) each
        self.truth: list[dict[str, Tensor]] = []
        self.painted: list[bool] = []

    def add(self, below: Tensor, truth: dict[str, Tensor], *, painted: bool) -> None:
        for shelf, group in ((self.below, below), (self.truth, truth), (self.painted, painted)):
            if len(shelf) == self.capacity:
                del shelf[0]
            shelf.append(group)

    def batch(self, generator: torch.Generator, *, newest: bool) -> tuple[Tensor, dict[str, Tensor], int]:
        """Groups drawn at random, at times the newest among them; how many canvases lead, with their styles next."""
        places = torch.randperm(len(self.below), generator=generator)[:DRAWN].tolist()
        if newest and len(self.below) - 1 not in places:
            places[0] = len(self.below) - 1
        half = GROUP // 2
        painted = [place for place in places if self.painted[place]]
        cuts = [(place, slice(half)) for place in painted] + [(place, slice(half, GROUP)) for place in painted]
        cuts += [(place, slice(GROUP)) for place in places if not self.painted[place]]
        truth = {layer: torch.cat([self.truth[at][layer][cut] for at, cut in cuts]) for layer in self.truth[0]}
        return torch.cat([self.below[at][cut] for at, cut in cuts]), truth, half * len(painted)


class Run:
    """One run: the student, its optimizer and average, the crops, and how far it has come."""

    def __init__(self, options: argparse.Namespace):
        options.output.mkdir(parents=True, exist_ok=True)
        self.options, self.device = options, torch.device(options.device)
        training, validation = split_photographs(options.photographs)
        self.held_out = Pictures(validation, [], 1).still_batch(24, 160).to(self.device)
        stored = torch.load(self.checkpoint, map_location=self.device) if self.checkpoint.exists() else None
        self.seconds, self.batches = (stored["seconds"], stored["batches"]) if stored else (0.0, 0)
        self.pictures = Pictures(training, options.paintings, options.seed + self.batches)
        torch.manual_seed(options.seed + self.batches)
        rescaled, self.means = normalised(options.teacher)
        first = stored["student"] if stored else self._first_parameters(rescaled)
        self.student = EmbeddedEncoder(LAYERS, first).to(self.device, memory_format=torch.channels_last)
        self.values = plain_names(dict(self.student.named_parameters()))
        # The student's own tensors, frozen, so that the painter has what the student learns.
        self.painter = EmbeddedEncoder(LAYERS, self.values)
        above = 1 + [part.name for part in TRUNK].index(options.below)
        self.frozen, self.layers = TRUNK[:above], [part.layer for part in TRUNK[above:] if part.layer]
        names = (*(part.name for part in TRUNK[above:]), *(f"head.{layer}" for layer in self.layers))
        self.learned = {name: value for name, value in self.values.items() if name.startswith(names)}
        for value in self.learned.values():
            value.requires_grad_(True)
        self.teacher = fastest(encoder(rescaled, tuple(self.layers)).to(self.device), torch.bfloat16)
        self.optimizer, self.average = Muon(self.learned.values(), lr=options.rate), Average(self.learned)
        if stored:
            self.optimizer.load_state_dict(stored["optimizer"])
            self.average.values = stored["average"]
        self.crops = Crops(options.kept)
        self.easel = Easel(self.pictures, GROUP // 2, options.size, self.device)

    @property
    def checkpoint(self) -> Path:
        return self.options.output / "checkpoint.pt"

    def _first_parameters(self, rescaled: Parameters) -> dict[str, Tensor]:
        """Those of the file that this network has too; the others drawn and fitted."""
        shapes, found = layer_shapes(), load_file(self.options.start)
        same = {
            name
            for name, shape in shapes.items()
            if (value := found.get(f"{name}.weight")) is not None and value.shape == shape
        }
        known = {f"{name}.{part}": found[f"{name}.{part}"].float() for name in same for part in ("weight", "bias")}
        return starting_parameters(encoder(rescaled, tuple(AIMS.values())), self.pictures.batch(48, 112), known)

    def train(self) -> None:
        last_report, log = time.time(), (self.options.output / "losses.csv").open("a", newline="")
        while self.seconds < 60 * self.options.minutes:
            started = time.time()
            self._look()
            losses = [self._step(newest=turn == 0) for turn in range(self.options.turns)]
            self.seconds += time.time() - started
            csv.writer(log).writerows(
                [self.batches, round(self.seconds), painted, f"{loss:.4f}"] for loss, painted in losses
            )
            if time.time() - last_report > 180 or self.seconds > 60 * self.options.minutes:
                self.report()
                log.flush()
                last_report = time.time()

    @torch.no_grad()
    def _look(self) -> None:
        """Bring new crops in, painted by the student at times."""
        painted = uniform(self.pictures.generator) < self.options.feedback and self.batches > 50
        if painted:
            with torch.enable_grad():
                images = torch.cat(self.easel.next(self.painter))
        else:
            images = self.pictures.batch(GROUP, self.options.size).to(self.device)
        self.crops.add(self._below(images), self.teacher.features(images, self.layers), painted=painted)

    @torch.no_grad()
    def _below(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = preprocess(images)
            for part in self.frozen:
                hidden = through(part, hidden, self.student.convolution)
        return hidden

    def _step(self, *, newest: bool) -> tuple[float, int]:
        """The loss of a batch, and whether there are pictures painted by the student in it."""
        rate = rate_at(self.seconds / 60 / self.options.minutes, self.batches, self.options.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        hidden, truth, canvases = self.crops.batch(self.pictures.generator, newest=newest)
        loss = total(self._errors(self.student, hidden, truth, canvases))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learned.values(), 2.0)
        self.optimizer.step()
        self.batches += 1
        self.average.update(self.learned, self.batches)
        return loss.item(), int(canvases > 0)

    def _errors(
        self, student: EmbeddedEncoder, hidden: Tensor, truth: dict[str, Tensor], canvases: int = 0
    ) -> dict[str, Tensor]:
        """layer/kind -> relative error, from what the frozen part gives."""
        with torch.autocast(self.device.type, torch.bfloat16):
            answers = student.above(hidden, self.options.below)
            return {
                f"{layer}/{kind}": error
                for layer in self.layers
                for kind, error in layer_errors(answers[layer], truth[layer], self.means[layer], canvases).items()
            }

    @torch.no_grad()
    def report(self) -> None:
        """Checkpoint, and the averaged student's errors on photographs kept out and on its own paintings."""
        averaged = self.values | self.average.values
        state = {"parameters": averaged, "student": self.values, "average": self.average.values}
        state |= {"optimizer": self.optimizer.state_dict(), "seconds": self.seconds, "batches": self.batches}
        save(self.checkpoint, state)
        student = EmbeddedEncoder(LAYERS, averaged).to(self.device, memory_format=torch.channels_last)
        for title, images in (("kept out", self.held_out), ("painted", self.easel.gallery())):
            if images is None:
                continue
            parts = [
                self._errors(student, self._below(part), self.teacher.features(part, self.layers))
                for part in images.split(GROUP)
            ]
            print(f"{self.seconds / 60:6.1f} min {self.batches:6d} {title:9} {table(parts, self.layers)}", flush=True)


def arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, rate=3e-3, size=160)
    parser.add_argument("--start", type=Path, required=True, help="parameters; those of other shapes start anew")
    parser.add_argument("--below", required=True, help="the uppermost part of the trunk that stays as it is")
    parser.add_argument("--turns", type=int, default=3, help="batches learned for each group of new crops")
    parser.add_argument("--kept", type=int, default=20000, help="crops; 0.3 MB each at 160 pixels above conv4_2")
    return parser.parse_args()


if __name__ == "__main__":
    Run(arguments()).train()
