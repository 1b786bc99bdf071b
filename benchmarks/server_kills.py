"""Kills the tracking server at random moments and counts what is lost: `python benchmarks/server_kills.py --kills 100`.

Real runs are painted by processes of their own and tracked by a real server of MLflow's, which a SIGKILL ends again and
again, at random moments, now and then after it had hung; it is started again on the same port after a random while, or
only after the run. At the end `stylelab-sync` brings what waits. A record is a metric at a step, a parameter, a tag, an
artifact or a status; those of an undisturbed run are the measure. Exits with 1 where one is lost or there twice.
"""

import argparse
import contextlib
import io
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import kills
import servers

SETTINGS = ("optimizer.steps=40", "tracking.pictures_every=5")


def painting(configuration: str) -> None:
    """As `servers.painting`, impatient with a hung server."""
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "1"  # so that what a hung server was asked is asked again
    servers.painting(configuration)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--store", help="the server's database; default: SQLite in a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    nursery = servers.Nursery()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        kills.draw_pictures(place)
        kills.finish(kills.open_a_store, str(place), log=place / "log")
        server = servers.Server(nursery, place, store=options.store)
        try:
            good = kill_servers(server, place, random.Random(options.seed), options.kills)
        finally:
            server.kill()
            nursery.close()
    sys.exit(0 if good else 1)


def kill_servers(server: servers.Server, place: Path, dice: random.Random, wanted: int) -> bool:
    """Paint runs under a server that is killed; whether nothing is lost and nothing there twice."""
    server.start()
    truth, _ = painted(server, place, "undisturbed", dice, 0)
    (records,) = truth.values()
    killed, runs, lost, doubled, late, waits = 0, 0, 0, 0, 0, []
    began = time.monotonic()
    while killed < wanted:
        runs += 1
        found, told = painted(server, place, f"run{runs}", dice, min(dice.randint(1, 6), wanted - killed))
        killed += told["kills"]
        late += told["late"]
        waits.append(told["waited"])
        for name, expected in truth.items():
            missing, more = expected - found.get(name, Counter()), found.get(name, Counter()) - expected
            lost += missing.total()
            doubled += more.total()
            if missing or more:
                print(f"run {runs}: lost {list(missing)[:5]}, too many {list(more)[:5]}", flush=True)
        print(f"run {runs}: {killed} kills so far, waited {waits[-1]:.1f} s at its end", flush=True)
    print(
        f"{killed} kills of the server over {runs} runs of {records.total()} records in "
        f"{time.monotonic() - began:.0f} s: {lost} records lost, {doubled} too many; {late} runs ended before the "
        f"server was back and were brought by stylelab-sync; a run's end waited {max(waits):.1f} s at most, "
        f"{sum(waits) / len(waits):.1f} s in the mean"
    )
    return not lost and not doubled


def painted(
    server: servers.Server, place: Path, name: str, dice: random.Random, kills_wanted: int
) -> tuple[dict[str, Counter], dict[str, float]]:
    """Paint a run while its server is killed so many times; what the store holds of it at the end."""
    outputs, log = place / name, place / f"{name}.log"
    settings = (*SETTINGS, f"tracking.uri={server.address}", f"tracking.experiment={name}")
    painter = kills.begin(painting, kills.configured(kills.overrides(place, outputs, settings)), log=log)
    killed = 0
    while painter.is_alive() and killed < kills_wanted:
        painter.join(dice.uniform(0, 1.5))
        if dice.random() < 0.3:
            server.hang()
            painter.join(dice.uniform(0, 2.5))
            if dice.random() < 0.5:
                server.go_on()  # and does late what it was asked meanwhile
                painter.join(dice.uniform(0, 0.3))
        server.kill()
        killed += 1
        painter.join(dice.choice((0, dice.uniform(0, 2), 60)) if killed == kills_wanted else dice.uniform(0, 1))
        server.start(wait=False)
    painter.join()
    if painter.exitcode:
        raise RuntimeError(f"the run did not end well: {log.read_text()[-2000:]}")
    if not server.pid:
        server.start(wait=False)
    while not server.answers():
        time.sleep(0.05)
    from mlflow import MlflowClient

    from stylelab import spool

    late = bool(list(spool.waiting(outputs)))
    brought(outputs)
    waited = re.search(r"waited ([\d.]+) s", log.read_text())
    told = {"kills": killed, "late": late, "waited": float(waited.group(1))}
    return servers.tracked(MlflowClient(server.address), name), told


def brought(outputs: Path) -> None:
    """What `stylelab-sync` does, again and again where a busy machine's server lets it wait too long."""
    from stylelab.commands.sync import sync
    from stylelab.errors import SyncFailed

    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(9):
            with contextlib.suppress(SyncFailed):
                return sync(outputs, None)
        sync(outputs, None)


if __name__ == "__main__":
    main()
