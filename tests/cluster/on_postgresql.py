"""A study in PostgreSQL, for real: `python tests/cluster/on_postgresql.py`. Needs root, and Debian or PostgreSQL.

Two conductors with outputs folders of their own, as on two machines, share one study; one of them is killed and started
again; trials prune each other through the server. In the end no trial is lost, none is painted twice, and the password
stands nowhere in what the runs left. Exits with 1 where that does not hold.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import kills
from nodes import install, run

PORT, PASSWORD = 54399, "not%2Fto%40be%20seen"  # not/to@be seen
ADDRESS = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{PORT}/postgres"
TRIALS = 12
STUDY = [
    "-m", "hydra/sweeper=optuna", "sweep=shared", "reference.cache=none", "tracking=off", "optimizer.steps=40",
    "weights.alpha_over_beta=tag(log,interval(1e-4,1))", f"hydra.sweeper.n_trials={TRIALS}",
    f"hydra.sweeper.storage='{ADDRESS}'", "hydra.sweeper.metrics=[embedded_reference/style]",
    "hydra.sweeper.pruner.kind=median", "hydra.sweeper.pruner.every=10", "+hydra.sweeper.pruner.n_startup_trials=3",
]  # fmt: skip


@contextmanager
def server() -> Iterator[None]:
    """A PostgreSQL of our own, with a password; afterwards nothing of it is left."""
    install("postgresql", unless="pg_lsclusters")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data = Path(tempfile.mkdtemp(prefix="stylelab-postgresql-"))
    shutil.chown(data, "postgres")
    password = data.with_suffix(".password")
    password.write_text("not/to@be seen")
    shutil.chown(password, "postgres")
    as_postgres = "runuser -u postgres --"
    try:
        run(f"{as_postgres} {programs}/initdb -D {data}/db -A scram-sha-256 --pwfile={password} -N")
        run(f"{as_postgres} {programs}/pg_ctl -D {data}/db -w -l {data}/log -o '-p {PORT} -k {data}' start")
        yield
    finally:
        subprocess.run(
            [*as_postgres.split(), f"{programs}/pg_ctl", "-D", f"{data}/db", "-m", "immediate", "stop"],
            capture_output=True,
        )
        shutil.rmtree(data)
        password.unlink()


def begin(place: Path, machine: str, settings: Sequence[str] = STUDY) -> subprocess.Popen:
    """`stylelab` with the outputs folder of a machine."""
    arguments = kills.overrides(place, place / machine, settings[1:])
    log = (place / f"{machine}.log").open("a")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stylelab", "-m", *arguments]
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def main() -> None:
    """Run the test."""
    with server(), tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        kills.draw_pictures(place)
        one, other = begin(place, "one"), begin(place, "other")
        while len(list((place / "other/runs").glob("*/pastiche.png"))) < 2 and other.poll() is None:
            time.sleep(0.1)
        if other.poll() is not None:
            sys.exit((place / "other.log").read_text())
        os.killpg(other.pid, signal.SIGKILL)
        print(f"killed one of two conductors, with exit code {other.wait()}", flush=True)
        print(f"the other ended with {one.wait()}", flush=True)
        print(f"and the killed one, started again, with {begin(place, 'other').wait()}", flush=True)
        sys.exit(1 if wrong(place) else 0)


def wrong(place: Path) -> list[str]:
    """What does not hold."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = optuna.load_study(study_name="shared", storage=ADDRESS).trials
    states = [trial.state.name for trial in trials]
    keys = [trial.user_attrs.get("key") for trial in trials]
    folders = [path for machine in ("one", "other") for path in (place / machine / "runs").iterdir() if path.is_dir()]
    print(f"trials: {', '.join(f'{states.count(state)} {state}' for state in sorted(set(states)))}")
    faults = []
    if states.count("COMPLETE") + states.count("PRUNED") != len(trials) or not TRIALS <= len(trials) <= TRIALS + 1:
        faults.append(f"the study has {states}")
    if len(set(keys)) != len(keys) or len(folders) != len(keys):
        faults.append(f"{len(keys)} trials of {len(set(keys))} runs left {len(folders)} folders")
    secrets = [PASSWORD, "not/to@be seen"]
    told = [path for path in place.rglob("*") if path.is_file()]
    shown = [path for path in told if any(secret.encode() in path.read_bytes() for secret in secrets)]
    if shown:
        faults.append(f"the password stands in {', '.join(str(path.relative_to(place)) for path in shown)}")
    for fault in faults:
        print(f"WRONG: {fault}")
    return faults


if __name__ == "__main__":
    main()
