"""The pictures in images/ are what images/draw.py draws, and are fit to be painted from."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_SOURCE = Path(__file__).resolve().parents[1] / "images" / "draw.py"
_SPECIFICATION = importlib.util.spec_from_file_location("draw_our_pictures", _SOURCE)
pictures = importlib.util.module_from_spec(_SPECIFICATION)
_SPECIFICATION.loader.exec_module(pictures)
NAMES = pictures.CONTENTS + pictures.STYLES


def luminance(name: str) -> np.ndarray:
    """(H, W) in [0, 1], by the weights of ITU-R BT.601."""
    with Image.open(pictures.path_of(name)) as image:
        red, green, blue = np.moveaxis(np.asarray(image, dtype=np.float64) / 255, -1, 0)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def halved(values: np.ndarray) -> np.ndarray:
    """Averages of 2 x 2 pixels."""
    values = values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2]
    return (values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]) / 4


def contrast_by_octave(values: np.ndarray, octaves: int) -> list[float]:
    """Standard deviation of what each halving loses, the finest octave first (a Haar pyramid's bands)."""
    contrasts = []
    for _ in range(octaves):
        coarse = halved(values)
        blown_up = coarse.repeat(2, axis=0).repeat(2, axis=1)
        contrasts.append(float(np.std(values[: blown_up.shape[0], : blown_up.shape[1]] - blown_up)))
        values = coarse
    return contrasts


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_is_drawn_again_to_the_same_pixels(name):
    assert pictures.fault(name, pictures.draw(name)) is None


def test_the_folders_hold_the_pictures_that_the_program_names_and_no_others():
    folder = pictures.FOLDER
    assert {path.stem for path in (folder / "content").iterdir()} == set(pictures.CONTENTS)
    assert {path.stem for path in (folder / "style").iterdir()} == set(pictures.STYLES)


@pytest.mark.parametrize("name", NAMES)
def test_each_side_has_512_to_768_pixels_and_the_file_is_small(name):
    with Image.open(pictures.path_of(name)) as image:
        assert image.mode == "RGB"
        assert min(image.size) >= 512 and max(image.size) <= 768
    assert pictures.path_of(name).stat().st_size < 1.2e6
    assert sum(pictures.path_of(each).stat().st_size for each in NAMES) < 8e6


@pytest.mark.parametrize("name", pictures.STYLES)
def test_each_style_has_texture_at_five_scales(name):
    # 0.02 is five grey levels of 255, well above grain; white noise over the whole range has less by the fifth octave.
    assert min(contrast_by_octave(luminance(name), 5)) > 0.02


def test_texture_at_several_scales_is_denied_to_noise_and_to_a_plain_ramp():
    noise = np.random.default_rng(0).uniform(0, 1, (512, 512))
    ramp = np.linspace(0, 1, 512)[None, :].repeat(512, axis=0)
    assert min(contrast_by_octave(noise, 5)) < 0.02
    assert min(contrast_by_octave(ramp, 5)) < 0.02


def test_the_readme_lists_each_picture_with_its_size():
    table = (pictures.FOLDER / "README.md").read_text()
    for name in NAMES:
        with Image.open(pictures.path_of(name)) as image:
            assert f"{name}.png` | {image.width} x {image.height} |" in table


def test_check_names_the_picture_that_differs_and_the_place(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    monkeypatch.setattr(pictures, "draw", lambda name: np.full((4, 6, 3), 9, dtype=np.uint8))
    assert pictures.main(["portrait"]) == 0
    assert pictures.main(["--check", "portrait"]) == 0
    Image.new("RGB", (6, 4), (9, 8, 9)).save(pictures.path_of("portrait"))
    assert pictures.main(["--check", "portrait", "wave_print"]) == 1
    message = capsys.readouterr().err
    assert (
        "portrait: 24 pixels differ, the first at column 0, row 0: the file has [9, 8, 9], the program draws [9, 9, 9]"
        in message
    )
    assert "wave_print.png is missing" in message


def test_a_name_that_no_picture_has_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit):
        pictures.main(["portrat"])
    assert "there is no picture portrat; there are riverside_town, mountain_lake" in capsys.readouterr().err
