"""The recipe: first canvases, coarse to fine, precision, resuming from any step to the same bits, stopping at NaN."""

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from stylelab import images, transfer
from stylelab.spec import Spec
from stylelab.transfer import Step

CPU = torch.device("cpu")
COARSE_TO_FINE = {"images.long_side": 32, "pyramid": {"long_sides": [16, 32], "steps": [4, 5]}}
BFLOAT16 = {"precision": {"network": "bfloat16", "float32_finish": 0.4}}


@pytest.fixture
def paint(configuration, small_encoder, picture) -> Callable[..., list[Step]]:
    """paint({"images.long_side": 48}, resume=None): every step of a run over tiny pictures."""

    def run(changes: dict | None = None, /, *, resume: dict | None = None, styles: int = 1) -> list[Step]:
        spec = Spec.from_config(configuration(changes))
        network = small_encoder(*spec.all_layers, dtype=torch.float32)
        pictures = [picture(2 + number, 40, 30 + number) for number in range(styles)]
        return list(
            transfer.transfer(spec, network, content=picture(1, 32, 24), styles=pictures, device=CPU, resume=resume)
        )

    return run


def saved_and_loaded(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def states_of(paint_lazily: object) -> list[tuple[Step, dict]]:
    return [(step, saved_and_loaded(step.state())) for step in paint_lazily]


def test_painting_from_the_content_starts_from_its_very_pixels(paint, picture):
    first = paint()[0].canvas
    assert torch.equal(first, images.from_picture(picture(1, 32, 24)))
    assert np.array_equal(np.asarray(images.to_picture(first)), np.asarray(picture(1, 32, 24)))


def test_painting_from_the_style_starts_from_its_middle_scaled_to_cover(paint, picture):
    found = paint({"canvas": {"start": "style", "clamp": False}})[0].canvas
    # 40 x 30 covers 32 x 24 exactly: both sides times 0.8
    expected = picture(2, 40, 30).resize((32, 24), Image.Resampling.LANCZOS)
    assert torch.equal(found, images.from_picture(expected))
    wide = transfer._covering(picture(3, 60, 20), (20, 20))  # 60 x 20 covers 20 x 20 already: the middle third
    assert np.array_equal(np.asarray(wide), np.asarray(picture(3, 60, 20))[:, 20:40])


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_noise_has_the_mean_and_the_deviation_that_it_says(paint, configuration, distribution):
    noise = configuration.noise | {"distribution": distribution, "deviation": 0.25, "mean": [0.6, 0.5, 0.4]}
    found = paint({"canvas": noise, "images.long_side": 128, "pyramid": {"long_sides": [128], "steps": [1]}})[0].canvas
    for channel, mean in enumerate((0.6, 0.5, 0.4)):
        assert found[0, channel].mean().item() == pytest.approx(mean, abs=0.01)
        assert found[0, channel].std().item() == pytest.approx(0.25, abs=0.01)
    largest = (found - found.mean(dim=(2, 3), keepdim=True)).abs().max().item()
    assert (largest < 0.25 * 3**0.5 * 1.05) == (distribution == "uniform")


def test_noise_depends_on_the_seed_alone(paint, configuration):
    torch.manual_seed(1)
    first = paint({"canvas": configuration.noise, "seed": 5})[0].canvas
    torch.manual_seed(2)
    assert torch.equal(paint({"canvas": configuration.noise, "seed": 5})[0].canvas, first)
    assert not torch.equal(paint({"canvas": configuration.noise, "seed": 6})[0].canvas, first)
    generator = torch.Generator().manual_seed(5)  # the CPU's, whatever paints
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    assert torch.equal(first, mean + 0.1 * torch.randn(1, 3, 24, 32, generator=generator))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_is_the_same_on_a_gpu(paint, configuration, small_encoder, picture):
    expected = paint({"canvas": configuration.noise})[0].canvas
    spec = Spec.from_config(configuration({"canvas": configuration.noise}))
    network = small_encoder(*spec.all_layers, dtype=torch.float32)
    steps = transfer.transfer(
        spec, network, content=picture(1, 32, 24), styles=[picture(2, 40, 30)], device=torch.device("cuda")
    )
    assert torch.equal(next(steps).canvas.cpu(), expected)


def test_the_loss_falls_and_content_and_style_pictures_stay_as_they_are(paint, picture):
    steps = paint({"optimizer.steps": 20, "pyramid.steps": [20]})
    assert steps[-1].losses.total < 0.5 * steps[0].losses.total
    assert [step.number for step in steps] == list(range(21))
    assert torch.equal(paint()[0].canvas, images.from_picture(picture(1, 32, 24)))


def test_each_level_starts_from_the_canvas_of_the_one_before_enlarged(paint, configuration):
    steps = paint(COARSE_TO_FINE | {"canvas": configuration.noise})
    assert [(step.level, step.index, step.number) for step in steps] == [
        *((0, index, index) for index in range(5)),
        *((1, index, 5 + index) for index in range(6)),
    ]
    last_coarse, first_fine = steps[4].canvas, steps[5].canvas
    expected = torch.nn.functional.interpolate(
        last_coarse, size=(24, 32), mode="bicubic", antialias=True, align_corners=False
    )
    assert torch.equal(first_fine, expected)
    assert (torch.nn.functional.avg_pool2d(first_fine, 2) - last_coarse).abs().mean() < 0.3 * last_coarse.std()


def test_weights_default_to_one_over_the_number_of_layers_and_alpha_is_the_ratio_times_beta(configuration):
    """w_l of Gatys et al. (2015): 1 / number of active layers. Not divided by it a second time (method.md 3.4, 14)."""
    spec = Spec.from_config(configuration({"layers.style": ["relu1_1", "relu2_1", "relu3_1", "relu3_2"]}))
    found = transfer.weighting(spec)
    assert (found.alpha, found.beta) == (1e-2 * 1e4, 1e4)
    assert found.style == dict.fromkeys(("relu1_1", "relu2_1", "relu3_1", "relu3_2"), 0.25)
    assert found.content == {"relu3_1": 1.0}
    given = transfer.weighting(Spec.from_config(configuration({"weights.style": [2.0, 0.5]})))
    assert given.style == {"relu1_1": 2.0, "relu2_1": 0.5}


def test_several_styles_count_by_their_shares(paint, small_encoder, picture):
    changes = {"images.style": ["a.png", "b.png"], "images.style_size": "long_side", "layers.content": []}
    first = paint(changes | {"images.style_weights": [2.0, 0.0]}, styles=2)
    alone = paint({"images.style_size": "long_side", "layers.content": []})
    assert [step.losses.values() for step in first] == [step.losses.values() for step in alone]
    equal = paint(changes | {"images.style_weights": None}, styles=2)
    halves = paint(changes | {"images.style_weights": [7.0, 7.0]}, styles=2)
    assert torch.equal(equal[-1].canvas, halves[-1].canvas)
    assert not torch.equal(equal[-1].canvas, alone[-1].canvas)


RUNS = {
    "lbfgs": {},
    "adam": {"optimizer": None, "canvas": {"start": "content", "clamp": True}},
    "bfloat16": BFLOAT16,
    "adam in bfloat16": BFLOAT16 | {"optimizer": None},
    "tolerance": {"optimizer.tolerance": 0.4},
    "tolerance in bfloat16": BFLOAT16 | {"optimizer.tolerance": 0.4},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_resumed_from_any_step_goes_on_to_the_same_bits(configuration, small_encoder, picture, name):
    changes = COARSE_TO_FINE | RUNS[name]
    if "optimizer" in changes:
        changes["optimizer"] = configuration.adam
    spec = Spec.from_config(configuration(changes))

    def steps(resume: dict | None = None):
        network = small_encoder(*spec.all_layers, dtype=torch.float32)
        return transfer.transfer(
            spec, network, content=picture(1, 32, 24), styles=[picture(2, 40, 30)], device=CPU, resume=resume
        )

    whole = states_of(steps())
    assert {step.level for step, _ in whole} == {0, 1}
    if "tolerance" in name:
        assert len(whole) < 11
    else:
        assert len(whole) == 11
    for start, (_, state) in enumerate(whole):
        rest = list(steps(state))
        assert len(rest) == len(whole) - start
        for (expected, _), found in zip(whole[start:], rest, strict=True):
            where = (start, found.level, found.index)
            assert (found.level, found.index, found.number) == (expected.level, expected.index, expected.number), where
            assert torch.equal(found.canvas, expected.canvas), where
            assert found.losses.values() == expected.losses.values(), where


def test_each_level_is_finished_in_float32(paint):
    """5 + 1 canvases, 0.4 of them: the last two."""
    steps = paint({"pyramid.steps": [5]} | BFLOAT16)
    exact = paint({"pyramid.steps": [5]})
    networks = [step.objective.network.network for step in steps]
    assert [network.arithmetic for network in networks] == [torch.bfloat16] * 4 + [torch.float32] * 2
    assert all(step.canvas.dtype == torch.float32 for step in steps)
    assert steps[0].losses.total == pytest.approx(exact[0].losses.total, rel=0.05)
    assert steps[0].losses.total != exact[0].losses.total


def test_the_losses_of_the_finish_are_those_of_the_float32_network(paint, small_encoder):
    steps = paint({"pyramid.steps": [5]} | BFLOAT16)
    objective = paint({"pyramid.steps": [5]})[0].objective
    assert objective.evaluate(steps[-1].canvas)[0].values() == steps[-1].losses.values()


def test_a_learning_rate_that_explodes_stops_with_one_line(paint, configuration):
    changes = {"optimizer": configuration.adam | {"learning_rate": 1e30}}
    message = (
        r"^total loss is (nan|inf) at level 0, step [1-3] \(content .*, style .*\): lower optimizer.learning_rate$"
    )
    with pytest.raises(FloatingPointError, match=message):
        paint(changes)


def test_clamping_keeps_every_canvas_within_0_and_1(paint, configuration):
    adam = configuration.adam | {"learning_rate": 0.3}
    kept = paint({"optimizer": adam, "canvas": {"start": "content", "clamp": True}})
    free = paint({"optimizer": adam})
    assert all(step.canvas.min() >= 0 and step.canvas.max() <= 1 for step in kept)
    assert free[-1].canvas.max() > 1.05


def test_a_run_can_be_left_at_any_step(configuration, small_encoder, picture):
    spec = Spec.from_config(configuration())
    network = small_encoder(*spec.all_layers, dtype=torch.float32)
    steps = transfer.transfer(spec, network, content=picture(1, 32, 24), styles=[picture(2, 40, 30)], device=CPU)
    taken = list(itertools.islice(steps, 2))
    steps.close()
    assert [step.number for step in taken] == [0, 1]
