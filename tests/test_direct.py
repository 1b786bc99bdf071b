"""Products by oneDNN against the same in float64, on whole pictures, bands of rows and batches."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from stylelab.engine.direct import Direct, add_product_, inner_products, products_beyond, rows
from stylelab.engine.heads import sums

SHAPES = [(1, 24, 33, 47), (2, 64, 16, 9), (3, 130, 5, 7), (1, 512, 4, 6)]


def drawn(*shape: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(kind, memory_format=torch.channels_last)


@pytest.fixture(params=[1, 2])
def threads(request) -> Iterator[None]:
    """So many of torch's: on one thread other ways are the fastest."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [*SHAPES, (1, 129, 130, 128)])
def test_inner_products_are_those_of_float64(shape):
    features = drawn(*shape)
    exact = rows(features.double()).transpose(1, 2) @ rows(features.double())
    torch.testing.assert_close(inner_products(features).double(), exact, rtol=0, atol=3e-6 * exact.abs().max())


def test_inner_products_of_a_band_of_rows_are_its_own():
    whole = drawn(1, 64, 40, 21)
    exact = inner_products(whole[:, :, 8:25].double())
    torch.testing.assert_close(inner_products(whole[:, :, 8:25]).double(), exact, rtol=0, atol=3e-6 * exact.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_is_expected_is_subtracted(shape, kind):
    features = drawn(*shape, kind=kind)
    exact = inner_products(features.double()) / 100
    found = products_beyond(features, exact.to(kind), share=1.0, factor=1 / 100).double()
    expected = exact - exact.to(kind).double()
    few = 3e-6 if kind == torch.float32 else 3e-2  # of the products in bfloat16 where batches are multiplied
    torch.testing.assert_close(found, expected, rtol=0, atol=few * exact.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rectified", [False, True])
def test_a_convolution_of_one_by_one_is_as_it_is_written(shape, rectified):
    inputs, filters, bias = drawn(*shape), drawn(40, shape[1], 1, 1), drawn(40, 1, 1, 1).flatten()
    exact = functional.conv2d(inputs.double(), filters.double(), bias.double())
    exact = exact.relu() if rectified else exact
    found = Direct(filters, padding=(0, 0))(inputs, bias, rectified=rectified)
    assert found.shape == exact.shape and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * exact.abs().max())


def test_a_stride_is_that_of_the_convolution():
    inputs, filters = drawn(2, 9, 17, 20), drawn(32, 9, 4, 4)
    exact = functional.conv2d(inputs.double(), filters.double(), stride=2, padding=2)
    found = Direct(filters, padding=(2, 2), stride=2)(inputs)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * exact.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_added(shape):
    features, gradient, matrix = drawn(*shape), drawn(*shape[::-1]).permute(3, 2, 1, 0), drawn(1, 1, *shape[1:2] * 2)[0]
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    matrix = (matrix + matrix.transpose(1, 2)).expand(shape[0], -1, -1).contiguous()
    exact = gradient.double() + torch.einsum("nchw,ncd->ndhw", features.double(), matrix.double())
    torch.testing.assert_close(
        add_product_(gradient, features, matrix).double(), exact, rtol=0, atol=1e-5 * exact.abs().max()
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_sums_over_places_are_those_of_float64(shape, kind):
    features = drawn(*shape, kind=kind)
    exact = features.double().sum(dim=(2, 3))
    few = 1e-5 if kind != torch.bfloat16 else 5e-3  # sums of a few places are rounded to bfloat16
    scale = features.double().abs().sum(dim=(2, 3)).max()
    torch.testing.assert_close(sums(features).double(), exact, rtol=0, atol=few * scale)
