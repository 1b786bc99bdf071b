"""Convolutions with half of the multiplications, against the sum as it is written."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylelab.engine import winograd
from stylelab.engine.direct import Direct
from stylelab.engine.winograd import Winograd


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Inputs, filters, bias and padding at random; sizes from one row or column on, in float64."""
    of, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    inside, outside = of.randint(1, 9), of.randint(1, 9)
    padding = of.choice((0, 1, 1, 2))
    least = 1 if padding else 3
    size = of.randint(1, 3), inside, of.randint(least, 23), of.randint(least, 23)
    inputs, filters, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in (size, (outside, inside, 3, 3), (outside,))
    )
    return inputs, filters, bias, padding


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_convolution(monkeypatch, seed):
    """To 1e-12 in float64, in bands of one tile and in larger ones, with bias and rectifier and without."""
    inputs, filters, bias, padding = drawn(seed)
    monkeypatch.setattr(winograd, "BAND_BYTES", 1 if seed % 2 else 2000)
    convolution = Winograd(filters, padding=padding)
    expected = F.conv2d(inputs, filters, padding=padding)
    for given, rectified in ((None, False), (bias, False), (bias, True)):
        wanted = expected if given is None else expected + bias[:, None, None]
        wanted = wanted.relu() if rectified else wanted
        found = convolution(inputs, given, rectified=rectified)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-12 * expected.abs().max()
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("inside", "outside"), [(64, 128), (256, 256), (512, 256)])
def test_in_float32_it_is_nearly_as_near_as_the_sum_as_it_is_written(inside, outside):
    """Three times its error at most; of rectified inputs and filters such as VGG-19's layers have."""
    generator = torch.Generator().manual_seed(inside)
    inputs = torch.randn(1, inside, 22, 19, generator=generator).relu()
    filters = torch.randn(outside, inside, 3, 3, generator=generator) * (9 * inside) ** -0.5
    exact = F.conv2d(inputs.double(), filters.double(), padding=1)
    assert winograd.pays(filters) or not winograd.onednn_takes(filters)
    errors = [
        (kind(inputs).double() - exact).norm().item()
        for kind in (Winograd(filters, padding=1), Direct(filters, padding=(1, 1)))
    ]
    assert errors[0] < 3 * errors[1]
    assert errors[0] < 3e-6 * exact.norm().item()


def test_where_it_does_not_pay():
    """Few filters, other types: as it is written."""
    filters = torch.zeros(512, 512, 3, 3)
    assert not winograd.pays(filters[:64, :63])
    assert not winograd.pays(filters.bfloat16())
    assert not winograd.pays(filters.double())
