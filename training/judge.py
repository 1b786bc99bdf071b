"""Paints with the embedded network, VGG-19 and random VGG-19 and judges all pictures by VGG-19 as it was trained.

    python -m training.judge --teacher ../shared/weights/vgg19_caffe_features_fp16.safetensors \
        --contents a.jpg b.jpg --styles c.jpg d.jpg --output /tmp/judge

Every content is painted in every style: start at the content, L-BFGS, the default weights, --size pixels on the long
side, --steps evaluations. The embedded network paints at several ratios alpha/beta, so that its style distance at the
reference/content of VGG-19's picture can be interpolated. Pictures are kept in the output folder by what made them, and
made anew only where missing. It leaves pictures.csv, table.md and contact_sheet.png.
"""

import argparse
import csv
import hashlib
import math
import time
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from stylelab import images, parameters, pictures, reference
from stylelab.autograd import Network
from stylelab.descent import Lbfgs, descend
from stylelab.embedded import PARAMETERS, EmbeddedEncoder, load_parameters
from stylelab.engine import fastest
from stylelab.objective import CONVENTIONS, Objective, Weighting
from stylelab.pyramid import Level
from stylelab.vgg import CAFFE, Encoder

STYLE_LAYERS = reference.STYLE_LAYERS
LAYERS = (*STYLE_LAYERS, "relu4_2")
BETA, RATIO = 1e9, 1e-3  # conf/weights/authors_code.yaml
RATIOS = (RATIO / 4, RATIO, RATIO * 4)  # of the embedded network, for interpolation


def networks(options: argparse.Namespace) -> dict[str, Network]:
    """The three painters, by name."""
    caffe = parameters.read(options.teacher, CAFFE)
    means = parameters.read_means(PARAMETERS.parent / "vgg19_caffe_mean_activations.json", pool="average")
    found = {"embedded": EmbeddedEncoder(LAYERS, load_parameters(options.parameters))}
    shapes = {"layers": LAYERS, "pool": "average", "pool_factor": 1.0, "padding": "zeros"}
    found["vgg19_normalised"] = Encoder(parameters.normalise(caffe, means), **shapes)
    found["vgg19_random"] = Encoder(parameters.random(seed=0, pool="average"), **shapes)
    arithmetic = torch.bfloat16 if options.bfloat16 else torch.float32
    return {name: fastest(network, arithmetic) for name, network in found.items()}


def weighting(ratio: float) -> Weighting:
    """The package's default weights, at a ratio alpha/beta."""
    return Weighting(
        convention=CONVENTIONS["authors_code"],
        alpha=BETA * ratio,
        beta=BETA,
        content={"relu4_2": 1.0},
        style=dict.fromkeys(STYLE_LAYERS, 1 / len(STYLE_LAYERS)),
        variation=0.0,
        variation_norm="squared",
    )


def paint(network: Network, content: Tensor, style: Tensor, *, ratio: float, steps: int) -> Tensor:
    """The canvas after so many evaluations."""
    objective = Objective(network, weighting=weighting(ratio), content=content, styles=[(1.0, style)])
    optimizer = Lbfgs(history=20, learning_rate=1.0)
    for _, evaluation in descend(lambda _: objective, content, optimizer, steps=steps, tolerance=0):
        finished = evaluation.canvas
    return finished


def load(path: Path, size: int) -> Image.Image:
    picture = pictures.load(path, key=str(path))
    return pictures.resize(picture, pictures.scaled_to_long_side(picture.size, size))


class Judgement:
    """All pairs of contents and styles, painted and judged."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.rows = options, []
        self.networks = networks(options)
        _, self.ruler = reference.ruler(options.teacher)
        shipped = Path(options.parameters or PARAMETERS).read_bytes()
        self.version = {"embedded": hashlib.sha256(shipped).hexdigest()[:8]}
        self.contents = {path.stem: load(path, options.size) for path in options.contents}
        self.styles = {path.stem: load(path, options.size) for path in options.styles}

    def run(self) -> None:
        pairs = [(content, style) for content in self.contents for style in self.styles]
        if self.options.diagonal:
            pairs = list(zip(self.contents, self.styles, strict=True))
        for content, style in pairs:
            self._judge("unpainted", content, style, self.contents[content], 0.0, 0.0)
            for name in self.options.painters:
                for ratio in self.options.ratios if name == "embedded" else (RATIO,):
                    picture, seconds = self.picture(name, content, style, ratio)
                    self._judge(name, content, style, picture, ratio, seconds)

    def picture(self, name: str, content: str, style: str, ratio: float) -> tuple[Image.Image, float]:
        """The picture painted, or as kept, and the seconds it took (0: kept)."""
        options = self.options
        label = f"{name}{self.version.get(name, '')}-{content}-{style}-{ratio:.2g}-{options.size}-{options.steps}.png"
        path = options.output / "pictures" / label
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return Image.open(path).convert("RGB"), 0.0
        started = time.time()
        source, model = (images.from_picture(shelf) for shelf in (self.contents[content], self.styles[style]))
        canvas = paint(self.networks[name], source, model, ratio=ratio, steps=options.steps)
        images.to_picture(canvas).save(path)
        return images.to_picture(canvas), time.time() - started

    def _judge(self, name: str, content: str, style: str, picture: Image.Image, ratio: float, seconds: float) -> None:
        level = Level(number=0, canvas=picture.size, styles=(self.styles[style].size,), steps=self.options.steps)
        wanted = {"content": self.contents[content], "styles": [(1.0, self.styles[style])]}
        found = reference.judge(self.ruler, pastiche=picture, level=level, **wanted)
        row = {"network": name, "content": content, "style": style, "ratio": ratio}
        row |= {f"reference/{key}": round(value, 5) for key, value in found.items()} | {"seconds": round(seconds, 1)}
        self.rows.append(row)
        layers = " ".join(f"{found['style/' + layer]:.3f}" for layer in STYLE_LAYERS)
        print(
            f"{name:17} {content:12} {style:14} {ratio:.2g} style {found['style']:.4f} ({layers})"
            f" content {found['content']:.3f} {seconds:.0f} s",
            flush=True,
        )


def at_same_content(painted: list[dict], wanted: float) -> float:
    """The style distance at the content distance wanted: linear in the logarithms between the two nearest ratios.

    Beyond the ratios painted, the nearest is taken as it is.
    """
    points = sorted((math.log(row["reference/content"]), math.log(row["reference/style"])) for row in painted)
    place = min(max(math.log(wanted), points[0][0]), points[-1][0])
    for (left, low), (right, high) in pairwise(points):
        if left <= place <= right:
            share = (place - left) / (right - left) if right > left else 0.0
            return math.exp(low + share * (high - low))
    return math.exp(points[0][1])


def table(rows: list[dict]) -> str:
    """Markdown: one line for each pair, and the means."""
    by_pair: dict[tuple[str, str], dict[str, list[dict]]] = {}
    for row in rows:
        by_pair.setdefault((row["content"], row["style"]), {}).setdefault(row["network"], []).append(row)
    titles = "content style unpainted random VGG-19 embedded at_VGG-19's_content to_VGG-19 worst_layer"
    lines = ["| " + " | ".join(titles.split()).replace("_", " ") + " |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    columns: list[list[float]] = []
    for (content, style), found in by_pair.items():
        usual = next(row for row in found["embedded"] if row["ratio"] == RATIO)
        vgg = found["vgg19_normalised"][0]
        same = at_same_content(found["embedded"], vgg["reference/content"])
        worst = max(usual[f"reference/style/{layer}"] for layer in STYLE_LAYERS)
        chance = found["vgg19_random"][0]["reference/style"] if "vgg19_random" in found else math.nan
        values = [found["unpainted"][0]["reference/style"], chance, vgg["reference/style"], usual["reference/style"]]
        values += [same, same / vgg["reference/style"], worst]
        columns.append(values)
        lines.append(f"| {content} | {style} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    means = [sum(column) / len(column) for column in zip(*columns, strict=True)]
    lines.append("| **mean** | | " + " | ".join(f"**{value:.3f}**" for value in means) + " |")
    for name in ("unpainted", "vgg19_random", "vgg19_normalised", "embedded"):
        usual = [row for row in rows if row["network"] == name and row["ratio"] in (0.0, RATIO)]
        if usual:
            cells = [sum(row[f"reference/style/{layer}"] for row in usual) / len(usual) for layer in STYLE_LAYERS]
            cells.append(sum(row["reference/content"] for row in usual) / len(usual))
            layers = zip((*STYLE_LAYERS, "content"), cells, strict=True)
            lines.append(f"\n{name}: " + ", ".join(f"{layer} {value:.3f}" for layer, value in layers))
    return "\n".join(lines) + "\n"


def contact_sheet(judgement: Judgement, painters: tuple[str, ...], side: int = 256) -> Image.Image:
    """For each pair a row: content, style, and what each network painted."""
    pairs = list(dict.fromkeys((row["content"], row["style"]) for row in judgement.rows))
    sheet = Image.new("RGB", ((2 + len(painters)) * side, len(pairs) * side + 16), "white")
    for column, title in enumerate(("content", "style", *painters)):
        ImageDraw.Draw(sheet).text((column * side + 4, 2), title, fill="black")
    for line, (content, style) in enumerate(pairs):
        shelf = [judgement.contents[content], judgement.styles[style]]
        shelf += [judgement.picture(name, content, style, RATIO)[0] for name in painters]
        for column, picture in enumerate(shelf):
            small = picture.copy()
            small.thumbnail((side, side))
            sheet.paste(small, (column * side, 16 + line * side))
    return sheet


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="VGG-19's Caffe parameters")
    parser.add_argument("--parameters", type=Path, help="of the embedded network; those shipped if not given")
    parser.add_argument("--contents", type=Path, nargs="+", required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--diagonal", action="store_true", help="the first content in the first style, and so on")
    parser.add_argument("--painters", nargs="+", default=["vgg19_random", "vgg19_normalised", "embedded"])
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS, help="alpha/beta of the embedded network")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--bfloat16", action="store_true", help="paint in bfloat16; judging stays in float32")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    judgement = Judgement(options)
    judgement.run()
    with (options.output / "pictures.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=judgement.rows[-1].keys())
        writer.writeheader()
        writer.writerows(judgement.rows)
    contact_sheet(judgement, tuple(options.painters)).save(options.output / "contact_sheet.png")
    if {"embedded", "vgg19_normalised"} <= set(options.painters):
        (options.output / "table.md").write_text(table(judgement.rows))


if __name__ == "__main__":
    main()
