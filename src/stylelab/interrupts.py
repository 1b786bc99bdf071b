"""Ctrl-C, SIGTERM and a cluster's notice as one kind of interruption, so that whatever was begun is ended in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be treated as Ctrl-C, with an exit code of its own."""


class Preempted(KeyboardInterrupt):
    """A cluster's notice that it will soon end the process and start it again: a checkpoint is due, then the end."""


_noticed = threading.Event()
_asked: list[type[KeyboardInterrupt]] = []  # interruptions raised inside, which somebody may have swallowed


def give_notice(*_: object) -> None:
    """A signal's handler: the run raises `Preempted` after its next step, with a checkpoint of it."""
    _noticed.set()


def notice_was_given() -> bool:
    """Whether the run is to end at once."""
    return _noticed.is_set()


def raise_again() -> None:
    """Raise an interruption that got lost: Python drops those that come while an object is being deleted."""
    if _asked:
        raise _asked[-1]


def named(interrupt: KeyboardInterrupt) -> str:
    """What it was, in a few words."""
    names = {Terminated: "SIGTERM", Preempted: "the cluster needs its place, or its time is up"}
    return names.get(type(interrupt), "Ctrl-C")


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside, once: a second one must not disturb the ending. Ctrl-C raises as ever.

    Only a main thread may ask for signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _asked.append(Terminated)
        raise Terminated

    def interrupt(signum: int, frame: object) -> None:
        _asked.append(KeyboardInterrupt)
        raise KeyboardInterrupt

    before: dict[int, Callable | int | None] = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
