"""stylelab-parameters: what it lists, verifies and measures."""

import json
from pathlib import Path

import pytest

from stylelab.commands.parameters import main
from stylelab.composition import composed
from stylelab.configuration import plain
from stylelab.job import prepare
from stylelab.networks import encoder


def test_it_lists_every_network_and_where_its_file_is(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path))
    main([])
    listed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert listed["embedded"] == "needs no file"
    assert listed["vgg19_caffe"].startswith("not at hand; --fetch gets https://")
    (tmp_path / "vgg19-d01eb7cb.features.safetensors").touch()
    main([])
    assert f"vgg19_normalised: at hand: {tmp_path}/vgg19-d01eb7cb.features.safetensors" in capsys.readouterr().out


def test_a_network_without_a_file_has_nothing_to_fetch(capsys) -> None:
    with pytest.raises(SystemExit, match=r"network\.source: embedded has no parameter file to fetch"):
        main(["--fetch", "network=embedded"])


def test_verify_refuses_what_is_no_parameter_file(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SystemExit, match="can't be read as parameters"):
        main(["--verify", f"network.path={tmp_path}/broken.safetensors"])


def test_verify_says_the_files_sha256(capsys, caffe_file: Path) -> None:
    main(["--verify", f"network.path={caffe_file}"])
    assert "sha256 bf7fa473155681d0b8bc2e087ec84a0bfd47421454774af18e8c2f3d0123d5e7" in capsys.readouterr().out


def test_mean_activations_are_measured_for_every_pooling_and_used(
    tmp_path: Path, caffe_file: Path, shared: Path, picture
) -> None:
    (tmp_path / "photographs").mkdir()
    for seed in (0, 1):
        picture(seed, 40, 32).save(tmp_path / "photographs" / f"{seed}.png")
    output = tmp_path / "means.json"
    main(["--mean-activation", str(tmp_path / "photographs"), "--output", str(output), f"network.path={caffe_file}"])
    means = json.loads(output.read_text())
    assert set(means) == {"average", "max", "average x 2"}
    assert len(means["max"]["relu5_4"]) == 512
    assert means["average"]["relu1_2"] == means["max"]["relu1_2"]  # no pool lies before it
    job = prepare(
        plain(
            composed(
                [
                    f"network.path={caffe_file}",
                    f"network.means={output}",
                    "pooling=average_rescaled",
                    f"outputs={tmp_path}",
                    "images.long_side=32",
                ]
            )
        )
    )
    network = encoder(job.spec.network, pooling=job.spec.pooling, layers=("relu3_1",), files=job.files)
    from stylelab.images import from_picture
    from stylelab.pictures import load

    pictures = [from_picture(load(path, key="")) for path in sorted((tmp_path / "photographs").glob("*.png"))]
    found = sum(network(image)["relu3_1"].mean(dim=(0, 2, 3)) for image in pictures) / 2
    alive = [value > 0 for value in means["average x 2"]["relu3_1"]]
    assert found[alive].numpy() == pytest.approx(1.0, abs=1e-3)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no pictures"):
        main(["--mean-activation", str(tmp_path)])
