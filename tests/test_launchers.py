"""Launchers: a sweep on several processes from a fresh store, settings refused in one line, a machine shared out.

Slurm and Ray are tested by tests/cluster/, for real and on demand: `make test-cluster`.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from victims import TAGGED, Place, kills

from hydra_plugins.stylelab_launchers import engine
from stylelab import interrupts, run_folder
from stylelab.devices import available_cores, default_threads
from stylelab.job import prepare

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=4")


def killed_while_painting(process, outputs: Path) -> str:
    """The name of the first folder with a checkpoint, after SIGKILL to the worker that paints it."""
    while process.is_alive():
        for checkpoint in outputs.glob("runs/*/checkpoint.pt"):
            owner = outputs / "locks" / f"{checkpoint.parent.name.rpartition('-')[2]}.owner"
            try:
                os.kill(json.loads(owner.read_text())["pid"], signal.SIGKILL)
            except (OSError, ValueError):  # it ended, or is just being written
                continue
            return checkpoint.parent.name
        time.sleep(0.01)
    pytest.fail("no run was seen painting")


def test_four_workers_fill_a_fresh_store_and_what_is_killed_costs_no_other_run_and_leaves_no_process(
    place: Place,
) -> None:
    shutil.rmtree(place.outputs)  # four processes that made the store at once would destroy it
    grid = place.arguments("-m", "optimizer.steps=150", *JOBLIB, "seed=range(4)")
    process = kills.begin(kills.stylelab, *grid, log=place.log)
    victim = killed_while_painting(process, place.outputs)
    process.join()
    said = place.log.read_text()
    assert process.exitcode == 1, said
    status = {path.name: run_folder.read(path)["status"] for path in place.folders()}
    assert status.pop(victim) == "KILLED"
    assert list(status.values()) == ["FINISHED"] * 3
    assert "1 of 4 runs are not finished; the same command again paints only these" in said

    process = kills.begin(kills.stylelab, *grid, log=place.log)
    while run_folder.read(place.outputs / "runs" / victim)["status"] != "RUNNING":
        assert process.is_alive(), place.log.read_text()
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert workers and psutil.wait_procs(workers, timeout=60)[1] == []

    code, said = place.stylelab("-m", "optimizer.steps=150", *JOBLIB, "seed=range(4)")
    assert code == 0, said
    assert place.statuses() == ["FINISHED"] * 4
    parents = dict(place.ask(TAGGED.replace("r.status", "r.run_uuid, r.status"), "stylelab.role"))
    assert sorted(parents.values()) == ["FAILED", "FINISHED"]
    above = Counter(run_id for (run_id,) in place.ask("select value from tags where key = 'mlflow.parentRunId'"))
    assert sorted((parents[run_id], count) for run_id, count in above.items()) == [("FAILED", 3), ("FINISHED", 1)]
    steps = "select run_uuid, count(*), count(distinct step) from metrics where key = 'loss/total' group by run_uuid"
    assert [(every, distinct) for _, every, distinct in place.ask(steps)] == [(151, 151)] * 4


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            "hydra/launcher=joblib hydra.launcher.n_jobs=0",
            "hydra.launcher.n_jobs: found 0, expected a whole number of 1 or more",
        ),
        (
            "hydra/launcher=joblib hydra.launcher.threads=x",
            "hydra.launcher.threads: found 'x', expected a whole number",
        ),
        ("hydra/launcher=jobli", "hydra/launcher: there is no option jobli; did you mean joblib?"),
        ("hydra/launcher=joblib hydra.launcher.n_job=2", "hydra.launcher.n_job: there is no such key; did you mean"),
    ],
)
def test_a_launcher_that_can_not_be_had_costs_one_line(place: Place, settings: str, line: str) -> None:
    code, said = place.stylelab("-m", "seed=0,1", *settings.split())
    assert code == 1
    assert said.count("\n") == 1 and line in said
    assert place.folders() == []


def test_an_engine_that_is_not_installed_names_the_extra_that_brings_it(place: Place) -> None:
    process = kills.begin(without_submitit, *place.arguments("-m", "seed=0,1"), log=place.log)
    process.join()
    said = place.log.read_text()
    assert process.exitcode == 1
    assert said == (
        "stylelab: hydra/launcher: submitit_local needs submitit, which is not installed: "
        "pip install 'stylelab[submitit]'\n"
    )


def without_submitit(*arguments: str) -> None:
    sys.modules["submitit"] = None  # what importing then finds, where it is installed too
    engine.find_spec = lambda name: None
    kills.stylelab(*arguments, "hydra/launcher=submitit_local")


def test_a_machine_is_shared_out_by_cores_or_by_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    asked = {"n_jobs": None, "threads": None, "runs_per_gpu": 1, "device": "cpu"}

    def threads(**changes: object) -> list[str]:
        return [place["OMP_NUM_THREADS"] for place in engine.shares(**asked | {"runs": 100} | changes)]

    assert threads() == ["1"] * 8
    assert threads(runs=3) == ["2"] * 3
    assert threads(n_jobs=4) == ["2"] * 4
    assert threads(n_jobs=16) == ["1"] * 16
    assert threads(n_jobs=2, threads=3) == ["3"] * 2

    monkeypatch.setattr(engine, "visible_gpus", lambda device: ["3", "5"] if device == "auto" else [])
    gpus = [place["CUDA_VISIBLE_DEVICES"] for place in engine.shares(**asked | {"runs": 100, "device": "auto"})]
    assert gpus == ["3", "5"]
    shared = engine.shares(**asked | {"runs": 100, "device": "auto", "runs_per_gpu": 2})
    assert [place["CUDA_VISIBLE_DEVICES"] for place in shared] == ["3", "5", "3", "5"]
    assert "CUDA_VISIBLE_DEVICES" not in engine.shares(**asked | {"runs": 1})[0]


def test_gpus_are_those_that_the_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Path, "exists", lambda path: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8a1f")
    assert engine.visible_gpus("auto") == engine.visible_gpus("cuda") == ["2", "GPU-8a1f"]
    assert engine.visible_gpus("cpu") == engine.visible_gpus("cuda:1") == []


def test_a_launcher_decides_the_device_of_runs_that_are_painted_elsewhere(
    tmp_path: Path, configuration, picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("content", "style"):
        picture(0, 32, 24).save(f"{name}.png")
    automatic = configuration({"device": "auto"})
    assert prepare(automatic, gpus=1).spec.device == "cuda"
    assert prepare(automatic, gpus=0).spec.device == "cpu"
    assert prepare(configuration({"device": "cuda"}), gpus=0.5).spec.device == "cuda"
    with pytest.raises(ValueError, match=r"device: found cuda:1, but hydra.launcher.gpus=0 gives a run none"):
        prepare(configuration({"device": "cuda:1"}), gpus=0)
    assert prepare(automatic, gpus=1).key != prepare(automatic, gpus=0).key


def test_threads_are_what_a_launcher_shared_out_else_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert default_threads() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert default_threads() == available_cores()


def test_a_notice_ends_a_run_after_a_checkpoint_from_which_it_goes_on(place: Place) -> None:
    undisturbed = place.paint("optimizer.steps=30")
    finished = place.folders()[0]
    before = [(finished / name).read_bytes() for name in run_folder.LASTING]
    place.renew()
    configured = place.configured("optimizer.steps=30", "checkpoint_seconds=1000")
    notice = (r"canvas_000007", 1, give_notice)
    process = kills.begin(paint_with_notice, configured, log=place.log, at=notice)
    process.join()
    assert process.exitcode == 0, undisturbed + place.log.read_text()
    folder = place.folders()[0]
    assert run_folder.read(folder)["reason"] == "the cluster needs its place, or its time is up"
    assert (folder / "checkpoint.pt").is_file()
    place.paint("optimizer.steps=30")
    assert run_folder.read(folder)["resumed"][0]["step"] == 7
    assert [(folder / name).read_bytes() for name in run_folder.LASTING] == before


def paint_with_notice(configured: str) -> None:
    with pytest.raises(interrupts.Preempted):
        kills.paint(configured)


def give_notice() -> None:
    interrupts.give_notice()
