"""A real Ray cluster of a head and two further nodes; sweeps and studies on it, with a worker killed and a node lost.

`make test-cluster` or, as root, `python tests/cluster/on_ray.py`; the extra `ray` must be installed.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from nodes import HEAD, NODES, network, on, power_off
from scenes import SECONDS, a_pruned_study, a_study, a_sweep_interrupted
from sweeps import Sweep, expect, play, tell, wait_until

PORT = 6399
LAUNCHER = ("hydra/launcher=ray", f"hydra.launcher.address={HEAD}:{PORT}")
RAY = Path(sys.executable).with_name("ray")
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A head that paints nothing, and the nodes, with two cores each; they ask for a token."""
    (folder / "token").write_text("0" * 64)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")  # by which the sweep knows that a token is asked for
    with network():
        head = ["--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--num-cpus=0", "--include-dashboard=false"]
        headed = start(head, on_node=None, folder=folder)
        try:
            expect(bool(wait_until(lambda: nodes_there() == 1)), "no head", (folder / "ray-head.log").read_text())
            for number, (name, address) in enumerate(NODES.items(), start=2):
                joining = [f"--address={HEAD}:{PORT}", f"--node-ip-address={address}", "--num-cpus=2"]
                for _ in range(5):  # a raylet gives up where its agents take over 15 s, as on a busy machine
                    start(joining, on_node=name, folder=folder)
                    if wait_until(lambda number=number: nodes_there() == number, seconds=60):
                        break
                    power_off(name)
            yield
        finally:
            power_off_head(headed)


def start(arguments: list[str], *, on_node: str | None, folder: Path) -> subprocess.Popen:
    """`ray start` on a node, or here."""
    command = [
        str(RAY),
        "start",
        "--block",
        "--object-store-memory=200000000",
        "--disable-usage-stats",
        *arguments,
    ]
    log = folder / f"ray-{on_node or 'head'}.log"
    if on_node:
        return on(on_node, command, log=log, environment=QUIET)
    with log.open("a") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | QUIET, start_new_session=True)


def power_off_head(process: subprocess.Popen) -> None:
    """End `ray start` with all that it started."""
    if process.poll() is None:
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            each.kill()


def nodes_there() -> int:
    """Nodes of the cluster, the head among them."""
    asking = (
        f"import ray; ray.init('{HEAD}:{PORT}', logging_level='error'); print(sum(n['Alive'] for n in ray.nodes()))"
    )
    asked = subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, env=os.environ | QUIET)
    return int(asked.stdout.strip() or 0)


def a_worker_killed_and_a_node_lost(folder: Path, *launcher: str) -> None:
    """SIGKILL to one run's worker, then a node loses its power: Ray starts their runs again on the other node."""
    sweep = Sweep(folder, *launcher, "seed=range(8)", runs=8, seconds=SECONDS)
    sweep.start()
    _, lost = sweep.painting_on("n1", "n2")
    victim = sweep.kill_a_worker("n1")
    power_off("n2")
    tell(f"n2 has no power: {', '.join(sorted(lost))}")
    if code := sweep.end():  # Ray gave a run up
        code = sweep.finish()
    tell(sweep.check(exit_code=code))
    sweep.check_resumed(lost | {victim})


SCENES = (a_sweep_interrupted, a_study, a_pruned_study, a_worker_killed_and_a_node_lost)


def main() -> None:
    """All scenes, or those named on the command line."""
    if os.geteuid():
        sys.exit("this test makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is ended

    with tempfile.TemporaryDirectory(prefix="stylelab-ray-") as name, cluster(folder := Path(name)):
        tell(f"ray {version('ray')}, a head and two nodes of two cores")
        play(SCENES, folder, *LAUNCHER)


if __name__ == "__main__":
    main()
