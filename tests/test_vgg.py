"""The Encoder against torchvision's own VGG-19 with the same parameters, and its promises: cut, frozen."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from stylelab import parameters
from stylelab.layers import CONVOLUTIONS, LAYERS
from stylelab.vgg import CAFFE, TORCHVISION, Encoder, Parameters


@pytest.fixture(scope="module")
def theirs() -> nn.Sequential:
    """torchvision's vgg19().features with seeded random parameters that keep activations' size."""
    with torch.device("meta"):  # its classifier is 500 MB that nobody asked for
        features = torchvision.models.vgg19(weights=None).features
    features.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for module in features:
        if isinstance(module, nn.Conv2d):
            scale = (2 / module.weight[0].numel()) ** 0.5
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * scale
            module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.1
    return features


def their_features(network: nn.Sequential, ready: Tensor) -> dict[str, Tensor]:
    """Every layer's tensor; their rectifiers write in place, so each module gets a copy."""
    found, here = {}, ready
    with torch.no_grad():
        for name, module in zip(LAYERS, network, strict=True):
            here = module(here.clone())
            found[name] = here
    return found


def assert_same_features(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name in LAYERS:
        error = (ours[name] - expected[name]).abs().max() / expected[name].abs().max()
        assert error < 2e-5, f"{name}: relative error {error:.1e}"


@pytest.fixture(scope="module")
def batch(image) -> Tensor:
    """Two pictures of an odd size, so that pools drop a row and a column."""
    return torch.cat((image(1, 51, 37), image(2, 51, 37))).float()


def test_every_layer_equals_torchvisions_vgg19_read_from_its_state_dict(theirs, batch, tmp_path):
    file = tmp_path / "vgg19.pth"
    classifier = {"classifier.0.weight": torch.zeros(2, 2)}
    torch.save({f"features.{key}": value for key, value in theirs.state_dict().items()} | classifier, file)
    encoder = Encoder(parameters.read(file, TORCHVISION), layers=LAYERS, pool="max", pool_factor=1.0, padding="zeros")
    expected = their_features(theirs, normalize(batch, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    assert_same_features(encoder(batch), expected)


def test_every_layer_equals_torchvisions_vgg19_with_the_caffe_parameters(theirs, batch, caffe_file: Path):
    from safetensors.torch import load_file

    state = {key.removeprefix("features."): value.float() for key, value in load_file(caffe_file).items()}
    saved = {key: value.clone() for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    try:
        bgr = batch.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
        expected = their_features(theirs, bgr)
    finally:
        theirs.load_state_dict(saved)
    encoder = Encoder(parameters.read(caffe_file, CAFFE), layers=LAYERS, pool="max", pool_factor=1.0, padding="zeros")
    assert_same_features(encoder(batch), expected)


def plain_features(encoder: Encoder, of: Parameters, images: Tensor, *, pool: str, factor: float, padding: str):
    """The same network written down anew: pads by index, convolves by unfolding, pools by striding."""
    here, found = normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), {}
    for name in encoder.path:
        if name.startswith("conv"):
            _, _, height, width = here.shape
            if padding == "zeros":
                padded = torch.zeros(*here.shape[:2], height + 2, width + 2, dtype=here.dtype)
                padded[..., 1:-1, 1:-1] = here
            else:
                edge = {"replicate": (0, -1), "reflect": (1, -2)}[padding]
                rows = [edge[0], *range(height), height + edge[1]]
                columns = [edge[0], *range(width), width + edge[1]]
                padded = here[..., rows, :][..., columns]
            patches = F.unfold(padded, 3)
            weight = of.filters[name]
            out = weight.flatten(1) @ patches + of.biases[name][:, None]
            here = out.view(len(images), -1, height, width)
        elif name.startswith("relu"):
            here = torch.where(here > 0, here, torch.zeros_like(here))
        else:
            height, width = here.shape[2] // 2 * 2, here.shape[3] // 2 * 2
            blocks = torch.stack([here[..., y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)])
            here = (blocks.mean(0) if pool == "average" else blocks.amax(0)) * factor
        found[name] = here
    return found


@pytest.mark.parametrize(
    ("pool", "factor", "padding"),
    [("average", 1.0, "zeros"), ("average", 2.0, "replicate"), ("max", 1.0, "reflect"), ("max", 0.5, "zeros")],
)
def test_pools_factors_and_paddings_are_what_they_say(small_encoder, small_parameters, image, pool, factor, padding):
    encoder = small_encoder(*LAYERS, pool=pool, pool_factor=factor, padding=padding)
    pictures = torch.cat((image(3, 40, 35), image(4, 40, 35)))
    expected = plain_features(encoder, small_parameters(), pictures, pool=pool, factor=factor, padding=padding)
    found = encoder(pictures)
    for name in LAYERS:
        assert torch.allclose(found[name], expected[name], rtol=1e-10, atol=1e-12), name


def test_caffe_preprocessing_is_bgr_0_to_255_less_the_mean():
    filters = torch.zeros(3, 3, 3, 3)
    filters[range(3), range(3), 1, 1] = 1  # conv1_1 hands the network's input through
    only = Parameters(filters={"conv1_1": filters}, biases={"conv1_1": torch.zeros(3)}, preprocessing=CAFFE)
    encoder = Encoder(only, layers=["conv1_1"], pool="max", pool_factor=1.0, padding="zeros")
    orange = torch.tensor([1.0, 0.6, 0.2]).view(1, 3, 1, 1)
    found = encoder(orange)["conv1_1"].flatten().tolist()
    assert found == pytest.approx([51 - 103.939, 153 - 116.779, 255 - 123.68], abs=1e-4)


def test_the_network_is_cut_after_the_deepest_layer(small_encoder, image):
    whole = small_encoder("relu1_1", "conv2_1", "relu5_4")
    known = ("conv1_1", "conv1_2", "conv2_1")  # nothing below conv2_1 is there to be computed
    of = Parameters(
        filters={name: getattr(whole, f"{name}_filters") for name in known},
        biases={name: getattr(whole, f"{name}_bias") for name in known},
        preprocessing=TORCHVISION,
    )
    cut = Encoder(of, layers=["conv2_1", "relu1_1"], pool="average", pool_factor=1.0, padding="zeros")
    found, expected = cut(image(5, 24, 24)), whole(image(5, 24, 24))
    for name in ("relu1_1", "conv2_1"):
        assert torch.equal(found[name], expected[name])
    with pytest.raises(KeyError, match="conv2_2"):
        Encoder(of, layers=["relu2_2"], pool="average", pool_factor=1.0, padding="zeros")


def test_layers_come_in_the_order_in_which_they_were_named_each_the_same_as_alone(small_encoder, image):
    names = ("relu3_1", "conv1_1", "pool2", "relu1_1", "conv3_1")
    picture = image(6, 24, 24)
    together = small_encoder(*names)(picture)
    assert tuple(together) == names
    for name in names:
        assert torch.equal(together[name], small_encoder(name)(picture)[name])


def test_nothing_is_rectified_in_place(small_encoder, image):
    picture = image(7, 24, 24)
    before = picture.clone()
    found = small_encoder("conv1_1", "relu1_1", "conv1_2", "relu1_2")(picture)
    assert torch.equal(picture, before)
    for index in ("1_1", "1_2"):
        assert found[f"conv{index}"].min() < -0.1
        assert torch.equal(found[f"conv{index}"].clamp(min=0), found[f"relu{index}"])


def test_the_network_is_frozen_and_the_gradient_reaches_every_pixel(small_encoder, image):
    encoder = small_encoder("relu3_1")
    assert not list(encoder.parameters())
    assert not any(buffer.requires_grad for buffer in encoder.buffers())
    picture = image(8, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(picture)["relu3_1"].square().sum(), picture)
    assert (gradient != 0).all()


@pytest.mark.parametrize("pool", ["average", "max"])
def test_the_gradient_to_the_picture_is_the_numerical_one(small_encoder, image, pool):
    encoder = small_encoder("relu3_2", "conv2_2", pool=pool)
    picture = image(9, 14, 12).requires_grad_()

    def value(images: Tensor) -> Tensor:
        return sum(features.square().sum() for features in encoder(images).values())

    (gradient,) = torch.autograd.grad(value(picture), picture)
    tiny = 1e-6
    for channel, row, column in ((0, 0, 0), (1, 5, 7), (2, 13 - 2, 11), (0, 6, 3)):
        shift = torch.zeros_like(picture)
        shift[0, channel, row, column] = tiny
        with torch.no_grad():
            slope = (value(picture + shift) - value(picture - shift)).item() / (2 * tiny)
        assert gradient[0, channel, row, column].item() == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_the_features_come_in_the_parameters_type_and_halves_are_near_the_exact_ones(small_encoder, image):
    picture = image(10, 32, 32)
    exact = small_encoder("relu4_1")(picture)["relu4_1"]
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)):
        found = small_encoder("relu4_1", dtype=dtype)(picture.float())["relu4_1"]
        assert found.dtype == dtype
        assert (found.double() - exact).abs().max() < bound * exact.abs().max()


def test_all_sixteen_convolutions_are_read_under_their_own_names(theirs, tmp_path):
    file = tmp_path / "vgg19.pth"
    torch.save({f"features.{key}": value for key, value in theirs.state_dict().items()}, file)
    read = parameters.read(file, TORCHVISION)
    convolutions = [module for module in theirs if isinstance(module, nn.Conv2d)]
    for name, module in zip(CONVOLUTIONS, convolutions, strict=True):
        assert torch.equal(read.filters[name], module.weight)
        assert torch.equal(read.biases[name], module.bias)
