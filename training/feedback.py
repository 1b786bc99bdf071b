"""Pictures that the student paints itself: the inputs on which it must not be wrong.

Painting moves pixels wherever the student's gradient points, so also to where it differs from VGG-19. An easel holds
canvases in progress. Each visit paints a few steps further on one batch of them with the student as it is now and hands
the batch out as training input, with the style pictures that it strives for; a canvas painted for long enough gives its
place to a new one. So the student sees canvases at all stages, and those that it would paint today.
"""

import torch
from torch import Tensor, nn

from stylelab.descent import Adam, Lbfgs, Optimizer
from stylelab.losses import gram_matrix, mean_squared_error, style_loss
from stylelab.reference import CONTENT_LAYER, STYLE_LAYERS
from training.data import Pictures, integer, uniform

STEPS_A_VISIT = 4
VISITS = (3, 40)  # a batch of canvases is retired after this many
BATCHES = 12  # on the easel
RATIO = (1e-4, 1e-2)  # alpha / beta; 1e-3 by default in the package
OUTSIDE = 0.3  # how far a pixel may leave [0, 1]; beyond, the canvas has run away


class Painting:
    """One batch of canvases with its contents, styles and weights, and an optimizer for each canvas."""

    def __init__(self, pictures: Pictures, count: int, size: int, device: torch.device):
        draw = pictures.generator
        self.contents = torch.stack([pictures.picture(size) for _ in range(count)]).to(device)
        self.styles = torch.stack([pictures.picture(size) for _ in range(count)]).to(device)
        noise = torch.randn(self.contents.shape, generator=draw).to(device)
        self.canvas = (0.5 + 0.2 * noise) if uniform(draw) < 0.25 else self.contents + 0.01 * noise
        low, high = RATIO
        self.ratios = torch.tensor([low * (high / low) ** uniform(draw) for _ in range(count)], device=device)
        self.layers = self._layers(draw)
        self.optimizers = [self._optimizer(draw) for _ in range(count)]
        self.visits_left = VISITS[0] + integer(VISITS[1] - VISITS[0], draw)

    def _layers(self, draw: torch.Generator) -> tuple[str, ...]:
        """All style layers half of the time; else all but the first, or one alone, where a blind spot shows most."""
        kind = uniform(draw)
        if kind < 0.5:
            return STYLE_LAYERS
        return STYLE_LAYERS[1:] if kind < 0.8 else (STYLE_LAYERS[1 + integer(4, draw)],)

    def _optimizer(self, draw: torch.Generator) -> Optimizer:
        if uniform(draw) < 0.6:
            return Lbfgs(history=10, learning_rate=1.0)
        return Adam(learning_rate=0.01 * 4 ** uniform(draw), beta1=0.9, beta2=0.99, clamp=False)

    def paint(self, student: nn.Module) -> None:
        """A few steps on each canvas, by the default loss of the package."""
        with torch.no_grad(), self.bfloat16():
            features = student(self.styles)
            aims = student(self.contents)[CONTENT_LAYER]
        targets = {layer: gram_matrix(features[layer]) for layer in self.layers}
        for optimizer in self.optimizers:
            optimizer.objective_changed()  # the student has learned since the last visit
        for _ in range(STEPS_A_VISIT):
            self._step(student, targets, aims)
        self.visits_left -= 1

    def bfloat16(self) -> torch.autocast:
        return torch.autocast(self.canvas.device.type, torch.bfloat16)

    def _step(self, student: nn.Module, targets: dict[str, Tensor], aims: Tensor) -> None:
        canvas = self.canvas.detach().requires_grad_()
        with self.bfloat16():
            features = student(canvas.contiguous(memory_format=torch.channels_last))
        loss = self.ratios * mean_squared_error(features[CONTENT_LAYER], aims)
        for layer in self.layers:
            loss = loss + 4 * style_loss(gram_matrix(features[layer]), targets[layer]) / len(self.layers)
        (gradient,) = torch.autograd.grad(loss.sum(), canvas)
        parts = zip(self.optimizers, self.canvas.split(1), gradient.split(1), strict=True)
        moved = [optimizer.step(part, slope) for optimizer, part, slope in parts]
        self.canvas = torch.cat(moved).nan_to_num(0.5).clamp(-OUTSIDE, 1 + OUTSIDE)


class Easel:
    """Batches of canvases in progress; `next` paints on one of them and returns it."""

    def __init__(self, pictures: Pictures, count: int, size: int, device: torch.device):
        self.make = lambda: Painting(pictures, count, size, device)
        self.paintings: list[Painting] = []
        self.turn = -1

    def next(self, student: nn.Module) -> tuple[Tensor, Tensor]:
        """Canvases (N, 3, size, size), a few steps further than when last returned, and the styles they strive for.

        student: frozen, gives all layers.
        """
        self.turn = (self.turn + 1) % BATCHES
        if self.turn >= len(self.paintings):
            self.paintings.append(self.make())
        elif self.paintings[self.turn].visits_left <= 0:
            self.paintings[self.turn] = self.make()
        painting = self.paintings[self.turn]
        painting.paint(student)
        return painting.canvas.detach(), painting.styles

    def gallery(self) -> Tensor | None:
        """All canvases as they stand."""
        return torch.cat([painting.canvas for painting in self.paintings]) if self.paintings else None
