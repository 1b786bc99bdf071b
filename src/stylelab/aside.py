"""Work beside the painting: a GPU would stand still while a picture is encoded and written."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Aside:
    """Does what it is given, in order: at once, or by a thread of its own.

    What fails there is raised by a later call here.

    Args:
        threaded: whether by a thread.
    """

    MOST_WAITING = 8  # pieces of work that wait for the thread before the painting waits for it

    def __init__(self, *, threaded: bool) -> None:
        self.pool = ThreadPoolExecutor(1, "aside") if threaded else None
        self.waiting: deque[Future] = deque()

    def do(self, work: Callable[[], object]) -> None:
        """Have a piece of work done."""
        if self.pool is None:
            work()
            return
        self.waiting.append(self.pool.submit(work))
        while len(self.waiting) > self.MOST_WAITING or (self.waiting and self.waiting[0].done()):
            self.waiting.popleft().result()

    def wait(self) -> None:
        """Until all is done."""
        while self.waiting:
            self.waiting.popleft().result()

    def close(self) -> None:
        """Wait, and end the thread, whatever failed."""
        try:
            self.wait()
        finally:
            if self.pool is not None:
                self.pool.shutdown()
