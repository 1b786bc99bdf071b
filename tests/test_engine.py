"""The engine against autograd through the plain encoder, on random layers, poolings, statistics, weights and sizes."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from stylelab import devices, engine
from stylelab.autograd import Autograd
from stylelab.engine import Engine, block, winograd
from stylelab.layers import LAYERS
from stylelab.losses import Comparison
from stylelab.vgg import Encoder

THIRD_BLOCK = LAYERS[: LAYERS.index("pool3") + 1]
FIRST_BLOCKS = LAYERS[: LAYERS.index("conv4_2") + 1]


@dataclass(frozen=True)
class Case:
    """What is compared, in which network and at which sizes."""

    content: Sequence[str]
    style: Sequence[str]
    pool: str
    pool_factor: float
    padding: str
    canvas: tuple[int, int, int]  # pictures, height, width
    seed: int


def drawn(seed: int) -> Case:
    """A case at random; every third has several pictures, most have an odd size."""
    of = random.Random(seed)
    style = of.sample(FIRST_BLOCKS, of.randint(0, 4))
    content = of.sample(FIRST_BLOCKS, of.randint(0 if style else 1, 3))
    return Case(
        content=content,
        style=style,
        pool=of.choice(("average", "max")),
        pool_factor=of.choice((1.0, 2.0, 0.5)),
        padding=of.choice(("zeros", "zeros", "replicate", "reflect")),
        canvas=(of.choice((1, 1, 2)), of.randint(17, 40), of.randint(17, 40)),
        seed=seed,
    )


@pytest.fixture
def narrow_bands(monkeypatch) -> None:
    """Bands of a few rows, so that tiny pictures have many."""
    monkeypatch.setattr(block, "BAND_BYTES", 1)
    monkeypatch.setattr(block, "LEAST_ROWS", 4)


@pytest.fixture
def encoder(small_encoder) -> Callable[[Case, torch.dtype], Encoder]:
    def build(case: Case, dtype: torch.dtype) -> Encoder:
        kind = {"pool": case.pool, "pool_factor": case.pool_factor, "padding": case.padding}
        return small_encoder(*case.content, *case.style, seed=case.seed, dtype=dtype, **kind)

    return build


def evaluated(network: Autograd | Engine, case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Errors and gradient of a random canvas against targets taken from other random pictures by the same network."""
    generator = torch.Generator().manual_seed(case.seed)
    pictures, height, width = case.canvas
    canvas = torch.rand(pictures, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)
    content = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)
    style = torch.rand(1, 3, 23, 29, generator=generator, dtype=torch.float64).to(dtype)
    strengths = iter(torch.rand(9, pictures, generator=generator, dtype=torch.float64).to(dtype))
    features, grams = network.features(content, case.content), network.grams(style, case.style)
    comparisons = [Comparison("content", layer, features[layer], next(strengths)) for layer in case.content]
    comparisons += [Comparison("style", layer, grams[layer], next(strengths)) for layer in case.style]
    return network.against(comparisons)(canvas)


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("seed", range(40))
def test_errors_and_gradient_are_autograds(encoder, narrow_bands, monkeypatch, seed):
    """To 1e-11 in float64: the same function. In float32 as near to float64 as autograd in float32 comes, or 1e-5.

    Every second case in float32 with Winograd's convolutions, which filters as few as these would not have.
    """
    if seed % 2:
        monkeypatch.setattr(winograd, "LEAST_FILTERS", 1)
        monkeypatch.setattr(winograd, "BAND_BYTES", 1)
    case = drawn(seed)
    exact = evaluated(Autograd(encoder(case, torch.float64)), case, torch.float64)
    found = evaluated(Engine(encoder(case, torch.float64), torch.float64), case, torch.float64)
    plain = evaluated(Autograd(encoder(case, torch.float32)), case, torch.float32)
    single = evaluated(Engine(encoder(case, torch.float32), torch.float32), case, torch.float32)
    for place in range(2):
        assert relative(found[place], exact[place]) < 1e-11, case
        assert relative(single[place], exact[place]) < max(1e-5, 3 * relative(plain[place], exact[place])), case


@pytest.mark.parametrize("seed", range(40, 52))
def test_bfloat16_is_as_near_to_the_exact_gradient_as_autograd_in_bfloat16(encoder, narrow_bands, seed):
    """Within 1.5 times its error: each rounds in its own way, and a maximum pool then chooses another position."""
    case = drawn(seed)
    exact = evaluated(Autograd(encoder(case, torch.float64)), case, torch.float64)
    plain = evaluated(Autograd(encoder(case, torch.bfloat16)), case, torch.float32)
    found = evaluated(Engine(encoder(case, torch.float32), torch.bfloat16), case, torch.float32)
    for place in range(2):
        assert relative(found[place], exact[place]) < max(0.02, 1.5 * relative(plain[place], exact[place])), case


def test_float16_is_as_near_to_the_exact_gradient_as_autograd_in_float16(encoder, narrow_bands):
    """In the median of some cases: where a rectifier near nought turns by rounding, either may be ten times farther."""
    errors: dict[str, list[float]] = {"plain": [], "engine": []}
    for seed in range(52, 76):
        case = drawn(seed)
        exact = evaluated(Autograd(encoder(case, torch.float64)), case, torch.float64)
        plain = evaluated(Autograd(encoder(case, torch.float16)), case, torch.float32)
        found = evaluated(Engine(encoder(case, torch.float32), torch.float16), case, torch.float32)
        assert relative(found[0], exact[0]) < 0.01, case
        errors["plain"].append(relative(plain[1], exact[1]))
        errors["engine"].append(relative(found[1], exact[1]))
    assert statistics.median(errors["engine"]) < min(0.02, 1.2 * statistics.median(errors["plain"]))


@pytest.mark.parametrize("strength", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("brightness", [1e-2, 1.0, 1e3])
def test_float16_takes_losses_and_activations_of_any_size(small_encoder, brightness: float, strength: float):
    """Unscaled, products of activations of a thousand leave its range, and gradients leave it or vanish."""
    generator = torch.Generator().manual_seed(0)
    network = small_encoder("relu2_1", "relu3_1", "relu1_1", dtype=torch.float64)
    with torch.no_grad():
        for value in network.filters("conv1_1"):
            value *= brightness
    canvas, content, style = torch.rand(3, 1, 3, 32, 36, generator=generator, dtype=torch.float64)
    found = {}
    for arithmetic in (torch.float64, torch.float16):
        engine_ = Engine(network.double() if arithmetic == torch.float64 else network.float(), arithmetic)
        kind = torch.float64 if arithmetic == torch.float64 else torch.float32
        strengths = torch.full((1,), strength, dtype=kind)
        grams = engine_.grams(style.to(kind), ("relu1_1", "relu2_1"))
        features = engine_.features(content.to(kind), ("relu3_1",))
        comparisons = [Comparison("style", layer, gram, strengths) for layer, gram in grams.items()]
        comparisons.append(Comparison("content", "relu3_1", features["relu3_1"], strengths))
        found[arithmetic] = engine_.against(comparisons)(canvas.to(kind))
    for place in range(2):
        assert relative(found[torch.float16][place], found[torch.float64][place]) < 0.05


def test_float16_at_the_target_itself_gives_nought(small_encoder, image):
    """No gradient to scale: nought, not no number."""
    engine_ = Engine(small_encoder("relu3_1", dtype=torch.float32), torch.float16)
    picture = image(0, 32, 32).float()
    target = engine_.features(picture, ("relu3_1",))["relu3_1"]
    errors, gradient = engine_.against([Comparison("content", "relu3_1", target, torch.ones(1))])(picture)
    assert not errors.any() and not gradient.any()


def test_an_evaluation_leaves_nothing_behind_for_the_next(encoder):
    """The second of two equals the first to the bit, after another of another size."""
    case, other = drawn(3), drawn(4)
    network = Engine(encoder(case, torch.float32), torch.float32)
    first = evaluated(network, case, torch.float32)
    small = Case(case.content, case.style, case.pool, case.pool_factor, case.padding, (1, 19, 21), other.seed)
    evaluated(network, small, torch.float32)
    again = evaluated(network, case, torch.float32)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_features_are_the_encoders(small_encoder, image, narrow_bands):
    network = small_encoder(*THIRD_BLOCK)
    picture = image(1, 31, 26)
    found, expected = Engine(network, torch.float64).features(picture, THIRD_BLOCK), network(picture)
    for layer in THIRD_BLOCK:
        assert torch.allclose(found[layer], expected[layer], rtol=1e-12, atol=1e-13), layer


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("arithmetic", [torch.float32, torch.bfloat16, torch.float16])
def test_evaluations_replayed_on_a_gpu_are_those_computed_there(encoder, monkeypatch, arithmetic):
    """To the bit, canvas after canvas; what was returned before stays as it was."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    case = drawn(3)
    network = Engine(encoder(case, torch.float32).to("cuda"), arithmetic)
    pictures = [torch.rand(1, 3, 32, 28, device="cuda") for _ in range(4)]
    features, grams = network.features(pictures[0], case.content), network.grams(pictures[1], case.style)
    strength = torch.ones(1, device="cuda")
    comparisons = [Comparison("content", layer, features[layer], strength) for layer in case.content]
    comparisons += [Comparison("style", layer, grams[layer], strength) for layer in case.style]
    replayed = network.against(comparisons)
    expected = [replayed.work(picture) for picture in pictures]
    found = [replayed(picture) for picture in pictures]
    assert replayed.graph is not None
    for pairs in zip(found, expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(*pairs, strict=True))


def test_what_the_engine_does_not_know_goes_through_autograd(small_encoder):
    network = torch.nn.Conv2d(3, 3, 3)
    assert engine.fastest(network, torch.float32) is network
    assert engine.fastest(network, torch.bfloat16).weight.dtype == torch.bfloat16
    assert network.weight.dtype == torch.float32
    assert isinstance(engine.fastest(small_encoder("relu1_1", dtype=torch.float32), torch.bfloat16), Engine)
    assert isinstance(engine.fastest(small_encoder("relu1_1", dtype=torch.float32), torch.float16), Engine)


def test_a_cpu_without_units_for_bfloat16_paints_in_float32(monkeypatch):
    """Which ones it has is read off the flags of its cores, the fastest first."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for flags, units in (
        ("flags\t\t: fpu avx512f amx_bf16 avx512_bf16 amx_tile", "AMX"),
        ("flags\t\t: fpu avx512f avx512_bf16", "AVX512-BF16"),
        ("Features\t: fp asimd bf16 i8mm", "BF16"),
        ("flags\t\t: fpu avx2 avx512f", None),
    ):
        monkeypatch.setattr(devices.Path, "read_text", lambda _, text=flags: text)
        assert devices.bfloat16_units() == units
        assert devices.arithmetic("bfloat16", cpu) == ("float32" if units is None else "bfloat16")
        assert devices.arithmetic("bfloat16", gpu) == "bfloat16"
        assert devices.arithmetic("float32", cpu) == "float32"
        assert ("no" if units is None else units) + " units for bfloat16" in devices.describe(cpu)
