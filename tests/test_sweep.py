"""A sweep: checked whole before its first run, and always brought to an end that says what became of every run."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from victims import TAGGED, Place, kills

from stylelab import run_folder, sweep_mirror
from stylelab.composition import composed_sweep
from stylelab.errors import SweepFailed
from stylelab.sweep import FAULTS, check_unchanged, checked, conduct, differing, note_fault

STEPS = "optimizer.steps=4"
COUNTS = "select value from tags where key = 'stylelab.counts'"


def counts(place: Place) -> list[dict]:
    """What each parent run counted."""
    return sorted((json.loads(value) for (value,) in place.ask(COUNTS)), key=json.dumps)


def test_a_fault_in_the_last_run_is_found_before_the_first_one_starts(place: Place) -> None:
    code, said = place.stylelab("-m", STEPS, "seed=0,1", "layers.style=[relu1_1],[relu2_1],[relu9_1]")
    assert code == 1
    assert said.count("\n") == 1
    assert "run 4 (layers.style=[relu9_1] seed=0): layers.style: VGG-19 has no layer relu9_1" in said
    assert said.rstrip().endswith("(and 1 more of the 6 runs)")
    assert place.folders() == []


def remove_content() -> None:
    """Take a picture away that a sweep has already checked."""
    for path in sys.argv:
        if path.startswith("images.content=") and "," in path:
            Path(path.partition(",")[2]).unlink(missing_ok=True)


def test_failing_runs_stop_no_other_and_only_they_are_run_again(place: Place) -> None:
    second = place.folder / "second.png"
    content = (place.folder / "content.png").read_bytes()
    second.write_bytes(content + b"\0")
    pictures = f"images.content={place.folder}/content.png,{second}"
    grid = ["-m", STEPS, "optimizer=adam", pictures, "optimizer.learning_rate=1.0,1e30"]
    code, said = at_first_picture(place, grid, remove_content)
    assert code == 1
    table = said[said.index("run  outcome") :].splitlines()
    assert [line.split()[1] for line in table[1:5]] == ["finished", "failed", "failed", "failed"]
    assert "lower optimizer.learning_rate" in table[2]
    assert all(f"images.content: there is no file {second}" in line for line in table[3:5])
    assert table[5] == "1 finished, 3 failed"
    assert "3 of 4 runs are not finished; the same command again paints only these" in said
    assert place.ask(TAGGED, "stylelab.role") == [("FAILED",)]
    assert counts(place) == [{"failed": 3, "finished": 1}]

    second.write_bytes(content + b"\0")
    left_alone, said = place.stylelab(*grid, "retry=none")
    assert left_alone == 1 and "2 of them done, doubled or left alone" in said
    code, said = place.stylelab(*grid)
    table = said[said.index("run  outcome") :].splitlines()
    assert [line.split()[1] for line in table[1:5]] == ["done", "failed", "done", "failed"]
    assert place.statuses().count("FINISHED") == 2


def at_first_picture(place: Place, arguments: list[str], do) -> tuple[int, str]:
    """A sweep in which something happens as its first run writes its picture."""
    process = kills.begin(
        kills.stylelab, *place.arguments(*arguments), log=place.log, at=(r"pastiche\.partial$", 1, do)
    )
    process.join()
    return process.exitcode, place.log.read_text()


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupted_sweep_is_closed_and_a_killed_one_is_gone_on_with(place: Place) -> None:
    grid = ["-m", STEPS, "seed=range(3)"]
    code, said = at_first_picture(place, grid, terminate)
    assert code == 143
    assert [line.split()[1] for line in said[said.index("run  outcome") :].splitlines()[1:4]] == [
        "killed",
        "missing",
        "missing",
    ]
    assert place.statuses() == ["KILLED"]
    assert place.ask(TAGGED, "stylelab.role") == [("FAILED",)]
    assert counts(place) == [{"killed": 1, "missing": 2}]

    code, _ = at_first_picture(place, grid, kills.die)
    assert code == -signal.SIGKILL
    assert sorted(place.ask(TAGGED, "stylelab.role")) == [("FAILED",), ("RUNNING",)]
    code, said = place.stylelab(*grid)
    assert code == 0
    assert sorted(place.ask(TAGGED, "stylelab.role")) == [("FAILED",), ("FINISHED",)]
    assert place.statuses() == ["FINISHED"] * 3
    parents = "select value from tags where key = 'mlflow.parentRunId'"
    (finished,) = place.ask("select r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid and t.key = "
                            "'stylelab.role' where r.status = 'FINISHED'")  # fmt: skip
    assert place.ask(parents) == [finished] * 3

    other = place.stylelab("-m", STEPS, "seed=range(2,5)")
    assert other[0] == 0
    linked = place.ask("select value from tags where key = 'stylelab.members' order by length(value)")
    everyone = {run_id for (run_id,) in place.ask("select run_uuid from tags where key = 'stylelab.key'")}
    assert {run_id for (listed,) in linked for run_id in json.loads(listed)} == everyone
    assert "1 done before, 2 finished" in other[1]


def swept(place: Place, *settings: str):
    """The runs of a sweep without tracking, how each is composed, and the sweep's configuration."""
    arguments = place.arguments("tracking=off", STEPS, *settings)
    runs = composed_sweep(arguments, lambda runs, compose: [(run, compose(run)) for run in runs])
    composed = dict(runs)
    hydra = {"sweep": {"dir": str(place.outputs / "sweeps" / "x")}, "runtime": {"choices": {"experiment": None}}}
    config = OmegaConf.create({"sweep": None, "hydra": hydra})
    return [run for run, _ in runs], composed.__getitem__, config


def test_a_launcher_that_breaks_is_started_again_for_what_it_left_undone(
    place: Place,
    capsys: pytest.CaptureFixture,
) -> None:
    runs, compose, config = swept(place, "seed=range(3)")
    launched = []

    def launch(jobs, environment) -> None:
        launched.append(list(jobs))
        finish_by_hand(checked(jobs[:1], compose)[0].job)
        if len(launched) == 1:
            raise RuntimeError("a worker\ndied")
        for job in jobs[1:]:
            finish_by_hand(checked([job], compose)[0].job)

    conduct(runs, compose=compose, launch=launch, config=config)
    assert launched == [runs, runs[1:]]
    said = capsys.readouterr()
    assert "the launcher stopped: RuntimeError: a worker died" in said.err
    assert "3 finished" in said.out


def test_a_run_whose_worker_died_is_marked_killed_and_one_without_a_folder_says_why(
    place: Place,
    capsys: pytest.CaptureFixture,
) -> None:
    runs, compose, config = swept(place, "seed=range(3)")

    def launch(jobs, environment) -> None:
        job = checked(jobs[:1], compose)[0].job
        job.folder.mkdir(parents=True, exist_ok=True)
        run_folder.write(job.folder, {"key": job.key, "status": "RUNNING"})
        (Path(environment[FAULTS]) / "1").write_text("OSError: no picture")

    with pytest.raises(SweepFailed, match="3 of 3 runs are not finished"):
        conduct(runs, compose=compose, launch=launch, config=config)
    table = capsys.readouterr().out
    assert "killed       its process died" in table
    assert "failed       OSError: no picture" in table
    assert "missing      it was not begun" in table


def finish_by_hand(job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    for name in run_folder.LASTING:
        (job.folder / name).write_text(job.key)
    files = run_folder.lasting_hashes(job.folder)
    record = {"key": job.key, "decisive": job.decisive, "status": "FINISHED", "files": files, "ended": 1e12}
    run_folder.write(job.folder, record)


def test_duplicates_are_run_once(place: Place, capsys: pytest.CaptureFixture) -> None:
    runs, compose, config = swept(place, "seed=1,1")
    launched = []

    def launch(jobs, environment) -> None:
        launched.extend(jobs)
        finish_by_hand(checked(jobs, compose)[0].job)

    conduct(runs, compose=compose, launch=launch, config=config)
    assert len(runs) == 2 and len(launched) == 1
    conduct(runs, compose=compose, launch=launch, config=config)
    assert len(launched) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 ")


def test_a_label_is_what_tells_a_run_from_the_others() -> None:
    assert differing([["a=1", "seed=0"], ["a=1", "seed=1"]]) == ["seed=0", "seed=1"]
    assert differing([["a=1"]]) == ["a=1"]


def test_more_members_than_a_tag_holds_are_linked_in_several(tmp_path: Path, empty_store: Path) -> None:
    code = kills.begin(many_members, str(empty_store), str(tmp_path / "outputs"), log=tmp_path / "log")
    code.join()
    assert code.exitcode == 0, (tmp_path / "log").read_text()


def many_members(store: str, outputs: str) -> None:
    from types import SimpleNamespace

    from stylelab.sweep_tracking import SweepTracker

    shutil.copytree(store, outputs)
    tracking = SimpleNamespace(uri=None, experiment="stylelab")
    job = SimpleNamespace(spec=SimpleNamespace(tracking=tracking, outputs=outputs))
    tracker = SweepTracker(job, "many", fingerprint="f" * 64, alone=True)
    ids = [f"{number:032x}" for number in range(450)]
    tracker.close(ids, {"finished": 450})
    from mlflow import MlflowClient

    run_id = sweep_mirror.read(tracker.folder)["run_id"]
    tags = MlflowClient(tracker.address).get_run(run_id).data.tags
    parts = [tags["stylelab.members"], tags["stylelab.members.1"], tags["stylelab.members.2"]]
    assert [run_id for part in parts for run_id in json.loads(part)] == ids


def statuses_by_hand(jobs) -> None:
    """One run finished, one failed, one killed; the fourth was never begun."""
    finish_by_hand(jobs[0])
    for job, status in zip(jobs[1:3], ("FAILED", "KILLED"), strict=True):
        job.folder.mkdir(parents=True)
        run_folder.write(job.folder, {"key": job.key, "status": status, "reason": "a reason", "ended": 1.0})


@pytest.mark.parametrize(("retry", "launched"), [("failed", [1, 2, 3]), ("none", [2, 3]), ("all", [0, 1, 2, 3])])
def test_retry_says_what_a_sweep_launches_again(
    place: Place, retry: str, launched: list[int], capsys: pytest.CaptureFixture
) -> None:
    runs, compose, config = swept(place, "seed=range(4)", f"retry={retry}")
    statuses_by_hand([member.job for member in checked(runs, compose)])
    found = []
    with pytest.raises(SweepFailed):  # this launcher paints nothing
        conduct(runs, compose=compose, launch=lambda jobs, environment: found.extend(jobs), config=config)
    assert found == [runs[number] for number in launched]
    assert "failed       a reason" in capsys.readouterr().out


def test_a_parent_that_a_dead_sweep_left_is_closed_by_another_sweep_a_living_one_s_is_not(
    tmp_path: Path, empty_store: Path
) -> None:
    code = kills.begin(parents_of_others, str(empty_store), str(tmp_path / "outputs"), log=tmp_path / "log")
    code.join()
    assert code.exitcode == 0, (tmp_path / "log").read_text()


def parents_of_others(store: str, outputs: str) -> None:
    from types import SimpleNamespace

    from stylelab.sweep import claim_name
    from stylelab.sweep_tracking import SweepTracker

    shutil.copytree(store, outputs)

    def tracker(fingerprint: str, folder: str = outputs) -> SweepTracker:
        tracking = SimpleNamespace(uri=f"sqlite:///{outputs}/mlflow.db", experiment="stylelab")
        job = SimpleNamespace(spec=SimpleNamespace(tracking=tracking, outputs=folder))
        return SweepTracker(job, fingerprint, fingerprint=fingerprint, alone=True)

    dead, living, elsewhere = tracker("dead"), tracker("living"), tracker("elsewhere", f"{outputs}/other")
    living_claim = run_folder.Claim(Path(outputs), claim_name("living"))
    assert living_claim.try_to_acquire()
    other = tracker("other")
    from mlflow import MlflowClient

    ids = {each.name: sweep_mirror.read(each.folder)["run_id"] for each in (dead, living, elsewhere, other)}
    status = {name: MlflowClient(other.address).get_run(run_id) for name, run_id in ids.items()}
    assert {name: run.info.status for name, run in status.items()} == {
        "dead": "FAILED",
        "living": "RUNNING",
        "elsewhere": "RUNNING",  # in another outputs folder, where a lock of this one tells nothing
        "other": "RUNNING",
    }
    assert status["dead"].data.tags["stylelab.reason"] == "its process died"
    assert tracker("other").identity == other.identity  # the same runs' next sweep goes on with it


def test_a_picture_replaced_during_a_sweep_stops_the_runs_that_follow(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    runs, compose, config = swept(place, "seed=range(2)")

    def launch(jobs, environment) -> None:
        monkeypatch.setenv(FAULTS, environment[FAULTS])
        first = checked(jobs[:1], compose)[0].job
        check_unchanged(first)
        finish_by_hand(first)
        shutil.copy(place.folder / "style.png", place.folder / "content.png")
        with pytest.raises(ValueError, match="a picture or parameter file was changed after") as found:
            check_unchanged(checked(jobs[1:], compose)[0].job)
        note_fault(1, found.value)

    with pytest.raises(SweepFailed, match="1 of 2"):
        conduct(runs, compose=compose, launch=launch, config=config)
    table = capsys.readouterr().out
    assert "failed       ValueError: images: a picture or parameter file was changed" in table
    assert "1 finished, 1 failed" in table
