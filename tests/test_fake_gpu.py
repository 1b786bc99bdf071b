"""A painting's step on a GPU that is not there: torch's fake tensors have a device and no numbers.

Whatever looks at a number, and so would make the host wait, is an error with them, and so is an operation on tensors of
two devices. What a GPU computes they do not know: the tests marked `gpu` do.
"""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stylelab import objective
from stylelab.descent import LbfgsOnDevice, Move, make_together
from stylelab.embedded import EmbeddedEncoder, parameter_shapes
from stylelab.engine import EmbeddedEngine, Engine, heads, targets
from stylelab.objective import CONVENTIONS, Evaluation, Losses, Objective, Weighting
from stylelab.together import Stack

GPU = torch.device("cuda")
STYLE = ("relu1_1", "relu2_1", "relu3_1")


@pytest.fixture(autouse=True)
def _fake(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(objective, "on_its_way", lambda numbers: numbers.tolist)  # pinned memory is a driver's
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


class NothingFromTheHost(TorchDispatchMode):
    """No tensor is copied to the GPU: from memory that is not pinned that waits for it."""

    def __torch_dispatch__(self, operator, types, arguments=(), settings=None):
        found = operator(*arguments, **(settings or {}))
        if isinstance(found, torch.Tensor) and found.device.type == "cuda" and "copy" in str(operator):
            given = [each for each in arguments if isinstance(each, torch.Tensor)]
            assert all(each.device.type == "cuda" for each in given), operator
        return found


WEIGHTING = Weighting(
    convention=CONVENTIONS["paper"],
    alpha=1.0,
    beta=10.0,
    content={"relu3_1": 1.0},
    style=dict.fromkeys(STYLE, 0.2),
    variation=0.0,  # its gradient is autograd's, which asks a driver
    variation_norm="squared",
)


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 3, 32, 28, device=GPU)


def objectives(network: Engine | EmbeddedEngine, count: int) -> list[Objective]:
    """As a run makes them. Their first two evaluations are made as they are, before a graph would be recorded."""
    pairs = zip(pictures(count), pictures(count), strict=True)
    return [Objective(network, weighting=WEIGHTING, content=content, styles=[(1.0, style)]) for content, style in pairs]


def test_fake_tensors_say_when_a_number_is_looked_at():
    with pytest.raises(DataDependentOutputException):
        torch.rand(3, device=GPU).sum().item()
    with pytest.raises(RuntimeError, match="cuda"):
        torch.rand(3, device=GPU) + torch.rand(3)


@pytest.mark.parametrize("arithmetic", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("pool", "padding"), [("average", "zeros"), ("max", "reflect"), ("average", "replicate")])
def test_vgg_evaluates_and_lbfgs_steps_without_a_wait(small_encoder, monkeypatch, arithmetic, pool, padding):
    monkeypatch.setattr(targets, "unit_of", lambda gram: 1.0)  # float16's, looked at once when a target is made
    network = small_encoder(*STYLE, dtype=torch.float32, pool=pool, padding=padding).to(GPU)
    painted(Engine(network, arithmetic))


@pytest.mark.parametrize("arithmetic", [torch.float32, torch.bfloat16, torch.float16])
def test_the_embedded_network_evaluates_without_a_wait(monkeypatch, arithmetic):
    monkeypatch.setattr(heads, "unit_of", lambda products: 1.0)
    parameters = {name: torch.rand(shape, device=GPU) for name, shape in parameter_shapes().items()}
    painted(EmbeddedEngine(EmbeddedEncoder(STYLE, parameters), arithmetic))


def painted(network: Engine | EmbeddedEngine) -> None:
    """Two canvases evaluated, alone and together, then stepped and evaluated again."""
    of = objectives(network, 2)
    evaluations = [Evaluation(each, canvas) for each, canvas in zip(of, pictures(2), strict=True)]
    with NothingFromTheHost():
        stepped(of, evaluations)


def stepped(of: list[Objective], evaluations: list[Evaluation]) -> None:
    begun(evaluations[0], evaluations[0].losses, evaluations[0].gradient)
    found = Stack(of).evaluate([each.canvas for each in evaluations])
    for each, its in zip(evaluations, found, strict=True):
        begun(each, *its)
        each.found = its
    moves = [Move(LbfgsOnDevice(history=3, learning_rate=1.0), each) for each in evaluations]
    make_together(moves)
    for move in moves:
        after = Evaluation(move.evaluation.objective, move)
        begun(after, after.losses, after.gradient)
        move.optimizer.objective_changed()


def begun(evaluation: Evaluation, losses: Losses, gradient: torch.Tensor) -> None:
    """All on the GPU, and the losses not looked at until someone asks."""
    assert gradient.device.type == losses.unweighted.device.type == evaluation.canvas.device.type == "cuda"
    assert gradient.shape == evaluation.canvas.shape and gradient.dtype == torch.float32
    assert losses.unweighted.shape == (len(evaluation.objective.terms),)
    with pytest.raises(DataDependentOutputException):
        losses.values()
