"""The pitfalls of other programs that method.md 3.4 lists, each by its number in the test's docstring.

Number 7 does not concern us: nothing here normalises the gradients of single layers, and no option says so.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylelab import images, job, losses, networks, parameter_files, runner, transfer
from stylelab.composition import composed
from stylelab.configuration import plain
from stylelab.objective import CONVENTIONS, Objective, Weighting
from stylelab.pyramid import levels
from stylelab.spec import Spec
from stylelab.vgg import CAFFE, TORCHVISION, Encoder


def weighting(**changes: object) -> Weighting:
    of = Weighting(
        convention=CONVENTIONS["authors_code"],
        alpha=1.0,
        beta=1.0,
        content={},
        style={},
        variation=0.0,
        variation_norm="squared",
    )
    return replace(of, **changes)


@pytest.fixture(scope="module")
def painted(configuration, picture, tmp_path_factory) -> Callable[[str], tuple[job.Job, Path]]:
    """painted("first"): a run of two steps through the runner, its folder; painted once under each name."""
    runs = {}

    def run(name: str) -> tuple[job.Job, Path]:
        if name not in runs:
            folder = tmp_path_factory.mktemp(name)
            paths = [folder / "content.png", folder / "style.png"]
            for seed, path in enumerate(paths):
                picture(1 + seed, 40, 32).save(path)
            changes = {
                "images.content": str(paths[0]),
                "images.style": [str(paths[1])],
                "canvas": configuration.noise,
                "optimizer.steps": 2,
                "pyramid.steps": [2],
                "weights.variation": 3.0,
                "reference.cache": str(folder / "no_parameters"),
                "outputs": str(folder / "outputs"),
            }
            prepared = job.prepare(configuration(changes))
            runner.run(prepared, hydra_record={})
            torch.set_num_threads(1)
            runs[name] = prepared, prepared.folder
        return runs[name]

    return run


def last_step(of: job.Job) -> transfer.Step:
    """The same run painted again, without the runner."""
    network = networks.encoder(of.spec.network, pooling=of.spec.pooling, layers=of.spec.all_layers, files=of.files)
    device = torch.device("cpu")
    return list(transfer.transfer(of.spec, network, content=of.content, styles=of.styles, device=device))[-1]


def test_a_convolution_before_its_rectifier_is_a_content_layer_of_its_own(small_encoder, image):
    """1: in-place rectifiers turn convX_Y into reluX_Y, in the canvas's features or, in silence, in the target."""
    found = {}
    for layer in ("conv2_2", "relu2_2"):
        encoder = small_encoder("conv2_2", "relu2_2")
        objective = Objective(encoder, weighting=weighting(content={layer: 1.0}), content=image(1, 20, 20), styles=[])
        assert (objective.features[layer].min() < 0) == (layer == "conv2_2")
        assert objective.evaluate(image(1, 20, 20))[0].total == 0
        found[layer] = objective.evaluate(image(2, 20, 20))
    assert found["conv2_2"][0].total > 1.2 * found["relu2_2"][0].total
    assert not torch.allclose(found["conv2_2"][1], found["relu2_2"][1], rtol=0.1)


@pytest.mark.parametrize("name", ["conv4", "relu4_5", "relu_4_2", "4", "pool6", "Relu4_2", ""])
def test_a_layer_that_the_network_has_not_is_refused(configuration, name):
    """2: ignored names end in a run without that loss, and a loss of zero looks like a great run."""
    for key in ("layers.content", "layers.style"):
        with pytest.raises(ValueError, match=rf"^{key}: VGG-19 has no layer {name}; it has"):
            Spec.from_config(configuration({key: [name, "relu1_1"]}))


def test_the_order_of_the_layers_does_not_matter(small_encoder, image):
    """2: neural-style takes the layers in the network's order and drops the rest."""
    names = ("relu3_1", "relu1_1", "relu2_1")
    found = []
    for order in (names, names[::-1]):
        of = weighting(style=dict.fromkeys(order, 1.0))
        objective = Objective(
            small_encoder(*order), weighting=of, content=image(1, 20, 20), styles=[(1.0, image(2, 20, 20))]
        )
        found.append(
            dict(zip((t.layer for t in objective.terms), objective.evaluate(image(3, 20, 20))[0].values(), strict=True))
        )
    assert found[0] == found[1] and all(value > 0 for value in found[0].values())


def test_the_default_layers_are_the_papers():
    """3: the PyTorch tutorial takes the first five convolutions, and conv2_2 for the content."""
    layers = plain(composed([]))["layers"]
    assert layers == {"content": ["relu4_2"], "style": ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]}


def test_clamping_with_lbfgs_is_refused_with_the_reason(configuration):
    """4: clamping moves the canvas behind the back of L-BFGS and its loss explodes."""
    for canvas in ({"start": "content"}, {"start": "style"}, configuration.noise):
        with pytest.raises(ValueError, match=r"^canvas.clamp: L-BFGS infers curvature .*: use optimizer=adam"):
            Spec.from_config(configuration({"canvas": canvas | {"clamp": True}}))
        Spec.from_config(configuration({"canvas": canvas | {"clamp": True}, "optimizer": configuration.adam}))


def test_the_last_losses_are_those_of_the_saved_canvas(painted):
    """5: torch's L-BFGS reports the loss before its step, so a log of the final loss is one step late."""
    prepared, folder = painted("first")
    step = last_step(prepared)
    of_canvas = step.objective.evaluate(step.canvas)[0].total
    rows = list(csv.DictReader((folder / "losses.csv").open()))
    assert float(rows[-1]["total"]) == of_canvas
    assert [int(row["step"]) for row in rows] == [0, 1, 2]  # a step is one evaluation


def test_the_last_picture_is_saved_whatever_the_interval(painted):
    """6: a picture that is written where a counter matches may never be; here the counter never does."""
    prepared, folder = painted("first")
    assert prepared.spec.tracking.pictures_every == 0
    assert (folder / "pastiche.png").is_file()
    assert json.loads((folder / "run.json").read_text())["status"] == "FINISHED"


def test_pools_are_the_papers_unless_the_configuration_says_otherwise(small_parameters, image):
    """8: some programs multiply average pools by 2; the papers do not."""
    assert plain(composed([]))["pooling"] == {"kind": "average", "factor": 1.0}
    assert plain(composed(["pooling=average_rescaled"]))["pooling"] == {"kind": "average", "factor": 2.0}
    of = small_parameters()
    silent = replace(of, biases={name: torch.zeros_like(bias) for name, bias in of.biases.items()})
    plainly, rescaled = (
        Encoder(silent, layers=["pool1", "pool3"], pool="average", pool_factor=factor, padding="zeros")(
            image(1, 32, 32)
        )
        for factor in (1.0, 2.0)
    )
    assert torch.allclose(rescaled["pool1"], 2 * plainly["pool1"], rtol=1e-12)
    assert torch.allclose(rescaled["pool3"], 8 * plainly["pool3"], rtol=1e-12)


def test_replicated_borders_answer_as_the_middle_does_and_zeros_do_not(small_encoder):
    """9: zeros around every convolution's input darken the borders."""
    flat = torch.full((1, 3, 32, 32), 0.8, dtype=torch.float64)
    spread = {}
    for padding in ("zeros", "replicate", "reflect"):
        found = small_encoder("conv3_1", padding=padding)(flat)["conv3_1"]
        spread[padding] = (found - found[..., 4:5, 4:5]).abs().max().item()
    assert spread["zeros"] > 0.1
    assert spread["replicate"] < 1e-12 and spread["reflect"] < 1e-12


def test_preprocessing_is_bound_to_the_parameters_and_has_no_key_of_its_own(configuration):
    """10: torchvision's parameters fed with 0 to 255 answer 57 times too strongly."""
    assert networks.PREPROCESSING == {"caffe": CAFFE, "torchvision": TORCHVISION}
    for key in ("preprocessing", "mean", "scale"):
        with pytest.raises(ValueError, match=rf"^network.{key}: there is no such key"):
            Spec.from_config(configuration({"network": configuration.vgg19 | {key: 255}}))
    caffe = plain(composed(["network=vgg19_caffe"]))["network"]
    torchvision = plain(composed(["network=vgg19_torchvision"]))["network"]
    for network in (caffe, torchvision):
        known = job.KNOWN[parameter_files.hash_in_name(Path(network["url"]).name)]
        assert known == network["source"]


def test_the_style_picture_keeps_its_aspect_by_default(configuration):
    """11: stretched to the content's shape, round strokes become oval ones."""
    default = plain(composed([]))["images"]
    assert (default["style_size"], default["style_scale"]) == ("area", 1.0)
    spec = Spec.from_config(configuration({"images.long_side": 100, "pyramid": {"long_sides": [100], "steps": [1]}}))
    (level,) = levels(spec, content=(400, 300), styles=[(200, 800)])
    width, height = level.styles[0]
    assert height / width == pytest.approx(4, rel=0.03)
    assert width * height == pytest.approx(100 * 75, rel=0.03)


def test_relu4_2_has_its_bias_and_its_rectifier(small_parameters, image):
    """12: neural-style-tf's "conv4_2" has neither."""
    of = small_parameters()
    raised = of.biases["conv4_2"].clone()
    raised[2] += 100
    raised[3] -= 100
    names = ("conv4_1", "relu4_1", "conv4_2", "relu4_2")
    found = [
        Encoder(replace(of, biases=of.biases | change), layers=names, pool="average", pool_factor=1.0, padding="zeros")
        for change in ({}, {"conv4_2": raised})
    ]
    before, after = (encoder(image(1, 32, 32)) for encoder in found)
    assert torch.allclose(after["relu4_2"][:, 2], before["conv4_2"][:, 2] + 100)
    assert (after["relu4_2"][:, 3] == 0).all() and (before["relu4_2"] >= 0).all()


def test_the_convention_that_was_asked_for_is_the_one_that_is_used(configuration, small_encoder, picture):
    """13: pystiche_papers takes its losses from another convention's settings, and leaves anomaly detection on."""
    totals = {}
    for convention in CONVENTIONS:
        spec = Spec.from_config(configuration({"weights.convention": convention, "canvas": configuration.noise}))
        network = small_encoder(*spec.all_layers, dtype=torch.float32)
        steps = transfer.transfer(
            spec, network, content=picture(1, 32, 24), styles=[picture(2, 32, 24)], device=torch.device("cpu")
        )
        first = next(steps)
        totals[convention] = first.losses.summed()
        assert first.objective.weighting.convention is CONVENTIONS[convention]
    assert totals["authors_code"]["style"] == pytest.approx(4 * totals["paper"]["style"], rel=1e-5)
    assert totals["johnson"]["content"] == pytest.approx(totals["authors_code"]["content"], rel=1e-6)
    assert totals["johnson"]["style"] < totals["authors_code"]["style"] / 25
    assert not torch.is_anomaly_enabled()


def test_the_layers_weights_are_normalised_once(configuration):
    """14: neural-style-tf makes the weights sum to one and then divides by the number of layers."""
    found = transfer.weighting(Spec.from_config(configuration({"layers.style": ["relu1_1", "relu2_1", "relu3_1"]})))
    assert sum(found.style.values()) == pytest.approx(1) and set(found.style.values()) == {1 / 3}
    given = transfer.weighting(Spec.from_config(configuration({"weights.style": [3.0, 5.0]})))
    assert given.style == {"relu1_1": 3.0, "relu2_1": 5.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gram_matrices_of_halves_do_not_overflow(dtype):
    """15: sums of squares of activations leave float16's range, and the loss is no number."""
    features = torch.full((1, 2, 64, 64), 1000.0, dtype=dtype)
    assert (features.flatten(2) @ features.flatten(2).transpose(1, 2)).isinf().any() == (dtype == torch.float16)
    assert losses.gram_matrix(features).unique().tolist() == [1e6]


def test_the_saved_picture_is_the_last_canvas(painted):
    """16: others save the canvas of the lowest loss, or an average of canvases."""
    prepared, folder = painted("first")
    expected = last_step(prepared).canvas[0].permute(1, 2, 0).double().numpy()
    saved = np.asarray(Image.open(folder / "pastiche.png"))
    assert np.array_equal(saved, np.round(np.clip(expected, 0, 1) * 255).astype(np.uint8))


def test_the_logged_total_is_the_sum_of_all_weighted_terms(painted):
    """17: neural-style's total leaves the total variation out that it optimises."""
    _, folder = painted("first")
    for row in csv.DictReader((folder / "losses.csv").open()):
        weighted = {name: float(value) for name, value in row.items() if name.endswith("/weighted")}
        assert float(row["total"]) == pytest.approx(sum(weighted.values()), rel=1e-6)
        assert weighted["variation/weighted"] == pytest.approx(3.0 * float(row["variation/unweighted"]), rel=1e-6)
        assert weighted["variation/weighted"] > 0
        assert float(row["variation"]) == pytest.approx(weighted["variation/weighted"])


def test_the_same_configuration_gives_the_same_bytes_twice(painted):
    """18: a seed is not enough where noise is drawn by the device."""
    first, second = painted("first")[1], painted("second")[1]
    assert first != second
    for name in ("pastiche.png", "losses.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_the_noise_is_drawn_on_the_cpu_by_a_generator_of_its_own(painted):
    """18."""
    prepared, _ = painted("first")
    torch.manual_seed(99)
    untouched = torch.get_rng_state()
    last_step(prepared)
    assert torch.equal(torch.get_rng_state(), untouched)


def test_averaged_gram_matrices_differ_from_summed_losses_by_a_constant(small_encoder, image):
    """19: so their gradients are the same, and the losses' difference is the styles' own spread."""
    of = weighting(style={"relu2_1": 1.0})
    styles = [(0.3, image(2, 20, 20)), (0.7, image(3, 20, 20))]
    encoder, content = small_encoder("relu2_1"), image(1, 20, 20)
    averaged = Objective(encoder, weighting=of, content=content, styles=styles)
    single = [(share, Objective(encoder, weighting=of, content=content, styles=[(1.0, s)])) for share, s in styles]
    constants = []
    for seed in (4, 5):
        canvas = image(seed, 20, 20)
        apart = [(share, objective.evaluate(canvas)) for share, objective in single]
        together = averaged.evaluate(canvas)
        assert torch.allclose(
            together[1], sum(share * gradient for share, (_, gradient) in apart), rtol=1e-9, atol=1e-16
        )
        constants.append(sum(share * found.total for share, (found, _) in apart) - together[0].total)
    assert constants[0] == pytest.approx(constants[1], rel=1e-6)
    assert constants[0] > 0


def test_a_dead_address_ends_in_a_line_that_says_which_file_to_put_where(tmp_path):
    """20: every address that parameters were ever served from has died before."""
    url = "http://127.0.0.1:9/vgg19-0123abcd.pth"  # nothing listens there
    message = rf"^could not fetch {url} \(.*\): put the file at {tmp_path}/vgg19-0123abcd.pth by hand, or use network="
    with pytest.raises(ValueError, match=message):
        parameter_files.fetch(url, sha256=None, cache=tmp_path)


def test_a_file_given_by_path_needs_no_address(configuration, tmp_path):
    """20."""
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"anything")
    network = configuration.vgg19 | {"path": str(file), "url": "http://127.0.0.1:9/vgg19-0123abcd.pth"}
    assert job.network_files(Spec.from_config(configuration({"network": network}))) == {"parameters": file}


def test_the_batch_of_a_gram_matrix_is_not_summed_over():
    """Two pictures at once keep a loss each: a sum over the first axis would mix runs."""
    features = torch.stack([torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 3.0)])
    assert losses.gram_matrix(features).flatten(1).unique(dim=1).tolist() == [[1.0], [9.0]]


def test_pictures_are_clipped_when_they_are_saved_and_only_then():
    """4: without clamping the canvas leaves [0, 1]; the picture is rounded, not wrapped round."""
    canvas = torch.tensor([-0.3, 0.0, 0.5, 1.0, 1.7]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert np.asarray(images.to_picture(canvas))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
