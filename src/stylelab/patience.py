"""Requests to a tracking store that nobody has to wait for: made in threads, watched, given up where none answers."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from stylelab.addresses import redacted
from stylelab.store import is_file

PATIENCE = 5.0  # seconds that a process waits, all its waiting together, for a server that has fallen silent
PATIENCE_WITH_A_FILE = 60.0  # SQLite is no server: it answers as soon as other processes let go of it
PLAIN_WORDS = {  # of what libraries say at length
    "Connection refused": "connection refused",
    "timed out": "no answer",
    "failed to resolve": "there is no such host",
    "Name or service not known": "there is no such host",
    "Failed to resolve": "there is no such host",
}
Found = TypeVar("Found")


class Unanswered(Exception):
    """The store did not answer in time, or refused."""


class GivenUp(Exception):
    """Nobody waits for this thread any more."""


class Talk:
    """What a thread has to do with a store: when it last answered, and whether anybody still waits for that."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = 0.0  # on time.monotonic's clock
        self.given_up = threading.Event()

    def heed(self, client: Any) -> "Heeding":
        """A client of MLflow's whose answers are noted, and which asks nothing more once it has been given up."""
        return Heeding(client, self)


class Heeding:
    """MLflow's client, watched."""

    def __init__(self, client: Any, talk: Talk) -> None:
        self._client, self._talk = client, talk

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def ask(*values: Any, **named: Any) -> Any:
            if self._talk.given_up.is_set():
                raise GivenUp
            answer = found(*values, **named)
            self._talk.answered = time.monotonic()
            return answer

        return ask


class _Silence:
    """How long this process has waited since a store last answered it."""

    def __init__(self) -> None:
        self.seconds, self.until = 0.0, 0.0
        self.longest: float | None = None  # None: PATIENCE

    def add(self, talk: Talk, seconds: float) -> None:
        if talk.answered > self.until:
            self.seconds = 0.0
        self.until = time.monotonic()
        self.seconds += seconds


_silence = _Silence()


def wait(event: threading.Event, talk: Talk, *, longest: float = float("inf")) -> bool:
    """Wait for what a thread does with a store; False where the store is silent, or it takes too long.

    The silences of all waits of a process are added up until an answer comes: where one run has waited in vain, the
    next one does not wait at all.

    Args:
        longest: seconds, even if the store does answer.
    """
    patience = PATIENCE_WITH_A_FILE if is_file(talk.address) else _silence.longest or PATIENCE
    began = last = time.monotonic()
    while not event.wait(0.02):
        now = time.monotonic()
        _silence.add(talk, now - last)
        last = now
        if _silence.seconds > patience or now - began > longest:
            return False
    return True


def renew(longest: float | None = None) -> None:
    """Have patience again, where no painting is held up any more.

    Args:
        longest: seconds of it; None: `PATIENCE`.
    """
    _silence.seconds, _silence.longest = 0.0, longest


def ask(question: Callable[[Talk], Found], address: str) -> Found:
    """The answer of a store to a question.

    Raises:
        Unanswered: it did not answer in time, or refused.
    """
    talk, over = Talk(address), threading.Event()
    answers: list[Found] = []
    troubles: list[Exception] = []

    def run() -> None:
        try:
            answers.append(question(talk))
        except Exception as error:  # whatever MLflow, SQLAlchemy or a driver raise
            troubles.append(error)
        over.set()

    threading.Thread(target=run, daemon=True).start()
    if not wait(over, talk):
        talk.given_up.set()
        raise Unanswered(f"{redacted(address)} did not answer")
    if troubles:
        raise Unanswered(f"{redacted(address)}: {reason(troubles[0])}") from troubles[0]
    return answers[0]


def reason(error: Exception) -> str:
    """Why a request failed, in a line without secrets."""
    said = " ".join(str(error).split())
    plain = next((short for words, short in PLAIN_WORDS.items() if words in said), None)
    return plain or redacted(said)[:200] or type(error).__name__
