"""An evaluation on a GPU recorded once and replayed: its hundreds of kernels then start without the host."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Compare = Callable[[Tensor], tuple[Tensor, Tensor]]


class Replayed:
    """What compares a canvas, recorded as a CUDA graph at the first canvas and at each of another shape.

    Where it can't be recorded, each canvas is compared as it would be without.

    Args:
        compare: canvas (N, 3, H, W) -> errors and gradient, without waiting for the device.
    """

    WARM_UP = 2  # evaluations before it is recorded, in which the libraries choose their algorithms

    def __init__(self, compare: Compare) -> None:
        self.compare = compare
        self.graph: torch.cuda.CUDAGraph | None = None
        self.recordable = True

    def __call__(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Errors and gradient, in memory of their own."""
        if self.recordable and (self.graph is None or self.canvas.shape != canvas.shape):
            self._record(canvas)
        if self.graph is None:
            return self.compare(canvas)
        self.canvas.copy_(canvas)
        self.graph.replay()
        errors, gradient = self.found
        return errors.clone(), gradient.clone()

    def _record(self, canvas: Tensor) -> None:
        self.graph = self.found = None  # their memory is wanted
        self.canvas = canvas.clone()
        aside = torch.cuda.Stream(canvas.device)
        aside.wait_stream(torch.cuda.current_stream(canvas.device))
        with torch.cuda.stream(aside):
            for _ in range(self.WARM_UP):
                self.compare(self.canvas)
        torch.cuda.current_stream(canvas.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device too
                self.found = self.compare(self.canvas)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.recordable = False
            reason = str(error).splitlines()[0]
            warnings.warn(f"evaluations are not replayed as a CUDA graph, and start slower: {reason}", stacklevel=2)
            return
        self.graph = graph
