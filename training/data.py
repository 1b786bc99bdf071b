"""Training pictures: crops of photographs and paintings, textures drawn by the program, all of them disturbed at times.

A batch is (N, 3, size, size), sRGB in about [0, 1]. Nothing here is ever written to disk.
"""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

PICTURES = (".jpg", ".jpeg", ".png")


def read_image(path: Path) -> Tensor:
    """One picture as (3, H, W), uint8."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).contiguous()


def split_photographs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Paths for training and for validation: every tenth by sorted name is kept for validation."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in PICTURES)
    return [path for index, path in enumerate(paths) if index % 10], paths[::10]


class Pictures:
    """Draws batches of disturbed crops of photographs, paintings and textures."""

    def __init__(self, photographs: list[Path], paintings: list[Path], seed: int):
        self.photographs = [read_image(path) for path in photographs]
        self.paintings = [read_image(path) for path in paintings]
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, count: int, size: int) -> Tensor:
        return torch.stack([disturb(self.picture(size), self.generator) for _ in range(count)])

    def still_batch(self, count: int, size: int) -> Tensor:
        """Undisturbed crops of photographs alone."""
        shelf = [self.photographs[integer(len(self.photographs), self.generator)] for _ in range(count)]
        return torch.stack([crop(image, size, self.generator) for image in shelf])

    def picture(self, size: int) -> Tensor:
        """One undisturbed (3, size, size): half photographs, else photographs in strokes, paintings, textures."""
        kind = uniform(self.generator)
        if kind < 0.15:
            return texture(size, self.generator)
        shelf = self.paintings if kind < 0.35 and self.paintings else self.photographs
        picture = crop(shelf[integer(len(shelf), self.generator)], size, self.generator)
        return strokes(size, self.generator, picture).clamp(0, 1) if kind > 0.85 else picture


def uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def integer(end: int, generator: Generator) -> int:
    return int(torch.randint(end, (), generator=generator))


def crop(image: Tensor, size: int, generator: Generator) -> Tensor:
    """A random square of a uint8 picture, 0.6 to 4 times size where it fits, resampled to size, turned at random."""
    _, height, width = image.shape
    shortest, longest = min(0.6 * size, height, width), min(height, width, 4 * size)
    # Most crops are large, so that they show as much as a whole picture does at the sizes that are painted.
    side = round(shortest * (longest / shortest) ** uniform(generator) ** 0.5)
    top, left = integer(height - side + 1, generator), integer(width - side + 1, generator)
    square = image[None, :, top : top + side, left : left + side].float() / 255
    square = functional.interpolate(square, size=(size, size), mode="bicubic", antialias=True, align_corners=False)[0]
    if uniform(generator) < 0.5:
        square = square.flip(-1)
    if uniform(generator) < 0.3:
        square = square.rot90(integer(4, generator), (1, 2))
    return square.clamp(0, 1)


def disturb(image: Tensor, generator: Generator) -> Tensor:
    """At random: other colours, sharpened, blurred, white noise, a chequered pattern; as canvases look on their way."""
    if uniform(generator) < 0.3:
        mixing = torch.eye(3) + 0.25 * torch.randn(3, 3, generator=generator)
        image = torch.einsum("ij,jhw->ihw", mixing, image - 0.5) + 0.5 + 0.1 * torch.randn(3, 1, 1, generator=generator)
    if uniform(generator) < 0.25:
        image = image + uniform(generator, -0.8, 2.0) * (image - smooth(image))
    if uniform(generator) < 0.3:
        image = image + 0.15 * uniform(generator) ** 2 * torch.randn(image.shape, generator=generator)
    if uniform(generator) < 0.15:
        image = image + 0.2 * uniform(generator) ** 2 * chequer(image.shape[-1], generator)
    return image.clamp(-0.05, 1.05)


def smooth(image: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[0]


def chequer(size: int, generator: Generator) -> Tensor:
    """A pattern of period 2 to 8 pixels with its own colour, strong in some places and weak in others."""
    period = 2 ** (1 + integer(3, generator))
    line = torch.cos(2 * math.pi * torch.arange(size) / period)
    wave = torch.outer(line, line if integer(2, generator) else torch.ones(size))
    place = spectrum_noise(size, 3.0, generator)[:1].clamp(0, 2)
    return wave * place * torch.randn(3, 1, 1, generator=generator)


def spectrum_noise(size: int, falloff: float, generator: Generator) -> Tensor:
    """(3, size, size) noise whose amplitude falls with frequency to the power given, mean 0 and deviation 1."""
    frequency = torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()
    amplitude = frequency.sqrt().clamp_min(1 / size) ** -falloff
    white = torch.randn(3, size, size, generator=generator)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(size, size))
    return (noise - noise.mean((1, 2), keepdim=True)) / noise.std((1, 2), keepdim=True)


def palette(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, 3, generator=generator)


def texture(size: int, generator: Generator) -> Tensor:
    """One picture of a kind drawn at random: noise, cells, stripes, strokes or plain gradients."""
    kinds = (noise_texture, cells, stripes, strokes, gradient)
    return kinds[integer(len(kinds), generator)](size, generator).clamp(0, 1)


def noise_texture(size: int, generator: Generator) -> Tensor:
    noise = spectrum_noise(size, uniform(generator, 0, 2.5), generator)
    mixing = torch.randn(3, 3, generator=generator) * uniform(generator, 0.02, 0.2)
    return torch.einsum("ij,jhw->ihw", mixing, noise) + palette(1, generator).view(3, 1, 1)


def cells(size: int, generator: Generator) -> Tensor:
    """Voronoi cells of few colours, at times with dark borders, as in mosaics and leaded glass."""
    count = 4 + integer(120, generator)
    centres = torch.rand(count, 2, generator=generator) * size
    places = torch.cartesian_prod(torch.arange(size), torch.arange(size)).float()
    nearest = torch.cdist(places, centres).topk(2, largest=False)
    colours = palette(2 + integer(8, generator), generator)
    picture = colours[nearest.indices[:, 0] % len(colours)]
    if uniform(generator) < 0.5:
        border = (nearest.values[:, 1] - nearest.values[:, 0]) < uniform(generator, 1, 4)
        picture = torch.where(border[:, None], palette(1, generator) * 0.3, picture)
    return picture.T.reshape(3, size, size)


def stripes(size: int, generator: Generator) -> Tensor:
    """Waves of one or two directions, bent by smooth noise, hard or soft."""
    rows, columns = torch.meshgrid(*[torch.arange(size).float()] * 2, indexing="ij")
    bend = spectrum_noise(size, 2.0, generator)[0] * uniform(generator, 0, 6)
    total = torch.zeros(size, size)
    for _ in range(1 + integer(2, generator)):
        angle, period = uniform(generator, 0, math.pi), 2.5 * 16 ** uniform(generator)
        total = total + torch.sin(2 * math.pi * (rows * math.sin(angle) + columns * math.cos(angle) + bend) / period)
    share = torch.sigmoid(total * uniform(generator, 1, 12))
    first, second = palette(2, generator).view(2, 3, 1, 1)
    return first * share + second * (1 - share)


def strokes(size: int, generator: Generator, motif: Tensor | None = None) -> Tensor:
    """Short straight strokes along a smooth field of directions, each of one colour: of the motif, or of a palette."""
    ground = palette(1, generator).view(3, 1, 1) if motif is None else smooth(smooth(motif))
    picture = ground.expand(3, size, size).clone()
    colours, field = palette(2 + integer(6, generator), generator), spectrum_noise(size, 2.5, generator)[0]
    length, thickness = uniform(generator, 4, 30), uniform(generator, 1, 5)
    reach = int(length / 2 + thickness) + 1
    rows, columns = torch.meshgrid(*[torch.arange(-reach, reach + 1).float()] * 2, indexing="ij")
    for _ in range(min(600, int(4 * size * size / (length * thickness + 20)))):
        row, column = integer(size, generator), integer(size, generator)
        angle = field[row, column].item() * 1.5
        along = rows * math.sin(angle) + columns * math.cos(angle)
        across = columns * math.sin(angle) - rows * math.cos(angle)
        mask = (along.abs() < length / 2) & (across.abs() < thickness / 2)
        top, left = max(0, row - reach), max(0, column - reach)
        bottom, right = min(size, row + reach + 1), min(size, column + reach + 1)
        mask = mask[top - row + reach : bottom - row + reach, left - column + reach : right - column + reach]
        colour = colours[integer(len(colours), generator)] if motif is None else motif[:, row, column]
        colour = colour + 0.06 * torch.randn(3, generator=generator)
        picture[:, top:bottom, left:right] = torch.where(mask, colour.view(3, 1, 1), picture[:, top:bottom, left:right])
    return picture


def gradient(size: int, generator: Generator) -> Tensor:
    """A smooth change between colours, flat in the limit; skies and walls look so."""
    share = torch.sigmoid(spectrum_noise(size, 3.0, generator)[:1] * uniform(generator, 0, 3))
    first, second = palette(2, generator).view(2, 3, 1, 1)
    return first * share + second * (1 - share)
