"""What several test files use: the folder beside the checkout, tiny pictures, a small network, configurations.

The numerical core's tests run where neither Hydra nor MLflow is installed, but for those that want a configuration.
"""

import copy
import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylelab.layers import CONVOLUTIONS, block
from stylelab.vgg import TORCHVISION, Encoder, Parameters

if importlib.util.find_spec("hydra") and importlib.util.find_spec("mlflow"):
    from victims import empty_store, place  # noqa: F401 (fixtures)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and whatever that starts in its turn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny pictures are quicker with one thread, above all where other work shares the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _float32_is_float32() -> None:
    """On a GPU cuDNN rounds it to eleven bits unless told not to; a run tells it (`devices.prepare_device`)."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


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


CHANGES = {  # of what conf/ composes with network=vgg19_random and tracking=off: small and quick
    "images": {"content": "content.png", "style": ["style.png"], "long_side": 32},
    "layers": {"content": ["relu3_1"], "style": ["relu1_1", "relu2_1"]},
    "weights": {"beta": 1e4, "alpha_over_beta": 1e-2},
    "optimizer": {"steps": 3, "history": 4},
    "pyramid": {"long_sides": [32], "steps": [3]},
    "tracking": {"pictures_every": 0},
    "reference": {"path": None, "cache": "cache"},
}


class Configurations:
    """Whole valid configurations as plain mappings, of conf/'s own values but for `CHANGES`."""

    def __init__(self) -> None:
        from hydra import compose, initialize_config_dir

        from stylelab.configuration import CONF, plain, register_resolvers

        register_resolvers()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            names = ("network=vgg19_random", "tracking=off", "device=cpu", "threads=1", "outputs=outputs")
            self.base = plain(compose("config", overrides=list(names)))
            others = ("network=vgg19_caffe", "optimizer=adam", "canvas=noise", "tracking=mlflow")
            composed = plain(compose("config", overrides=list(others)))
        for group, values in CHANGES.items():
            self.base[group] |= values
        self.vgg19 = composed["network"] | {"cache": "cache"}
        self.adam = composed["optimizer"] | {"steps": 3}
        self.noise = composed["canvas"] | {"deviation": 0.1, "mean": [0.5, 0.4, 0.3]}
        self.mlflow = composed["tracking"]

    def __call__(self, changes: dict | None = None, /) -> dict:
        """With some values ("images.long_side": 48) or whole groups ("network": ...) set."""
        values = copy.deepcopy(self.base)
        for key, value in (changes or {}).items():
            group, _, name = key.partition(".")
            if name:
                values[group][name] = value
            else:
                values[group] = copy.deepcopy(value)
        return values


@pytest.fixture(scope="session")
def configuration() -> Configurations:
    """configuration({"images.long_side": 48}); other options of a group: `.vgg19`, `.adam`, `.noise`, `.mlflow`."""
    pytest.importorskip("hydra")
    return Configurations()
