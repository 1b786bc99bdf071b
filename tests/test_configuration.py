"""conf/: every option of every group is a valid run, and every file says what its values mean."""

import re

import pytest
from omegaconf import OmegaConf

from stylelab.composition import composed
from stylelab.configuration import CONF, plain
from stylelab.layers import CONVOLUTIONS, EMBEDDED_LAYERS
from stylelab.spec import Spec

NO_RECORDS = ("experiment", "size", "hydra")  # they set values of several groups, or are Hydra's own
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in NO_RECORDS)
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
NEEDED_BESIDE = {  # what an option asks of other groups
    ("layers", "style_to_relu1_1"): [],
    ("precision", "float16"): ["device=cuda"],
    ("weights", "authors_code_2017"): ["network=vgg19_caffe"],
}


def spec_of(*overrides: str) -> Spec:
    return Spec.from_config(plain(composed(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: str(value))
def test_every_option_of_every_group_is_a_valid_spec(group: str, option: str) -> None:
    spec = spec_of(f"{group}={option}", *NEEDED_BESIDE.get((group, option), []))
    chosen = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option}.yaml"))
    for key, value in chosen.items():
        if key != "defaults" and "${" not in str(value):
            held = getattr(getattr(spec, group), key)
            assert (list(held) if isinstance(held, tuple) else held) == value


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_is_a_valid_spec_and_opens_with_its_question(file) -> None:
    spec_of(f"experiment={file.stem}")
    first, second = file.read_text().splitlines()[:2]
    assert first == "# @package _global_"
    assert re.match(r"# Question: .+\?", second)


def test_every_group_offers_a_choice() -> None:
    for group in GROUPS:
        assert len([name for of, name in OPTIONS if of == group]) >= 2, group


def test_the_defaults_are_the_ones_that_the_design_promises() -> None:
    spec = spec_of()
    assert (spec.network.source, spec.network.normalised) == ("caffe", True)
    assert (spec.pooling.kind, spec.pooling.factor) == ("average", 1.0)
    assert spec.layers.content == ("relu4_2",)
    assert spec.layers.style == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert (spec.weights.convention, spec.weights.alpha_over_beta) == ("authors_code", 1e-3)
    assert (spec.optimizer.kind, spec.canvas.start) == ("lbfgs", "content")
    assert (spec.pyramid.long_sides, spec.precision.network) == ((512,), "float32")


def test_coarse_to_fine_halves_the_size_twice() -> None:
    spec = spec_of("pyramid=coarse_to_fine", "images.long_side=256", "optimizer.steps=7")
    assert spec.pyramid.long_sides == (64, 128, 256)
    assert spec.pyramid.steps == (7, 7, 7)


def test_the_embedded_networks_layers_are_vgg19s() -> None:
    from stylelab.embedded import LAYERS

    assert LAYERS == EMBEDDED_LAYERS
    assert {name.replace("relu", "conv") for name in EMBEDDED_LAYERS} <= set(CONVOLUTIONS)


def test_every_key_has_its_unit_range_or_source_beside_it() -> None:
    for group in GROUPS:
        lines = [line for file in (CONF / group).glob("*.yaml") for line in file.read_text().splitlines()]
        keys = {match.group(1) for line in lines if (match := re.match(r"(\w+):", line))} - {"defaults"}
        explained = {match.group(1) for line in lines if (match := re.match(r"(\w+):.*\s# \w", line))}
        assert keys - explained == set(), group
    ours = (CONF / "config.yaml").read_text().partition("\nseed:")[2].partition("\nhydra:")[0]
    for line in ours.splitlines():
        assert "#" in line or ":" not in line, line
