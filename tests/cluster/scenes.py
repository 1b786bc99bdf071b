"""What every engine must play: a sweep that is interrupted, a study whose conductor is killed, one that prunes."""

import os
import signal
import sqlite3
from collections import Counter
from pathlib import Path

from sweeps import Sweep, expect, tell

SECONDS = 15
TRIALS = 6
STUDY = ("hydra/sweeper=optuna", "sweep=study", "weights.alpha_over_beta=tag(log,interval(1e-4,1))",
         f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.batch_size=3")  # fmt: skip
BOTH = "hydra.sweeper.metrics=[embedded_reference/style,embedded_reference/content]"
STYLE = "hydra.sweeper.metrics=[embedded_reference/style]"


def a_sweep_interrupted(folder: Path, *launcher: str) -> None:
    """SIGTERM, as Ctrl-C: every run that paints ends in order, nothing goes on; the same command goes on."""
    sweep = Sweep(folder, *launcher, "seed=range(4)", runs=4, seconds=SECONDS)
    sweep.start()
    sweep.wait_for(sweep.painting, what="a run that paints")
    sweep.process.terminate()
    code = sweep.end()
    expect(code == 143, f"exit code {code}", sweep.said())
    status = Counter(record["status"] for record in sweep.records())
    expect("RUNNING" not in status and status["KILLED"] > 0, "interrupted runs", str(status))
    begun = {path.parent.name for path in sweep.outputs.glob("runs/*/checkpoint.pt")}
    tell(f"interrupted: {dict(status)}")
    tell(sweep.check(exit_code=sweep.finish()))
    sweep.check_resumed(begun)


def a_study(folder: Path, *launcher: str) -> None:
    """Two objectives; some learning rates end in nothing; the conductor is killed after two trials."""
    failing = ("optimizer=adam", "optimizer.learning_rate=0.01,0.05,1e30")
    study = Sweep(folder, *launcher, *STUDY, BOTH, *failing, runs=TRIALS, seconds=3)
    study.start()
    study.wait_for(lambda: len(ended(study)) >= 2, what="two trials that have ended")
    os.kill(study.process.pid, signal.SIGKILL)
    tell(f"killed the conductor, with exit code {study.process.wait()}: {states(study)}")
    code = 1
    for _ in range(6):  # each command asks for others in the place of what failed before it
        if (code := study.finish()) == 0:
            break
    expect(code == 0, f"exit code {code}", study.said())
    found = states(study)
    expect(set(found) == {"COMPLETE", "FAIL"} and found["COMPLETE"] == TRIALS, "trials", str(found))
    check_tracked(study, found)
    tell(f"trials: {dict(found)}, each run tracked once and painted once")


def a_pruned_study(folder: Path, *launcher: str) -> None:
    """One objective, judged every ten steps; the pruner ends what is worse than the median."""
    pruning = ("hydra.sweeper.pruner.kind=median", "hydra.sweeper.pruner.every=10",
               "+hydra.sweeper.pruner.n_startup_trials=2")  # fmt: skip
    study = Sweep(folder, *launcher, *STUDY, STYLE, *pruning, runs=TRIALS, seconds=3)
    code = study.finish()
    expect(code == 0, f"exit code {code}", study.said())
    found = states(study)
    expect(found["COMPLETE"] >= 3 and found["PRUNED"] + found["COMPLETE"] == TRIALS, "trials", str(found))
    expect(found["PRUNED"] > 0, "pruned trials", str(found))
    check_tracked(study, found)
    tell(f"trials: {dict(found)}")


def ended(study: Sweep) -> list[dict]:
    """The runs that have come to an end."""
    return [record for record in study.records() if record["status"] in ("FINISHED", "FAILED")]


def states(study: Sweep) -> Counter:
    """How many trials are in which state."""
    with sqlite3.connect(study.outputs / "optuna.db") as storage:
        return Counter(state for (state,) in storage.execute("select state from trials"))


def check_tracked(study: Sweep, trials: Counter) -> None:
    """That MLflow has a run for every trial's, each once and with every step once, under one parent."""
    statuses = {"FINISHED": trials["COMPLETE"], "FAILED": trials["FAIL"], "KILLED": trials["PRUNED"]}
    of_tag = "select r.status, t.value from runs r join tags t on t.run_uuid = r.run_uuid and t.key = ?"
    totals = "select count(*) from metrics where key = 'loss/total' group by run_uuid, step"
    with sqlite3.connect(study.outputs / "mlflow.db") as store:
        runs = store.execute(of_tag, ("stylelab.key",)).fetchall()
        parents = [status for status, _ in store.execute(of_tag, ("stylelab.role",))]
        steps = Counter(count for (count,) in store.execute(totals))
    found = Counter(status for status, _ in runs)
    expect(found == Counter({name: count for name, count in statuses.items() if count}), "tracked runs", str(found))
    expect(len({key for _, key in runs}) == len(runs), "runs tracked twice", str(runs))
    expect(parents == ["FINISHED"], "parents", str(parents))
    expect(set(steps) == {1}, "steps in MLflow twice", str(steps))
    aside = [path.name for path in (study.outputs / "runs").glob("*.before-*")]
    expect(not aside, "runs painted twice", str(aside))
