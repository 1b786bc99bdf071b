"""The run key: everything that can change the picture changes it, nothing else does."""

import json
import os
import shutil
import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import pytest
from safetensors.torch import save_file
from victims import Place, kills

from stylelab import provenance
from stylelab.composition import composed
from stylelab.configuration import plain
from stylelab.job import CAFFE_MEANS, prepare
from stylelab.spec import Spec

# Each key of each group with another value, and what else must change for the whole to be valid. What is swept over
# by `network`, `optimizer` and `canvas` starts from the option that has the key.
CHANGES = {
    "images.style_weights": {"images.style_weights": [0.3, 0.7]},
    "images.long_side": {"images.long_side": 33, "pyramid.long_sides": [33]},
    "images.style_size": {"images.style_size": "stretch"},
    "images.style_scale": {"images.style_scale": 1.1},
    "network.source": {"network": {"source": "random", "seed": 0, "padding": "zeros"}},
    "network.normalised": {"network.normalised": True},
    "network.padding": {"network.padding": "replicate"},
    "network.seed": {"network.seed": 1},
    "pooling.kind": {"pooling.kind": "max"},
    "pooling.factor": {"pooling.factor": 2.0},
    "layers.content": {"layers.content": ["relu1_1"]},
    "layers.style": {"layers.style": ["relu1_1"]},
    "weights.convention": {"weights.convention": "paper"},
    "weights.beta": {"weights.beta": 2.0},
    "weights.alpha_over_beta": {"weights.alpha_over_beta": 0.5},
    "weights.content": {"weights.content": [2.0]},
    "weights.style": {"weights.style": [1.0, 2.0]},
    "weights.variation": {"weights.variation": 1.0},
    "weights.variation_norm": {"weights.variation_norm": "absolute"},
    "optimizer.kind": {
        "optimizer": {"kind": "adam", "steps": 3, "learning_rate": 1.0, "beta1": 0.9, "beta2": 0.99, "tolerance": 0.0}
    },
    "optimizer.steps": {"optimizer.steps": 4},
    "optimizer.learning_rate": {"optimizer.learning_rate": 0.9},
    "optimizer.history": {"optimizer.history": 3},
    "optimizer.tolerance": {"optimizer.tolerance": 0.5},
    "optimizer.beta1": {"optimizer.beta1": 0.8},
    "optimizer.beta2": {"optimizer.beta2": 0.8},
    "canvas.start": {"canvas": {"start": "style", "clamp": False}},
    "canvas.clamp": {"canvas.clamp": True},
    "canvas.distribution": {"canvas.distribution": "uniform"},
    "canvas.deviation": {"canvas.deviation": 0.1},
    "canvas.mean": {"canvas.mean": [0.1, 0.2, 0.3]},
    "pyramid.long_sides": {"pyramid.long_sides": [16, 32], "pyramid.steps": [3, 3]},
    "pyramid.steps": {"pyramid.steps": [5]},
    "precision.network": {"precision.network": "bfloat16"},
    "precision.float32_finish": {"precision.network": "bfloat16", "precision.float32_finish": 0.5},
    "seed": {"seed": 1},
    "threads": {"threads": 2},
    "determinism": {"determinism": "strict"},
}
UNCHANGED = {  # by key: overrides that give the same picture; "{}" is a folder with other files of the same bytes
    "images.content": ["images.content={}/same.png"],
    "images.style": ["images.style=['{}/same_style.jpeg']"],
    "network.path": ["network.path={}/same.safetensors"],
    "network.url": ["network.url=https://example.org/other.pth"],
    "network.sha256": ["network.sha256={sha256}"],
    "network.cache": ["network.cache={}/cache"],
    "network.means": ["network.means={}/means.json"],
    "tracking.store": ["tracking=mlflow"],
    "tracking.uri": ["tracking=mlflow", "tracking.uri=sqlite:///{}/other.db"],
    "tracking.experiment": ["tracking=mlflow", "tracking.experiment=other"],
    "tracking.pictures_every": ["tracking.pictures_every=2"],
    "batch": ["batch=2"],
    "reference.path": ["reference.path={}/same.safetensors"],
    "reference.cache": ["reference.cache={}/cache"],
    "reference.url": ["reference.url=https://example.org/other.pth"],
    "checkpoint_seconds": ["checkpoint_seconds=0.001"],
    "force": ["force=true"],
    "retry": ["retry=none"],
    "sweep": ["sweep=another"],
    "outputs": ["outputs={}/outputs"],
}
OPTIONS = {  # which options the records of a union are found under, for the keys that only one of them has
    "network.seed": {"network": {"source": "random", "seed": 0, "padding": "zeros"}},
    "optimizer.beta1": CHANGES["optimizer.kind"],
    "optimizer.beta2": CHANGES["optimizer.kind"],
    "canvas.clamp": CHANGES["optimizer.kind"],
    "canvas.distribution": {
        "canvas": {"start": "noise", "distribution": "normal", "deviation": 0.5, "mean": [0.5] * 3, "clamp": False}
    },
}  # fmt: skip
for other in ("canvas.deviation", "canvas.mean"):
    OPTIONS[other] = OPTIONS["canvas.distribution"]


def keys_of(record: type, prefix: str = "") -> Iterator[str]:
    """Every key that a configuration may have, through every option of every group."""
    for name, hint in get_type_hints(record).items():
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        records = [option for option in options if is_dataclass(option)]
        for option in records:
            yield from keys_of(option, f"{prefix}{name}.")
        if not records:
            yield f"{prefix}{name}"


def changed(config: dict, changes: dict) -> dict:
    """A configuration with some values or whole groups replaced."""
    found = json.loads(json.dumps(config))
    for key, value in changes.items():
        group, _, name = key.partition(".")
        if name:
            found[group][name] = value
        else:
            found[group] = value
    return found


@pytest.fixture(scope="module")
def vgg19_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of VGG-19's shape with random parameters, cut after what relu2_1 needs to be more than noise."""
    import torch

    from stylelab.layers import CONVOLUTIONS, channels
    from stylelab.parameters import FILE_KEYS

    generator = torch.Generator().manual_seed(0)
    tensors, before = {}, 3
    for name in CONVOLUTIONS:
        after = channels(name)
        shallow = name in ("conv1_1", "conv1_2", "conv2_1")
        size = (after, before, 3, 3)
        filters = torch.randn(size, generator=generator) / (9 * before) ** 0.5 if shallow else torch.zeros(size)
        tensors[f"features.{FILE_KEYS[name]}.weight"] = filters.half()
        tensors[f"features.{FILE_KEYS[name]}.bias"] = torch.zeros(after).half()
        before = after
    path = tmp_path_factory.mktemp("parameters") / "vgg19.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, vgg19_file: Path) -> dict:
    folder = tmp_path_factory.mktemp("identity")
    kills.draw_pictures(folder)
    settings = ["network=vgg19_caffe", f"network.path={vgg19_file}", "optimizer.steps=3", "reference.path=null"]
    found = plain(composed(kills.overrides(folder, folder / "outputs", settings)))
    second = found["images"]["content"]  # two style pictures, so that their weights can differ
    return changed(found, {"images.style": [found["images"]["style"][0], second], "reference.cache": str(folder)})


def test_every_key_changes_the_run_key_or_cannot_change_the_picture(config: dict) -> None:
    assert set(CHANGES) | set(UNCHANGED) | {"device"} == set(keys_of(Spec)), "a key is in neither list"
    for key, changes in CHANGES.items():
        before = changed(config, OPTIONS.get(key, {}))
        if key == "precision.float32_finish":
            before = changed(before, {"precision.network": "bfloat16"})
        assert prepare(before).key != prepare(changed(before, changes)).key, key
    for key in UNCHANGED:
        assert any(key == name or key.startswith(f"{name}.") for name in provenance.NOT_IN_KEY), key
    for name in provenance.NOT_IN_KEY:
        assert any(key == name or key.startswith(f"{name}.") for key in UNCHANGED), name


def test_a_device_changes_the_run_key_by_its_kind_alone(config: dict) -> None:
    key = prepare(config).key
    assert prepare(changed(config, {"device": "auto"})).key == key or os.path.exists("/dev/nvidiactl")
    decisive = prepare(config).decisive
    on_a_gpu = dict(decisive, configuration=decisive["configuration"] | {"device": "cuda"})
    assert provenance.key_of(on_a_gpu) != key


def test_what_is_not_in_the_key_leaves_key_and_bytes_as_they_are(place: Place, vgg19_file: Path) -> None:
    others = place.folder / "others"
    (others / "cache").mkdir(parents=True)
    shutil.copy(place.folder / "content.png", others / "same.png")
    shutil.copy(place.folder / "style.png", others / "same_style.jpeg")
    shutil.copy(CAFFE_MEANS, others / "means.json")
    for target in (others / "same.safetensors", others / "cache" / "vgg19-d01eb7cb.features.safetensors"):
        os.link(vgg19_file, target)
    sha256 = kills_sha256(vgg19_file)
    vgg19 = ["network=vgg19_normalised", f"network.path={vgg19_file}"]
    expected: dict[str, Path] = {}
    commands = []
    for number, (key, changes) in enumerate({"": [], "network": [], **UNCHANGED}.items()):
        network = vgg19[: 1 if key == "network.cache" else 2] if key.startswith("network") else ["network=embedded"]
        expected[key] = others / "outputs" if key == "outputs" else place.folder / f"outputs{number}"
        if "tracking=mlflow" in changes:
            shutil.copytree(place.store, expected[key])
        said = [change.replace("{sha256}", sha256).replace("{}", str(others)) for change in changes]
        settings = ["optimizer.steps=3", "tracking=off", "images.long_side=20", f"outputs={expected[key]}"]
        commands.append(place.configured(*network, *settings, *said))
    log = place.folder / "log"
    kills.finish(paint_all, json.dumps(commands), log=log)
    found = {key: kills.lasting(outputs) for key, outputs in expected.items()}
    folders = {key: {path.name[-12:] for path in (outputs / "runs").iterdir()} for key, outputs in expected.items()}
    for key in UNCHANGED:
        unchanged = "network" if key.startswith("network") else ""
        assert folders[key] == folders[unchanged], key
        assert found[key] == found[unchanged], key


def kills_sha256(path: Path) -> str:
    from stylelab.parameter_files import sha256_of

    return sha256_of(path)


def paint_all(commands: str) -> None:
    """Paint several runs in one process."""
    for configuration in json.loads(commands):
        kills.paint(configuration)


def test_the_bytes_of_a_picture_count_not_its_path_nor_its_times(config: dict, tmp_path: Path) -> None:
    here, there = tmp_path / "here.png", tmp_path / "there" / "another name.png"
    there.parent.mkdir()
    for path in (here, there):
        shutil.copy(config["images"]["content"], path)
    first = prepare(changed(config, {"images.content": str(here)}))
    assert prepare(changed(config, {"images.content": str(there)})).key == first.key
    before = here.stat()
    content = bytearray(here.read_bytes())
    content[-1] ^= 1  # of the checksum of the last chunk, which Pillow reads past
    here.write_bytes(content)
    os.utime(here, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert prepare(changed(config, {"images.content": str(here)})).key != first.key


def test_a_run_key_knows_no_path_of_this_machine(config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(config)
    said = json.dumps(first.decisive)
    assert not any(part in said for part in (str(Path.home()), "/tmp", os.sep + "outputs", ".png"))
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("STYLELAB_CACHE", "/elsewhere/cache")
    assert prepare(config).key == first.key


def test_a_number_is_the_same_however_it_is_written(config: dict) -> None:
    assert (
        prepare(changed(config, {"weights.beta": 1000000000})).key
        == prepare(changed(config, {"weights.beta": 1e9})).key
    )


def test_another_version_of_the_algorithm_has_other_keys(config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(config).key
    monkeypatch.setattr(provenance, "ALGORITHM", provenance.ALGORITHM + 1)
    assert prepare(config).key != first
