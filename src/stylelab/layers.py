"""The layers of VGG-19 by name, without the network: what a configuration is checked against before torch is imported.

`convX_Y` is the tensor before the rectifier, `reluX_Y` after it, `poolX` after the pool. The papers' "conv4_2" is
rectified: `relu4_2` here.
"""

CONVOLUTIONS_IN_BLOCK = (2, 2, 4, 4, 4)  # Simonyan & Zisserman (2014), table 1, column E
CHANNELS_OF_BLOCK = (64, 128, 256, 512, 512)
CONVOLUTIONS = tuple(
    f"conv{block}_{index}" for block, count in enumerate(CONVOLUTIONS_IN_BLOCK, 1) for index in range(1, count + 1)
)


def _in_network_order() -> tuple[str, ...]:
    names = []
    for block, count in enumerate(CONVOLUTIONS_IN_BLOCK, 1):
        for index in range(1, count + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return tuple(names)


LAYERS = _in_network_order()
EMBEDDED_LAYERS = ("relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


def block(layer: str) -> int:
    """The block that a layer belongs to, 1 to 5."""
    return int(layer.removeprefix("conv").removeprefix("relu").removeprefix("pool")[0])


def channels(layer: str) -> int:
    """How many filters answer at a layer."""
    return CHANNELS_OF_BLOCK[block(layer) - 1]


def stride(layer: str) -> int:
    """Pixels of the picture per position of the layer, along each axis: a picture needs that many on each side."""
    return 2 ** (block(layer) if layer.startswith("pool") else block(layer) - 1)


def deepest(layers: tuple[str, ...]) -> str:
    """The layer of these that comes last in the network."""
    return max(layers, key=LAYERS.index)
