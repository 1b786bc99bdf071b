"""Whole descents of several canvases at once, as a GPU paints a batch: on a CPU, and on a GPU where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stylelab.descent import LbfgsOnDevice, descend
from stylelab.engine import Engine
from stylelab.objective import CONVENTIONS, Evaluation, Objective, Weighting
from stylelab.together import Together

on_either = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ],
)
STYLE = ("relu1_1", "relu2_1")
WEIGHTING = Weighting(
    convention=CONVENTIONS["johnson"],
    alpha=5.0,
    beta=1e3,
    content={"relu3_1": 1.0},
    style=dict.fromkeys(STYLE, 0.5),
    variation=0.01,
    variation_norm="squared",
)
RUNS, STEPS, CHANGE = 3, 12, 7  # from CHANGE on the objective is another, as where float32 finishes


@pytest.fixture
def descents(small_encoder, image):
    """descents(device): each run's evaluations, one after another, by one network."""

    def begin(device: str) -> list[Iterator[tuple[int, Evaluation]]]:
        network = Engine(small_encoder("relu3_1", *STYLE, dtype=torch.float32).to(device), torch.float32)
        found = []
        for number in range(RUNS):
            content, style = (image(each, 28, 24).float().to(device) for each in (number, 10 + number))
            wanted = replace(WEIGHTING, beta=1e3 * (1 + number))
            first, then = (
                Objective(network, weighting=wanted, content=content, styles=[(1.0, style)]) for _ in range(2)
            )
            optimizer = LbfgsOnDevice(history=4, learning_rate=1.0)
            at = lambda index, first=first, then=then: first if index < CHANGE else then  # noqa: E731
            found.append(descend(at, content, optimizer, steps=STEPS + number, tolerance=0))
        return found

    return begin


@contextmanager
def not_waiting(device: str) -> Iterator[None]:
    """On a GPU an operation that waits for it is an error."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def alone(descent: Iterator[tuple[int, Evaluation]]) -> list[tuple[Tensor, list[float]]]:
    return [(each.canvas.cpu(), [each.losses.total, *each.losses.values()]) for _, each in descent]


def together(all_of: list[Iterator], device: str) -> list[list[tuple[Tensor, list[float]]]]:
    """In rounds; what a round found is looked at when the next has begun."""
    at_once, found, before = Together(len(all_of)), [[] for _ in all_of], []
    for turn in range(STEPS + len(all_of)):
        steps = [(number, step) for number, each in enumerate(all_of) if (step := next(each, None)) is not None]
        evaluations = [evaluation for _, (_, evaluation) in steps]
        optimizers = [each.move.optimizer for each in evaluations if each.move is not None]
        # While graphs are recorded, at the third turn, two after the change and when one has left, all may stand still.
        calm = 2 < turn < CHANGE or CHANGE + 2 < turn <= STEPS
        with not_waiting(device if calm else "cpu"):
            at_once.evaluate(evaluations)
            begun = [(number, each.canvas, each.losses) for (number, _), each in zip(steps, evaluations, strict=True)]
        assert len(optimizers) == (len(evaluations) if turn else 0)
        assert len({id(each.memory) for each in optimizers}) <= 1, "they did not step together"
        for number, canvas, losses in before:
            found[number].append((canvas.cpu(), [losses.total, *losses.values()]))
        before = begun
    for number, canvas, losses in before:
        found[number].append((canvas.cpu(), [losses.total, *losses.values()]))
    return found


@on_either
def test_canvases_that_go_on_together_go_where_each_would_alone(descents, device):
    """Through a change of the objective, and also when one after another has come to its end."""
    found = together(descents(device), device)
    for number, (several, one) in enumerate(zip(found, map(alone, descents(device)), strict=True)):
        assert len(several) == len(one) == STEPS + number + 1
        for (canvas, losses), (expected, values) in zip(several, one, strict=True):
            torch.testing.assert_close(canvas, expected, rtol=0, atol=1e-2)
            assert losses == pytest.approx(values, rel=2e-2)
        assert several[-1][1][0] < 0.5 * several[0][1][0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_goes_where_a_cpu_goes(descents):
    for there, here in zip(descents("cuda"), descents("cpu"), strict=True):
        for (canvas, losses), (expected, values) in zip(alone(there), alone(here), strict=True):
            torch.testing.assert_close(canvas, expected, rtol=0, atol=1e-2)
            assert losses == pytest.approx(values, rel=2e-2)
