"""The embedded network's engine against autograd through the network itself, on random parameters and sizes."""

import math
import random
import statistics

import pytest
import torch
from torch import Tensor

from stylelab import engine
from stylelab.autograd import Autograd, Network
from stylelab.embedded import LAYERS, EmbeddedEncoder, parameter_shapes
from stylelab.engine import EmbeddedEngine
from stylelab.engine.blocks import in_blocks, picture, pixels
from stylelab.losses import Comparison


def encoder(seed: int, layers: tuple[str, ...] = LAYERS) -> EmbeddedEncoder:
    """A network with random parameters."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {}
    for name, shape in parameter_shapes().items():
        scale = (2 / math.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        parameters[name] = scale * torch.randn(shape, generator=generator)
    return EmbeddedEncoder(layers, parameters)


def evaluated(network: Network, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Errors and gradient of random canvases of random sizes at random layers, against targets of the network's own."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    count, *sides = draw.choice((1, 1, 2)), draw.randint(17, 60), draw.randint(17, 60)
    sizes = ((count, *sides), (1, *sides), (1, 23, 29), (1, 40, 16))
    canvas, content, *styles = (torch.rand(n, 3, *size, generator=generator).to(dtype) for n, *size in sizes)
    layers = draw.sample(LAYERS, draw.randint(1, 3)), draw.sample(LAYERS, draw.randint(1, 5))
    features = network.features(content, layers[0])
    grams = [network.grams(style, layers[1]) for style in styles]
    strengths = iter(torch.rand(8, count, generator=generator).to(dtype))
    comparisons = [Comparison("content", layer, features[layer], next(strengths)) for layer in layers[0]]
    for layer in layers[1]:
        mean = 0.3 * grams[0][layer] + 0.7 * grams[1][layer]
        comparisons.append(Comparison("style", layer, mean, next(strengths)))
    return network.against(comparisons)(canvas)


def distance(found: Tensor, truth: Tensor) -> float:
    return ((found - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("seed", range(12))
def test_it_is_autograd_to_rounding(seed):
    # In float32 rounding may turn a rectifier on or off, and the gradient is another one where it reaches.
    for dtype, tolerance, with_turns in ((torch.float64, 1e-11, 1e-11), (torch.float32, 2e-5, 2e-3)):
        truth_errors, truth_gradient = evaluated(Autograd(encoder(seed).to(dtype)), seed, dtype)
        errors, gradient = evaluated(EmbeddedEngine(encoder(seed).to(dtype), dtype), seed, dtype)
        assert errors.dtype == gradient.dtype == dtype
        torch.testing.assert_close(errors, truth_errors, rtol=tolerance, atol=0)
        assert distance(gradient, truth_gradient) < with_turns


@pytest.mark.parametrize("seed", range(4))
def test_bfloat16_follows(seed):
    truth_errors, truth_gradient = evaluated(Autograd(encoder(seed)), seed, torch.float32)
    errors, gradient = evaluated(engine.fastest(encoder(seed), torch.bfloat16), seed, torch.float32)
    # Noise differs from noise in next to nothing at relu1_1, where bfloat16 then sees little but its own rounding.
    torch.testing.assert_close(errors, truth_errors, rtol=0.1, atol=1e-6)
    assert distance(gradient, truth_gradient) < 0.2


def test_float16_is_as_near_to_the_exact_gradient_as_autograd_in_float16():
    """In the median of some cases, as of VGG-19's engine (test_engine.py)."""
    errors: dict[str, list[float]] = {"plain": [], "engine": []}
    for seed in range(12):
        _, truth = evaluated(Autograd(encoder(seed).double()), seed, torch.float64)
        for name, network in (("plain", Autograd(encoder(seed).half())), ("engine", fastest_in_float16(seed))):
            errors[name].append(distance(evaluated(network, seed, torch.float32)[1].double(), truth))
    assert statistics.median(errors["engine"]) < min(0.06, 1.2 * statistics.median(errors["plain"]))


def fastest_in_float16(seed: int) -> EmbeddedEngine:
    return engine.fastest(encoder(seed), torch.float16)


@pytest.mark.parametrize("strength", [1e-12, 1e12])
@pytest.mark.parametrize("brightness", [1.0, 300.0])
def test_float16_takes_losses_and_activations_of_any_size(brightness: float, strength: float):
    """Unscaled, products of activations of hundreds leave its range, and gradients leave it or vanish."""
    canvas, content, style = torch.rand(3, 1, 3, 33, 48, generator=torch.Generator().manual_seed(0))
    found = []
    for arithmetic in (torch.float32, torch.float16):
        network = encoder(2, ("relu1_1", "relu2_1", "relu3_1"))
        with torch.no_grad():
            for name, value in network.named_parameters():
                if "conv1_1" in name:
                    value *= brightness
        ours, wanted = EmbeddedEngine(network, arithmetic), torch.full((1,), strength)
        grams, features = ours.grams(style, ("relu1_1", "relu2_1")), ours.features(content, ("relu3_1",))
        comparisons = [Comparison("style", layer, gram, wanted) for layer, gram in grams.items()]
        comparisons.append(Comparison("content", "relu3_1", features["relu3_1"], wanted))
        found.append(ours.against(comparisons)(canvas))
    for exact, half in zip(*found, strict=True):
        assert distance(half, exact) < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_evaluations_are_replayed_and_are_those_of_the_cpu():
    network, there = EmbeddedEngine(encoder(1), torch.float32), EmbeddedEngine(encoder(1).to("cuda"), torch.float32)
    pictures = torch.rand(6, 1, 3, 33, 48)
    found = []
    for each, device in ((network, "cpu"), (there, "cuda")):
        content, style = each.features(pictures[0].to(device), LAYERS), each.grams(pictures[1].to(device), LAYERS)
        strength = torch.ones(1, device=device)
        comparisons = [Comparison("content", "relu4_2", content["relu4_2"], strength)]
        comparisons += [Comparison("style", layer, style[layer], strength) for layer in LAYERS]
        compare = each.against(comparisons)
        found.append([compare(picture.to(device)) for picture in pictures[2:]])
    assert compare.graph is not None
    for (errors, gradient), (others, theirs) in zip(*found, strict=True):
        torch.testing.assert_close(others.cpu(), errors, rtol=1e-3, atol=1e-6)
        assert distance(theirs.cpu(), gradient) < 0.01


def test_it_is_chosen_where_it_can_be():
    for arithmetic in (torch.float32, torch.bfloat16, torch.float16):
        assert isinstance(engine.fastest(encoder(0, ("relu2_1",)), arithmetic), EmbeddedEngine)


def test_features_and_grams_are_those_of_the_heads():
    network, images = encoder(5), torch.rand(1, 3, 33, 48)
    ours, plain = EmbeddedEngine(network, torch.float32), Autograd(network)
    for layer in LAYERS:
        for kind in ("features", "grams"):
            found, truth = (getattr(of, kind)(images, [layer])[layer] for of in (ours, plain))
            assert found.shape == truth.shape and distance(found, truth) < 1e-5


@pytest.mark.parametrize("size", [(5, 7), (6, 8), (6, 7), (16, 17)])
def test_blocks_hold_each_pixel_once_and_noughts_beyond(size):
    features = 1 + torch.rand(2, 3, *size)
    blocks = in_blocks(features)
    assert blocks.shape == (2, 12, size[0] // 2 + 1, size[1] // 2 + 1)
    assert torch.equal(picture(blocks, torch.Size(size)), features)
    held = pixels(blocks)
    assert (held != 0).sum() == features.numel()
    torch.testing.assert_close(held.sum(dim=(2, 3)), features.sum(dim=(2, 3)))
