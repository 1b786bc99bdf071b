"""Ctrl-C and SIGTERM as one kind of interruption, so that whatever was begun is ended in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be treated as Ctrl-C, with an exit code of its own."""


def named(interrupt: KeyboardInterrupt) -> str:
    """What it was, in a word."""
    return "SIGTERM" if isinstance(interrupt, Terminated) else "Ctrl-C"


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside; only a main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(signum: int, frame: object) -> None:
        raise Terminated

    before: Callable | int | None = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
