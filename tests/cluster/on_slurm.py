"""A real Slurm of two nodes; sweeps and studies on it, with jobs pre-empted, killed, out of time, and a node lost.

`make test-cluster` or, as root on Debian, `python tests/cluster/on_slurm.py`. Slurm, slurmdbd, MariaDB and munge are
Debian's packages, run from a temporary folder and are ended afterwards; nothing in /etc is touched.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nodes import HEAD, NODES, install, network, on, power_off, run
from scenes import SECONDS, a_pruned_study, a_study, a_sweep_interrupted
from sweeps import Sweep, expect, play, tell, wait_until

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
PartitionName=normal Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE
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
def slurm(folder: Path) -> Iterator[None]:
    """slurmctld, slurmdbd with MariaDB, munge, and slurmd on each node."""
    install("slurm-wlm", "slurmdbd", "munge", "mariadb-server", unless="slurmctld")
    values = {"host": os.uname().nodename, "head": HEAD, "folder": folder, **NODES}
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


def a_job_killed_and_others_pre_empted(folder: Path, *launcher: str) -> None:
    """SIGKILL to one run's process; a job of higher priority takes the other node; the command is given again."""
    sweep = Sweep(folder, *launcher, "seed=range(8)", runs=8, seconds=SECONDS)
    sweep.start()
    _, on_n2 = sweep.painting_on("n1", "n2")
    victim = sweep.kill_a_worker("n1")
    pre_empt("n2", on_n2)
    code = sweep.end()
    status = {record["folder"].rpartition("/")[2]: record["status"] for record in sweep.records()}
    expect(code == 1 and status.pop(victim) == "KILLED", "killed run", str(status))
    expect(list(status.values()) == ["FINISHED"] * 7, "the other runs", str(status))
    tell(sweep.check(exit_code=sweep.finish()))
    sweep.check_resumed(on_n2)


def jobs_pre_empted_with_grace(folder: Path, *launcher: str) -> None:
    """Pre-empted jobs that are told a minute before they are ended end at once, are queued again, and go on."""
    run("scontrol update PartitionName=normal GraceTime=60")
    sweep = Sweep(folder, *launcher, "hydra.launcher.nodelist=n2", "seed=30,31", runs=2, seconds=SECONDS)
    sweep.start()
    (on_n2,) = sweep.painting_on("n2")
    pre_empt("n2", on_n2)
    tell(sweep.check(exit_code=sweep.end()))
    sweep.check_resumed(on_n2)
    run("scontrol update PartitionName=normal GraceTime=0")


def pre_empt(node: str, painted: Iterable[str]) -> None:
    """A job of higher priority takes a node."""
    run(f"sbatch -p urgent -w {node} --exclusive -o /dev/null --wrap 'sleep 5'")
    tell(f"pre-empted {', '.join(sorted(painted))}")


def a_run_out_of_time(folder: Path, *launcher: str) -> None:
    """A job's minute or two are too short for its run: told beforehand it saves, is queued again, and goes on."""
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=20", "hydra.launcher.nodelist=n1")
    out_of_time(Sweep(folder, *launcher, *limits, "checkpoint_seconds=100000", "seed=10", runs=1, seconds=130))


def a_run_out_of_time_without_notice(folder: Path, *launcher: str) -> None:
    """The same where only the limit itself says that time is up: it goes on from its last checkpoint."""
    limits = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=0", "hydra.launcher.nodelist=n1")
    out_of_time(Sweep(folder, *launcher, *limits, "seed=11", runs=1, seconds=80))


def out_of_time(sweep: Sweep) -> None:
    """Paint a sweep of one run whose time is too short."""
    tell(sweep.check(exit_code=sweep.finish()))
    (record,) = sweep.records()
    sweep.check_resumed([record["folder"].rpartition("/")[2]])


def the_overhead_of_a_run(folder: Path, *launcher: str) -> None:
    """Runs of a single step, one at a time."""
    program = Path(__file__).resolve().parents[2] / "benchmarks/launchers.py"
    on_slurm = ("overhead", "--runs", "3", "submitit_slurm", "--set", *launcher[1:2])
    print(run(shlex.join([sys.executable, str(program), *on_slurm])), end="")


def a_lost_node(folder: Path, *launcher: str) -> None:
    """A node loses its power: Slurm queues its jobs again, which go on elsewhere."""
    sweep = Sweep(folder, *launcher, "seed=range(20,24)", runs=4, seconds=SECONDS)
    sweep.start()
    (lost,) = sweep.painting_on("n2")
    power_off("n2")
    tell(f"n2 has no power: {', '.join(lost)}")
    if code := sweep.end():  # Slurm gave a job up; the same command completes it
        code = sweep.finish()
    tell(sweep.check(exit_code=code))
    sweep.check_resumed(lost)


LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=normal", "hydra.launcher.threads=1",
            "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=30")  # fmt: skip
SCENES = (
    a_job_killed_and_others_pre_empted,
    jobs_pre_empted_with_grace,
    a_run_out_of_time,
    a_run_out_of_time_without_notice,
    a_sweep_interrupted,
    a_study,
    a_pruned_study,
    the_overhead_of_a_run,
    a_lost_node,
)


def main() -> None:
    """All scenes, or those named on the command line."""
    if os.geteuid():
        sys.exit("this test makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every daemon is ended
    with tempfile.TemporaryDirectory(prefix="stylelab-slurm-") as name, slurm(folder := Path(name)):
        nodes = run("sinfo -h -N -p normal -o %N,%c,%T").replace("\n", " ")
        tell(f"{run('slurmctld -V').strip()}, two nodes: {nodes}")
        play(SCENES, folder, *LAUNCHER)


if __name__ == "__main__":
    main()
