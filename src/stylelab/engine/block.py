"""One block of VGG-19, ahead and back: some convolutions with their rectifiers, then a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylelab.engine.convolution import Convolution
from stylelab.engine.passes import Band, Pool, bands, rectify_
from stylelab.engine.targets import Target

BAND_BYTES = 8 << 20  # of a layer's rows that are handled together
LEAST_ROWS = 16  # of a band; a few more around it are computed twice

Targets = Mapping[str, Sequence[Target]]  # by layer


@dataclass(frozen=True)
class Stage:
    """A convolution with the rectifier behind it."""

    linear: str  # conv1_1
    rectified: str  # relu1_1
    convolution: Convolution

    def forward(self, inputs: Tensor, targets: Targets) -> tuple[Tensor | None, Tensor]:
        """What the convolution gives, where anything is compared with it, and what the rectifier gives."""
        if self.linear not in targets:
            return None, self.convolution.forward(inputs, rectified=True)
        linear = self.convolution.forward(inputs, rectified=False)
        return linear, linear.relu()


class Block:
    """The stages between two pools and the pool behind them, with what one evaluation keeps for its way back.

    Args:
        pool: its layer's name and what it does; None where the network is cut before it.
        banded: walk over the rows in bands, and compute the first stage twice instead of keeping it.
    """

    def __init__(self, stages: Sequence[Stage], pool: tuple[str, Pool] | None, *, banded: bool) -> None:
        self.stages, self.banded = tuple(stages), banded
        self.pool_layer, self.pool = pool or (None, None)
        self.kept: dict[str, Tensor] = {}  # by layer: activations, or where the gradient passes (one byte each)
        self.pooled: Tensor | None = None  # where something is compared with it
        self.inputs: Tensor | None = None  # where they are needed again

    def forward(self, inputs: Tensor, targets: Targets, *, keep: bool) -> Tensor | None:
        """What the pool gives, (N, C, H // 2, W // 2); shows every target its layer.

        Args:
            inputs: (N, channels, H, W), channels-last.
            keep: for `backward`.
        """
        self.bands = self._bands(inputs)
        self.width, self.kept, self.pooled = inputs.shape[3], {}, None
        self.inputs = inputs if keep and len(self.bands) > 1 else None
        outputs: dict[str, Tensor] = {}
        for band in self.bands:
            here = band.of(inputs, len(self.stages))
            for reach, stage in zip(reversed(range(len(self.stages))), self.stages, strict=True):
                linear, here = stage.forward(here, targets)
                here = band.narrowed(here, reach + 1, reach)
                own = band.narrowed(here, reach)
                if linear is not None:
                    linear = band.narrowed(linear, reach + 1)
                    _show(targets[stage.linear], linear, band)
                _show(targets.get(stage.rectified, ()), own, band)
                if keep and not self._computed_again(stage):
                    self._keep(stage, linear, own, band, targets)
            if self.pool:
                pooled = self.pool.forward(own)
                _show(targets.get(self.pool_layer, ()), pooled, band.halved())
                _store(outputs, "pooled", pooled, band.halved(), pooled.dtype)
        if keep and self.pool_layer in targets:
            self.pooled = outputs["pooled"]
        return outputs.get("pooled")

    def _computed_again(self, stage: Stage) -> bool:
        return self.inputs is not None and stage is self.stages[0]

    def _keep(self, stage: Stage, linear: Tensor | None, rectified: Tensor, band: Band, targets: Targets) -> None:
        if linear is not None:
            _store(self.kept, stage.linear, linear, band, linear.dtype)
        compared = stage.rectified in targets
        if compared:
            _store(self.kept, stage.rectified, rectified, band, rectified.dtype)
        pooled = self.pool and stage is self.stages[-1]
        if pooled and self.pool.kind == "max":
            _store(self.kept, self.pool_layer, self.pool.winners(rectified), band, torch.bool)
        elif linear is None and not compared:
            _store(self.kept, self.pool_layer if pooled else stage.rectified, rectified, band, torch.bool)

    def backward(self, gradient: Tensor | None, targets: Targets) -> Tensor:
        """The gradient at the inputs from that at the outputs; None: nothing behind this block is compared."""
        if self.pooled is not None:
            whole = Band(0, self.pooled.shape[2], self.pooled.shape[2])
            gradient, self.pooled = _pulled(targets[self.pool_layer], gradient, self.pooled, whole, 0), None
        found: dict[str, Tensor] = {}
        for band in self.bands:
            own = self._band_backward(gradient, targets, band)
            _store(found, "inputs", own, band, own.dtype)
        self.kept, self.inputs = {}, None
        return found["inputs"]

    def _band_backward(self, gradient: Tensor | None, targets: Targets, band: Band) -> Tensor:
        """The same for a band's own rows."""
        if gradient is not None:
            gradient = self._pool_backward(gradient, band)
        for reach, stage in zip(range(len(self.stages), 0, -1), reversed(self.stages), strict=True):
            if self._computed_again(stage):
                found = stage.forward(band.of(self.inputs, reach + 1), targets)
                linear, rectified = (None if each is None else band.narrowed(each, reach + 1, reach) for each in found)
            else:
                linear, rectified = (self._take(layer, band, reach) for layer in (stage.linear, stage.rectified))
            gradient = _pulled(targets.get(stage.rectified, ()), gradient, rectified, band, reach)
            passes = rectified if rectified is not None else linear
            if gradient is not None and passes is not None:  # else the pool let through what the rectifier does
                rectify_(gradient, passes)
            gradient = _pulled(targets.get(stage.linear, ()), gradient, linear, band, reach)
            if gradient is not None:
                gradient = band.narrowed(stage.convolution.backward(gradient), reach, reach - 1)
        return gradient

    def _pool_backward(self, gradient: Tensor, band: Band) -> Tensor:
        reach = len(self.stages)
        passes = self._take(self.pool_layer, band, reach)
        rows = min(band.height, band.bottom + reach) - max(0, band.top - reach)
        return self.pool.backward(band.halved().of(gradient, reach // 2), passes, size=(rows, self.width))

    def _take(self, layer: str, band: Band, reach: int) -> Tensor | None:
        """What was kept of a layer; let go if it was the last time."""
        found = self.kept.pop(layer, None) if band.whole else self.kept.get(layer)
        return None if found is None else band.of(found, reach)

    def _bands(self, inputs: Tensor) -> Sequence[Band]:
        batch, _, height, width = inputs.shape
        rows = height
        if self.banded and batch == 1 and inputs.device.type == "cpu":
            row_bytes = width * self.stages[0].convolution.bias.nbytes
            rows = max(LEAST_ROWS, BAND_BYTES // row_bytes // 2 * 2)
        return bands(height, rows=rows)


def _show(targets: Sequence[Target], features: Tensor, band: Band) -> None:
    for target in targets:
        target.add(features, band)


def _pulled(
    targets: Sequence[Target], gradient: Tensor | None, features: Tensor | None, band: Band, reach: int
) -> Tensor | None:
    for target in targets:
        gradient = target.pull_(torch.zeros_like(features) if gradient is None else gradient, features, band, reach)
    return gradient


def _store(into: dict[str, Tensor], layer: str, own: Tensor, band: Band, kind: torch.dtype) -> None:
    """Put a band's own rows where the whole layer is; converted to bytes, they say where a gradient passes."""
    if band.whole and own.dtype == kind:
        into[layer] = own
        return
    if layer not in into:
        shape = (*own.shape[:2], band.height, own.shape[3])
        into[layer] = torch.empty(shape, dtype=kind, device=own.device, memory_format=torch.channels_last)
    into[layer][:, :, band.top : band.bottom].copy_(own)
