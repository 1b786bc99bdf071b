"""Work on a GPU recorded once and replayed: its hundreds of kernels then start without the host."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Work = Callable[..., Sequence[Tensor]]


class Replayed:
    """A function of tensors, recorded as a CUDA graph at its third call and at the third of every other shape.

    Where it can't be recorded it is called as it is.

    Args:
        work: tensors -> tensors, by the same kernels whatever their numbers, without waiting for the device. What it
            keeps from call to call it has made before the first, and writes to in place.
    """

    CALLS_BEFORE = 2  # in which the libraries choose their algorithms

    def __init__(self, work: Work) -> None:
        self.work = work
        self.graph: torch.cuda.CUDAGraph | None = None
        self.recordable = True
        self.shapes: list[torch.Size] = []
        self.calls = 0  # with these shapes

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """What the function returns, in memory of their own."""
        if not self.recordable:
            return [*self.work(*given)]
        shapes = [each.shape for each in given]
        if shapes != self.shapes:
            self.graph = self.found = self.given = None  # their memory is wanted
            self.shapes, self.calls = shapes, 0
        if self.graph is None and self.calls == self.CALLS_BEFORE:
            self._record(given)
        if self.graph is None:
            self.calls += 1
            return [*self.work(*given)]
        for place, each in zip(self.given, given, strict=True):
            place.copy_(each)
        self.graph.replay()
        return [each.clone() for each in self.found]

    def _record(self, given: Sequence[Tensor]) -> None:
        self.given = [each.clone() for each in given]
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device too
                self.found = [*self.work(*self.given)]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.recordable = False
            reason = str(error).splitlines()[0]
            warnings.warn(f"work is not replayed as a CUDA graph, and starts slower: {reason}", stacklevel=3)
            return
        self.graph = graph
