"""Processes that tests may kill, from benchmarks/kills.py: forked from a server that has imported everything once."""

import functools
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import kills

kills.PROCESSES.set_forkserver_preload([*kills.PRELOADED, "stylelab.__main__", "stylelab.trial", "optuna", "pytest"])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder with a fresh store, which takes seconds to make: copy it."""
    outputs = tmp_path_factory.mktemp("store") / "outputs"
    kills.finish(kills.open_a_store, str(outputs), log=outputs.parent / "log")
    return outputs


@functools.cache
def _configured(*arguments: str) -> str:
    return kills.configured(arguments)


class Place:
    """A folder with two small pictures, an outputs folder with an empty store, and the processes that paint there."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store, self.outputs, self.log = folder, store, folder / "outputs", folder / "log"
        folder.mkdir(exist_ok=True)
        kills.draw_pictures(folder)
        self.renew()

    def renew(self) -> None:
        """An empty store and no runs."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        shutil.copytree(self.store, self.outputs)

    def arguments(self, *settings: str) -> list[str]:
        """The command line of a small run or, where the settings begin with -m, of a sweep."""
        swept = settings[:1] == ("-m",)
        return [*settings[:swept], *kills.overrides(self.folder, self.outputs, settings[swept:])]

    def configured(self, *settings: str) -> str:
        """The configuration of a small run, as text."""
        return _configured(*self.arguments(*settings))

    def paint(self, *settings: str) -> str:
        """Paint to the end; what was said."""
        self.log.unlink(missing_ok=True)
        kills.finish(kills.paint, self.configured(*settings), log=self.log)
        return self.log.read_text()

    def stylelab(self, *settings: str) -> tuple[int, str]:
        """`stylelab SETTINGS`: exit code and what was said."""
        self.log.unlink(missing_ok=True)
        process = kills.begin(kills.stylelab, *self.arguments(*settings), log=self.log)
        process.join()
        return process.exitcode, self.log.read_text()

    def folders(self) -> list[Path]:
        """The folders of runs, those set aside included."""
        return sorted(path for path in (self.outputs / "runs").glob("*") if path.is_dir())

    def ask(self, question: str, *values: str) -> list[tuple]:
        """Rows of the store."""
        with sqlite3.connect(self.outputs / "mlflow.db") as store:
            return store.execute(question, values).fetchall()

    def statuses(self) -> list[str]:
        """The statuses of the tracked runs that painted, by their start."""
        return [status for (status,) in self.ask(f"{TAGGED} order by r.start_time", "stylelab.key")]


TAGGED = "select r.status from runs r join tags t on t.run_uuid = r.run_uuid and t.key = ?"


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Place:
    """A fresh place."""
    return Place(tmp_path / "place", empty_store)
