"""Processes that take turns, evaluation by evaluation, so that all numbers of a table are from the same minutes."""

import json
import math
import os
import random
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate import LEAVE, TURNS

SLOWEST_TURN = 900  # seconds; a start on a busy machine included


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A program to be timed.

    Args:
        name: its row in the tables.
        command: starts a process that calls `Gate.end_turn` after each evaluation.
        environment: beside this process's own.
        programs: names of what its turns do, one after the other; the default is one program of its own name.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one turn took."""

    seconds: float  # wall time
    cpu_seconds: float  # user and system time of all threads
    peak_mb: float  # of resident memory within the turn, above what was resident after the imports
    imports_mb: float  # resident memory after the imports
    loss: float  # in float32, where the contestant tells it
    joules: float = math.nan  # of all CPU packages during the turn, whoever used them


class Seat:
    """A contestant's process, waiting between its turns."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.programs = contestant.programs or (contestant.name,)
        leave_to_read, self._leaving = os.pipe()
        self._told, telling = os.pipe()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        environment = {**os.environ, **contestant.environment, TURNS: f"{leave_to_read},{telling}"}
        began = time.perf_counter()
        self._process = subprocess.Popen(
            contestant.command,
            env=environment,
            pass_fds=(leave_to_read, telling),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        os.close(leave_to_read)
        os.close(telling)
        first = self._listen()
        self.start = replace(first, seconds=time.perf_counter() - began)
        for _ in self.programs[1:]:  # so that the next turn is the first program's again
            self.turn()

    def turn(self) -> Turn | None:
        """Let it work for one evaluation; None where its program has come to its end."""
        os.write(self._leaving, LEAVE)
        return self._listen()

    def _listen(self) -> Turn | None:
        before, line = joules(), b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._told], [], [], SLOWEST_TURN)
            part = os.read(self._told, 4096) if ready else b""
            if not part and ready and self._process.wait() == 0:
                return None
            if not part:
                raise ValueError(self._complaint(ended=bool(ready)))
            line += part
        used = joules() - before
        return Turn(**json.loads(line), joules=used if used >= 0 else math.nan)  # the counter begins anew now and then

    def _complaint(self, *, ended: bool) -> str:
        self._log.seek(0)
        last = [line for line in self._log.read().splitlines() if line.strip()][-1:]
        what = "ended" if ended else f"gave no sign for {SLOWEST_TURN} s"
        if ended and self._process.wait() == -signal.SIGKILL:
            what = "was killed (out of memory?)"
        return f"{self.contestant.name} {what} before its turn was over: {last[0] if last else 'it said nothing'}"

    def close(self) -> None:
        """End the process."""
        os.close(self._leaving)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._told)
        self._log.close()


class Table:
    """Contestants around one table, each started, then given its turns; for use in a `with`."""

    def __init__(self, contestants: Sequence[Contestant]) -> None:
        self.contestants = contestants
        self.seats: dict[str, Seat] = {}

    def __enter__(self) -> "Table":
        try:
            for contestant in self.contestants:
                self.seats[contestant.name] = Seat(contestant)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self.seats.values():
            seat.close()

    def rounds(self, count: int, *, warm_up: int = 1) -> dict[str, list[Turn]]:
        """Turns of every contestant, in an order drawn anew for each round.

        Args:
            warm_up: rounds before that are not kept.
        """
        drawn, seats = random.Random(0), list(self.seats.values())
        kept: dict[str, list[Turn]] = {name: [] for seat in seats for name in seat.programs}
        for number in range(-warm_up, count):
            drawn.shuffle(seats)
            for place in range(max(len(seat.programs) for seat in seats)):
                for seat in seats:
                    if place < len(seat.programs):
                        turn = seat.turn()
                        if number >= 0:
                            kept[seat.programs[place]].append(turn)
        return kept


def once(contestant: Contestant) -> Turn:
    """The start of a process up to the end of its first evaluation."""
    seat = Seat(contestant)
    seat.close()
    return seat.start


def whole(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command from its start to its end.

    Raises:
        ValueError: it failed; with the last line that it said.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise ValueError(f"{' '.join(command[:4])} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def joules(powercap: Path = Path("/sys/class/powercap")) -> float:
    """Energy used so far by all CPU packages (RAPL), in joules; nan where it can't be read."""
    found = []
    for zone in powercap.glob("*-rapl:?"):
        try:
            found.append(int((zone / "energy_uj").read_text()) / 1e6)
        except (OSError, ValueError):
            return float("nan")
    return sum(found) if found else float("nan")
