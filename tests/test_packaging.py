"""The package as a wheel: conf/ and our pictures inside, and it works from any directory."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(CHECKOUT)], check=True, timeout=240)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_the_configuration_our_pictures_and_the_plugin(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in CHECKOUT.glob("conf/**/*.yaml"):
        assert f"stylelab/conf/{file.relative_to(CHECKOUT / 'conf').as_posix()}" in names
    for file in (*CHECKOUT.glob("images/content/*.png"), *CHECKOUT.glob("images/style/*.png")):
        assert f"stylelab/own_pictures/{file.relative_to(CHECKOUT / 'images').as_posix()}" in names
    assert "stylelab/data/vgg19_caffe_mean_activations.json" in names
    assert "stylelab/data/embedded.safetensors" in names
    assert "hydra_plugins/stylelab_sweeper/sweeper.py" in names
    assert not any(name.startswith(("tests/", "training/", "outputs/")) for name in names)


def test_an_installed_wheel_paints_from_any_directory(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    arguments = [
        "network=embedded",
        "images.long_side=48",
        "optimizer.steps=1",
        "tracking=off",
        "threads=1",
        "device=cpu",
    ]
    code = "import stylelab; print(stylelab.__file__); from stylelab.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(str(site))
    assert len(list((elsewhere / "outputs" / "runs").glob("riverside_town-swirling_strokes-*/pastiche.png"))) == 1
