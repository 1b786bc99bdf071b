"""Images as tensors: (N, 3, H, W), sRGB, in [0, 1]; the bridge to and from decoded pictures."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylelab import devices
from stylelab.pictures import Size


def from_picture(picture: Image.Image) -> Tensor:
    """(1, 3, H, W), float32, of an 8-bit RGB picture."""
    rows = torch.from_numpy(np.array(picture, dtype=np.uint8))
    return rows.permute(2, 0, 1).unsqueeze(0).float() / 255


def to_picture(image: Tensor) -> Image.Image:
    """An 8-bit picture of a (1, 3, H, W) image; what lies outside [0, 1] is clipped, the rest rounded."""
    return on_its_way(image)()


def on_its_way(image: Tensor) -> Callable[[], Image.Image]:
    """`to_picture` in two parts, as `devices.on_its_way` has them."""
    rows = image[0].detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
    arrived = devices.on_its_way(rows)
    return lambda: Image.fromarray(arrived().numpy())


def enlarge(image: Tensor, size: Size) -> Tensor:
    """The image at another size (width, height), by bicubic interpolation, antialiased where it shrinks."""
    width, height = size
    return F.interpolate(image, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
