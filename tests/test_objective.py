"""The objective on a small real Encoder: its gradient, its conventions (method.md 3.2), several styles, paper units."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stylelab import losses
from stylelab.objective import CONVENTIONS, Losses, Objective, Term, Weighting
from stylelab.vgg import Encoder

CONTENT, STYLE = {"relu3_1": 0.7, "conv2_2": 0.3}, {"relu1_1": 0.5, "relu2_1": 0.2, "pool2": 0.3}


def weighting(convention: str = "authors_code", **changes: object) -> Weighting:
    of = Weighting(
        convention=CONVENTIONS[convention],
        alpha=3.0,
        beta=50.0,
        content=CONTENT,
        style=STYLE,
        variation=0.0,
        variation_norm="squared",
    )
    return replace(of, **changes)


@pytest.fixture
def objective(small_encoder, image) -> Callable[..., Objective]:
    def build(
        of: Weighting | None = None, *, styles: list | None = None, dtype: torch.dtype = torch.float64
    ) -> Objective:
        of = of or weighting()
        return Objective(
            small_encoder(*of.content, *of.style, dtype=dtype),
            weighting=of,
            content=image(1, 20, 18).to(dtype),
            styles=[(1.0, image(2, 26, 14).to(dtype))] if styles is None else styles,
        )

    return build


@pytest.fixture
def canvas(image) -> Tensor:
    return image(3, 20, 18)


def features(encoder: torch.nn.Module, picture: Tensor) -> dict[str, np.ndarray]:
    """{layer: (C, H*W)}"""
    return {layer: found[0].flatten(1).detach().numpy() for layer, found in encoder(picture).items()}


def paper_terms(encoder: torch.nn.Module, canvas: Tensor, content: Tensor, style: Tensor) -> dict[str, float]:
    """1/2 sum (F-P)^2 and E_l of Gatys et al. (2015), the Gram matrices each divided by its own picture's positions."""
    painted, kept, wanted = (features(encoder, picture) for picture in (canvas, content, style))
    found = {f"content/{layer}": 0.5 * ((painted[layer] - kept[layer]) ** 2).sum() for layer in CONTENT}
    for layer in STYLE:
        gram, target = (f[layer] @ f[layer].T / f[layer].shape[1] for f in (painted, wanted))
        found[f"style/{layer}"] = ((gram - target) ** 2).sum() / (4 * len(gram) ** 2)
    return found


def named(found: Losses) -> dict[str, float]:
    return {f"{term.kind}/{term.layer}": value for term, value in zip(found.terms, found.values(), strict=True)}


@pytest.mark.parametrize("convention", ["paper", "authors_code", "johnson"])
def test_every_term_is_the_papers_times_the_conventions_factor(objective, canvas, image, convention):
    of = objective(weighting(convention))
    expected = paper_terms(of.encoder, canvas, image(1, 20, 18), image(2, 26, 14))
    shapes = {layer: found.shape for layer, found in features(of.encoder, canvas).items()}
    for layer in CONTENT:  # N_l M_l / 2
        channels, positions = shapes[layer]
        expected[f"content/{layer}"] *= 1 if convention == "paper" else 2 / (channels * positions)
    for layer in STYLE:
        factor = {"paper": 1, "authors_code": 4, "johnson": 4 / shapes[layer][0] ** 2}[convention]
        expected[f"style/{layer}"] *= factor
    assert named(of.evaluate(canvas)[0]) == pytest.approx(expected, rel=1e-10)


def test_johnsons_style_term_is_the_mean_difference_of_gram_matrices_divided_by_channels_and_positions(
    objective, canvas, image
):
    of = objective(weighting("johnson"))
    painted, wanted = (features(of.encoder, picture)["relu2_1"] for picture in (canvas, image(2, 26, 14)))
    gram, target = (f @ f.T / f.size for f in (painted, wanted))
    assert named(of.evaluate(canvas)[0])["style/relu2_1"] == pytest.approx(((gram - target) ** 2).mean(), rel=1e-10)


def test_the_authors_weights_of_1000_by_squared_channels_are_johnsons_style_weight_of_1000(objective, canvas):
    """jcjohnson/neural-style#376."""
    channels = {"relu1_1": 5, "relu2_1": 6, "pool2": 6}
    authors = weighting("authors_code", beta=1000.0, style={layer: 1 / n**2 for layer, n in channels.items()})
    johnson = weighting("johnson", beta=1000.0, style=dict.fromkeys(channels, 1.0))
    found, expected = (objective(of).evaluate(canvas) for of in (authors, johnson))
    assert found[0].summed() == pytest.approx(expected[0].summed(), rel=1e-12)
    assert torch.allclose(found[1], expected[1], rtol=1e-10, atol=1e-16)


def test_alpha_beta_and_the_layers_weights_make_the_total(objective, canvas):
    found = objective().evaluate(canvas)[0]
    values = named(found)
    content = 3.0 * (0.7 * values["content/relu3_1"] + 0.3 * values["content/conv2_2"])
    style = 50.0 * (0.5 * values["style/relu1_1"] + 0.2 * values["style/relu2_1"] + 0.3 * values["style/pool2"])
    expected = {"total": content + style, "content": content, "style": style, "variation": 0.0}
    assert found.summed() == pytest.approx(expected, rel=1e-12)
    assert found.total == pytest.approx(content + style, rel=1e-12)


@pytest.mark.parametrize("convention", ["paper", "authors_code", "johnson"])
@pytest.mark.parametrize("norm", ["absolute", "squared"])
def test_the_gradient_is_the_numerical_one_of_the_total(objective, canvas, convention, norm):
    of = objective(weighting(convention, variation=0.37, variation_norm=norm))
    _, gradient = of.evaluate(canvas)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        direction = torch.randn(canvas.shape, generator=generator, dtype=torch.float64)
        tiny = 1e-7
        up, down = (of.evaluate(canvas + sign * tiny * direction)[0].total for sign in (1, -1))
        slope = (up - down) / (2 * tiny)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_the_gradient_is_that_of_equations_2_and_6_sent_back_through_the_network(objective, canvas, image):
    of = objective(weighting("paper", content={"relu3_1": 1.0}, style={"relu2_1": 1.0}))
    picture = canvas.clone().requires_grad_()
    painted = of.encoder(picture)
    kept, wanted = of.encoder(image(1, 20, 18))["relu3_1"], of.encoder(image(2, 26, 14))["relu2_1"]
    response = painted["relu2_1"]
    rows, channels, positions = response[0].flatten(1), response.shape[1], response[0, 0].numel()
    difference = rows @ rows.T / positions - losses.gram_matrix(wanted)[0]
    by_content = 3.0 * (painted["relu3_1"] - kept)  # eq. (2); the encoder's rectifier does the rest
    by_style = 50.0 * (difference @ rows).view_as(response) / (channels**2 * positions)  # eq. (6)
    painted["relu3_1"].backward(by_content.detach(), retain_graph=True)
    response.backward(by_style.detach())
    assert torch.allclose(of.evaluate(canvas)[1], picture.grad, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("convention", ["paper", "authors_code", "johnson"])
def test_in_paper_units_says_how_the_total_answers_to_the_papers_own_terms(objective, canvas, image, convention):
    """Between any two canvases the total changes by alpha and beta times the change of 1/2 sum (F-P)^2 and E_l."""
    of = objective(weighting(convention))
    units = of.in_paper_units()
    weights = {f"content/{layer}": units[f"alpha/{layer}"] for layer in CONTENT}
    weights |= {f"style/{layer}": units[f"beta/{layer}"] for layer in STYLE}
    for seed in range(3):
        other = image(10 + seed, 20, 18)
        terms = [paper_terms(of.encoder, c, image(1, 20, 18), image(2, 26, 14)) for c in (canvas, other)]
        expected = sum(weight * (terms[1][name] - terms[0][name]) for name, weight in weights.items())
        found = of.evaluate(other)[0].total - of.evaluate(canvas)[0].total
        assert found == pytest.approx(expected, rel=1e-9)


def test_in_paper_units_of_the_three_conventions_on_the_page(objective):
    """relu3_1 of a 20 x 18 canvas has 7 * 5 * 4 = 140 numbers, relu1_1 has 5 channels."""
    of = {"content": {"relu3_1": 1.0}, "style": {"relu1_1": 1.0}}
    paper, authors, johnson = (
        objective(weighting(name, **of)).in_paper_units() for name in ("paper", "authors_code", "johnson")
    )
    assert paper["alpha/relu3_1"] == 3.0 and paper["alpha_of_mean/relu3_1"] == pytest.approx(3.0 * 70)
    assert paper["beta/relu1_1"] == 50.0 and paper["alpha_over_beta"] == pytest.approx(0.06)
    assert authors["alpha/relu3_1"] == pytest.approx(3.0 / 70) and authors["alpha_of_mean/relu3_1"] == pytest.approx(
        3.0
    )
    assert authors["beta/relu1_1"] == 200.0
    assert johnson["beta/relu1_1"] == pytest.approx(200.0 / 25)
    assert "alpha_over_beta" not in objective(weighting(content={})).in_paper_units()


def test_weights_in_paper_units_make_the_paper_convention_give_the_same_total(objective, canvas):
    for convention in ("authors_code", "johnson"):
        of = objective(weighting(convention))
        units = of.in_paper_units()
        paper = weighting(
            "paper",
            alpha=1.0,
            beta=1.0,
            content={layer: units[f"alpha/{layer}"] for layer in CONTENT},
            style={layer: units[f"beta/{layer}"] for layer in STYLE},
        )
        found, expected = objective(paper).evaluate(canvas), of.evaluate(canvas)
        assert found[0].summed() == pytest.approx(expected[0].summed(), rel=1e-10)
        assert torch.allclose(found[1], expected[1], rtol=1e-9, atol=1e-15)


def test_averaged_gram_matrices_have_the_gradient_of_summed_losses(objective, canvas, image):
    """method.md 3.4, 19: with weights that sum to one and one normaliser; the losses differ by a constant."""
    styles = [(0.25, image(5, 20, 16)), (0.75, image(6, 17, 23))]
    only_style = weighting(content={})
    together = objective(only_style, styles=styles)
    apart = [(share, objective(only_style, styles=[(1.0, style)])) for share, style in styles]
    summed = sum(share * of.evaluate(canvas)[1] for share, of in apart)
    assert torch.allclose(together.evaluate(canvas)[1], summed, rtol=1e-9, atol=1e-15)


def test_the_content_itself_has_no_content_loss_and_the_style_itself_no_style_loss(objective, image):
    of = objective()
    at_content = of.evaluate(image(1, 20, 18))[0].summed()
    assert at_content["content"] == 0 and at_content["style"] > 1e-3
    at_style = objective(weighting(content={})).evaluate(image(2, 26, 14))[0].summed()
    assert at_style["style"] < 1e-25


def test_targets_are_captured_once_and_pictures_are_not_written_to(objective, canvas, image):
    content, style = image(1, 20, 18), image(2, 26, 14)
    of = objective(styles=[(1.0, style)])
    before = of.evaluate(canvas)
    style.zero_()
    content.zero_()
    after = of.evaluate(canvas)
    assert torch.equal(before[1], after[1]) and before[0].values() == after[0].values()


def test_evaluating_leaves_the_canvas_alone_and_no_graph_behind(objective, canvas):
    before = canvas.clone()
    found, gradient = objective().evaluate(canvas)
    assert torch.equal(canvas, before) and not canvas.requires_grad
    assert not gradient.requires_grad and not found.unweighted.requires_grad
    again = objective().evaluate(canvas)
    assert torch.equal(gradient, again[1])


def test_the_variation_is_in_the_total_and_in_the_gradient(objective, canvas):
    """method.md 3.4, 17."""
    without, with_it = objective().evaluate(canvas), objective(weighting(variation=2.0)).evaluate(canvas)
    own = losses.squared_variation(canvas).item()
    assert with_it[0].summed()["variation"] == pytest.approx(2 * own, rel=1e-12)
    assert with_it[0].total - without[0].total == pytest.approx(2 * own, rel=1e-9)
    picture = canvas.clone().requires_grad_()
    (expected,) = torch.autograd.grad(2 * losses.squared_variation(picture).sum(), picture)
    assert torch.allclose(with_it[1] - without[1], expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_halves_gives_nearly_the_float32_losses_and_a_float32_gradient(objective, canvas, image, dtype):
    single = objective(dtype=torch.float32)
    halves = objective(dtype=torch.float32, styles=[(1.0, image(2, 26, 14).float())])
    halves.encoder = halves.encoder.to(dtype)
    halves.capture(image(1, 20, 18).float(), [(1.0, image(2, 26, 14).float())])
    expected, direction = single.evaluate(canvas.float())
    found, gradient = halves.evaluate(canvas.float())
    assert found.unweighted.dtype == gradient.dtype == torch.float32
    assert found.total == pytest.approx(expected.total, rel=0.1 if dtype == torch.bfloat16 else 0.01)
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), direction.flatten(), dim=0)
    assert cosine > (0.98 if dtype == torch.bfloat16 else 0.999)


def test_a_loss_knows_its_terms_in_order(objective, canvas):
    found = objective(weighting(variation=0.5)).evaluate(canvas)[0]
    assert found.terms == (
        Term("content", "relu3_1", 3.0 * 0.7),
        Term("content", "conv2_2", 3.0 * 0.3),
        Term("style", "relu1_1", 25.0),
        Term("style", "relu2_1", 10.0),
        Term("style", "pool2", 15.0),
        Term("variation", "", 0.5),
    )


@pytest.mark.parametrize("beta", [1e-9, 1.0, 1e9])
def test_float16_gradients_survive_weights_of_any_size(small_parameters, image, beta: float) -> None:
    """Through autograd. Unscaled, a beta of 1e9 overflows float16 on its way to the canvas and one of 1e-9 vanishes."""
    gradients = {}
    for dtype in (torch.float32, torch.float16):
        encoder = Encoder(
            small_parameters(dtype=torch.float32), layers=("relu1_1", "relu2_1", "relu3_1"), pool="average",
            pool_factor=1.0, padding="zeros",
        ).to(dtype)  # fmt: skip
        of = Weighting(
            convention=CONVENTIONS["authors_code"], alpha=1e-3 * beta, beta=beta, content={"relu3_1": 1.0},
            style={"relu1_1": 0.5, "relu2_1": 0.5}, variation=0.0, variation_norm="squared",
        )  # fmt: skip
        content, style, canvas = (image(seed, 32, 32).float() for seed in (0, 1, 2))
        objective = Objective(encoder, weighting=of, content=content, styles=[(1.0, style)])
        gradients[dtype] = objective.evaluate(canvas)[1]
    exact, half = gradients[torch.float32], gradients[torch.float16]
    assert torch.isfinite(half).all()
    assert (half - exact).norm() < 0.02 * exact.norm()
