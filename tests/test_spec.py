"""Every check of a whole configuration, by the key that it names; and that every option of conf/ passes."""

import pytest

from stylelab.spec import Spec, is_cuda

BIG = 2**70


def test_a_whole_configuration_passes(configuration):
    spec = Spec.from_config(configuration())
    assert spec.layers.style == ("relu1_1", "relu2_1")
    assert spec.weights.beta == 1e4
    assert spec.all_layers == ("relu3_1", "relu1_1", "relu2_1")


def test_every_network_canvas_optimizer_and_store_passes(configuration):
    for changes in (
        {"network": configuration.vgg19},
        {"network": configuration.vgg19 | {"source": "torchvision"}},
        {"network": configuration.vgg19 | {"normalised": True, "means": "means.json"}},
        {"network": {"source": "embedded"}},
        {"optimizer": configuration.adam, "canvas": configuration.noise | {"clamp": True}},
        {"canvas": {"start": "style", "clamp": False}},
        {"tracking": configuration.mlflow},
        {"layers.style": [], "images.style": []},
        {"layers.content": []},
        {"pyramid": {"long_sides": [8, 32], "steps": [2, 3]}},
        {"device": "cuda:1", "precision": {"network": "float16", "float32_finish": 0.2}},
        {"weights.style": [0.0, 2.0], "weights.content": [1.0]},
        {"images.style": ["a.png", "b.png"], "images.style_weights": [1.0, 0.0]},
    ):
        Spec.from_config(configuration(changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images.long_side": 0}, r"^images.long_side: found 0, expected 1 or more"),
        ({"images.style_scale": 0.0}, r"^images.style_scale: found 0.0, expected a number above zero"),
        (
            {"images.style_weights": [1.0, 2.0]},
            r"^images.style_weights has 2 items but images.style has 1: give one weight",
        ),
        ({"images.style_weights": [-1.0]}, r"^images.style_weights: found \[-1.0\], expected numbers of zero or more"),
        (
            {"images.style_size": "stretch", "images.style_scale": 2.0},
            r"^images.style_scale: 2.0 has no effect when .*stretch",
        ),
        (
            {"images.style_size": "original", "images.style_scale": 0.5},
            r"^images.style_scale: 0.5 has no effect .*original",
        ),
        (
            {"images.style_size": "crop"},
            r"^images.style_size: found 'crop', expected area, long_side, stretch or original",
        ),
        ({"images.styles": []}, r"^images.styles: there is no such key; did you mean style\?$"),
        ({"pooling.factor": -1.0}, r"^pooling.factor: found -1.0, expected a number above zero"),
        (
            {"layers.style": ["relu9_1"]},
            r"^layers.style: VGG-19 has no layer relu9_1; it has conv1_1, relu1_1, .*, pool5$",
        ),
        ({"layers.content": ["conv_4"]}, r"^layers.content: VGG-19 has no layer conv_4; it has"),
        ({"layers.style": ["relu1_1", "relu1_1"]}, r"^layers.style: .* names a layer twice: name each once"),
        ({"layers.style": [], "layers.content": []}, r"^layers: both content and style are empty: name at least one"),
        ({"weights.beta": 0.0}, r"^weights.beta: found 0.0, expected a number above zero"),
        ({"weights.alpha_over_beta": -1e-3}, r"^weights.alpha_over_beta: found -0.001, expected a number above zero"),
        (
            {"weights.content": [0.0]},
            r"^weights.content: found \[0.0\], expected numbers of zero or more, not all zero",
        ),
        ({"weights.style": [1.0, -1.0]}, r"^weights.style: found \[1.0, -1.0\], expected numbers of zero or more"),
        ({"weights.style": [1.0]}, r"^weights.style has 1 item but layers.style has 2: give one weight per layer"),
        ({"weights.content": []}, r"^weights.content has 0 items but layers.content has 1: give one weight per layer"),
        ({"weights.variation": -1.0}, r"^weights.variation: found -1.0, expected zero or more"),
        ({"weights.variation": float("inf")}, r"^weights.variation: found inf, expected zero or more"),
        ({"optimizer.steps": 0}, r"^optimizer.steps: found 0, expected 1 or more"),
        ({"optimizer.steps": -5}, r"^optimizer.steps: found -5, expected 1 or more"),
        ({"optimizer.history": 0}, r"^optimizer.history: found 0, expected 1 or more"),
        ({"optimizer.learning_rate": 0.0}, r"^optimizer.learning_rate: found 0.0, expected a number above zero"),
        ({"optimizer.tolerance": 1.0}, r"^optimizer.tolerance: found 1.0, expected 0 or more and less than 1"),
        ({"optimizer.beta1": 0.9}, r"^optimizer.beta1: there is no such key"),
        (
            {"pyramid": {"long_sides": [16, 32], "steps": [3]}},
            r"^pyramid.long_sides has 2 levels but pyramid.steps has 1: give",
        ),
        ({"pyramid": {"long_sides": [], "steps": []}}, r"^pyramid.long_sides: found no level, expected at least one"),
        ({"pyramid": {"long_sides": [16, 32], "steps": [3, 0]}}, r"^pyramid.steps\[1\]: found 0, expected 1 or more"),
        (
            {"pyramid": {"long_sides": [0, 32], "steps": [3, 3]}},
            r"^pyramid.long_sides\[0\]: found 0, expected 1 or more",
        ),
        ({"pyramid": {"long_sides": [32, 32], "steps": [3, 3]}}, r"^pyramid.long_sides: \[32, 32\] must grow"),
        (
            {"pyramid": {"long_sides": [16], "steps": [3]}},
            r"^pyramid.long_sides: ends at 16, but images.long_side is 32",
        ),
        (
            {"precision.float32_finish": 1.0},
            r"^precision.float32_finish: found 1.0, expected 0 or more and less than 1",
        ),
        (
            {"precision.float32_finish": 0.2},
            r"^precision.float32_finish: has no effect when precision.network is float32",
        ),
        ({"precision.network": "float16"}, r"^precision.network: float16 needs a GPU, but device is cpu: use bfloat16"),
        ({"tracking.pictures_every": -1}, r"^tracking.pictures_every: found -1, expected 0 or more"),
        (
            {"tracking": {"store": "wandb", "pictures_every": 1}},
            r"^tracking.store: found 'wandb', expected mlflow or off",
        ),
        ({"threads": 0}, r"^threads: found 0, expected 1 or more"),
        ({"device": "gpu"}, r"^device: found gpu, expected auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:first"}, r"^device: found cuda:first, expected auto"),
        ({"checkpoint_seconds": 0.0}, r"^checkpoint_seconds: found 0.0, expected a number above zero"),
        ({"determinism": "some"}, r"^determinism: found 'some', expected strict, default or fast"),
        (
            {"network": {"source": "vgg"}},
            r"^network.source: found 'vgg', expected caffe, torchvision, random or embedded",
        ),
        ({"network.padding": "none"}, r"^network.padding: found 'none', expected zeros, replicate or reflect"),
        ({"seed": BIG}, r"^seed: found \d+, expected"),
        ({"network.seed": -BIG}, r"^network.seed: found -\d+, expected"),
        ({"seed": "0"}, r"^seed: found '0', expected a whole number"),
        (
            {"images.style": []},
            r"^images.style: no picture, but layers.style names layers: give a picture, or layers.style=\[\]",
        ),
        (
            {"layers.style": []},
            r"^images.style: 1 picture without effect, because layers.style is empty: set images.style=\[\]",
        ),
        (
            {"layers.style": [], "images.style": [], "canvas": {"start": "style", "clamp": False}},
            r"^canvas.start: style, but images.style has no picture: give one",
        ),
        ({"canvas.clamp": True}, r"^canvas.clamp: L-BFGS infers curvature .* use optimizer=adam, or clamp=false"),
    ],
)
def test_each_mistake_is_refused_by_its_key(configuration, changes, message):
    with pytest.raises(ValueError, match=message):
        Spec.from_config(configuration(changes))


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        ("noise", {"deviation": 0.0}, r"^canvas.deviation: found 0.0, expected a number above zero"),
        (
            "noise",
            {"mean": [0.5, 0.5]},
            r"^canvas.mean: found \[0.5, 0.5\], expected three numbers: red, green and blue",
        ),
        ("noise", {"mean": [0.5, float("nan"), 0.5]}, r"^canvas.mean: found .*nan.*, expected"),
        ("noise", {"distribution": "cauchy"}, r"^canvas.distribution: found 'cauchy', expected normal or uniform"),
        ("adam", {"beta1": 1.0}, r"^optimizer.beta1: found 1.0, expected 0 or more and less than 1"),
        ("adam", {"beta2": -0.1}, r"^optimizer.beta2: found -0.1, expected 0 or more and less than 1"),
        ("adam", {"steps": 0}, r"^optimizer.steps: found 0, expected 1 or more"),
        ("adam", {"learning_rate": -0.02}, r"^optimizer.learning_rate: found -0.02, expected a number above zero"),
        ("adam", {"tolerance": 1.5}, r"^optimizer.tolerance: found 1.5, expected 0 or more and less than 1"),
        ("adam", {"history": 5}, r"^optimizer.history: there is no such key"),
        ("vgg19", {"means": "means.json"}, r"^network.means: has no effect unless network.normalised is true"),
        ("vgg19", {"seed": 1}, r"^network.seed: there is no such key"),
    ],
)
def test_each_mistake_in_another_option_of_a_group_is_refused_by_its_key(configuration, group, changes, message):
    key = {"noise": "canvas", "adam": "optimizer", "vgg19": "network"}[group]
    with pytest.raises(ValueError, match=message):
        Spec.from_config(configuration({key: getattr(configuration, group) | changes}))


def test_mlflow_is_refused_a_negative_interval(configuration):
    store = configuration.mlflow | {"pictures_every": -2}
    with pytest.raises(ValueError, match=r"^tracking.pictures_every: found -2, expected 0 or more"):
        Spec.from_config(configuration({"tracking": store}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layers.content": ["conv4_2"]},
            r"^layers.content: the embedded network has no layer conv4_2; it has relu1_1, ",
        ),
        ({"layers.style": ["pool1"]}, r"^layers.style: the embedded network has no layer pool1; it has"),
        ({"pooling.kind": "max"}, r"^pooling: the embedded network was distilled .* use pooling=average"),
        ({"pooling.factor": 2.0}, r"^pooling: the embedded network was distilled"),
    ],
)
def test_the_embedded_network_is_refused_what_it_has_not(configuration, changes, message):
    with pytest.raises(ValueError, match=message):
        Spec.from_config(configuration({"network": {"source": "embedded"}} | changes))


def test_a_picture_needs_the_stride_of_the_deepest_layer_and_twice_that_to_be_reflected(configuration):
    deep = {"layers.content": ["relu5_1"], "layers.style": ["pool2"]}
    assert Spec.from_config(configuration(deep)).smallest_side == 16
    assert Spec.from_config(configuration(deep | {"network.padding": "reflect"})).smallest_side == 32
    assert Spec.from_config(configuration({"layers.content": ["pool5"]})).smallest_side == 32


def test_a_gpu_is_called_cuda_or_cuda_with_a_number():
    assert [is_cuda(name) for name in ("cuda", "cuda:0", "cuda:12", "cuda:", "cuda:x", "cpu", "cud")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip
