"""Work on a GPU recorded once and replayed: its hundreds of kernels then start without the host."""

import contextlib
import functools
import gc
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from stylelab.errors import is_out_of_memory

Work = Callable[..., Sequence[Tensor]]


class Replayed:
    """A function of tensors, recorded as a CUDA graph at its third call and at the third of every other shape.

    Where it can't be recorded it is called as it is.

    Args:
        work: tensors -> tensors, by the same kernels whatever their numbers, without waiting for the device. What it
            keeps from call to call it has made before the first, and writes to in place. It may be done again where
            memory ended in the middle of it.
        kind: the graphs of a kind share their memory, which goes with the last of them.
    """

    CALLS_BEFORE = 2  # in which the libraries choose their algorithms
    possible = True  # in this process: after a recording that failed torch's allocator is not to be relied on

    def __init__(self, work: Work, *, kind: str) -> None:
        self.work, self.kind = work, kind
        self.graph: torch.cuda.CUDAGraph | None = None
        self.room = True  # in memory, for a recording
        self.shapes: list[torch.Size] = []
        self.calls = 0  # with these shapes

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """What the function returns, in memory of their own."""
        shapes = [each.shape for each in given]
        if shapes != self.shapes:
            self._forget()
            self.shapes, self.calls, self.room = shapes, 0, True
        if self.graph is None and self.calls == self.CALLS_BEFORE and self.room and Replayed.possible:
            self._record(given)
        if self.graph is None:
            self.calls = min(self.calls + 1, self.CALLS_BEFORE)
            return self._as_it_is(given)
        found = [torch.empty_like(each) for each in self.found]  # before the replay: it can't be done again
        for place, each in zip(self.given, given, strict=True):
            place.copy_(each)
        self.graph.replay()
        for place, each in zip(found, self.found, strict=True):
            place.copy_(each)
        return found

    def _as_it_is(self, given: Sequence[Tensor]) -> list[Tensor]:
        try:
            return [*self.work(*given)]
        except RuntimeError as error:
            if not is_out_of_memory(error) or not let_go(given[0].device):
                raise
        return [*self.work(*given)]

    def _forget(self) -> None:
        self.graph = self.found = self.given = None  # their memory is wanted

    def _record(self, given: Sequence[Tensor]) -> None:
        try:
            self.given = [each.clone() for each in given]
            graph = torch.cuda.CUDAGraph()
            with _recording(graph, given[0].device, kind=self.kind):
                self.found = [*self.work(*self.given)]
        except RuntimeError as error:
            self._forget()
            self.room = False
            if is_out_of_memory(error):
                let_go(given[0].device)
                return
            Replayed.possible = False
            reason = str(error).splitlines()[0]
            warnings.warn(f"work is not replayed as a CUDA graph, and starts slower: {reason}", stacklevel=3)
        else:
            self.graph, self.device = graph, given[0].device
            _recorded.add(self)


_recorded: weakref.WeakSet[Replayed] = weakref.WeakSet()


def let_go(device: torch.device | None = None) -> bool:
    """Of all graphs, or of a device's: nothing else can use their memory. Until its shapes change, work starts slower.

    Returns:
        Whether there were any.
    """
    held = [each for each in _recorded if each.graph is not None and device in (None, each.device)]
    for each in held:
        each._forget()
        each.room = False
    return bool(held)


@contextlib.contextmanager
def _recording(graph: torch.cuda.CUDAGraph, device: torch.device, *, kind: str) -> Iterator[None]:
    """Have what is started on a device recorded.

    All graphs of a kind work in the same memory: none is replayed while another is, and none keeps anything there but
    what it returns.
    """
    like = (each for each in _recorded if each.graph is not None and (each.device, each.kind) == (device, kind))
    pool = next((each.graph.pool() for each in like), None)
    collecting = gc.isenabled()
    gc.disable()  # a graph that is thrown away during a recording would end it
    with torch.cuda.device(device):
        before = torch.cuda.current_stream()
        try:
            # Other threads may use the device too.
            with torch.cuda.graph(graph, pool=pool, stream=_stream(device), capture_error_mode="thread_local"):
                yield
        finally:
            torch.cuda.set_stream(before)  # torch 2.11 leaves its own behind where a recording fails
            if collecting:
                gc.enable()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """A device's stream to record on; torch's own is the first device's, whichever records."""
    return torch.cuda.Stream(device)
