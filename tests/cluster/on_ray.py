"""A real Ray cluster of a head and two further nodes, and sweeps on it with a worker killed and a node lost.

`make test-cluster` or, as root, `python tests/cluster/on_ray.py`; the extra `ray` must be installed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from nodes import HEAD, NODES, network, on, power_off
from sweeps import Sweep, expect, tell, wait_until

PORT = 6399
STEPS = 800
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


def main() -> None:
    """A sweep of eight runs: one run's worker is killed, later a node with all that runs on it."""
    if os.geteuid():
        sys.exit("this test makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is ended

    with tempfile.TemporaryDirectory(prefix="stylelab-ray-") as name, cluster(folder := Path(name)):
        tell(f"ray {version('ray')}, a head and two nodes of two cores")
        sweep = Sweep(folder, *LAUNCHER, "seed=range(8)", runs=8, steps=STEPS)
        began = time.monotonic()
        process = sweep.start()
        painting = sweep.wait_for(
            lambda: len(hosts := {each["host"]: each for each in sweep.painting()}) == 2 and hosts,
            what="runs that paint on both nodes",
        )
        victim = painting["n1"]
        os.kill(victim["pid"], signal.SIGKILL)
        tell(f"killed pid {victim['pid']} on n1, which painted {victim['folder'].name}")
        lost = {each["folder"].name for each in sweep.painting() if each["host"] == "n2"}
        power_off("n2")
        tell(f"n2 has no power: {', '.join(sorted(lost))}")
        code = process.wait(1800)
        tell(f"the sweep ended with {code} after {time.monotonic() - began:.0f} s")
        if code:  # Ray gave a run up
            code = sweep.finish()
        tell(sweep.check(exit_code=code))
        resumed = {record["folder"].rpartition("/")[2]: record["resumed"] for record in sweep.records()}
        expect(all(resumed[each] for each in lost | {victim["folder"].name}), "resumed runs", str(resumed))
        tell(f"went on: {[(each['step'], each['host']) for run in resumed.values() for each in run]}")
    print("all as expected")


if __name__ == "__main__":
    main()
