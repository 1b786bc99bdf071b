"""The reference evaluator against distances worked out in float64, and whose name it goes by."""

import numpy as np
import pytest
import torch
from PIL import Image

from stylelab import parameters, reference
from stylelab.pyramid import Level
from stylelab.vgg import CAFFE, Encoder

LAYERS = (*reference.STYLE_LAYERS, reference.CONTENT_LAYER)


@pytest.fixture
def network(small_encoder) -> Encoder:
    return small_encoder(*LAYERS, dtype=torch.float32)


def level(*styles: tuple[int, int], canvas: tuple[int, int] = (48, 40)) -> Level:
    return Level(0, canvas, styles, 1)


def features(network: Encoder, picture: Image.Image, size: tuple[int, int]) -> dict[str, np.ndarray]:
    scaled = picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
    rows = torch.from_numpy(np.asarray(scaled).copy()).permute(2, 0, 1)[None].float() / 255
    return {layer: f[0].flatten(1).double().numpy() for layer, f in network(rows).items()}


def test_the_distances_are_relative_squared_ones_of_features_and_gram_matrices(network, picture):
    pastiche, content = picture(1, 48, 40), picture(2, 96, 80)
    styles = [(0.25, picture(3, 50, 60)), (0.75, picture(4, 64, 32))]
    sizes = ((40, 48), (62, 31))
    found = reference.judge(network, pastiche=pastiche, content=content, styles=styles, level=level(*sizes))
    painted, kept = features(network, pastiche, (48, 40)), features(network, content, (48, 40))
    wanted = [(share, features(network, style, size)) for (share, style), size in zip(styles, sizes, strict=True)]
    expected = {"content": ((painted["relu4_2"] - kept["relu4_2"]) ** 2).sum() / (kept["relu4_2"] ** 2).sum()}
    for layer in reference.STYLE_LAYERS:
        gram = painted[layer] @ painted[layer].T / painted[layer].shape[1]
        target = sum(share * f[layer] @ f[layer].T / f[layer].shape[1] for share, f in wanted)
        expected[f"style/{layer}"] = ((gram - target) ** 2).sum() / (target**2).sum()
    expected["style"] = np.mean([expected[f"style/{layer}"] for layer in reference.STYLE_LAYERS])
    assert found == pytest.approx(expected, rel=1e-4)
    assert found["content"] > 0.01 and found["style"] > 0.01


def test_the_content_itself_is_at_no_distance_from_the_content_and_the_style_from_the_style(network, picture):
    one, other = picture(1, 48, 40), picture(2, 48, 40)
    found = reference.judge(network, pastiche=one, content=one, styles=[(1.0, other)], level=level((48, 40)))
    assert found["content"] == 0 and found["style"] > 0.01
    found = reference.judge(network, pastiche=one, content=other, styles=[(1.0, one)], level=level((48, 40)))
    assert found["content"] > 0.01 and found["style"] < 1e-10


def test_without_a_style_there_is_no_style_distance_and_without_enough_pixels_none_at_all(network, picture):
    found = reference.judge(network, pastiche=picture(1, 48, 40), content=picture(2, 48, 40), styles=[], level=level())
    assert list(found) == ["content"]
    tiny = level(canvas=(48, 15))
    assert (
        reference.judge(network, pastiche=picture(1, 48, 15), content=picture(2, 48, 15), styles=[], level=tiny) == {}
    )


def test_the_ruler_is_caffes_network_with_average_pools_whatever_the_run_used(caffe_file, image):
    name, network = reference.ruler(caffe_file)
    assert name == "reference"
    expected = Encoder(
        parameters.read(caffe_file, CAFFE), layers=LAYERS, pool="average", pool_factor=1.0, padding="zeros"
    )(image(1, 32, 32).float())
    found = network(image(1, 32, 32).float())
    for layer in LAYERS:
        assert torch.equal(found[layer], expected[layer])


def test_without_caffes_parameters_the_ruler_goes_by_another_name():
    name, network = reference.ruler(None)
    assert name == "embedded_reference"
    assert set(network.layers) == set(LAYERS)


def test_the_relative_distance_of_two_vectors_on_the_page():
    assert reference.relative(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])) == 25 / 16
