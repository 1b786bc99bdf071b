"""What a run is told: one frozen record per group of conf/, each value checked, no default here. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stylelab.layers import EMBEDDED_LAYERS, LAYERS, deepest, stride
from stylelab.schema import (
    at_least,
    build,
    counted,
    non_negative_and_not_all_zero,
    part,
    positive,
    same_length,
    seed,
)


@dataclass(frozen=True, kw_only=True)
class Images:
    """The pictures and their sizes."""

    content: str
    style: tuple[str, ...]
    style_weights: tuple[float, ...] | None  # None: all equal
    long_side: int  # pixels of the content picture's longer side
    style_size: Literal["area", "long_side", "stretch", "original"]
    style_scale: float  # multiplies the style picture's sides

    def __post_init__(self) -> None:
        at_least("images.long_side", self.long_side, 1)
        positive("images.style_scale", self.style_scale)
        if self.style_weights is not None:
            same_length("images.style_weights", self.style_weights, "images.style", self.style, "weight per picture")
            non_negative_and_not_all_zero("images.style_weights", self.style_weights)
        if self.style_size in ("stretch", "original") and self.style_scale != 1:
            raise ValueError(
                f"images.style_scale: {self.style_scale} has no effect when images.style_size is {self.style_size}: "
                "set it to 1, or images.style_size to area or long_side"
            )


@dataclass(frozen=True, kw_only=True)
class Vgg19:
    """VGG-19 with trained parameters."""

    source: Literal["caffe", "torchvision"]  # decides the preprocessing, so the two can't be mixed
    normalised: bool  # every filter's mean activation rescaled to one
    means: str | None  # file of measured mean activations; None: the shipped one
    path: str | None  # parameter file; None: the cache, filled from url
    url: str
    sha256: str | None  # None: the digits in the file's name
    cache: str
    padding: Literal["zeros", "replicate", "reflect"]

    def __post_init__(self) -> None:
        if self.means is not None and not self.normalised:
            raise ValueError("network.means: has no effect unless network.normalised is true")


@dataclass(frozen=True, kw_only=True)
class RandomVgg19:
    """VGG-19's architecture with parameters drawn at random: the control of an ablation."""

    source: Literal["random"]
    seed: int
    padding: Literal["zeros", "replicate", "reflect"]

    def __post_init__(self) -> None:
        seed("network.seed", self.seed)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The small network that the package carries, distilled from VGG-19; it is not VGG-19."""

    source: Literal["embedded"]


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """The five pools."""

    kind: Literal["average", "max"]
    factor: float  # multiplies what each pool returns

    def __post_init__(self) -> None:
        positive("pooling.factor", self.factor)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Where content and style are compared; either may be empty, not both."""

    content: tuple[str, ...]
    style: tuple[str, ...]

    def __post_init__(self) -> None:
        for key, names in (("layers.content", self.content), ("layers.style", self.style)):
            for name in names:
                if name not in LAYERS:
                    known = ", ".join((*LAYERS[:3], "...", *LAYERS[-2:]))
                    raise ValueError(f"{key}: VGG-19 has no layer {name}; it has {known}")
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: {list(names)} names a layer twice: name each once")
        if not self.content and not self.style:
            raise ValueError("layers: both content and style are empty: name at least one layer")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How the terms of the loss are normalised and weighted."""

    convention: Literal["paper", "authors_code", "johnson"]
    beta: float  # weight of the style loss
    alpha_over_beta: float  # the papers' ratio; the weight of the content loss is this times beta
    content: tuple[float, ...] | None  # of each layer in layers.content; None: 1 / number of layers
    style: tuple[float, ...] | None  # of each layer in layers.style; None: 1 / number of layers
    variation: float  # weight of the total variation; 0 in the papers
    variation_norm: Literal["absolute", "squared"]

    def __post_init__(self) -> None:
        positive("weights.beta", self.beta)
        positive("weights.alpha_over_beta", self.alpha_over_beta)
        for key, values in (("weights.content", self.content), ("weights.style", self.style)):
            if values is not None and values:
                non_negative_and_not_all_zero(key, values)
        if not 0 <= self.variation < math.inf:
            raise ValueError(f"weights.variation: found {self.variation}, expected zero or more")


@dataclass(frozen=True, kw_only=True)
class Lbfgs:
    """L-BFGS without line search: one evaluation per step."""

    kind: Literal["lbfgs"]
    steps: int
    learning_rate: float  # length of a step in units of L-BFGS's own
    history: int  # pairs of steps and gradient changes that it remembers
    tolerance: float  # stop when a step changes the loss by a smaller part than this; 0: never

    def __post_init__(self) -> None:
        at_least("optimizer.steps", self.steps, 1)
        at_least("optimizer.history", self.history, 1)
        positive("optimizer.learning_rate", self.learning_rate)
        part("optimizer.tolerance", self.tolerance)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015)."""

    kind: Literal["adam"]
    steps: int
    learning_rate: float  # largest change of a pixel in one step, in [0, 1]
    beta1: float
    beta2: float
    tolerance: float

    def __post_init__(self) -> None:
        at_least("optimizer.steps", self.steps, 1)
        positive("optimizer.learning_rate", self.learning_rate)
        part("optimizer.beta1", self.beta1)
        part("optimizer.beta2", self.beta2)
        part("optimizer.tolerance", self.tolerance)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Painting starts from noise about a mean colour."""

    start: Literal["noise"]
    distribution: Literal["normal", "uniform"]
    deviation: float  # standard deviation, in [0, 1]
    mean: tuple[float, ...]  # red, green and blue, in [0, 1]
    clamp: bool

    def __post_init__(self) -> None:
        positive("canvas.deviation", self.deviation)
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise ValueError(f"canvas.mean: found {list(self.mean)}, expected three numbers: red, green and blue")


@dataclass(frozen=True, kw_only=True)
class FromContent:
    """Painting starts from the content picture."""

    start: Literal["content"]
    clamp: bool  # keep the canvas within [0, 1] after each step


@dataclass(frozen=True, kw_only=True)
class FromStyle:
    """Painting starts from the first style picture, cut to the content's shape."""

    start: Literal["style"]
    clamp: bool


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """The levels, coarse to fine."""

    long_sides: tuple[int, ...]  # pixels, growing, the last is images.long_side
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.long_sides) != len(self.steps):
            raise ValueError(
                f"pyramid.long_sides has {counted(self.long_sides, 'level')} but pyramid.steps has {len(self.steps)}: "
                "give one number of steps per level"
            )
        if not self.long_sides:
            raise ValueError("pyramid.long_sides: found no level, expected at least one")
        for index, steps in enumerate(self.steps):
            at_least(f"pyramid.steps[{index}]", steps, 1)
        at_least("pyramid.long_sides[0]", self.long_sides[0], 1)
        if any(finer <= coarser for coarser, finer in zip(self.long_sides, self.long_sides[1:], strict=False)):
            raise ValueError(f"pyramid.long_sides: {list(self.long_sides)} must grow from level to level")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Arithmetic of the network; losses and Gram matrices accumulate in float32 whatever it is."""

    network: Literal["float32", "bfloat16", "float16"]
    float32_finish: float  # part of each level's steps, at its end, in float32

    def __post_init__(self) -> None:
        part("precision.float32_finish", self.float32_finish)
        if self.network == "float32" and self.float32_finish:
            raise ValueError("precision.float32_finish: has no effect when precision.network is float32: set it to 0")


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    """Runs are tracked in MLflow."""

    store: Literal["mlflow"]
    uri: str | None  # None: MLFLOW_TRACKING_URI, else SQLite under outputs
    experiment: str
    pictures_every: int  # steps between two pictures of the canvas; 0: none

    def __post_init__(self) -> None:
        at_least("tracking.pictures_every", self.pictures_every, 0)


@dataclass(frozen=True, kw_only=True)
class Untracked:
    """Runs leave their folder only."""

    store: Literal["off"]
    pictures_every: int

    def __post_init__(self) -> None:
        at_least("tracking.pictures_every", self.pictures_every, 0)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The fixed ruler that judges every finished picture."""

    path: str | None  # Caffe parameters; None: network.path where it holds them, else the cache
    cache: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One run, whole."""

    images: Images
    network: Vgg19 | RandomVgg19 | Embedded
    pooling: Pooling
    layers: Layers
    weights: Weights
    optimizer: Lbfgs | Adam
    canvas: Noise | FromContent | FromStyle
    pyramid: Pyramid
    precision: Precision
    tracking: Mlflow | Untracked
    reference: Reference
    seed: int
    device: str  # auto, cpu, cuda or cuda:N
    threads: int | None  # CPU threads; None: as many as there are cores
    determinism: Literal["strict", "default", "fast"]
    checkpoint_seconds: float
    force: bool  # paint again what is finished
    retry: Literal["failed", "all", "none"]  # what is tried again of what ended before; killed runs always go on
    sweep: str | None  # the sweep's name
    batch: int | None  # runs of a sweep that one process paints together; None: the launcher decides
    outputs: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Spec":
        """The record of a resolved configuration, given as plain mappings and lists.

        Raises:
            ValueError: one line that names the key, what was found and what would do.
        """
        return build(cls, config)

    def __post_init__(self) -> None:
        self._check_layers()
        self._check_pictures()
        self._check_pyramid()
        if self.canvas.clamp and self.optimizer.kind == "lbfgs":
            raise ValueError(
                "canvas.clamp: L-BFGS infers curvature from how the gradient changed between canvases that it chose; "
                "clamping moves the canvas behind its back and the loss explodes: use optimizer=adam, or clamp=false "
                "(the picture is clipped when it is saved)"
            )
        seed("seed", self.seed)
        if self.threads is not None:
            at_least("threads", self.threads, 1)
        if self.device not in ("auto", "cpu") and not is_cuda(self.device):
            raise ValueError(f"device: found {self.device}, expected auto, cpu, cuda or cuda:N")
        if self.precision.network == "float16" and not is_cuda(self.device):
            raise ValueError(f"precision.network: float16 needs a GPU, but device is {self.device}: use bfloat16")
        positive("checkpoint_seconds", self.checkpoint_seconds)
        if self.batch is not None:
            at_least("batch", self.batch, 1)

    def _check_layers(self) -> None:
        if self.network.source == "embedded":
            for key, names in (("layers.content", self.layers.content), ("layers.style", self.layers.style)):
                for name in names:
                    if name not in EMBEDDED_LAYERS:
                        raise ValueError(
                            f"{key}: the embedded network has no layer {name}; it has {', '.join(EMBEDDED_LAYERS)}"
                        )
            if (self.pooling.kind, self.pooling.factor) != ("average", 1.0):
                raise ValueError(
                    "pooling: the embedded network was distilled from VGG-19 with average pooling and has no other: "
                    "use pooling=average, or a network with VGG-19's parameters"
                )
        for key, values, names in (
            ("content", self.weights.content, self.layers.content),
            ("style", self.weights.style, self.layers.style),
        ):
            if values is not None:
                same_length(f"weights.{key}", values, f"layers.{key}", names, "weight per layer")

    def _check_pictures(self) -> None:
        if self.layers.style and not self.images.style:
            raise ValueError(
                "images.style: no picture, but layers.style names layers: give a picture, or layers.style=[]"
            )
        if self.images.style and not self.layers.style and self.canvas.start != "style":
            raise ValueError(
                f"images.style: {counted(self.images.style, 'picture')} without effect, because layers.style is empty: "
                "set images.style=[]"
            )
        if self.canvas.start == "style" and not self.images.style:
            raise ValueError("canvas.start: style, but images.style has no picture: give one")

    def _check_pyramid(self) -> None:
        if self.pyramid.long_sides[-1] != self.images.long_side:
            raise ValueError(
                f"pyramid.long_sides: ends at {self.pyramid.long_sides[-1]}, but images.long_side is "
                f"{self.images.long_side}: the last level is the finished size"
            )

    @property
    def paints_again(self) -> bool:
        """Whether a finished picture is painted once more."""
        return self.force or self.retry == "all"

    @property
    def all_layers(self) -> tuple[str, ...]:
        """Every layer in use, each once."""
        return tuple(dict.fromkeys(self.layers.content + self.layers.style))

    @property
    def smallest_side(self) -> int:
        """Pixels that a picture needs on each side for the deepest layer in use."""
        reflecting = getattr(self.network, "padding", "zeros") == "reflect"
        return stride(deepest(self.all_layers)) * (2 if reflecting else 1)


def is_cuda(device: str) -> bool:
    """Whether a device's name is a GPU's: cuda or cuda:N."""
    return device == "cuda" or (device.startswith("cuda:") and device.removeprefix("cuda:").isdigit())
