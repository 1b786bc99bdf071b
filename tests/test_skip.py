"""What is finished is not painted again, and nothing finished is lost."""

import json
import time
from pathlib import Path

from victims import Place, kills

from stylelab import run_folder

STEPS = "optimizer.steps=6"


def test_a_finished_run_is_skipped_painted_again_by_force_and_when_damaged(place: Place) -> None:
    place.paint(STEPS)
    (folder,) = place.folders()
    painted = (folder / "pastiche.png").stat().st_mtime_ns
    code, said = place.stylelab(STEPS)
    assert (code, "painted already" in said) == (0, True)
    assert (folder / "pastiche.png").stat().st_mtime_ns == painted
    assert place.statuses() == ["FINISHED"]

    place.paint(STEPS, "force=true")
    again, kept = place.folders()
    assert (again.name, kept.name) == (folder.name, f"{folder.name}.before-1")
    assert (kept / "pastiche.png").stat().st_mtime_ns == painted
    assert kills.lasting(place.outputs)["pastiche.png"] == (kept / "pastiche.png").read_bytes()
    assert place.statuses() == ["FINISHED", "FINISHED"]
    assert run_folder.read(again)["mlflow_run_id"] != run_folder.read(kept)["mlflow_run_id"]

    (folder / "losses.csv").write_text("damaged")
    place.paint(STEPS)
    assert [path.name for path in place.folders()][1:] == [f"{folder.name}.before-{n}" for n in (1, 2)]
    assert (place.folders()[2] / "losses.csv").read_text() == "damaged"
    assert place.statuses() == ["FINISHED"] * 3


def test_the_same_key_given_to_two_processes_at_once_is_painted_once(place: Place) -> None:
    copy = place.folder / "another name.png"
    copy.write_bytes((place.folder / "content.png").read_bytes())
    logs = [place.folder / f"log{number}" for number in (0, 1)]
    commands = [
        place.arguments("optimizer.steps=60"),
        place.arguments("optimizer.steps=60", f"images.content='{copy}'"),
    ]
    both = [kills.begin(kills.stylelab, *command, log=log) for command, log in zip(commands, logs, strict=True)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(place.folders()) == 1
    assert place.statuses() == ["FINISHED"]
    assert sorted("painted already" in log.read_text() for log in logs) == [False, True]
    assert kills.check(place.outputs) == []


def test_a_whole_folder_that_the_store_does_not_know_is_tracked_not_painted(place: Place) -> None:
    place.paint(STEPS, "tracking=off", "tracking.pictures_every=7")
    (folder,) = place.folders()
    painted = (folder / "pastiche.png").stat().st_mtime_ns
    place.paint(STEPS)
    assert (folder / "pastiche.png").stat().st_mtime_ns == painted
    assert place.statuses() == ["FINISHED"]
    tracked = dict(place.ask("select step, value from metrics where key = 'loss/total'"))
    rows = [line.split(",") for line in (folder / "losses.csv").read_text().splitlines()[1:]]
    assert tracked == {int(row[0]): float(row[2]) for row in rows}
    assert place.ask("select count(*) from metrics where key = 'loss/style/relu2_1'") == [(7,)]
    assert place.paint(STEPS) == "" and place.statuses() == ["FINISHED"]


def test_a_hundred_finished_runs_are_recognised_in_under_a_second(tmp_path: Path) -> None:
    hashes = {}
    for number in range(100):
        folder = tmp_path / "runs" / str(number)
        folder.mkdir(parents=True)
        for name in run_folder.LASTING:
            (folder / name).write_bytes(bytes([number]) * 400_000)
        hashes[folder] = run_folder.lasting_hashes(folder)
        decisive = {"number": number}
        record = {
            "status": "FINISHED",
            "decisive": decisive,
            "key": run_folder.key_of(decisive),
            "files": hashes[folder],
        }
        (folder / "run.json").write_text(json.dumps(record))
    began = time.process_time()
    assert all(run_folder.is_whole(folder) for folder in hashes)
    assert time.process_time() - began < 1
