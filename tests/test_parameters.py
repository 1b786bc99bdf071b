"""VGG-19's parameters: files read whole or refused, filters rescaled to mean activation one, the random control."""

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylelab import images, parameters, pictures
from stylelab.job import CAFFE_MEANS
from stylelab.layers import CONVOLUTIONS
from stylelab.vgg import CAFFE, Encoder, Parameters

RECTIFIED = [name.replace("conv", "relu") for name in CONVOLUTIONS]


@pytest.fixture(scope="module")
def biased() -> Parameters:
    """Random VGG-19 with biases, as a trained network has them."""
    found = parameters.random(seed=3, pool="average")
    generator = torch.Generator().manual_seed(4)
    return replace(found, biases={name: torch.rand(len(b), generator=generator) for name, b in found.biases.items()})


def as_file(of: Parameters, path: Path, dtype: torch.dtype = torch.float32) -> Path:
    tensors = {}
    for name, number in parameters.FILE_KEYS.items():
        tensors[f"features.{number}.weight"] = of.filters[name].to(dtype)
        tensors[f"features.{number}.bias"] = of.biases[name].to(dtype)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors | {"classifier.0.weight": torch.ones(3, 3)}, path)
    return path


@pytest.mark.parametrize("name", ["parameters.pth", "parameters.safetensors"])
def test_a_file_gives_back_what_was_written(biased, tmp_path, name):
    found = parameters.read(as_file(biased, tmp_path / name), CAFFE)
    assert found.preprocessing is CAFFE
    for layer in CONVOLUTIONS:
        assert torch.equal(found.filters[layer], biased.filters[layer])
        assert torch.equal(found.biases[layer], biased.biases[layer])


def test_a_file_of_halves_is_computed_with_in_float32(biased, tmp_path):
    found = parameters.read(as_file(biased, tmp_path / "halves.safetensors", torch.float16), CAFFE)
    for layer in CONVOLUTIONS:
        assert found.filters[layer].dtype == torch.float32
        assert torch.equal(found.filters[layer], biased.filters[layer].half().float())


def test_an_extract_holds_the_same_convolutions_and_nothing_else(biased, tmp_path):
    original, kept = as_file(biased, tmp_path / "whole.pth"), tmp_path / "whole.features.safetensors"
    parameters.extract(original, kept)
    assert {file.name for file in tmp_path.iterdir()} == {original.name, kept.name}
    assert kept.stat().st_size < sum(4 * f.numel() for f in biased.filters.values()) * 1.01
    found = parameters.read(kept, CAFFE)
    for layer in CONVOLUTIONS:
        assert torch.equal(found.filters[layer], biased.filters[layer])


def test_a_missing_file_is_refused(tmp_path):
    for name in ("nowhere.pth", "nowhere.safetensors"):
        with pytest.raises(ValueError, match=rf"{name}: can't be read as parameters \(.*No such file"):
            parameters.read(tmp_path / name, CAFFE)


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404 Not Found</html>", b"PK\x03\x04" + b"\0" * 90, b"I'll pop\n0.", b"\x80\x02.", b"\x80\x02}q\0X"],
)
def test_damaged_bytes_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: can't be read as parameters \(.+\): give a .pth or .safetensors"):
        parameters.read(tmp_path / name, CAFFE)


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    whole = {"features.0.weight": torch.rand(64, 3, 3, 3), "features.0.bias": torch.rand(64)}
    path = tmp_path / name
    save_file(whole, path) if path.suffix == ".safetensors" else torch.save(whole, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"can't be read as parameters"):
        parameters.read(path, CAFFE)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match=r"can't be read as parameters"):
        parameters.read(path, CAFFE)
    assert not (tmp_path / "ran").exists()


def test_a_list_is_not_parameters(tmp_path):
    torch.save([torch.ones(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list.pth: holds list, not parameters by name"):
        parameters.read(tmp_path / "list.pth", CAFFE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.28.weight": None}, r"features.28.weight is missing, VGG-19's conv5_1 has \(512, 512, 3, 3\)"),
        ({"features.2.bias": None}, r"features.2.bias is missing, VGG-19's conv1_2 has \(64,\)"),
        ({"features.5.weight": (128, 64, 1, 1)}, r"features.5.weight is \(128, 64, 1, 1\), VGG-19's conv2_1 has"),
        ({"features.10.bias": (128,)}, r"features.10.bias is \(128,\), VGG-19's conv3_1 has \(256,\)"),
    ],
)
def test_another_networks_parameters_are_refused(biased, tmp_path, change, message):
    path = as_file(biased, tmp_path / "another.pth")
    tensors = torch.load(path, weights_only=True)
    for key, shape in change.items():
        tensors.pop(key)
        if shape is not None:
            tensors[key] = torch.zeros(shape)
    torch.save(tensors, path)
    with pytest.raises(ValueError, match=message):
        parameters.read(path, CAFFE)


def noise_images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(1, 3, 48, 64, generator=generator), torch.rand(2, 3, 40, 40, generator=generator)]


def features(of: Parameters, image: Tensor, pool: str) -> dict[str, Tensor]:
    return Encoder(of, layers=RECTIFIED, pool=pool, pool_factor=1.0, padding="zeros")(image)


@pytest.mark.parametrize("pool", ["average", "max"])
def test_mean_activations_are_means_over_pictures_and_positions(biased, pool):
    measured = parameters.mean_activations(biased, noise_images(), pool=pool)
    found = [features(biased, image, pool) for image in noise_images()]
    for name in ("relu1_1", "relu2_2", "relu5_1"):
        answers = np.concatenate([f[name].double().transpose(0, 1).flatten(1).numpy() for f in found], axis=1)
        assert measured[name].numpy() == pytest.approx(answers.mean(axis=1), rel=1e-6)


@pytest.mark.parametrize("pool", ["average", "max"])
def test_in_the_normalised_network_every_living_filters_mean_activation_is_one(biased, pool):
    means = parameters.mean_activations(biased, noise_images(), pool=pool)
    again = parameters.mean_activations(parameters.normalise(biased, means), noise_images(), pool=pool)
    alive = 0
    for name in RECTIFIED:
        living = means[name] > 1e-3 * means[name].mean()  # what fires less is lost in float32's rounding
        assert again[name][living].numpy() == pytest.approx(1.0, rel=1e-3), name
        alive += int(living.sum())
    assert alive > 0.9 * sum(len(of_layer) for of_layer in means.values())


@pytest.mark.parametrize("pool", ["average", "max"])
def test_the_normalised_networks_features_multiplied_back_are_the_original_ones(biased, pool):
    means = parameters.mean_activations(biased, noise_images(), pool=pool)
    image = torch.rand(1, 3, 50, 37, generator=torch.Generator().manual_seed(6))  # not one of those measured on
    original, rescaled = (features(of, image, pool) for of in (biased, parameters.normalise(biased, means)))
    for name in RECTIFIED:
        scale = torch.where(means[name] > 1e-6 * means[name].mean(), means[name], means[name].mean()).view(-1, 1, 1)
        assert (rescaled[name] * scale - original[name]).abs().max() < 1e-4 * original[name].abs().max(), name


def test_a_dead_filter_and_a_dead_layer_leave_every_number_finite(biased):
    means = parameters.mean_activations(biased, noise_images(), pool="average")
    means["relu2_1"][7] = 0  # never fires
    means["relu3_2"][5] = 1e-30
    means["relu4_1"][:] = 0
    found = parameters.normalise(biased, means)
    for name in CONVOLUTIONS:
        assert found.filters[name].isfinite().all() and found.biases[name].isfinite().all(), name
    expected = biased.biases["conv2_1"][7] / means["relu2_1"].mean()
    assert found.biases["conv2_1"][7].item() == pytest.approx(expected.item())


def test_a_filter_made_dead_stays_silent_and_its_neighbours_are_still_normalised(biased):
    biases = {name: bias.clone() for name, bias in biased.biases.items()}
    biases["conv1_1"][3] = -1e6
    dead = replace(biased, biases=biases)
    means = parameters.mean_activations(dead, noise_images(), pool="average")
    assert means["relu1_1"][3] == 0
    again = parameters.mean_activations(parameters.normalise(dead, means), noise_images(), pool="average")["relu1_1"]
    assert again[3] == 0
    assert np.delete(again.numpy(), 3) == pytest.approx(1.0, rel=1e-5)


def test_the_shipped_means_are_read_by_pool():
    text = json.loads(CAFFE_MEANS.read_text())
    for pool in ("average", "max"):
        found = parameters.read_means(CAFFE_MEANS, pool=pool)
        assert list(found) == RECTIFIED
        assert found["relu3_1"].tolist() == pytest.approx(text[pool]["relu3_1"], rel=1e-6)
        silent = {name: int((means <= 0).sum()) for name, means in found.items() if (means <= 0).any()}
        assert silent == {"relu4_1": 1}  # on 500 photographs
    assert text["average"]["relu1_2"] == pytest.approx(text["max"]["relu1_2"], rel=1e-3)  # there is no pool before it
    assert sum(text["average"]["relu5_1"]) < 0.8 * sum(text["max"]["relu5_1"])


@pytest.mark.parametrize(
    ("layer", "correlation", "median"),
    [
        ("relu1_1", 0.92, 0.98),
        ("relu1_2", 0.97, 0.98),
        ("relu2_1", 0.97, 0.93),
        ("relu2_2", 0.87, 0.87),
        ("relu3_1", 0.90, 0.84),
    ],
)
def test_the_shipped_means_follow_the_authors_own(shared, layer, correlation, median):
    """Measured over 500 photographs with max pooling, as theirs were; their photographs were others."""
    ours = parameters.read_means(CAFFE_MEANS, pool="max")[layer].numpy()
    theirs = np.array(json.loads((shared / "weights" / "authors_mean_activations.json").read_text())[layer])
    assert np.corrcoef(np.log(ours), np.log(theirs))[0, 1] > correlation - 0.01
    assert statistics.median(ours / theirs) == pytest.approx(median, abs=0.02)


@pytest.mark.parametrize("pool", ["average", "max"])
def test_the_shipped_means_are_near_those_of_a_few_photographs(shared, caffe_file, pool):
    photographs = sorted((shared / "photographs").glob("*.jpg"))[::100]
    sample = (pictures.load(path, key="photograph") for path in photographs)
    ready = [images.from_picture(picture.crop((0, 0, 128, 128))) for picture in sample]
    measured = parameters.mean_activations(parameters.read(caffe_file, CAFFE), ready, pool=pool)
    shipped = parameters.read_means(CAFFE_MEANS, pool=pool)
    for name in RECTIFIED[:9]:
        assert 0.5 < statistics.median((shipped[name].double() / measured[name]).tolist()) < 2, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no mean activations for max pooling"),
        ("[]", "no mean activations for max pooling"),
        ('{"average": {}}', "no mean activations for max pooling .'max'.: measure them"),
        ('{"max": {"relu1_1": [1.0]}}', "no mean activations for max pooling .'relu1_2'."),
        ('{"max": {"relu1_1": ["one"]}}', "no mean activations for max pooling"),
    ],
)
def test_a_file_without_the_means_is_refused(tmp_path, text, message):
    path = tmp_path / "means.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"means.json: {message}"):
        parameters.read_means(path, pool="max")


def test_means_of_another_network_are_refused(tmp_path):
    path = tmp_path / "means.json"
    shutil.copy(CAFFE_MEANS, path)
    values = json.loads(path.read_text())
    values["max"]["relu2_1"] = [1.0, 2.0]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"relu2_1 has 2 means, VGG-19 has 128 filters there"):
        parameters.read_means(path, pool="max")


def test_missing_means_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.json: no mean activations for average pooling \(.*No such file"):
        parameters.read_means(tmp_path / "nowhere.json", pool="average")


@pytest.mark.parametrize("pool", ["average", "max"])
def test_the_random_networks_activations_keep_their_size_at_every_depth(image, pool):
    found = features(parameters.random(seed=1, pool=pool), image(1, 96, 80).float(), pool)
    sizes = [float(found[name].mean()) for name in RECTIFIED]
    assert all(0.2 < size / sizes[0] < 5 for size in sizes), (
        sizes
    )  # sixteen layers; a factor of 2 each would make 65536


def test_the_random_network_depends_on_its_seed_alone(biased):
    torch.manual_seed(0)
    first = parameters.random(seed=3, pool="average")
    torch.manual_seed(1)
    again, other = parameters.random(seed=3, pool="average"), parameters.random(seed=4, pool="average")
    for name in CONVOLUTIONS:
        assert torch.equal(first.filters[name], again.filters[name])
        assert not torch.equal(first.filters[name], other.filters[name])
