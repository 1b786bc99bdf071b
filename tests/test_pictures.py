"""Picture files: whatever Pillow reads comes out as the sRGB that one sees; what is broken is refused."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylelab import pictures


def load(path: Path) -> np.ndarray:
    found = pictures.load(path, key="images.content")
    assert found.mode == "RGB"
    return np.asarray(found).astype(int)


@pytest.fixture
def saved(tmp_path) -> Callable[..., Path]:
    def save(image: Image.Image, name: str, **settings: object) -> Path:
        image.save(tmp_path / name, **settings)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_a_photograph_is_turned_upright_as_its_exif_says(saved, orientation, expected):
    """Exif 2.3, tag 274: where the camera's row 0 and column 0 lie in the scene."""
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(Image.fromarray(np.repeat(rows[..., None] * 10, 3, axis=2)), "photograph.png", exif=exif)
    assert (load(path)[..., 0] // 10).tolist() == expected


def test_transparency_is_laid_on_white(saved):
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    found = load(saved(Image.fromarray(pixels), "glass.png"))
    assert found[0, :2].tolist() == [[200, 100, 0], [255, 255, 255]]
    assert np.abs(found[0, 2] - [244, 224, 204]).max() <= 1  # 0.2 of the colour, 0.8 of white


def test_grey_with_transparency_is_laid_on_white(saved):
    pixels = np.array([[[40, 255], [40, 0]]], np.uint8)
    assert load(saved(Image.fromarray(pixels, "LA"), "grey_glass.png")).tolist() == [[[40] * 3, [255] * 3]]


def test_one_transparent_colour_of_an_rgb_picture_becomes_white(saved):
    pixels = np.array([[[1, 2, 3], [9, 8, 7]]], np.uint8)
    path = saved(Image.fromarray(pixels), "keyed.png", transparency=(9, 8, 7))
    assert load(path).tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("name", ["palette.png", "palette.gif"])
def test_a_palette_is_looked_up_and_its_transparent_entry_is_white(saved, name):
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = saved(indexed, name, transparency=2)
    assert load(path).tolist() == [[[10, 20, 30], [40, 50, 60]], [[255, 255, 255], [40, 50, 60]]]


def test_of_an_animation_the_first_frame_is_taken(saved):
    frames = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    path = saved(frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    assert load(path).tolist() == [[[255, 0, 0]] * 2] * 2


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_become_eight(saved, name):
    rows = np.array([[0, 257, 128 * 257, 65535], [129, 128, 40000, 60000]], np.uint16)
    found = load(saved(Image.fromarray(rows), name))[..., 0]
    assert found.tolist() == np.floor(rows / 257 + 0.5).astype(int).tolist()


def png(width: int, height: int, bits: int, rows: bytes, **chunks: bytes) -> bytes:
    """A grey PNG by hand: PNG 1.2, section 3."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        *((n.encode(), d) for n, d in chunks.items()),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    written = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def test_a_transparent_grey_of_sixteen_bits_does_not_stop_the_picture(tmp_path):
    """PNG 1.2, tRNS of colour type 0: a grey of the picture's own depth."""
    path = tmp_path / "deep_keyed.png"
    path.write_bytes(png(2, 1, 16, b"\0" + struct.pack(">HH", 40000, 30000), tRNS=struct.pack(">H", 30000)))
    assert load(path)[0, 0].tolist() == [156] * 3


def test_a_header_that_claims_ten_gigapixels_is_refused_before_memory_is_asked_for(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(100_000, 100_000, 8, b""))
    with pytest.raises(ValueError, match=r"^images.content: .*bomb.png can't be decoded \(.*10000000000 pixels"):
        load(path)


def test_grey_is_the_same_in_all_three_channels(saved):
    rows = np.array([[0, 100, 255]], np.uint8)
    assert load(saved(Image.fromarray(rows), "grey.png")).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    black_and_white = Image.fromarray(rows).point(lambda value: 255 * (value > 50), mode="1")
    assert load(saved(black_and_white, "bits.png")).tolist() == [[[0] * 3, [255] * 3, [255] * 3]]


def test_floating_point_pictures_are_read_in_0_to_1(saved):
    rows = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert load(saved(Image.fromarray(rows), "float.tif"))[..., 0].tolist() == [[0, 128, 255]]


def test_cmyk_becomes_rgb(saved):
    pixels = np.array([[[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], np.uint8)
    found = load(saved(Image.fromarray(pixels, "CMYK"), "print.tif"))
    assert found.tolist() == [[[255] * 3, [255, 0, 0], [0] * 3, [0, 255, 255]]]


def linear_light_profile() -> bytes:
    """sRGB's primaries and white with a gamma of 1: ICC.1:2001, a matrix profile, its colorants in the D50 space."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    xyz = {
        b"wtpt": (0.9642, 1.0, 0.8249),
        b"rXYZ": (0.4360747, 0.2225045, 0.0139322),
        b"gXYZ": (0.3850649, 0.7168786, 0.0971045),
        b"bXYZ": (0.1430804, 0.0606169, 0.7141733),
    }
    tags = {name: b"XYZ \0\0\0\0" + fixed(*values) for name, values in xyz.items()}
    tags |= {name: b"curv\0\0\0\0" + struct.pack(">I", 0) for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + b"\0" * 81
    tags[b"cprt"] = b"text\0\0\0\0none\0"
    directory, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        directory += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + body


def srgb_of_linear(value: float) -> float:
    """IEC 61966-2-1."""
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_converted_to_srgb(saved, mode):
    values = [0, 10, 64, 128, 200, 255]
    picture = Image.fromarray(np.array([[[v, v, v] for v in values]], np.uint8)).convert(mode)
    found = load(saved(picture, "linear.png", icc_profile=linear_light_profile()))
    expected = [round(255 * srgb_of_linear(value / 255)) for value in values]
    assert np.abs(found[0] - np.array(expected)[:, None]).max() <= 1
    assert expected[3] == 188  # far from 128: without the conversion this test could not pass


def test_an_srgb_profile_changes_nothing(saved):
    picture = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(4, 8, 3))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(load(saved(picture, "plain.png", icc_profile=profile)) - np.asarray(picture)).max() <= 1


def test_a_broken_profile_or_one_of_another_colour_space_counts_as_none(saved):
    picture = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(4, 8, 3))
    assert np.array_equal(load(saved(picture, "broken.png", icc_profile=b"no profile")), np.asarray(picture))
    grey = picture.convert("L")
    found = load(saved(grey, "grey.png", icc_profile=linear_light_profile()))
    assert np.array_equal(found[..., 0], np.asarray(grey))


def test_a_missing_picture_is_named_by_its_key(tmp_path):
    with pytest.raises(
        ValueError, match=r"^images.style\[1\]: there is no file .*nowhere.png: give the path of a picture$"
    ):
        pictures.load(tmp_path / "nowhere.png", key="images.style[1]")


def test_a_folder_or_a_device_is_no_picture(tmp_path):
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match=f"^images.content: {path} is no file but a folder or a device: give"):
            pictures.load(path, key="images.content")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "notes.png").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^images.content: .*notes.png (is not a picture that can be read|can't be decoded)"
    ):
        pictures.load(tmp_path / "notes.png", key="images.content")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^images.content: .* is no file but a folder"):
        pictures.load(tmp_path, key="images.content")


def encoded(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_a_file_cut_short_is_refused(picture, tmp_path, form):
    whole = encoded(picture(1, 40, 30), form)
    path = tmp_path / "cut"
    for part in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ValueError, match=r"^images.content: .*cut (is not a picture|can't be decoded)"):
            pictures.load(path, key="images.content")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_one_line_never_another_error(picture, tmp_path, monkeypatch, form):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # a damaged header may claim any size
    whole = encoded(picture(1, 24, 20), form)
    generator = np.random.default_rng(0)
    path, refused = tmp_path / "damaged", 0
    for _ in range(60):
        data = bytearray(whole)
        for place in generator.integers(0, min(len(data), 400), 3):
            data[place] = generator.integers(256)
        path.write_bytes(data)
        try:
            pictures.load(path, key="images.content")
        except ValueError as error:
            assert "\n" not in str(error)
            refused += str(error).startswith("images.content: ")
    assert refused > 0


def test_a_picture_that_has_the_size_is_not_resampled(picture):
    original = picture(1, 33, 21)
    assert pictures.resize(original, (33, 21)) is original
    smaller = pictures.resize(original, (16, 10))
    assert smaller.size == (16, 10)
    mean = np.asarray(original, float).mean()
    assert np.asarray(smaller, float).mean() == pytest.approx(mean, abs=2)


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((800, 600), 512, (512, 384)),
        ((600, 800), 512, (384, 512)),
        ((512, 512), 512, (512, 512)),
        ((1000, 1), 100, (100, 1)),
    ],
)
def test_the_longer_side_is_brought_to_the_length(size, long_side, expected):
    assert pictures.scaled_to_long_side(size, long_side) == expected


@pytest.mark.parametrize(
    ("size", "area", "expected"),
    [
        ((200, 100), 5000, (100, 50)),
        ((30, 30), 3600, (60, 60)),
        ((10000, 1), 100, (1000, 1)),
        ((640, 480), 640 * 480, (640, 480)),
    ],
)
def test_the_area_is_reached_and_the_aspect_kept(size, area, expected):
    assert pictures.scaled_to_area(size, area) == expected


def test_texts_come_back_and_the_same_picture_gives_the_same_bytes_twice(picture, tmp_path):
    texts = {"stylelab.key": "0123abcd", "stylelab.configuration": '{"name": "Femme nue assise — été 冬"}' * 50}
    for name in ("first.png", "second.png"):
        pictures.save_png(picture(1, 20, 15), tmp_path / name, texts=texts)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert pictures.read_texts(tmp_path / "first.png") == texts
    assert np.array_equal(load(tmp_path / "first.png"), np.asarray(picture(1, 20, 15)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.png", "second.png"]  # nothing partial


def test_a_picture_that_can_not_be_written_leaves_the_one_before_whole(picture, tmp_path):
    path = tmp_path / "pastiche.png"
    pictures.save_png(picture(1, 8, 8), path, texts={})
    before = path.read_bytes()
    with pytest.raises(OSError, match="cannot write mode CMYK as PNG"):
        pictures.save_png(picture(2, 8, 8).convert("CMYK"), path, texts={})
    assert path.read_bytes() == before
