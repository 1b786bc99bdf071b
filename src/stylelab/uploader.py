"""The thread that brings runs into MLflow while painting goes on; and bringing what waits from earlier."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from stylelab import run_folder, spool, sweep_mirror
from stylelab.addresses import redacted
from stylelab.mirror import Mirror
from stylelab.patience import GivenUp, Talk, reason
from stylelab.run_folder import Claim
from stylelab.store import open_store


class Uploader(threading.Thread):
    """Brings one run's folder into MLflow, then whatever else waits in the outputs folder for the same store.

    Args:
        folder: of the run, with a spool; None: only what else waits.
        address: the store's.
        experiment: its name.
    """

    SECONDS_BETWEEN_WRITES = 5.0
    SECONDS_BEFORE_ANOTHER_TRY = 0.5  # once painting is over; before that, as between writes

    def __init__(self, folder: Path | None, address: str, *, outputs: Path, experiment: str) -> None:
        super().__init__(daemon=True, name="uploader")
        self.folder, self.address, self.outputs, self.experiment = folder, address, outputs, experiment
        self.talk = Talk(address)
        self.ended = threading.Event()  # painting is over
        self.awake = threading.Event()
        self.whole = threading.Event()  # MLflow holds the run
        self.over = threading.Event()  # and whatever else waited
        self.place: dict[str, Any] | None = None  # where the run is tracked
        self.trouble: str | None = None  # why the last attempt failed
        self.mirror: Mirror | None = None
        self.others: Iterator[Callable[[], bool]] | None = None  # what brings each of the others

    def run(self) -> None:
        """Bring what has come, again and again; after a failure all of it anew, which does no harm."""
        while not self.talk.given_up.is_set():
            ended = self.ended.is_set()  # asked before, so that nothing comes after what is brought
            try:
                self._bring(ended)
                self.trouble = None
            except GivenUp:
                return
            except Exception as error:  # whatever MLflow, SQLAlchemy or a driver raise: whoever waits tells it
                self.mirror, self.trouble = None, f"{redacted(self.address)}: {reason(error)}"
            if ended and self.trouble is None:
                break
            self.awake.wait(self.SECONDS_BEFORE_ANOTHER_TRY if ended else self.SECONDS_BETWEEN_WRITES)
            self.awake.clear()
        self.whole.set()
        while self._bring_another():
            pass
        self.over.set()

    def _bring(self, ended: bool) -> None:
        if self.folder is None:
            return
        if self.mirror is None:
            client, experiment = open_store(self.address, outputs=self.outputs, experiment=self.experiment)
            mirror = Mirror(self.talk.heed(client), experiment, self.folder)
            mirror.open()
            self.mirror, self.place = mirror, mirror.place
        if ended:
            self.mirror.close()
        else:
            self.mirror.bring()
            self._bring_another()

    def _bring_another(self) -> bool:
        """Bring one of the runs and sweeps that the store still lacks; False where there is none."""
        if self.others is None:
            self.others = self._others()
        bring_it = next(self.others, None)
        if bring_it is None or self.talk.given_up.is_set():
            return False
        try:
            bring_it()
        except Exception:  # it goes on waiting, and stylelab-sync says why
            return not self.talk.given_up.is_set()
        return True

    def _others(self) -> Iterator[Callable[[], bool]]:
        for folder in waiting_for(self.address, self.outputs):
            if folder != self.folder:
                yield partial(bring, folder, self.address, self.talk)
        for folder in sweep_mirror.waiting(self.outputs, self.address):
            yield partial(sweep_mirror.bring_ended, folder, self.address, self.talk)

    def end(self) -> None:
        """Painting is over: the folder tells the rest."""
        self.ended.set()
        self.awake.set()

    def give_up(self) -> None:
        """Ask the store nothing more."""
        self.talk.given_up.set()
        self.awake.set()


def waiting_for(address: str, outputs: Path) -> Iterator[Path]:
    """The folders of ended runs that wait for a store."""
    for folder in spool.waiting(outputs):
        ended = run_folder.read(folder).get("status") not in (None, "RUNNING")
        if ended and spool.read(folder).get("uri") == redacted(address):
            yield folder


def bring(folder: Path, address: str, talk: Talk) -> bool:
    """Bring what waits in a run's folder into MLflow.

    Returns:
        Whether MLflow holds the whole run now: not where a living process has it, or it has not ended.
    """
    outputs = folder.parents[1]
    claim = Claim(outputs, run_folder.read(folder).get("key", "")[:12])
    if not claim.try_to_acquire():
        return False
    try:
        client, experiment = open_store(address, outputs=outputs, experiment=spool.read(folder)["experiment"])
        mirror = Mirror(talk.heed(client), experiment, folder)
        mirror.open()
        if mirror.record["status"] == "RUNNING":  # its process died: the same command goes on with it
            mirror.bring()
            return False
        mirror.close()
        return True
    finally:
        claim.release()
