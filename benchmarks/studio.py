"""What the contestants are given: parameters, pictures of one size, configurations, commands that start them."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from peers import Painting, Starter
from PIL import Image
from turns import Contestant, Turn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Threads that wait sleep, for everybody as for the engine: on a busy machine the others gain most by it.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
SHAPE = 3 / 4  # height by width of every picture, so that no program resizes one
# Settings equal to neural-style-pt's own but for its total variation, its pooling and its random parameters.
COMMON = ("network=vgg19_caffe", "pooling=average", "layers=gatys2015", "weights=johnson", "weights.variation=0")
COMMON += ("tracking=off", "canvas.deviation=0.00000392156862745098")  # the latter neural-style's: 0.001 of 255
PRECISIONS = {  # row -> overrides
    "float32": ("precision=float32",),
    "bfloat16": ("precision=bfloat16",),
    "float16": ("precision=float16",),
    "tf32": ("precision=float32", "determinism=fast"),
}


@dataclass(frozen=True, kw_only=True)
class Studio:
    """One benchmark's materials.

    Args:
        folder: for what is made on the way.
        parameters: safetensors of VGG-19, neural-style's.
        pairs: content and style pictures.
        configurations: file of composed configurations, to read where Hydra is missing; None: compose.
        source: the checkout whose engine is timed.
        compiled: have the yardstick through torch.compile too.
    """

    folder: Path
    parameters: Path
    pairs: Sequence[tuple[Path, Path]]
    device: str
    threads: int
    peers: Sequence[Starter] = ()
    configurations: Path | None = None
    source: Path = ROOT
    compiled: bool = False

    @property
    def gpu(self) -> bool:
        """Whether it is a GPU that is timed."""
        return self.device.startswith("cuda")

    @property
    def precisions(self) -> tuple[str, ...]:
        """The engine's arithmetics on this device."""
        return ("float32", "tf32", "bfloat16", "float16") if self.gpu else ("float32", "bfloat16")

    def working(self, turn: Turn) -> float:
        """Seconds at work."""
        return getattr(turn, self.measure)

    @property
    def measure(self) -> str:
        """Of a turn: on a CPU the seconds of all cores together, whoever else used them; on a GPU its stream's."""
        return "seconds" if self.gpu else "cpu_seconds"

    def with_threads(self, threads: int) -> "Studio":
        """The same with another number of threads."""
        return replace(self, threads=threads)

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of every contestant."""
        paths = os.pathsep.join(filter(None, (str(self.source / "src"), os.environ.get("PYTHONPATH"))))
        return {"OMP_NUM_THREADS": str(self.threads), "PYTHONPATH": paths, **WAITING}

    def painting(
        self, side: int, *, start: str = "content", optimizer: str = "adam", steps: int = 10**6, pair: int = 0
    ):
        """A pair of pictures at one size, with what is done to them."""
        content, style = (self._sized(path, side) for path in self.pairs[pair % len(self.pairs)])
        return Painting(
            content=content,
            style=style,
            start=start,
            optimizer=optimizer,
            steps=steps,
            gpu=self.gpu,
            environment=self.environment,
        )

    def _sized(self, path: Path, side: int) -> Path:
        size = side, round(side * SHAPE)
        target = self.folder / f"{path.stem}-{side}.png"
        if not target.exists():
            with Image.open(path) as picture:
                width = min(picture.width, round(picture.height / SHAPE))
                middle = picture.convert("RGB").crop((0, 0, width, round(width * SHAPE)))
                middle.resize(size, Image.Resampling.LANCZOS).save(target)
        return target

    def plain(self, of: Painting, *, compiled: bool = False) -> Contestant:
        """The yardstick, by itself or through torch.compile."""
        settings = {"who": "plain", "parameters": str(self.parameters), "seed": 0, "device": self.device}
        settings |= {"content": str(of.content), "style": str(of.style), "compiled": compiled}
        settings |= {name: getattr(of, name) for name in ("start", "optimizer", "steps")}
        return self.contestant("plain, torch.compile" if compiled else "plain", settings)

    def ours(
        self, of: Painting, precision: str, *more: str, name: str | None = None, judge_every: int = 0
    ) -> Contestant:
        """The engine in one precision, with more overrides."""
        return self.contestant(
            name or f"stylelab {precision}", self.engine(of, precision, *more, judge_every=judge_every)
        )

    def engine(self, of: Painting, precision: str, *more: str, judge_every: int = 0) -> dict[str, Any]:
        """Settings of `painter.py` for that."""
        config = self._configuration((*self._overrides(of, precision), *more))
        config["images"] |= {"content": str(of.content), "style": [str(of.style)]}
        config["network"]["path"] = str(self.parameters)
        return {"who": "ours", "config": config, "judge_every": judge_every}

    def together(self, of: Painting, precision: str, *, name: str, runs: int, most: int, rounds: int) -> Contestant:
        """Runs in one process, some of their canvases at once."""
        settings = self.engine(of, precision) | {"who": "together", "runs": runs, "most": most, "rounds": rounds}
        return self.contestant(name, settings)

    def command(self, of: Painting, precision: str, *more: str) -> list[str]:
        """Overrides of the command line for the same."""
        of_pictures = [f"images.content={of.content}", f"images.style=[{of.style}]", f"network.path={self.parameters}"]
        folder = [f"outputs={self.folder / 'outputs'}", f"threads={self.threads}"]
        return [*self._overrides(of, precision), *of_pictures, *folder, "force=true", *more]

    def _overrides(self, of: Painting, precision: str) -> tuple[str, ...]:
        with Image.open(of.content) as picture:
            side = max(picture.size)
        asked = (f"images.long_side={side}", "images.style_size=stretch", f"canvas={of.start}", f"device={self.device}")
        steps = (f"optimizer={of.optimizer}", f"optimizer.steps={of.steps}", f"threads={self.threads}")
        common = COMMON if of.start == "noise" else COMMON[:-1]
        return (*common, *asked, *steps, *PRECISIONS[precision])

    def _configuration(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Composed by the checkout that is timed, in a process of its own; kept in `configurations`, if given."""
        key = " ".join(overrides)
        known = (
            json.loads(self.configurations.read_text()) if self.configurations and self.configurations.exists() else {}
        )
        if key not in known:
            known[key] = self._composed(overrides)
            if self.configurations:
                self.configurations.write_text(json.dumps(known, indent=1) + "\n")
        return known[key]

    def _composed(self, overrides: Sequence[str]) -> dict[str, Any]:
        program = (
            "import json, sys; from stylelab.composition import composed; from stylelab.configuration import plain; "
        )
        program += "print(json.dumps(plain(composed(sys.argv[1:]))))"
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            [sys.executable, "-c", program, *overrides], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise ValueError(f"{' '.join(overrides)} can't be composed ({last}): see --configurations")
        return json.loads(done.stdout)

    def contestant(self, name: str, settings: Mapping[str, Any], **environment: str) -> Contestant:
        """A program of ours with its settings."""
        theirs = self.source / "benchmarks" / "painter.py"  # with the engine of its time
        command = (sys.executable, str(theirs if theirs.is_file() else HERE / theirs.name), json.dumps(settings))
        return Contestant(name=name, command=command, environment=self.environment | environment)

    def several(self, name: str, programs: Mapping[str, Mapping[str, Any]]) -> Contestant:
        """Programs of ours, by their names, in one process."""
        settings = {"who": "several", "programs": list(programs.values())}
        return replace(self.contestant(name, settings), programs=tuple(programs))

    def everybody(self, of: Painting) -> list[Contestant]:
        """The yardstick, the engine in each precision, and the peers."""
        ours = [self.ours(of, precision) for precision in self.precisions]
        compiled = [self.plain(of, compiled=True)] if self.compiled else []
        return [self.plain(of), *compiled, *ours, *(start(of) for start in self.peers)]


def random_parameters(folder: Path) -> Path:
    """VGG-19 with parameters drawn at random, where none are at hand: as much work, no picture worth a look."""
    import torch
    from plain import LAYERS
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    widths = [layer if layer == "pool" else layer[1] for layer in (*LAYERS, *(("", 512),) * 3)]
    tensors, before, place = {}, 3, 0
    for width in widths:
        if width == "pool":
            place += 1
            continue
        drawn = torch.randn(width, before, 3, 3, generator=generator)
        tensors[f"features.{place}.weight"] = drawn * (2 / (9 * before)) ** 0.5  # He et al. (2015), eq. (10)
        tensors[f"features.{place}.bias"] = torch.zeros(width)
        before, place = width, place + 2
    save_file(tensors, folder / "random.safetensors")
    return folder / "random.safetensors"


def digest(path: Path) -> str:
    """The first digits of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
