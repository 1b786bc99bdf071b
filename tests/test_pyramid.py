"""The levels of a run: the size of every picture at each, and pictures too small for the deepest layer."""

import pytest

from stylelab.pyramid import Level, levels
from stylelab.spec import Spec

COARSE_TO_FINE = {"images.long_side": 128, "pyramid": {"long_sides": [32, 64, 128], "steps": [5, 6, 7]}}


def test_every_level_keeps_the_contents_aspect_and_has_its_own_steps(configuration):
    found = levels(Spec.from_config(configuration(COARSE_TO_FINE)), content=(800, 600), styles=[(100, 100)])
    assert [(level.number, level.canvas, level.steps) for level in found] == [
        (0, (32, 24), 5),
        (1, (64, 48), 6),
        (2, (128, 96), 7),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images.style_size": "area"}, (128, 96)),  # 128 * 96 pixels in the shape of 4 : 3
        ({"images.style_size": "area", "images.style_scale": 0.5}, (64, 48)),
        ({"images.style_size": "long_side"}, (128, 96)),
        ({"images.style_size": "long_side", "images.style_scale": 2.0}, (256, 192)),
        ({"images.style_size": "stretch"}, (96, 128)),  # the canvas's own shape
        ({"images.style_size": "original"}, (400, 300)),
    ],
)
def test_a_style_pictures_size_follows_the_configuration(configuration, changes, expected):
    spec = Spec.from_config(
        configuration({"images.long_side": 128, "pyramid": {"long_sides": [128], "steps": [1]}} | changes)
    )
    (level,) = levels(spec, content=(600, 800), styles=[(400, 300)])
    assert level == Level(0, (96, 128), (expected,), 1)


def test_area_keeps_the_aspect_of_a_style_of_another_shape(configuration):
    spec = Spec.from_config(configuration({"images.long_side": 100, "pyramid": {"long_sides": [100], "steps": [1]}}))
    (level,) = levels(spec, content=(100, 100), styles=[(400, 100)])
    assert level.styles == ((200, 50),)


def test_an_original_style_keeps_its_proportion_to_the_canvas_at_coarser_levels(configuration):
    spec = Spec.from_config(configuration(COARSE_TO_FINE | {"images.style_size": "original"}))
    found = levels(spec, content=(128, 128), styles=[(400, 200)])
    assert [level.styles[0] for level in found] == [(100, 50), (200, 100), (400, 200)]


def test_several_styles_have_their_own_sizes(configuration):
    changes = {"images.style": ["a.png", "b.png"], "images.style_size": "long_side"}
    found = levels(Spec.from_config(configuration(changes)), content=(64, 64), styles=[(300, 600), (90, 30)])
    assert found[0].styles == ((16, 32), (32, 11))


def test_a_content_too_small_for_the_deepest_layer_is_refused_with_the_least_size(configuration):
    spec = Spec.from_config(configuration({"layers.content": ["relu5_1"]}))
    assert levels(spec, content=(64, 32), styles=[(64, 64)])[0].canvas == (32, 16)
    message = (
        r"^images.content \(content.png\): 32 x 15 pixels at level 0 is too small: relu5_1 needs at least 16 on each "
        r"side: raise images.long_side, or leave out the deepest layers$"
    )
    with pytest.raises(ValueError, match=message):
        levels(spec, content=(640, 300), styles=[(64, 64)])


def test_a_style_too_small_at_a_coarse_level_is_refused(configuration):
    coarse = {"images.style_size": "long_side", "pyramid": {"long_sides": [16, 32], "steps": [1, 1]}}
    spec = Spec.from_config(configuration(coarse | {"layers.style": ["relu4_1"]}))
    with pytest.raises(
        ValueError, match=r"^images.style \(style.png\): 16 x 4 pixels at level 0 is too small: relu4_1 needs"
    ):
        levels(spec, content=(64, 64), styles=[(400, 100)])


def test_the_least_size_is_one_that_every_padding_can_paint(configuration, image, small_encoder):
    """What pyramid.py lets through, the network takes; reflection needs two positions."""
    for padding in ("zeros", "replicate", "reflect"):
        spec = Spec.from_config(configuration({"layers.content": ["relu4_2"], "network.padding": padding}))
        least = spec.smallest_side
        found = small_encoder("relu4_2", padding=padding)(image(1, least, least))["relu4_2"]
        assert found.isfinite().all() and found.numel() > 0
