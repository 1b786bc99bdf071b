"""Paintings carried on in rounds: a step of each, those steps evaluated together, and so on until all have ended."""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, TextIO

import torch
from tqdm import tqdm

from stylelab.errors import is_out_of_memory
from stylelab.interrupts import Preempted
from stylelab.recorders import FINISHED, Record
from stylelab.replay import let_go
from stylelab.run_folder import PAUSE
from stylelab.together import Together
from stylelab.transfer import Step

Painting = Generator[Step | None, None, Mapping[str, Any]]
Ended = Callable[[int, Mapping[str, Any] | Exception], None]


class Rounds:
    """Carries paintings to their ends; one that fails leaves, and the others go on.

    Args:
        paintings: by number, as `stylelab.runner.painting` begins them.
        most: canvases to evaluate at once; 1: one after another, so that each has the bytes of a single run's.
        ended: told of each painting what it returned or raised.
    """

    def __init__(self, paintings: Mapping[int, Painting], *, most: int, ended: Ended) -> None:
        self.living, self.ended = dict(paintings), ended
        self.together = Together(most)
        self.notice: Preempted | None = None

    def paint(self) -> None:
        """Go on until all have ended.

        Raises:
            KeyboardInterrupt: Ctrl-C, SIGTERM or a cluster's notice, after every run has been ended in order.
        """
        try:
            while self.living:
                steps = [step for number in list(self.living) if (step := self._next(number)) is not None]
                if steps:
                    self._evaluate(steps)
                elif self.living:
                    time.sleep(PAUSE)  # other processes have all that is left in hand
        except BaseException as error:
            self._end_all(error)
            raise
        if self.notice is not None:
            raise self.notice

    def _next(self, number: int) -> Step | None:
        """The next step of a painting; None where it has ended or waits."""
        painting = self.living.pop(number)
        try:
            step = next(painting)
        except StopIteration as end:
            self.ended(number, end.value)
        except Preempted as notice:
            self.notice = notice  # the others save theirs as they come to their next step
        except Exception as error:
            self.ended(number, error)
        else:
            self.living[number] = painting
            return step
        return None

    def _evaluate(self, steps: list[Step]) -> None:
        """Evaluate steps together; where memory ends, fewer at a time."""
        while self.together.most > 1:
            try:
                self.together.evaluate([step.evaluation for step in steps])
                return
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                tried = self.together.most
                self.together.halve()
            if torch.cuda.is_available():
                let_go()
                torch.cuda.empty_cache()
            tell(
                f"batch: out of memory with {tried} canvases at once: going on with {self.together.most}; "
                f"batch={self.together.most} would fit"
            )

    def _end_all(self, error: BaseException) -> None:
        """Have every painting end as if this had happened to it; a second interrupt ends the ending."""
        for painting in self.living.values():
            try:
                painting.throw(error)
            except BaseException as raised:
                if isinstance(raised, KeyboardInterrupt) and raised is not error:
                    raise


class Overview:
    """How far a batch is: one bar on a terminal, a plain line now and then elsewhere.

    Args:
        steps: of each run, by number.
    """

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, steps: Mapping[int, int], *, stream: TextIO | None = None) -> None:
        self.steps, self.done = dict(steps), dict.fromkeys(steps, 0)
        self.runs, self.over = len(steps), 0
        self.stream = stream or sys.stderr
        self.bar = tqdm(total=sum(self.steps.values()), file=self.stream, unit="step") if self.stream.isatty() else None
        self.skipped = 0  # steps that checkpoints saved
        self.began, self.last_line = time.monotonic(), float("-inf")

    def of(self, number: int) -> "Part":
        """What one run tells."""
        return Part(self, number)

    def show(self, *, now: bool = False) -> None:
        """Say how far it is, if it is time."""
        done, whole = sum(self.done.values()), sum(self.steps.values())
        if self.bar is not None:
            self.bar.total = whole
            self.bar.set_postfix_str(f"{self.over} of {self.runs} runs have ended", refresh=False)
            self.bar.update(done - self.bar.n)
            return
        time_now = time.monotonic()
        if now or time_now - self.last_line >= self.SECONDS_BETWEEN_LINES:
            self.last_line = time_now
            painted = done - self.skipped
            left = f", {(whole - done) * (time_now - self.began) / painted:.0f} s left" if painted else ""
            tell(f"{self.runs} runs, {self.over} have ended: step {done}/{whole}{left}", self.stream)


class Part:
    """One run's part of an overview: a recorder."""

    def __init__(self, whole: Overview, number: int) -> None:
        self.whole, self.number = whole, number

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Count what a checkpoint saved."""
        self.whole.done[self.number] = resumed_at or 0
        self.whole.skipped += resumed_at or 0

    def step(self, step: Step) -> None:
        """Show a step."""
        self.whole.done[self.number] = step.number
        self.whole.show()

    def finish(self, record: Record) -> None:
        """A run that is over has no steps left."""
        self.whole.over += 1
        self.whole.steps[self.number] = self.whole.done[self.number]
        self.whole.show(now=self.whole.over == self.whole.runs or record.status != FINISHED)


def tell(message: str, stream: TextIO | None = None) -> None:
    """Say something beside the results."""
    print(message, file=stream or sys.stderr, flush=True)
