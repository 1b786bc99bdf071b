"""Interruptions reach whoever paints, also where Python drops them."""

import signal

import pytest

from stylelab.interrupts import Terminated, raise_again, sigterm_as_interrupt


class Deaf:
    """Python ignores whatever is raised while it is being deleted."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_an_interruption_that_got_lost_is_raised_again(number, kind):
    with sigterm_as_interrupt():
        raise_again()
        Deaf(number)
        with pytest.raises(kind):
            raise_again()
    raise_again()  # over with the painting that it was meant for
