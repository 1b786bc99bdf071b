"""How long a process waits for a store, and what it asks no more once it has given up."""

import threading
import time

import pytest

from stylelab import patience
from stylelab.patience import GivenUp, Talk, Unanswered

SERVER, FILE = "http://host:5000", "sqlite:////tmp/mlflow.db"


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    patience.renew()
    yield
    patience.renew()


def seconds(event: threading.Event, talk: Talk, **values: float) -> float:
    began = time.monotonic()
    assert not patience.wait(event, talk, **values)
    return time.monotonic() - began


def test_the_silences_of_all_waits_add_up_until_a_server_answers() -> None:
    never, talk = threading.Event(), Talk(SERVER)
    assert seconds(never, talk) >= 0.3
    assert seconds(never, Talk(SERVER)) < 0.2
    talk.answered = time.monotonic()
    assert seconds(never, talk) >= 0.3
    patience.renew()
    assert seconds(never, talk) >= 0.3


def test_an_answering_server_and_a_file_are_waited_for_longer() -> None:
    over, talk = threading.Event(), Talk(SERVER)

    def answer() -> None:
        for _ in range(8):
            time.sleep(0.1)
            talk.answered = time.monotonic()
        over.set()

    threading.Thread(target=answer).start()
    assert patience.wait(over, talk)
    assert seconds(threading.Event(), Talk(FILE), longest=0.4) >= 0.3


def test_a_question_is_answered_refused_or_given_up() -> None:
    assert patience.ask(lambda talk: 7, SERVER) == 7

    def refuse(talk: Talk) -> None:
        raise OSError("no http://me:secret@host today")

    with pytest.raises(Unanswered, match=r"^http://host:5000: no http://host today$"):
        patience.ask(refuse, "http://me:secret@host:5000")
    gone = threading.Event()
    with pytest.raises(Unanswered, match=r"^http://host:5000 did not answer$"):
        patience.ask(lambda talk: gone.wait(5), SERVER)
    gone.set()


def test_a_client_asks_nothing_more_once_it_is_given_up() -> None:
    talk = Talk(SERVER)
    client = talk.heed("a text")
    before = talk.answered
    assert client.upper() == "A TEXT" and talk.answered > before
    talk.given_up.set()
    with pytest.raises(GivenUp):
        client.upper()
