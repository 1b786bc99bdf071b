"""A run's folder: found by key, read whatever is in it, claimed by one living process."""

import json
import os
import platform
import time
from pathlib import Path

import pytest

from stylelab import run_folder
from stylelab.provenance import key_of

KEY = "0123456789ab" + "0" * 52


def finished(folder: Path) -> dict:
    folder.mkdir(parents=True)
    for name in run_folder.LASTING:
        (folder / name).write_text(name)
    decisive = {"seed": 1}
    record = {
        "status": "FINISHED",
        "decisive": decisive,
        "key": key_of(decisive),
        "files": run_folder.lasting_hashes(folder),
    }
    run_folder.write(folder, record)
    return record


def test_a_folder_is_whole_only_with_its_status_its_key_and_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = finished(folder)
    assert run_folder.is_whole(folder)
    for change in ({"status": "RUNNING"}, {"key": KEY}, {"decisive": {"seed": 2}}, {"files": {}}):
        run_folder.write(folder, record | change)
        assert not run_folder.is_whole(folder), change
    run_folder.write(folder, record)
    (folder / "losses.csv").write_text("losses.cs!")  # of the same length
    assert not run_folder.is_whole(folder)
    (folder / "losses.csv").unlink()
    assert not run_folder.is_whole(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": "FINISHED"}', b"\xff\xfe"])
def test_a_damaged_run_json_says_nothing(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run_folder.read(tmp_path).get("mlflow_run_id") is None
    assert not run_folder.is_whole(tmp_path)


def test_a_folder_is_found_by_its_key_under_any_name_but_not_once_set_aside(tmp_path: Path) -> None:
    other = tmp_path / "runs" / f"other-{KEY[:12]}"
    other.mkdir(parents=True)
    run_folder.write(other, {"key": KEY[:12] + "1" * 52})  # as good as never: the same first twelve characters
    assert run_folder.find(tmp_path, KEY, likely=tmp_path / "runs" / "other-name") is None
    mine = tmp_path / "runs" / f"some-name-{KEY[:12]}"
    mine.mkdir()
    assert run_folder.find(tmp_path, KEY, likely=tmp_path / "runs" / "other-name") == mine
    kept = run_folder.set_aside(mine)
    assert kept.name == f"{mine.name}.before-1"
    assert run_folder.find(tmp_path, KEY, likely=tmp_path / "runs" / "other-name") is None
    mine.mkdir()
    assert run_folder.set_aside(mine).name == f"{mine.name}.before-2"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("before")
    (tmp_path / "file.partial").mkdir()  # nothing can be written there
    with pytest.raises(OSError):
        run_folder.write_whole(path, "after")
    assert path.read_text() == "before"


def test_a_claim_is_one_process_s_until_it_is_released(tmp_path: Path) -> None:
    first, second = run_folder.Claim(tmp_path, "key"), run_folder.Claim(tmp_path, "key")
    assert first.try_to_acquire()
    owner = json.loads(first.owner_file.read_text())
    assert owner["host"] == platform.node()
    assert not second.try_to_acquire()
    first.release()
    assert not first.owner_file.exists()
    assert second.try_to_acquire()
    second.release()


def test_a_living_claim_of_another_host_is_respected_a_dead_one_taken(tmp_path: Path) -> None:
    claim = run_folder.Claim(tmp_path, "key")
    claim.owner_file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "heartbeat": time.time()}))
    assert not claim.try_to_acquire()
    told: list[str] = []
    claim.owner_file.write_text(json.dumps({"host": "elsewhere", "pid": 7, "heartbeat": time.time()}))
    os.utime(claim.owner_file, (time.time() - run_folder.DEAD_AFTER + 0.3,) * 2)
    for _ in claim.awaited(tell=told.append):
        time.sleep(0.01)
    assert told == ["waiting: process 7 on elsewhere is painting this very picture"]
    assert json.loads(claim.owner_file.read_text())["host"] == platform.node()
    claim.release()


def test_a_clock_that_jumped_neither_kills_an_owner_nor_keeps_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "DEAD_AFTER", 0.6)
    claim = run_folder.Claim(tmp_path, "key")
    owner = {"host": "hö st/'\"\n🙂", "pid": 1, "heartbeat": 0.0}
    for beat in range(3):
        claim.owner_file.write_text(json.dumps(owner | {"heartbeat": beat}))
        assert not claim.try_to_acquire()
        time.sleep(0.25)
    tomorrow = time.time() + 1e5  # as the disk's clock put it, before it was set right
    os.utime(claim.owner_file, (tomorrow, tomorrow))
    assert not claim.try_to_acquire()
    time.sleep(0.65)
    assert claim.try_to_acquire()
    claim.release()


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_sign_of_life_is_none(tmp_path: Path, content: str) -> None:
    claim = run_folder.Claim(tmp_path, "key")
    claim.owner_file.write_text(content)
    assert claim.try_to_acquire()
    claim.release()


def test_a_living_process_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "HEARTBEAT", 0.02)
    claim = run_folder.Claim(tmp_path, "key")
    assert claim.try_to_acquire()
    first = json.loads(claim.owner_file.read_text())["heartbeat"]
    deadline = time.monotonic() + 5
    while json.loads(claim.owner_file.read_text())["heartbeat"] == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(claim.owner_file.read_text())["heartbeat"] > first
    claim.release()
    assert not claim.beating.is_alive()
