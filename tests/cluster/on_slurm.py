"""A real Slurm of two nodes, and sweeps on it with jobs pre-empted, killed, out of time, and a node lost.

`make test-cluster` or, as root on Debian, `python tests/cluster/on_slurm.py`. Slurm, slurmdbd, MariaDB and munge are
Debian's packages, run from a temporary folder and are ended afterwards; nothing in /etc is touched.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nodes import HEAD, NODES, install, network, on, power_off, run
from sweeps import Sweep, expect, tell, wait_until

CONFIGURATION = """
ClusterName=stylelab
SlurmctldHost={host}({head})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={head}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/linux
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeAddr={n1} CPUs=2 RealMemory=4000
NodeName=n2 NodeAddr={n2} CPUs=2 RealMemory=4000
PartitionName=normal Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=urgent Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF
"""
ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr={head}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=33306
StorageUser=slurm
StoragePass=slurm
"""


@contextmanager
def daemon(*command: str, log: Path) -> Iterator[subprocess.Popen]:
    """A process that is ended afterwards."""
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def slurm(folder: Path, *, grace: int = 0) -> Iterator[None]:
    """slurmctld, slurmdbd with MariaDB, munge, and slurmd on each node."""
    install("slurm-wlm", "slurmdbd", "munge", "mariadb-server", unless="slurmctld")
    values = {"host": os.uname().nodename, "head": HEAD, "folder": folder, "grace": grace, **NODES}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
    (folder / "slurmdbd.conf").write_text(ACCOUNTING.format(**values))
    (folder / "slurmdbd.conf").chmod(0o600)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    log = folder / "daemons.log"
    with ExitStack() as stack:
        stack.enter_context(network())
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munged = [f"--{name}={folder}/munge.{end}" for name, end in files.items()]
        stack.enter_context(daemon("munged", "--foreground", "--force", *munged, log=log))
        run(f"mariadb-install-db --user=root --datadir={folder}/sql --auth-root-authentication-method=normal")
        mariadb = [
            f"--datadir={folder}/sql",
            f"--socket={folder}/sql.socket",
            "--bind-address=127.0.0.1",
            "--port=33306",
        ]
        stack.enter_context(daemon("mariadbd", "--no-defaults", "--user=root", *mariadb, log=log))
        client = ["mariadb", "--no-defaults", f"--socket={folder}/sql.socket", "-e"]
        make = "create user slurm@'127.0.0.1' identified by 'slurm'; grant all on *.* to slurm@'127.0.0.1'"
        wait_until(lambda: subprocess.run([*client, make], capture_output=True).returncode == 0)
        stack.enter_context(daemon("slurmdbd", "-D", log=log))
        wait_until(lambda: subprocess.run(["sacctmgr", "-n", "show", "cluster"], capture_output=True).returncode == 0)
        run("sacctmgr -i add cluster stylelab")
        stack.enter_context(daemon("slurmctld", "-D", log=log))
        for name in NODES:
            start_node(name, folder)
        wait_until(lambda: run("sinfo -h -p normal -t idle -o %D").strip() == "2")
        try:
            yield
        finally:
            subprocess.run(["scancel", "--state=PENDING"], capture_output=True)
            subprocess.run(["scancel", "--state=RUNNING"], capture_output=True)


def start_node(name: str, folder: Path) -> None:
    """slurmd on a node."""
    on(name, ["slurmd", "-D", "-N", name], log=folder / "daemons.log", environment={})


def a_job_killed_and_others_pre_empted(folder: Path) -> None:
    """SIGKILL to one run's process; a job of higher priority takes the other node; the command is given again."""
    sweep = Sweep(folder, *LAUNCHER, "seed=range(8)", runs=8, steps=STEPS)
    began = time.monotonic()
    process = sweep.start()
    painting = sweep.wait_for(lambda: len(hosts := {each["host"]: each for each in sweep.painting()}) == 2 and hosts,
                              what="runs that paint on both nodes")  # fmt: skip
    victim = painting["n1"]
    os.kill(victim["pid"], signal.SIGKILL)
    tell(f"killed pid {victim['pid']} on n1, which painted {victim['folder'].name}")
    on_n2 = {each["folder"].name for each in sweep.painting() if each["host"] == "n2"}
    run("sbatch -p urgent -w n2 --exclusive -o /dev/null --wrap 'sleep 5'")
    tell(f"pre-empted {', '.join(sorted(on_n2))}")
    code = process.wait(1800)
    tell(f"the sweep ended with {code} after {time.monotonic() - began:.0f} s")
    status = {record["folder"].rpartition("/")[2]: record["status"] for record in sweep.records()}
    expect(code == 1 and status.pop(victim["folder"].name) == "KILLED", "killed run", str(status))
    expect(list(status.values()) == ["FINISHED"] * 7, "the other runs", str(status))
    code = sweep.finish()
    tell(sweep.check(exit_code=code))
    resumed = {record["folder"].rpartition("/")[2]: record["resumed"] for record in sweep.records()}
    tell("went on from " + ", ".join(f"step {resumed[name][0]['step']}" for name in on_n2 if resumed[name]))
    expect(all(resumed[name] for name in on_n2), "resumed runs", str(resumed))


def a_run_out_of_time(folder: Path) -> None:
    """A job's two minutes are too short for its run: it saves, is queued again, and goes on."""
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=20", "hydra.launcher.nodelist=n1")
    sweep = Sweep(folder, *LAUNCHER, *limits, "seed=10", runs=1, steps=STEPS_OF_LONG_RUN)
    code = sweep.finish()
    tell(sweep.check(exit_code=code))
    (record,) = sweep.records()
    expect(len(record["resumed"]) > 0, "resumed", str(record["resumed"]))
    tell(f"out of time {len(record['resumed'])} times, went on from {[each['step'] for each in record['resumed']]}")


def a_lost_node(folder: Path) -> None:
    """A node loses its power: Slurm queues its jobs again, which go on elsewhere."""
    sweep = Sweep(folder, *LAUNCHER, "seed=range(20,24)", runs=4, steps=STEPS)
    process = sweep.start()
    sweep.wait_for(lambda: "n2" in {each["host"] for each in sweep.painting()}, what="a run that paints on n2")
    lost = {each["folder"].name for each in sweep.painting() if each["host"] == "n2"}
    power_off("n2")
    tell(f"n2 has no power: {', '.join(lost)}")
    code = process.wait(1800)
    if code:  # Slurm gave a job up; the same command completes it
        tell(f"the sweep ended with {code}")
        code = sweep.finish()
    tell(sweep.check(exit_code=code))
    hosts = [[each["host"] for each in record["resumed"]] for record in sweep.records() if record["resumed"]]
    expect(len(hosts) > 0, "resumed runs", str(hosts))
    tell(f"went on, on {hosts}")


STEPS, STEPS_OF_LONG_RUN = 800, 2500
LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=normal", "hydra.launcher.threads=1",
            "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=30")  # fmt: skip
SCENES = (a_job_killed_and_others_pre_empted, a_run_out_of_time, a_lost_node)


def main() -> None:
    """All scenes, or those named on the command line."""
    if os.geteuid():
        sys.exit("this test makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every daemon is ended
    chosen = [scene for scene in SCENES if scene.__name__ in sys.argv[1:] or not sys.argv[1:]]
    for grace in (0,):
        with tempfile.TemporaryDirectory(prefix="stylelab-slurm-") as folder, slurm(Path(folder), grace=grace):
            tell(
                run("slurmctld -V").strip()
                + ", two nodes: "
                + run("sinfo -h -N -p normal -o %N,%c,%T").replace("\n", " ")
            )
            for scene in chosen:
                tell(scene.__name__.replace("_", " "))
                place = Path(folder) / scene.__name__
                place.mkdir()
                scene(place)
    print("all as expected")


if __name__ == "__main__":
    main()
