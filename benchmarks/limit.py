"""What a machine can do at best, and the operations that an evaluation takes at least."""

from collections.abc import Mapping

from plain import LAYERS, STYLES

Kernel = tuple[Mapping[str, object], float, str]  # settings of `painter.py`, work of one turn, its unit
MATRIX_SIDE = 2048
IMAGE, FILTERS = (1, 256, 96, 128), (256, 256, 3, 3)  # conv3_2 of a picture of 512 x 384
COPIED = 2**26  # numbers of float32


def operations(width: int, height: int) -> dict[str, int]:
    """Floating-point operations of one evaluation with its gradient, two for each multiply-add.

    Args:
        width, height: of the canvas, in pixels.

    Returns:
        forward: the convolutions up to relu5_1; backward: the gradient at the canvas, as many; gram: the five Gram
        matrices and their gradient, which is one more product each. Rectifiers, pools and sums are not counted.
    """
    forward, gram, before = 0, 0, 3
    for layer in LAYERS:
        if layer == "pool":
            width, height = width // 2, height // 2
            continue
        name, after = layer
        forward += 2 * 9 * before * after * width * height
        if name in STYLES:
            gram += 2 * 2 * after * after * width * height
        before = after
    return {"forward": forward, "backward": forward, "gram": gram}


def total(width: int, height: int) -> int:
    """All operations of one evaluation with its gradient."""
    return sum(operations(width, height).values())


def kernels(arithmetics: tuple[str, ...], device: str) -> dict[str, Kernel]:
    """The programs that measure the machine, by name."""
    found: dict[str, Kernel] = {}
    convolved = 2 * FILTERS[0] * FILTERS[1] * 9 * IMAGE[2] * IMAGE[3]
    for arithmetic in arithmetics:
        common = {"device": device, "arithmetic": arithmetic}
        settings = {"who": "matrix", "side": MATRIX_SIDE, **common}
        found[f"matrix product, {arithmetic}"] = (settings, 2 * MATRIX_SIDE**3, "FLOP")
        settings = {"who": "convolution", "image": IMAGE, "filters": FILTERS, **common}
        found[f"convolution, {arithmetic}"] = (settings, convolved, "FLOP")
    settings = {"who": "copy", "numbers": COPIED, "device": device, "arithmetic": "float32"}
    found["copy in memory"] = (settings, 2 * 4 * COPIED, "B")  # read and written
    return found
