"""A small sweep, what it left, and what must hold of it in the end."""

import atexit
import functools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST_WAIT = 600.0  # seconds for anything awaited
SMALL = ("network=embedded", "images.long_side=128", "threads=1", "checkpoint_seconds=1", "tracking.pictures_every=0")


class Sweep:
    """A sweep's command, which can be given again.

    Args:
        folder: for outputs and logs; relative paths in the command start here.
        overrides: of the launcher and of what is swept.
        runs: how many the overrides make.
        seconds: that each would take on a core of its own.
    """

    def __init__(self, folder: Path, *overrides: str, runs: int, seconds: float) -> None:
        self.folder, self.outputs, self.runs = folder, folder / "outputs of it", runs
        self.steps = steps = max(60, round(seconds / seconds_per_step()))
        cache = f"reference.cache={folder}"  # empty: the embedded network judges
        self.arguments = ["-m", *SMALL, f"optimizer.steps={steps}", "outputs=outputs of it", cache, *overrides]

    def start(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
        """Give the command."""
        self.began = time.monotonic()
        log = (self.folder / "sweep.log").open("a")
        command = [sys.executable, "-m", "stylelab", *self.arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {})
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)
        atexit.register(self.process.kill)  # where the test ends before it does
        return self.process

    def said(self) -> str:
        """The end of what the commands said."""
        return (self.folder / "sweep.log").read_text()[-3000:]

    def wait_for(self, there: Callable[[], object], *, what: str) -> Any:
        """What `there` returns as soon as it returns something, while the command runs."""
        found = wait_until(there, going_on=lambda: self.process.poll() is None)
        expect(bool(found), f"waited in vain for {what}", self.said())
        return found

    def finish(self, environment: Mapping[str, str] | None = None) -> int:
        """Give the command and wait for its exit code."""
        self.start(environment)
        return self.end()

    def end(self) -> int:
        """Wait for the command's exit code."""
        code = self.process.wait(1800)
        tell(f"the command ended with {code} after {time.monotonic() - self.began:.0f} s")
        return code

    def painting_on(self, *nodes: str) -> list[set[str]]:
        """The names of the runs that paint on each node, as soon as each has one."""

        def found() -> list[set[str]] | None:
            owners = self.painting()
            names = [{each["folder"].name for each in owners if each["host"] == node} for node in nodes]
            return names if all(names) else None

        return self.wait_for(found, what=f"runs that paint on {' and '.join(nodes)}")

    def kill_a_worker(self, node: str) -> str:
        """SIGKILL to the process of a run that paints on a node; the run's name."""
        victim = self.wait_for(
            lambda: [each for each in self.painting() if each["host"] == node], what=f"a run that paints on {node}"
        )[0]
        os.kill(victim["pid"], signal.SIGKILL)
        tell(f"killed pid {victim['pid']} on {node}, which painted {victim['folder'].name}")
        return victim["folder"].name

    def check_resumed(self, names: Iterable[str]) -> None:
        """That these runs were taken up from their checkpoints."""
        resumed = {record["folder"].rpartition("/")[2]: record["resumed"] for record in self.records()}
        expect(all(resumed[name] for name in names), "resumed runs", str(resumed))
        times = [f"from step {each['step']} on {each['host']}" for name in names for each in resumed[name]]
        tell(f"went on: {', '.join(times)}")

    def records(self) -> list[dict]:
        """Every run.json."""
        found = []
        for path in sorted(self.outputs.glob("runs/*/run.json")):
            try:
                found.append(json.loads(path.read_text()))
            except ValueError:  # being replaced
                continue
        return found

    def painting(self) -> list[dict]:
        """The owners (host, pid) and folders of the runs that are painting and have a checkpoint."""
        found = []
        for checkpoint in self.outputs.glob("runs/*/checkpoint.pt"):
            key = checkpoint.parent.name.rpartition("-")[2]
            try:
                owner = json.loads((self.outputs / "locks" / f"{key}.owner").read_text())
            except (OSError, ValueError):
                continue
            found.append(owner | {"folder": checkpoint.parent})
        return found

    def check(self, *, exit_code: int) -> str:
        """That the sweep is whole: every run FINISHED once, under a parent, with every step of every metric once."""
        expect(exit_code == 0, f"exit code {exit_code}", self.said())
        records = self.records()
        expect([record["status"] for record in records] == ["FINISHED"] * self.runs, "runs in folders", self.said())
        with sqlite3.connect(self.outputs / "mlflow.db") as store:
            tagged = (
                "select r.run_uuid, r.status, t.value from runs r join tags t on t.run_uuid = r.run_uuid and t.key = ?"
            )
            painted = store.execute(tagged, ("stylelab.key",)).fetchall()
            parents = {run_id: status for run_id, status, _ in store.execute(tagged, ("stylelab.role",))}
            above = dict(store.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'"))
            steps = store.execute("select run_uuid, step from metrics where key = 'loss/total'").fetchall()
        expect(sorted({status for _, status, _ in painted}) == ["FINISHED"], "statuses in MLflow", str(painted))
        expect(len({key for *_, key in painted}) == len(painted) == self.runs, "runs in MLflow", str(painted))
        expect(all(above.get(run_id) in parents for run_id, *_ in painted), "parents", str(above))
        expect("RUNNING" not in parents.values() and "FINISHED" in parents.values(), "parent runs", str(parents))
        expect(max(Counter(steps).values()) == 1, "steps in MLflow twice", "")
        expect(len(steps) == self.runs * (self.steps + 1), "steps in MLflow", str(Counter(run for run, _ in steps)))
        left = list(self.outputs.rglob("jobs/*.pkl"))  # a job's configuration, which may name a password
        expect(not left, "pickles of jobs that have ended", str(left))
        return f"{self.runs} of {self.runs} runs FINISHED, each of {len(steps)} steps in MLflow once"


@functools.cache
def seconds_per_step() -> float:
    """Of a small run, on this machine as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        where = ("tracking=off", f"outputs={folder}", f"reference.cache={folder}", "optimizer.steps=200")
        command = [sys.executable, "-m", "stylelab", *SMALL, *where]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        (record,) = Path(folder).glob("runs/*/run.json")
        found = json.loads(record.read_text())["metrics"]["time/seconds_per_step"]
    tell(f"a step takes {1000 * found:.0f} ms")
    return found


def expect(holds: bool, what: str, found: str) -> None:
    """End the test where something does not hold."""
    if not holds:
        sys.exit(f"NOT AS EXPECTED: {what}\n{found}")


def wait_until(
    there: Callable[[], object], *, going_on: Callable[[], bool] = lambda: True, seconds: float = LONGEST_WAIT
) -> Any:
    """What `there` returns as soon as it returns something; None where that never comes or nothing goes on any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and going_on():
        if found := there():
            return found
        time.sleep(0.2)
    return None


def play(scenes: Sequence[Callable[..., None]], folder: Path, *launcher: str) -> None:
    """The scenes named on the command line, or all of them, each in a folder of its own."""
    named = [word for word in sys.argv[1:] if "=" not in word]
    for scene in scenes:
        if scene.__name__ in named or not named:
            tell(scene.__name__.replace("_", " "))
            place = folder / scene.__name__
            place.mkdir()
            scene(place, *launcher)
    print("all as expected")


def tell(message: str) -> None:
    """A line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {message}", flush=True)
