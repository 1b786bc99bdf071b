"""What a self-contained page is made of: templates, pictures, data and Plotly within one text."""

import base64
import gzip
import io
import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

# At most so many runs: so many pixels on a picture's longer side.
PIXELS = ((8, 1024), (24, 768), (60, 512), (130, 400), (350, 256))
FEWEST_PIXELS = 160
WEBP_QUALITY = 82


def environment() -> Environment:
    """The templates, with text escaped and every name required."""
    return Environment(
        loader=PackageLoader("stylelab.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


@cache
def compressed_plotly() -> Markup:
    """Plotly's bundle as gzip in base64, a third of its size, which the page unpacks when a chart comes into view."""
    return Markup(base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode())


def embedded_json(values: Any) -> Markup:
    """JSON that can stand inside a script element."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False, default=str)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def data_uri(picture: Image.Image, longest: int) -> str:
    """The picture as WebP in a data URI, no side longer than `longest` pixels."""
    copy = picture.copy()
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    copy.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def pixels(count: int) -> int:
    """How large pictures are embedded for so many runs: a page of a hundred opens as quickly as one of ten."""
    return next((longest for most, longest in PIXELS if count <= most), FEWEST_PIXELS)
