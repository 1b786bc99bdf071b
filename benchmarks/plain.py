"""Neural style transfer as the peers compute it: float32, NCHW, autograd, torch.optim. The yardstick of the benchmarks.

    python benchmarks/plain.py CONTENT STYLE --parameters FILE

Gatys et al. (2015) with the losses of jcjohnson/neural-style. Like neural-style-pt it cuts the network after the last
layer in use, freezes it and rectifies in place; it shares no code with the engine that it is held against.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

LAYERS = (  # of VGG-19 (Simonyan & Zisserman 2014, configuration E), as far as relu5_1: width of each convolution
    *(("1_1", 64), ("1_2", 64), "pool", ("2_1", 128), ("2_2", 128), "pool"),
    *(("3_1", 256), ("3_2", 256), ("3_3", 256), ("3_4", 256), "pool"),
    *(("4_1", 512), ("4_2", 512), ("4_3", 512), ("4_4", 512), "pool", ("5_1", 512)),
)
CONTENT, STYLES = "4_2", ("1_1", "2_1", "3_1", "4_1", "5_1")  # rectified
ALPHA, BETA = 5.0, 100.0  # neural-style's content and style weights, the latter on each layer
BGR_MEAN = (103.939, 116.779, 123.68)


class Network(nn.Sequential):
    """VGG-19 up to relu5_1 with average pooling, its parameters read from a file of keys `features.N.weight`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        parameters, before = load_file(path), 3
        self.rectified: dict[int, str] = {}  # place in the sequence -> name
        for layer in LAYERS:
            if layer == "pool":
                self.append(nn.AvgPool2d(2))
                continue
            convolution = nn.Conv2d(before, layer[1], 3, padding=1)
            convolution.weight.data = parameters[f"features.{len(self)}.weight"].float()
            convolution.bias.data = parameters[f"features.{len(self)}.bias"].float()
            self.append(convolution)
            self.append(nn.ReLU(inplace=True))
            self.rectified[len(self) - 1] = layer[0]
            before = layer[1]
        self.requires_grad_(False)

    def features(self, pixels: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W), BGR, 0 to 255 less the mean -> {"1_1": (1, C, h, w), ...}, rectified."""
        found = {}
        for place, module in enumerate(self):
            pixels = module(pixels)
            if self.rectified.get(place) in (CONTENT, *STYLES):
                found[self.rectified[place]] = pixels
        return found


class Loss:
    """neural-style's loss of a canvas, its targets captured once."""

    def __init__(self, network: Network, content: Tensor, style: Tensor) -> None:
        self.network = network
        with torch.no_grad():
            self.content = network.features(content)[CONTENT]
            found = network.features(style)
            self.grams = {layer: gram(found[layer]) for layer in STYLES}

    def __call__(self, pixels: Tensor) -> Tensor:
        found = self.network.features(pixels)
        style = sum(F.mse_loss(gram(found[layer]), self.grams[layer]) for layer in STYLES)
        return ALPHA * F.mse_loss(found[CONTENT], self.content) + BETA * style


def gram(features: Tensor) -> Tensor:
    """(C, C): products of channels, divided by C*H*W."""
    rows = features.flatten(2)[0]
    return rows @ rows.T / features.numel()


def read(path: str) -> Tensor:
    """A picture as (1, 3, H, W), BGR, 0 to 255 less the mean."""
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"), dtype=np.float32))
    return to_caffe(pixels.permute(2, 0, 1)[None] / 255)


def to_caffe(image: Tensor) -> Tensor:
    """From RGB in [0, 1] to BGR, 0 to 255 less the mean."""
    return image[:, [2, 1, 0]] * 255 - image.new_tensor(BGR_MEAN).view(1, 3, 1, 1)


def write(pixels: Tensor, path: str) -> None:
    """Save what `read` reads."""
    image = ((pixels[0] + pixels.new_tensor(BGR_MEAN).view(3, 1, 1)) / 255).clamp(0, 1)[[2, 1, 0]]
    Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def paint(
    loss: Loss, pixels: Tensor, *, optimizer: str, steps: int, history: int = 100
) -> Iterator[tuple[Tensor, float]]:
    """Move the pixels; yields the canvas after each step with the loss of the one before, as the peers report it."""
    canvas = pixels.clone().requires_grad_()
    evaluated: list[float] = []
    if optimizer == "adam":
        moving = torch.optim.Adam([canvas], lr=1.0)
    else:  # one evaluation a step, as without a line search torch would do within one call
        moving = torch.optim.LBFGS([canvas], max_iter=1, history_size=history, tolerance_grad=-1, tolerance_change=-1)

    def closure() -> Tensor:
        moving.zero_grad()
        found = loss(canvas)
        found.backward()
        evaluated.append(float(found.detach()))
        return found

    for _ in range(steps):
        moving.step(closure)
        yield canvas.detach(), evaluated[-1]


def main() -> None:
    """Paint, saying the loss of each evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--parameters", required=True, help="safetensors: neural-style's VGG-19 (BGR, 0 to 255)")
    parser.add_argument("--optimizer", choices=("lbfgs", "adam"), default="lbfgs")
    parser.add_argument("--steps", type=int, default=500, help="evaluations (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="start from noise; the default is the content picture")
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args()
    content = read(options.content)
    start = content if options.seed is None else noise(content.shape, options.seed)
    loss = Loss(Network(options.parameters), content, read(options.style))
    for number, (canvas, found) in enumerate(paint(loss, start, optimizer=options.optimizer, steps=options.steps), 1):
        print(f"{number} {found:.6g}")
        if options.output and number == options.steps:
            write(canvas, options.output)


def noise(shape: torch.Size, seed: int) -> Tensor:
    """neural-style's first canvas: a thousandth of white noise about the mean."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.001


if __name__ == "__main__":
    main()
