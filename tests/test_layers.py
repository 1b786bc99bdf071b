"""VGG-19's layers by name: table 1, column E of Simonyan & Zisserman (2014)."""

import pytest
import torch

from stylelab import embedded, layers
from stylelab.vgg import Encoder


def test_the_convolutions_are_table_1_column_e():
    expected = "1_1 1_2 2_1 2_2 3_1 3_2 3_3 3_4 4_1 4_2 4_3 4_4 5_1 5_2 5_3 5_4"
    assert " ".join(name.removeprefix("conv") for name in layers.CONVOLUTIONS) == expected


def test_every_convolution_is_followed_by_its_rectifier_and_every_block_by_its_pool():
    assert layers.LAYERS[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    assert layers.LAYERS[-3:] == ("conv5_4", "relu5_4", "pool5")
    assert len(layers.LAYERS) == 16 + 16 + 5
    assert len(set(layers.LAYERS)) == len(layers.LAYERS)


@pytest.mark.parametrize(
    ("layer", "block", "channels", "stride"),
    [
        ("conv1_1", 1, 64, 1), ("relu1_2", 1, 64, 1), ("pool1", 1, 64, 2), ("conv2_2", 2, 128, 2),
        ("pool2", 2, 128, 4), ("relu3_4", 3, 256, 4), ("pool3", 3, 256, 8), ("relu4_2", 4, 512, 8),
        ("pool4", 4, 512, 16), ("relu5_1", 5, 512, 16), ("pool5", 5, 512, 32),
    ],
)  # fmt: skip
def test_a_layers_block_channels_and_stride_are_those_of_the_paper(layer, block, channels, stride):
    assert (layers.block(layer), layers.channels(layer), layers.stride(layer)) == (block, channels, stride)


def test_a_picture_of_exactly_the_stride_gives_one_position_and_one_pixel_less_gives_none(small_encoder):
    for name in ("relu3_1", "pool3", "relu5_4", "pool5"):
        least = layers.stride(name)
        encoder: Encoder = small_encoder(name)
        assert encoder(torch.rand(1, 3, least, 2 * least).double())[name].shape[2:] == (1, 2)
        with pytest.raises(RuntimeError, match="size"):
            encoder(torch.rand(1, 3, least - 1, least).double())


def test_the_deepest_layer_does_not_depend_on_the_order_of_the_names():
    assert layers.deepest(("relu5_1", "pool1", "conv4_2")) == "relu5_1"
    assert layers.deepest(("relu4_2", "conv4_2")) == "relu4_2"
    assert layers.deepest(("pool3", "relu3_4")) == "pool3"


def test_the_embedded_networks_layers_are_the_same_in_both_places():
    assert layers.EMBEDDED_LAYERS == embedded.LAYERS
