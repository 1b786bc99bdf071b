"""The losses and their gradients against the papers' formulas, numbered as in Gatys et al. (2015), in float64."""

import numpy as np
import pytest
import torch

from stylelab import losses


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def paper_gram(features: torch.Tensor) -> np.ndarray:
    """Eq. (3), without any normalisation, of one picture: G_ij = sum_k F_ik F_jk."""
    rows = features[0].flatten(1).numpy()
    return np.array([[sum(a * b) for b in rows] for a in rows])


def test_gram_matrix_of_two_channels_at_two_positions():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 1, 2)
    assert losses.gram_matrix(features)[0].tolist() == [[2.5, 5.5], [5.5, 12.5]]  # (1+4, 3+8; 3+8, 9+16) / 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gram_matrix_is_equation_3_divided_by_the_positions(layout):
    features = random(1, 5, 3, 7, seed=1)
    expected = paper_gram(features) / 21
    found = losses.gram_matrix(features.contiguous(memory_format=layout))[0].numpy()
    assert found == pytest.approx(expected, rel=1e-12)


def test_gram_matrix_keeps_the_pictures_of_a_batch_apart():
    features = random(3, 4, 5, 6, seed=2)
    together = losses.gram_matrix(features)
    for number in range(3):
        assert torch.allclose(together[number], losses.gram_matrix(features[number : number + 1])[0], rtol=1e-12)


def test_gram_matrix_does_not_see_where_a_feature_lies():
    features = random(1, 4, 3, 8, seed=3)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = features.flatten(2)[..., order].view(1, 4, 6, 4)
    assert torch.allclose(losses.gram_matrix(shuffled), losses.gram_matrix(features), rtol=1e-12)


def test_content_loss_is_equation_1():
    features, target = random(1, 3, 2, 4, seed=4), random(1, 3, 2, 4, seed=5)
    expected = 0.5 * sum((f - p) ** 2 for f, p in zip(features.flatten(), target.flatten(), strict=True))
    assert losses.content_loss(features, target).tolist() == pytest.approx([float(expected)], rel=1e-12)
    two = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert losses.content_loss(*two).tolist() == [2.5]  # (2^2 + 1^2) / 2
    assert losses.mean_squared_error(*two).tolist() == [2.5]  # (2^2 + 1^2) / 2 elements


def test_style_loss_is_equation_4():
    features, style = random(1, 4, 3, 5, seed=6), random(1, 4, 3, 5, seed=7)
    gram, target = paper_gram(features), paper_gram(style)
    channels, positions = 4, 15
    expected = ((gram - target) ** 2).sum() / (4 * channels**2 * positions**2)
    found = losses.style_loss(losses.gram_matrix(features), losses.gram_matrix(style))
    assert found.tolist() == pytest.approx([expected], rel=1e-12)


def test_style_loss_compares_pictures_of_different_sizes():
    features, style = random(1, 4, 3, 5, seed=8), random(1, 4, 6, 2, seed=9)
    expected = ((paper_gram(features) / 15 - paper_gram(style) / 12) ** 2).mean() / 4
    found = losses.style_loss(losses.gram_matrix(features), losses.gram_matrix(style))
    assert found.tolist() == pytest.approx([expected], rel=1e-12)
    doubled = features.repeat(1, 1, 2, 1)  # twice the picture is the same style
    assert losses.style_loss(losses.gram_matrix(features), losses.gram_matrix(doubled)).item() < 1e-28


@pytest.mark.parametrize("seed", range(3))
def test_content_loss_gradient_is_equation_2(seed):
    before = random(1, 4, 3, 5, seed=10 + seed).requires_grad_()
    target = random(1, 4, 3, 5, seed=20 + seed).relu()
    features = before.relu()
    (found,) = torch.autograd.grad(losses.content_loss(features, target).sum(), before)
    expected = torch.where(features > 0, features - target, torch.zeros_like(target))  # 0 where F is not above 0
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)
    assert (found[features == 0] == 0).all() and (features == 0).sum() > 10


@pytest.mark.parametrize("seed", range(3))
def test_style_loss_gradient_is_equation_6(seed):
    before = random(1, 4, 3, 5, seed=30 + seed).requires_grad_()
    style = random(1, 4, 3, 5, seed=40 + seed).relu()
    features = before.relu()
    loss = losses.style_loss(losses.gram_matrix(features), losses.gram_matrix(style))
    (found,) = torch.autograd.grad(loss.sum(), before)
    channels, positions = 4, 15
    rows = features[0].detach().flatten(1).numpy()
    difference = paper_gram(features.detach()) - paper_gram(style)
    expected = (rows.T @ difference).T / (channels**2 * positions**2)  # ((F^T (G - A))_ji
    expected[rows <= 0] = 0
    assert found[0].flatten(1).numpy() == pytest.approx(expected, rel=1e-10, abs=1e-18)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_accumulate_in_float32_without_overflow(dtype):
    features = torch.full((1, 3, 16, 16), 1000.0, dtype=dtype)  # 256 * 1000^2 is far outside of float16
    gram = losses.gram_matrix(features)
    assert gram.dtype == torch.float32
    assert gram.unique().tolist() == [1e6]
    nothing = torch.zeros_like(features)
    assert losses.mean_squared_error(features, nothing).tolist() == [1e6]
    assert losses.content_loss(features, nothing).tolist() == [1e6 * 3 * 256 / 2]


def test_the_gradient_of_half_features_is_that_of_the_same_numbers_in_float64():
    halves = random(1, 4, 8, 8, seed=50).mul(100).half().requires_grad_()
    style = losses.gram_matrix(random(1, 4, 8, 8, seed=51).mul(100))
    (found,) = torch.autograd.grad(losses.style_loss(losses.gram_matrix(halves), style.float()).sum(), halves)
    exact = halves.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(losses.style_loss(losses.gram_matrix(exact), style).sum(), exact)
    assert found.dtype == torch.float16
    assert (found.double() - expected).abs().max() < 2e-3 * expected.abs().max()


def test_every_picture_of_a_batch_has_its_own_loss():
    features, target = random(3, 2, 4, 4, seed=60), random(1, 2, 4, 4, seed=61)
    grams, style = losses.gram_matrix(features), losses.gram_matrix(target)
    images = random(3, 3, 4, 4, seed=62)
    for number in range(3):
        one = slice(number, number + 1)
        for together, alone in (
            (losses.content_loss(features, target), losses.content_loss(features[one], target)),
            (losses.mean_squared_error(features, target), losses.mean_squared_error(features[one], target)),
            (losses.style_loss(grams, style), losses.style_loss(grams[one], style)),
            (losses.absolute_variation(images), losses.absolute_variation(images[one])),
            (losses.squared_variation(images), losses.squared_variation(images[one])),
        ):
            assert together[number].item() == pytest.approx(alone.item(), rel=1e-12)


def test_variation_of_four_pixels():
    red = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    images = torch.stack((red, torch.zeros(2, 2), torch.ones(2, 2)))[None].double()
    # down: 1, -0.25; right: 0.5, -0.75
    assert losses.absolute_variation(images).tolist() == [255 * 2.5]
    assert losses.squared_variation(images).tolist() == pytest.approx([(1 + 0.0625) / 6 + (0.25 + 0.5625) / 6])


def test_absolute_variation_grows_with_the_picture_and_squared_variation_does_not():
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8).expand(1, 3, 16, 16).double()
    small = checks[..., :8, :8]
    assert losses.squared_variation(checks).item() == losses.squared_variation(small).item() == 2
    assert losses.absolute_variation(small).item() == 255 * 3 * 2 * 8 * 7
    assert losses.absolute_variation(checks).item() == 255 * 3 * 2 * 16 * 15


def test_the_gradient_of_squared_variation_is_the_discrete_laplacian():
    images = random(1, 3, 5, 6, seed=70).requires_grad_()
    (found,) = torch.autograd.grad(losses.squared_variation(images).sum(), images)
    values = images.detach().numpy()
    expected = np.zeros_like(values)
    for axis, count in ((2, 3 * 4 * 6), (3, 3 * 5 * 5)):
        steps = 2 * np.diff(values, axis=axis) / count
        before = [(0, 0)] * 4
        expected += np.pad(steps, [*before[:axis], (1, 0), *before[axis + 1 :]])
        expected -= np.pad(steps, [*before[:axis], (0, 1), *before[axis + 1 :]])
    assert found.numpy() == pytest.approx(expected, rel=1e-12)
