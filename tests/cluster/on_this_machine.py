"""Sweeps and studies on joblib's processes and submitit's: `python tests/cluster/on_this_machine.py`, by any user.

The extras `joblib`, `submitit` and `optuna` must be installed. Scenes may be named, as may an engine by its override.
"""

import os
import sys
import tempfile
from pathlib import Path

from scenes import SECONDS, a_pruned_study, a_study, a_sweep_interrupted
from sweeps import Sweep, expect, play, tell

ENGINES = ("hydra/launcher=joblib", "hydra/launcher=submitit_local")


def a_worker_killed(folder: Path, *launcher: str) -> None:
    """SIGKILL to one run's process: it costs no other; the same command takes it up."""
    sweep = Sweep(folder, *launcher, "seed=range(4)", runs=4, seconds=SECONDS)
    sweep.start()
    victim = sweep.kill_a_worker(os.uname().nodename)
    code = sweep.end()
    status = {record["folder"].rpartition("/")[2]: record["status"] for record in sweep.records()}
    expect(code == 1 and status.pop(victim) == "KILLED", "killed run", str(status))
    expect(list(status.values()) == ["FINISHED"] * 3, "the other runs", str(status))
    tell(sweep.check(exit_code=sweep.finish()))
    sweep.check_resumed([victim])


def main() -> None:
    """All scenes on both engines, or those named on the command line."""
    for engine in [each for each in ENGINES if each in sys.argv] or ENGINES:
        with tempfile.TemporaryDirectory(prefix="stylelab-engine-") as name:
            tell(engine)
            scenes = (a_worker_killed, a_sweep_interrupted, a_study, a_pruned_study)
            play(scenes, Path(name), engine, "hydra.launcher.n_jobs=2")


if __name__ == "__main__":
    main()
