"""What several test files use: the folder beside the checkout, tiny pictures, a small network, configurations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylelab.layers import CONVOLUTIONS, block
from stylelab.vgg import TORCHVISION, Encoder, Parameters

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny pictures are quicker with one thread, above all where other work shares the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with photographs and parameters beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("there is no ../shared beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def caffe_file(shared: Path) -> Path:
    """VGG-19's Caffe parameters."""
    file = shared / "weights" / "vgg19_caffe_features_fp16.safetensors"
    if not file.is_file():
        pytest.skip(f"there is no {file}")
    return file


def draw_picture(seed: int, width: int, height: int) -> Image.Image:
    """Coloured waves and noise, 8-bit RGB: something at every scale."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = sum(
        amplitude * np.sin(x[..., None] * generator.normal(0, f, 3) + y[..., None] * generator.normal(0, f, 3))
        for amplitude, f in ((60, 0.1), (40, 0.4), (20, 1.2))
    )
    values = 128 + waves + generator.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int, int], Image.Image]:
    """picture(seed, width, height): a tiny picture, always the same."""
    return draw_picture


@pytest.fixture(scope="session")
def image() -> Callable[[int, int, int], torch.Tensor]:
    """image(seed, width, height): the tiny picture as (1, 3, height, width) in [0, 1], float64."""

    def tensor(seed: int, width: int, height: int) -> torch.Tensor:
        rows = torch.from_numpy(np.asarray(draw_picture(seed, width, height)).copy())
        return rows.permute(2, 0, 1)[None].double() / 255

    return tensor


def draw_parameters(seed: int = 0, dtype: torch.dtype = torch.float64) -> Parameters:
    """VGG-19's shape with few channels (5, 6, 7, 8, 9 in the five blocks) and random filters, activations about one."""
    generator = torch.Generator().manual_seed(seed)
    filters, biases, before = {}, {}, 3
    for name in CONVOLUTIONS:
        channels = 4 + block(name)
        scale = (2 / (9 * before)) ** 0.5
        filters[name] = (torch.randn(channels, before, 3, 3, generator=generator) * scale).to(dtype)
        biases[name] = (torch.randn(channels, generator=generator) * 0.1).to(dtype)
        before = channels
    return Parameters(filters=filters, biases=biases, preprocessing=TORCHVISION)


@pytest.fixture(scope="session")
def small_parameters() -> Callable[..., Parameters]:
    """small_parameters(seed=0, dtype=float64): what `small_encoder` is built from."""
    return draw_parameters


@pytest.fixture(scope="session")
def small_encoder() -> Callable[..., Encoder]:
    """small_encoder(*layers, dtype=float64, ...): a real Encoder over few random channels."""

    def encoder(
        *layers: str,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        pool: str = "average",
        pool_factor: float = 1.0,
        padding: str = "zeros",
    ) -> Encoder:
        parameters = draw_parameters(seed, dtype)
        return Encoder(parameters, layers=layers, pool=pool, pool_factor=pool_factor, padding=padding)

    return encoder


CONFIGURATION = {
    "images": {
        "content": "content.png",
        "style": ["style.png"],
        "style_weights": None,
        "long_side": 32,
        "style_size": "area",
        "style_scale": 1.0,
    },
    "network": {"source": "random", "seed": 0, "padding": "zeros"},
    "pooling": {"kind": "average", "factor": 1.0},
    "layers": {"content": ["relu3_1"], "style": ["relu1_1", "relu2_1"]},
    "weights": {
        "convention": "authors_code",
        "beta": 1e4,
        "alpha_over_beta": 1e-2,
        "content": None,
        "style": None,
        "variation": 0.0,
        "variation_norm": "squared",
    },
    "optimizer": {"kind": "lbfgs", "steps": 3, "learning_rate": 1.0, "history": 4, "tolerance": 0.0},
    "canvas": {"start": "content", "clamp": False},
    "pyramid": {"long_sides": [32], "steps": [3]},
    "precision": {"network": "float32", "float32_finish": 0.0},
    "tracking": {"store": "off", "pictures_every": 0},
    "reference": {"path": None, "cache": "cache", "url": "https://example.org/vgg19-d01eb7cb.pth"},
    "seed": 0,
    "device": "cpu",
    "threads": 1,
    "determinism": "default",
    "checkpoint_seconds": 30.0,
    "outputs": "outputs",
}
VGG19 = {
    "source": "caffe",
    "normalised": False,
    "means": None,
    "path": None,
    "url": "https://example.org/vgg19-d01eb7cb.pth",
    "sha256": None,
    "cache": "cache",
    "padding": "zeros",
}
ADAM = {"kind": "adam", "steps": 3, "learning_rate": 0.02, "beta1": 0.9, "beta2": 0.99, "tolerance": 0.0}
NOISE = {"start": "noise", "distribution": "normal", "deviation": 0.1, "mean": [0.5, 0.4, 0.3], "clamp": False}


@pytest.fixture
def configuration() -> Callable[..., dict]:
    """configuration({"images.long_side": 48}): a whole valid configuration, some values or groups replaced.

    Groups to replace others with: `configuration.vgg19`, `.adam` and `.noise`.
    """

    def configured(changes: dict | None = None, /) -> dict:
        values = {key: dict(value) if isinstance(value, dict) else value for key, value in CONFIGURATION.items()}
        for key, value in (changes or {}).items():
            group, _, name = key.partition(".")
            if name:
                values[group][name] = value
            else:
                values[group] = dict(value) if isinstance(value, dict) else value
        return values

    configured.vgg19, configured.adam, configured.noise = VGG19, ADAM, NOISE
    return configured
