"""The embedded network: its file, its shapes, and how near its features come to VGG-19's."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch

from stylelab import images, parameters, pictures
from stylelab.embedded import LAYERS, PARAMETERS, TRUNK, EmbeddedEncoder, load_parameters, parameter_shapes
from stylelab.layers import CONVOLUTIONS, EMBEDDED_LAYERS, block, channels
from stylelab.vgg import CAFFE, Encoder

SHARED = Path(__file__).parents[2] / "shared"
VGG19 = SHARED / "weights" / "vgg19_caffe_features_fp16.safetensors"
MEANS = PARAMETERS.parent / "vgg19_caffe_mean_activations.json"
HELD_OUT = ("108082", "207038", "258089", "45077", "78019")  # of BSDS500's every tenth, never trained on
# Largest ||F - F_vgg||^2 / ||F_vgg||^2 over those photographs, a tenth above what was measured at 256 pixels.
BOUNDS = {
    "relu1_1": 0.0233,
    "relu2_1": 0.0691,
    "relu2_2": 0.1393,
    "relu3_1": 0.1524,
    "relu4_1": 0.0768,
    "relu4_2": 0.1247,
    "relu5_1": 0.1695,
}


@pytest.fixture(scope="module")
def shipped() -> dict[str, torch.Tensor]:
    return load_parameters()


def test_the_file_is_at_most_five_megabytes_and_the_one_recorded(shipped):
    record = json.loads(PARAMETERS.with_suffix(".json").read_text())
    contents = PARAMETERS.read_bytes()
    assert len(contents) == record["bytes"] <= 5_000_000
    assert hashlib.sha256(contents).hexdigest() == record["sha256"]
    assert sum(value.numel() for value in shipped.values()) == record["parameters"]
    assert "CC BY 4.0" in record["attribution"] and "Simonyan" in record["attribution"]


def test_a_file_with_another_checksum_is_refused(tmp_path):
    (tmp_path / "other.safetensors").write_bytes(PARAMETERS.read_bytes() + b" ")
    (tmp_path / "other.json").write_text(PARAMETERS.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match=r"has sha256 .* get it anew"):
        load_parameters(tmp_path / "other.safetensors")


def test_the_file_holds_just_the_convolutions_of_the_network_in_half_precision(shipped):
    assert {name: tuple(value.shape) for name, value in shipped.items()} == parameter_shapes()
    assert {value.dtype for value in shipped.values()} == {torch.float16}


def test_the_names_that_a_configuration_may_use_are_those_of_the_network():
    assert LAYERS == EMBEDDED_LAYERS


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (75, 53)])
def test_features_have_the_channels_and_sizes_of_vgg19(shipped, size):
    found = EmbeddedEncoder(LAYERS, shipped)(torch.rand(2, 3, *size))
    for layer in LAYERS:
        stride = 2 ** (block(layer) - 1)
        assert found[layer].shape == (2, channels(layer), size[0] // stride, size[1] // stride)


def test_an_unknown_layer_is_refused_with_the_list_of_those_there_are(shipped):
    with pytest.raises(ValueError, match=r"embedded network has relu1_1.*got relu5_4"):
        EmbeddedEncoder(["relu1_1", "relu5_4"], shipped)


def test_nothing_above_the_deepest_layer_is_kept(shipped):
    names = {name.rpartition("/")[0] for name in EmbeddedEncoder(["relu2_1"], shipped).values}
    assert names == {"conv1_1", "conv1_2", "conv2_1/filter", "conv2_1/expand", "head/relu2_1"}


def test_a_layer_is_the_same_whatever_else_is_asked_for(shipped):
    image = torch.rand(1, 3, 32, 32)
    alone = EmbeddedEncoder(["relu4_1"], shipped)(image)["relu4_1"]
    torch.testing.assert_close(alone, EmbeddedEncoder(LAYERS, shipped)(image)["relu4_1"])


def test_the_gradient_reaches_every_pixel_and_no_parameter(shipped):
    image = torch.rand(1, 3, 33, 47, requires_grad=True)
    network = EmbeddedEncoder(["relu1_1", "relu4_2"], shipped)
    sum(features.sum() for features in network(image).values()).backward()
    assert (image.grad != 0).all(dim=1).float().mean() > 0.99
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_bfloat16_follows_float32(shipped):
    image = torch.rand(1, 3, 64, 64)
    exact = EmbeddedEncoder(LAYERS, shipped)(image)
    rough = EmbeddedEncoder(LAYERS, shipped).to(torch.bfloat16)(image.to(torch.bfloat16))
    for layer in LAYERS:
        error = (rough[layer].float() - exact[layer]).square().sum() / exact[layer].square().sum()
        assert rough[layer].dtype == torch.bfloat16 and error < 2e-3


def test_it_multiplies_less_than_a_fifth_as_often_as_vgg19():
    assert embedded_multiplications() < vgg19_multiplications() / 5


def embedded_multiplications() -> float:
    """Multiply-adds by pixel of the picture for relu1_1 … relu5_1 and relu4_2, forward, heads computed in full."""
    area, total = 1.0, 0.0
    for part in TRUNK:
        area /= 4 if part.pool else part.stride**2
        shapes = [*part.convolutions().values()]
        if part.headed and part.layer != "relu2_2":
            shapes.append((channels(part.layer), part.width, 1, 1))
        total += area * sum(map(math.prod, shapes))
    return total


def vgg19_multiplications() -> float:
    """The same for VGG-19, cut after conv5_1."""
    used = CONVOLUTIONS[: CONVOLUTIONS.index("conv5_1") + 1]
    inputs = (3, *(channels(name) for name in used))
    pairs = zip(inputs[:-1], used, strict=True)
    return sum(before * channels(name) * 9 / 4 ** (block(name) - 1) for before, name in pairs)


@pytest.mark.skipif(not VGG19.exists(), reason="needs VGG-19's parameters and photographs in ../shared")
def test_features_are_near_vgg19_normalised_on_photographs_never_trained_on(shipped):
    caffe = parameters.read(VGG19, CAFFE)
    normalised = parameters.normalise(caffe, parameters.read_means(MEANS, pool="average"))
    vgg19 = Encoder(normalised, layers=LAYERS, pool="average", pool_factor=1.0, padding="zeros")
    embedded = EmbeddedEncoder(LAYERS, shipped)
    worst = dict.fromkeys(LAYERS, 0.0)
    with torch.inference_mode():
        for name in HELD_OUT:
            picture = pictures.load(SHARED / "photographs" / f"{name}.jpg", key=name)
            image = images.from_picture(pictures.resize(picture, pictures.scaled_to_long_side(picture.size, 256)))
            truth, found = vgg19(image), embedded(image)
            for layer in LAYERS:
                error = (found[layer] - truth[layer]).square().sum() / truth[layer].square().sum()
                worst[layer] = max(worst[layer], error.item())
    assert all(worst[layer] <= BOUNDS[layer] for layer in LAYERS), str(worst)
