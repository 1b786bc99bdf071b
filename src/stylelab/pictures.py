"""Picture files: any that Pillow reads in, sRGB out. Sizes are (width, height) in pixels. No torch here."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

Size = tuple[int, int]
# A gigapixel scan is a fair content picture; a damaged header may claim any size and take all memory.
Image.MAX_IMAGE_PIXELS = 2**29  # Pillow refuses twice as many


def load(path: str | Path, *, key: str) -> Image.Image:
    """Decode a picture to 8-bit sRGB: upright (EXIF), its colour profile applied, transparency laid on white.

    Args:
        path: of any file that Pillow reads; of an animation, the first frame.
        key: the configuration key that named it, for the error.

    Raises:
        ValueError: the file is missing, or no picture, or broken.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{key}: {path} is no file but a folder or a device: give the path of a picture")
    try:
        with Image.open(path) as file:
            file.load()
            picture = _to_srgb(ImageOps.exif_transpose(file))
    except FileNotFoundError as error:
        raise ValueError(f"{key}: there is no file {path}: give the path of a picture") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{key}: {path} is not a picture that can be read: give a PNG, JPEG, TIFF or WebP") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{key}: {path} can't be decoded ({error}): the file is broken, give another") from error
    return picture


def _to_srgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = _sixteen_to_eight_bits(picture)
    profile = picture.info.get("icc_profile")
    if picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    if profile:
        picture = _apply_profile(picture, profile)
    return picture.convert("RGB")


def _sixteen_to_eight_bits(picture: Image.Image) -> Image.Image:
    lowest, highest = picture.convert("F").getextrema()
    full = 1.0 if picture.mode == "F" and highest <= 1 and lowest >= 0 else 65535.0
    return picture.convert("F").point(lambda value: value * (255 / full) + 0.5).convert("L")


def _apply_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # for another colour space than the pixels', or broken: as if it had none
        return picture


def scaled_to_long_side(size: Size, long_side: int) -> Size:
    """The size with its longer side at `long_side`, aspect kept, at least one pixel each way."""
    factor = long_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def scaled_to_area(size: Size, area: float) -> Size:
    """The size whose product is nearest to `area` pixels, aspect kept, at least one pixel each way."""
    factor = (area / (size[0] * size[1])) ** 0.5
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(picture: Image.Image, size: Size) -> Image.Image:
    """The picture at another size by Lanczos's filter; the same picture where it has that size already."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def save_png(picture: Image.Image, path: Path, *, texts: Mapping[str, str]) -> None:
    """Write a PNG with text chunks, whole or not at all; the same picture and texts give the same bytes."""
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_itxt(name, text)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        picture.save(file, format="PNG", pnginfo=chunks)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_texts(path: Path) -> dict[str, str]:
    """The text chunks of a PNG."""
    with Image.open(path) as picture:
        picture.load()
        return dict(picture.text)
