"""training/: what the embedded network starts from, what it is held against, and how it steps."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import export, start
from training.errors import GramErrors
from training.muon import orthogonalised

from stylelab.embedded import Part, convolved, parameter_shapes, through

NARROW = (
    Part("conv1_1", 3, 8, "relu1_1"),
    Part("conv1_2", 8, 12, kernel=4, stride=2),
    Part("conv2_1", 12, 16, "relu2_1", (8, 8)),
)
WIDE = (
    NARROW[0],
    Part("conv1_2", 8, 16, kernel=4, stride=2),
    Part("conv2_1", 16, 16, "relu2_1", (8, 8)),
)


@pytest.fixture
def wide() -> dict[str, torch.Tensor]:
    """Parameters of WIDE that NARROW could do without: of its channels four repeat others."""
    draw = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in parameter_shapes(WIDE).items():
        scale = torch.Size(shape[1:]).numel() ** -0.5 if len(shape) > 1 else 0.1
        found[name] = scale * torch.randn(shape, generator=draw)
    for kind in ("weight", "bias"):
        found[f"conv1_2.{kind}"][12:] = found[f"conv1_2.{kind}"][:4]
    return found


def answers(trunk: tuple[Part, ...], values: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """relu2_1 by its head."""
    hidden = start.preprocess(images)
    for part in trunk:
        hidden = through(part, hidden, start._convolutions(part.convolutions(), values))
    return functional.conv2d(hidden, values["head.relu2_1.weight"], values["head.relu2_1.bias"])


def test_parameters_of_the_same_form_are_kept_as_they_are(wide, monkeypatch):
    monkeypatch.setattr(start, "TRUNK", WIDE)
    found = start.adapted(wide, torch.rand(2, 3, 24, 24))
    assert found.keys() == wide.keys()
    assert all(torch.equal(found[name], wide[name]) for name in wide)


def test_parameters_of_another_form_answer_as_those_that_they_were_made_of(wide, monkeypatch):
    monkeypatch.setattr(start, "TRUNK", NARROW)
    draw = torch.Generator().manual_seed(1)
    seen, unseen = torch.rand(12, 3, 24, 24, generator=draw), torch.rand(4, 3, 24, 24, generator=draw)
    found = start.adapted(wide, seen)
    assert {name: tuple(value.shape) for name, value in found.items()} == parameter_shapes(NARROW)
    wanted, got = answers(WIDE, wide, unseen), answers(NARROW, found, unseen)
    spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
    assert (got - wanted).square().mean() < 0.01 * spread


def test_one_convolution_does_what_its_factors_do():
    draw = torch.Generator().manual_seed(2)
    part = Part("conv2_1", 5, 7, "relu2_1", (4, 6))
    factors = [(torch.randn(shape, generator=draw), None) for shape in part.convolutions().values()]
    inputs = torch.randn(1, 5, 9, 9, generator=draw)
    found = functional.conv2d(inputs, start._composed(factors), padding=1)
    torch.testing.assert_close(found, convolved(part, inputs, factors), rtol=1e-4, atol=1e-4)


def test_least_squares_find_the_convolution_that_made_the_answers():
    draw = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(6, 4, 3, 3, generator=draw), torch.randn(6, generator=draw)
    inputs = torch.randn(8, 4, 20, 20, generator=draw)
    found, constant = start.Fit(inputs, functional.conv2d(inputs, weight, bias, padding=1), 3).whole()
    torch.testing.assert_close(found, weight, rtol=0.01, atol=0.01)
    torch.testing.assert_close(constant, bias, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("canvases", [0, 2])
def test_the_gradient_of_the_gram_errors_is_that_of_their_definition(canvases):
    draw = torch.Generator().manual_seed(4)
    ours, theirs = (torch.randn(4, 30, 5, generator=draw) for _ in range(2))
    mean = torch.rand(5, generator=draw)
    ours.requires_grad_()
    weights = torch.rand(4 + canvases, 2, generator=draw)

    def defined() -> torch.Tensor:
        wrong = (ours.transpose(1, 2) @ ours - theirs.transpose(1, 2) @ theirs) / 30
        wrong = torch.cat([wrong, wrong[:canvases] - wrong[canvases : 2 * canvases]])
        caffe = wrong * torch.outer(mean, mean)
        return torch.stack([wrong.square().sum((1, 2)), caffe.square().sum((1, 2))], dim=1)

    found, _ = GramErrors.apply(ours, theirs, mean, canvases)
    torch.testing.assert_close(found, defined(), rtol=1e-4, atol=1e-5)
    (wanted,) = torch.autograd.grad((weights * defined()).sum(), ours)
    (got,) = torch.autograd.grad((weights * found).sum(), ours)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_an_orthogonalised_step_goes_alike_along_all_directions():
    draw = torch.Generator().manual_seed(5)
    matrix = torch.randn(12, 30, generator=draw) * torch.logspace(0, -2, 12)[:, None]
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.5 and values.max() < 1.3


def test_the_mean_of_two_checkpoints_is_what_is_written(tmp_path, monkeypatch):
    draw = torch.Generator().manual_seed(4)
    first, second = ({"conv1_1.weight": torch.randn(2, 3, 3, 3, generator=draw)} for _ in range(2))
    torch.save({"parameters": first, "batches": 3}, tmp_path / "checkpoint.pt")
    save_file(second, tmp_path / "second.safetensors")
    files = [str(tmp_path / name) for name in ("checkpoint.pt", "second.safetensors")]
    written = tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["export", "--checkpoint", *files, "--output", str(written)])
    export.main()
    (found,) = load_file(written).values()
    assert found.dtype == torch.float16
    torch.testing.assert_close(
        found.float(), (first["conv1_1.weight"] + second["conv1_1.weight"]) / 2, rtol=1e-3, atol=0
    )
    record = json.loads(written.with_suffix(".json").read_text())
    assert record["parameters"] == 54 and record["bytes"] == written.stat().st_size
