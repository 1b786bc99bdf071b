"""A run's folder under outputs/runs: found by key, known to be whole or not, painted by one process at a time."""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stylelab import parameter_files
from stylelab.provenance import key_of

LASTING = ("pastiche.png", "losses.csv")  # the files whose bytes a finished run vouches for
HEARTBEAT = 10.0  # seconds between two signs of life of a painting process
PAUSE = 0.5  # seconds between two tries to claim what another process has
DEAD_AFTER = 60.0  # seconds without one after which a process on another host counts as dead


def find(outputs: Path, key: str, *, likely: Path) -> Path | None:
    """The folder of a key, whatever the pictures are called in its name; `likely` is looked at first."""
    if read(likely).get("key") == key:
        return likely
    for folder in sorted((outputs / "runs").glob(f"*-{key[:12]}")):
        if read(folder).get("key", key) == key:
            return folder
    return None


def read(folder: Path) -> dict[str, Any]:
    """The run.json of a folder; empty where there is none or it is damaged."""
    try:
        found = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the run.json of a folder, whole or not at all."""
    write_whole(folder / "run.json", json.dumps(record, indent=2, default=str) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all, whatever kills the process or the machine; a full disk leaves no part."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("w", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a finished run with every lasting file as it was when it finished."""
    record = read(folder)
    hashes = record.get("files", {})
    return (
        record.get("status") == "FINISHED"
        and key_of(record.get("decisive")) == record.get("key")
        and all((folder / name).is_file() for name in LASTING)
        and all(parameter_files.sha256_of(folder / name) == hashes.get(name) for name in LASTING)
    )


def lasting_hashes(folder: Path) -> dict[str, str]:
    """The sha256 of each lasting file that is there."""
    return {name: parameter_files.sha256_of(folder / name) for name in LASTING if (folder / name).is_file()}


def set_aside(path: Path) -> Path:
    """Rename a file or folder out of the way, and keep it: `name.before-1`, `name.before-2`, ..."""
    number = 1
    while (kept := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    path.rename(kept)
    return kept


class Claim:
    """The right to paint a key, or to conduct a sweep: one process has it at a time, and loses it when it dies.

    A lock of the operating system decides on one host. Where hosts share the folder but not the locks, the owner's
    sign of life decides: a claim of another host without one for `DEAD_AFTER` seconds is a dead process's.
    """

    def __init__(self, outputs: Path, name: str) -> None:
        self.owner_file = outputs / "locks" / f"{name}.owner"
        self.owner_file.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.owner_file.with_suffix(".lock"))
        self.released = threading.Event()
        self.beating: threading.Thread | None = None
        self.watched: Mapping[str, Any] = {}  # an owner on another host, as it was when it last gave a sign of life
        self.watched_since = time.monotonic()

    def awaited(self, *, tell: Callable[[str], None]) -> Iterator[None]:
        """Try until the claim is taken, once for each value asked for; `tell` is told once whom it waits for."""
        told = False
        while not self.try_to_acquire():
            if not told:
                owner = self._owner()
                who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
                tell(f"waiting: {who} is painting this very picture")
                told = True
            yield

    def try_to_acquire(self) -> bool:
        """Take the claim if no living process has it."""
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            return False
        owner = self._owner()
        if owner.get("host") not in (None, platform.node()) and not self._is_silent(owner):
            self.lock.release()
            return False
        try:
            self._beat()
        except OSError:
            self.lock.release()
            raise
        self.beating = threading.Thread(target=self._keep_beating, daemon=True)
        self.beating.start()
        return True

    def _is_silent(self, owner: Mapping[str, Any]) -> bool:
        """Whether an owner on another host has given no sign of life for long.

        Clocks of hosts differ, and jump: what counts is its file's age by the clock of the disk that they share, or for
        how long this very process has watched it without a change.
        """
        if owner != self.watched:
            self.watched, self.watched_since = owner, time.monotonic()
        os.utime(self.lock.lock_file)
        age = os.stat(self.lock.lock_file).st_mtime - self.owner_file.stat().st_mtime
        return max(age, time.monotonic() - self.watched_since) >= DEAD_AFTER

    def _owner(self) -> dict[str, Any]:
        try:
            found = json.loads(self.owner_file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _beat(self) -> None:
        partial = self.owner_file.with_suffix(".partial")
        partial.write_text(json.dumps({"host": platform.node(), "pid": os.getpid(), "heartbeat": time.time()}))
        partial.replace(self.owner_file)

    def _keep_beating(self) -> None:
        while not self.released.wait(HEARTBEAT):
            try:
                self._beat()
            except OSError:  # a full disk stops the sign of life, not the painting
                continue

    def release(self) -> None:
        """Give the claim back."""
        self.released.set()
        if self.beating is not None:
            self.beating.join()
        self.owner_file.unlink(missing_ok=True)
        self.lock.release()
