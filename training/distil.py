"""Trains the embedded network to answer like VGG-19. See README.md for the commands that made the shipped file.

    python -m training.distil --teacher ../shared/weights/vgg19_caffe_features_fp16.safetensors \
        --photographs ../shared/photographs --paintings a.jpg b.jpg --output /tmp/embedded --minutes 60

The output folder receives checkpoint.pt (from which the same command resumes), losses.csv and losses.png.
"""

import argparse
import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stylelab.embedded import LAYERS, EmbeddedEncoder
from stylelab.engine import fastest
from stylelab.vgg import Parameters
from training.data import Pictures, split_photographs, uniform
from training.errors import LEARNED, errors, total
from training.feedback import Easel
from training.muon import Muon
from training.start import AIMS, adapted, starting_parameters
from training.teacher import encoder, normalised

FITTED = 280  # crops of 192 pixels, to which the first parameters are fitted
AVERAGING = 0.998  # of the exported parameters over the last some 500 batches


class Average:
    """The running average of the student's parameters, which is what gets exported."""

    def __init__(self, parameters: dict[str, Tensor]):
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, Tensor], steps: int) -> None:
        share = min(AVERAGING, steps / (steps + 20))
        for name, value in parameters.items():
            self.values[name].lerp_(value, 1 - share)


def rate_at(progress: float, batches: int, peak: float) -> float:
    """Cosine decay over the minutes given, after 100 batches of warming up."""
    return peak * min(1.0, (batches + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def plain_names(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the module's names of its parameters to those of the file."""
    return {name.removeprefix("values.").replace("/", "."): value for name, value in values.items()}


def save(path: Path, state: dict) -> None:
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="VGG-19's Caffe parameters, safetensors")
    parser.add_argument("--photographs", type=Path, required=True, help="folder; every tenth is kept for validation")
    parser.add_argument("--paintings", type=Path, nargs="*", default=[], help="pictures to train on besides")
    parser.add_argument(
        "--start",
        type=Path,
        help="parameters of this trunk, or of other widths or ranks; else VGG-19 is factored",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="length of the schedule")
    parser.add_argument("--rate", type=float, default=2e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=160, help="side of the training crops, in pixels")
    parser.add_argument("--feedback", type=float, default=0.3, help="share of pictures painted by the student itself")
    parser.add_argument(
        "--gram-weight", type=float, default=1.0, help="of a relative Gram error against a relative feature error"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


class Run:
    """One training run: the student, its optimizer and average, the pictures, and how far it has come."""

    def __init__(self, options: argparse.Namespace):
        options.output.mkdir(parents=True, exist_ok=True)
        self.options, self.device = options, torch.device(options.device)
        training, validation = split_photographs(options.photographs)
        self.pictures = Pictures(training, options.paintings, options.seed)
        self.held_out = Pictures(validation, [], 1).still_batch(24, 160).to(self.device)
        torch.manual_seed(options.seed)
        rescaled, self.means = normalised(options.teacher)
        self.teacher = fastest(encoder(rescaled, LEARNED).to(self.device), torch.bfloat16)
        stored = torch.load(self.checkpoint, map_location=self.device) if self.checkpoint.exists() else None
        first = stored["parameters"] if stored else self._first_parameters(rescaled)
        self.student = EmbeddedEncoder(LEARNED, first).to(self.device, memory_format=torch.channels_last)
        self.student.requires_grad_(True)
        self.values = plain_names(dict(self.student.named_parameters()))
        # The student's own tensors, frozen, so that the painter has what the student learns.
        self.painter = EmbeddedEncoder(LAYERS, self.values)
        self.optimizer = Muon(self.student.parameters(), lr=options.rate)
        self.average = Average(self.values)
        self.seconds, self.batches = 0.0, 0
        if stored:
            self._resume(stored)
        self.easel = Easel(self.pictures, (options.batch + 1) // 2, options.size, self.device)

    @property
    def checkpoint(self) -> Path:
        return self.options.output / "checkpoint.pt"

    def _first_parameters(self, rescaled: Parameters) -> dict[str, Tensor]:
        images = self.pictures.batch(FITTED, 192)
        if self.options.start:
            return adapted(load_file(self.options.start), images)
        return starting_parameters(encoder(rescaled, AIMS), images)

    def _resume(self, stored: dict) -> None:
        self.optimizer.load_state_dict(stored["optimizer"])
        self.student.load_state_dict(stored["student"])
        self.seconds, self.batches = stored["seconds"], stored["batches"]
        self.pictures.generator.manual_seed(self.options.seed + self.batches)

    def train(self) -> None:
        last_report, log = time.time(), (self.options.output / "losses.csv").open("a", newline="")
        while self.seconds < 60 * self.options.minutes:
            started = time.time()
            fed_back = uniform(self.pictures.generator) < self.options.feedback and self.batches > 50
            loss = self._step(*self._painted()) if fed_back else self._step(self._pictures())
            self.seconds, self.batches = self.seconds + time.time() - started, self.batches + 1
            csv.writer(log).writerow([self.batches, round(self.seconds), int(fed_back), f"{loss:.4f}"])
            if time.time() - last_report > 180 or self.seconds > 60 * self.options.minutes:
                self.report(log)
                last_report = time.time()

    def _pictures(self) -> Tensor:
        return self.pictures.batch(self.options.batch, self.options.size).to(self.device)

    def _painted(self) -> tuple[Tensor, int]:
        """Canvases, then the styles that they strive for, and how many canvases."""
        canvases, styles = self.easel.next(self.painter)
        return torch.cat([canvases, styles]), len(canvases)

    def _step(self, images: Tensor, canvases: int = 0) -> float:
        rate = rate_at(self.seconds / 60 / self.options.minutes, self.batches, self.options.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        weight = self.options.gram_weight
        found = errors(self.student, self.teacher, self.means, images, canvases, grams=weight > 0)
        loss = total(found, weight)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimizer.step()
        self.average.update(self.values, self.batches)
        return loss.item()

    @torch.no_grad()
    def report(self, log) -> None:
        """Checkpoint, and the averaged student's errors on photographs kept out and on its own paintings."""
        averaged = EmbeddedEncoder(LEARNED, self.average.values).to(self.device, memory_format=torch.channels_last)
        state = {"parameters": self.average.values, "student": self.student.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "seconds": self.seconds, "batches": self.batches}
        save(self.checkpoint, state)
        for title, images in (("kept out", self.held_out), ("painted", self.easel.gallery())):
            if images is None:
                continue
            parts = [errors(averaged, self.teacher, self.means, part) for part in images.split(8)]
            print(f"{self.seconds / 60:6.1f} min {self.batches:6d} {title:9} {table(parts, LEARNED)}", flush=True)
        log.flush()


def table(parts: list[dict[str, Tensor]], layers: Sequence[str]) -> str:
    """The means of the errors of some batches: features | Gram matrices, normalised and Caffe scale."""
    mean = {name: sum(part[name].item() for part in parts) / len(parts) for name in parts[0]}
    return "  ".join(
        f"{layer} {mean[layer + '/features']:.3f} {mean[layer + '/caffe_features']:.3f}"
        f" | {mean[layer + '/gram']:.4f} {mean[layer + '/caffe_gram']:.4f}"
        for layer in layers
    )


if __name__ == "__main__":
    Run(arguments()).train()
