"""The gate of a process that takes turns: it waits, works for one evaluation, says what that took, and waits again.

The standard library alone, so that it costs a start nothing. `turns.py` is the other side.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

TURNS = "STYLELAB_TURNS"  # environment: file descriptors to read leave from and to tell what a turn took
LEAVE = b"."


class Gate:
    """This process's side of the turns. The first turn is the start: from its birth to its first `end_turn`."""

    def __init__(self) -> None:
        self._leave, self._telling = (int(number) for number in os.environ[TURNS].split(","))
        self._imports_mb = 0.0
        self.clock: Clock = Clock()

    def imported(self) -> None:
        """All that the program imports is in memory; peak memory counts from the first time that this is said."""
        if self._imports_mb:
            return
        self._imports_mb = _status_mb("VmRSS")
        reset_peak()

    def end_turn(self, loss: Callable[[], float] = lambda: float("nan")) -> None:
        """Say what the turn took and wait for the next one; the process ends where there is none.

        Args:
            loss: of the canvas; called when the clock stands.
        """
        seconds, cpu_seconds = self.clock.stop()
        found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": self.clock.peak_mb(self._imports_mb)}
        found["imports_mb"], found["loss"] = self._imports_mb, loss()
        os.write(self._telling, json.dumps(found).encode() + b"\n")
        if os.read(self._leave, 1) != LEAVE:
            os._exit(0)  # told to go: nothing of this process is wanted any more
        reset_peak()
        self.clock.start()


class Clock:
    """Wall and CPU seconds between `start` and `stop`; of the first turn, CPU seconds since the process's birth."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), 0.0

    def start(self) -> None:
        """Set to zero."""
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def stop(self) -> tuple[float, float]:
        """Wall and CPU seconds since the start."""
        return time.perf_counter() - self._began, time.process_time() - self._cpu_began

    def peak_mb(self, imports_mb: float) -> float:
        """The peak of resident memory since the start, above that after the imports."""
        return _status_mb("VmHWM") - imports_mb


class CudaClock(Clock):
    """The seconds of a GPU's stream, between two CUDA events.

    Args:
        device: cuda or cuda:N; the one in use from now on.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        import torch

        self._torch = torch
        torch.cuda.set_device(torch.device(device).index or 0)
        self._before = torch.cuda.memory_reserved()
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self._events[0].record()

    def start(self) -> None:
        super().start()
        self._torch.cuda.reset_peak_memory_stats()
        self._events[0].record()

    def stop(self) -> tuple[float, float]:
        self._events[1].record()
        self._events[1].synchronize()
        return self._events[0].elapsed_time(self._events[1]) / 1000, super().stop()[1]

    def peak_mb(self, imports_mb: float) -> float:
        """The peak of the GPU's memory above that when the clock was made, what graphs keep for themselves included."""
        return (self._torch.cuda.max_memory_reserved() - self._before) / 1e6


def reset_peak() -> None:
    """Let the peak of resident memory count from now; Linux only."""
    with contextlib.suppress(OSError):  # elsewhere the peak is the whole process's; the page says so
        Path("/proc/self/clear_refs").write_text("5")


def _status_mb(name: str) -> float:
    """A line of /proc/self/status in MB; nan off Linux."""
    try:
        return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        return float("nan")
