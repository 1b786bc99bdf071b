"""Runs tracked in PostgreSQL, which is killed, hung and away; needs Debian's postgresql and the package psycopg."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from test_tracking_server import STEPS, painted
from victims import Place

from stylelab import run_folder, spool
from stylelab.commands import sync

pytest.importorskip("psycopg")
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
if PROGRAMS is None:
    pytest.skip("PostgreSQL is not installed: apt-get install postgresql", allow_module_level=True)
AS_OWNER = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # PostgreSQL does not run as root
PASSWORD = "s3cretword"


class Postgresql:
    """A PostgreSQL server of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"postgresql://me:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        folder.mkdir(mode=0o755)
        password = folder / "password"
        password.write_text(PASSWORD)
        if AS_OWNER:
            shutil.chown(folder, "postgres")
            shutil.chown(password, "postgres")
        of_cluster = ["-D", f"{folder}/data", "-U", "me", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8"]
        subprocess.run([*AS_OWNER, PROGRAMS / "initdb", *of_cluster], check=True, stdout=subprocess.DEVNULL, cwd="/tmp")
        password.unlink()

    def start(self) -> None:
        settings = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        command = [PROGRAMS / "pg_ctl", "-D", f"{self.folder}/data", "-o", settings, "-w", "-l", f"{self.folder}/log"]
        subprocess.run([*AS_OWNER, *command, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/tmp")

    def processes(self) -> list[int]:
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def signal(self, number: int) -> None:
        for process in self.processes():
            os.kill(process, number)

    def kill(self) -> None:
        """As a machine that loses its power."""
        killed = self.processes()
        self.signal(signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in killed):
            time.sleep(0.05)


@pytest.fixture
def database() -> Iterator[Postgresql]:
    with tempfile.TemporaryDirectory(prefix="stylelab-postgresql-") as folder:  # pytest's own is for root's eyes only
        os.chmod(folder, 0o755)
        found = Postgresql(Path(folder) / "cluster")
        found.start()
        yield found
        if (found.folder / "data" / "postmaster.pid").is_file():
            found.signal(signal.SIGCONT)
            found.kill()


def test_runs_outlive_a_postgresql_that_is_killed_hung_and_away(place: Place, database: Postgresql) -> None:
    from mlflow import MlflowClient

    from stylelab.store import open_store

    open_store(database.address, outputs=place.outputs, experiment="undisturbed")  # its tables take seconds to make
    settings = (*STEPS, f"tracking.uri={database.address}")

    said = painted(place, *settings, "tracking.experiment=undisturbed")
    (folder,) = place.folders()
    client = MlflowClient(database.address)
    (truth,) = servers.tracked(client, "undisturbed").values()
    assert ("status", "FINISHED") in truth and ("artifact", "pastiche.png") in truth

    again = (*settings, "tracking.experiment=disturbed", "force=true")
    database.signal(signal.SIGSTOP)
    began = time.monotonic()
    said += painted(place, *again)
    assert "did not answer" in said and time.monotonic() - began < 60
    database.signal(signal.SIGCONT)
    database.kill()
    assert run_folder.is_whole(folder)
    with pytest.raises(sync.SyncFailed):
        sync.sync(place.outputs, database.address)
    database.start()
    sync.sync(place.outputs, database.address)
    assert list(spool.waiting(place.outputs)) == []
    client = MlflowClient(database.address)
    (found,) = servers.tracked(client, "disturbed").values()
    assert found == truth
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert PASSWORD not in said and not [path for path in files if PASSWORD.encode() in path.read_bytes()]
