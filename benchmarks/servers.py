"""A tracking server that can be killed, hung and started again in a second, for tests and benchmarks.

It is MLflow's own server (`mlflow.server.fastapi_app` under uvicorn, which is what `mlflow server` starts), on SQLite
and with artifacts through it, forked from a process that has imported it once: from cold it takes ten seconds and more.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import kills

NURSERY = """
import ctypes, os, signal, sys
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
import uvicorn
from mlflow.server.fastapi_app import app
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    port, store, artifacts = line.rstrip("\\n").split("\\t")
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no server outlives the nursery
        os.environ |= {
            "_MLFLOW_SERVER_FILE_STORE": store, "_MLFLOW_SERVER_REGISTRY_STORE": store,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/", "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
        os._exit(0)
    print(pid, flush=True)
"""


class Nursery:
    """The process that servers are forked from."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-c", NURSERY]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def fork(self, port: int, store: str, artifacts: Path) -> int:
        """The process of a new server."""
        if not hasattr(self, "ready"):
            self.ready = self.process.stdout.readline()
        self.process.stdin.write(f"{port}\t{store}\t{artifacts}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """No more servers."""
        self.process.stdin.close()
        self.process.wait()


class Server:
    """One tracking server with its own folder and a port that it keeps.

    Args:
        folder: holds `mlflow.db`, which is there already, and `artifacts`.
        store: the address of another database; None: SQLite in the folder.
    """

    def __init__(self, nursery: Nursery, folder: Path, store: str | None = None) -> None:
        self.nursery, self.folder, self.pid = nursery, folder, 0
        self.store = store or f"sqlite:///{folder / 'mlflow.db'}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it; after `wait` it answers."""
        self.pid = self.nursery.fork(self.port, self.store, self.folder / "artifacts")
        while wait and not self.answers():
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it does."""
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.pid:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as nothing can prevent."""
        self.signal(signal.SIGKILL)
        self.pid = 0

    def hang(self) -> None:
        """From now on it takes connections and never answers."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again, also what it was asked meanwhile."""
        self.signal(signal.SIGCONT)


def tracked(client: Any, experiment: str) -> dict[str, Counter]:
    """Every record that a store holds of an experiment's runs, by the runs' names; a sweep's own run as `sweep`.

    Two runs that went the same way have the same records: places, times and identities are left out.
    """
    found = {}
    for run in client.search_runs([client.get_experiment_by_name(experiment).experiment_id]):
        run_id, tags = run.info.run_id, run.data.tags
        records = Counter([("status", run.info.status)])
        records.update(("tag", name) for name in tags)
        records.update(("parameter", *pair) for pair in run.data.params.items() if not _is_of_place(pair[0]))
        for name in run.data.metrics:
            history = client.get_metric_history(run_id, name)
            measured = name.startswith(("time/", "memory/"))
            records.update(("metric", name, each.step, None if measured else each.value) for each in history)
        records.update(("artifact", path) for path in _artifacts(client, run_id))
        name = "sweep" if "stylelab.role" in tags else run.info.run_name
        found[name] = found.get(name, Counter()) + records  # a run tracked twice has every record twice
    return found


def _is_of_place(name: str) -> bool:
    elsewhere = ("outputs", "tracking.uri", "tracking.experiment", "force")
    return name in elsewhere or name.startswith(("images.content", "images.style."))


def _artifacts(client: Any, run_id: str, folder: str | None = None) -> list[str]:
    """Every artifact's path, a canvas's without time."""
    found = []
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            found += _artifacts(client, run_id, entry.path)
        elif "+timestamp+" in entry.path:
            found.append(entry.path.partition("+timestamp+")[0] + Path(entry.path).suffix)
        else:
            found.append(entry.path)
    return found


def painting(configuration: str) -> None:
    """What `stylelab` does, with a word to the server as often as can be; says how long it waited in all."""
    from stylelab import patience, tracking, uploader

    uploader.Uploader.SECONDS_BETWEEN_WRITES = 0.05
    waited, wait = [], patience.wait

    def timed(*values, **named) -> bool:
        began = time.monotonic()
        answered = wait(*values, **named)
        waited.append(time.monotonic() - began)
        return answered

    tracking.wait = timed
    kills.paint(configuration)
    print(f"waited {sum(waited):.2f} s")
