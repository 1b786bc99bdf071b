"""Two machines on one: network namespaces with host names and addresses of their own, over one disk. Needs root."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HEAD = "10.77.0.1"  # this machine as the nodes see it
NODES = {"n1": "10.77.0.11", "n2": "10.77.0.12"}
BRIDGE = "stylelab0"


def run(command: str, **options: object) -> str:
    """A command's output; its failure ends the test."""
    found = subprocess.run(shlex.split(command), capture_output=True, text=True, **options)
    if found.returncode:
        sys.exit(f"{command}: {found.stdout}{found.stderr}")
    return found.stdout


def install(*packages: str, unless: str) -> None:
    """Debian packages, where a command of theirs is missing."""
    if subprocess.run(["which", unless], capture_output=True).returncode:
        run("apt-get update -qq")
        options = "-y -qq --no-install-recommends"
        run(f"apt-get install {options} {' '.join(packages)}", env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


@contextmanager
def network() -> Iterator[None]:
    """A bridge with both nodes on it; afterwards nothing of it is left."""
    remove()
    try:
        run(f"ip link add {BRIDGE} type bridge")
        run(f"ip addr add {HEAD}/24 dev {BRIDGE}")
        run(f"ip link set {BRIDGE} up")
        for name, address in NODES.items():
            run(f"ip netns add {name}")
            run(f"ip link add veth-{name} type veth peer name eth0 netns {name}")
            run(f"ip link set veth-{name} master {BRIDGE} up")
            run(f"ip netns exec {name} ip addr add {address}/24 dev eth0")
            run(f"ip netns exec {name} ip link set eth0 up")
            run(f"ip netns exec {name} ip link set lo up")
        yield
    finally:
        remove()


def remove() -> None:
    """Take the nodes away, with everything that runs on them."""
    for name in NODES:
        if Path(f"/run/netns/{name}").exists():
            power_off(name)
            run(f"ip netns del {name}")
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)


def on(name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a command on a node; not by `ip netns exec`, which hides /sys/fs/cgroup from slurmd."""
    inside = f"hostname {name} && exec {shlex.join(command)}"
    with log.open("a") as file:
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{name}", "unshare", "--uts", "sh", "-c", inside],
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | environment,
        )


def power_off(name: str) -> None:
    """What a power cut does to a node: all its processes are gone at once."""
    for pid in run(f"ip netns pids {name}").split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:  # ended by itself since it was listed
            continue
