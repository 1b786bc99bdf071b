"""A run that was killed, at whatever moment, ends as if nobody had killed it."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from victims import Place, kills

from stylelab import run_folder
from stylelab.provenance import ALGORITHM, key_of
from stylelab.recorders import Checkpoint

LEVELS = ("pyramid=coarse_to_fine", "pyramid.long_sides=[16,32]", "pyramid.steps=[6,6]", "tracking.pictures_every=1")
OFTEN = "checkpoint_seconds=0.001"
MOMENTS = {  # in their order: pattern and number of the file at which the run dies, and is started again
    "before the folder is made": ("/runs/content", 1),
    "while run.json is written": (r"run\.partial$", 1),
    "before its spool is named": (r"spool/tracking\.partial$", 1),
    "before run.json names its identity": (r"run\.partial$", 2),
    "while a checkpoint is written": (r"checkpoint\.partial$", 3),
    "while a checkpoint takes the place of the last": (r"checkpoint\.partial$", 4),
    "at the last step of a level": (r"canvas_000006\.partial$", 1),
    "at the first step of the next level": (r"canvas_000007\.partial$", 1),
    "while losses.csv is brought back to the checkpoint": (r"losses\.partial$", 1),
    "while the picture is written": (r"pastiche\.partial$", 1),
}
MOMENTS_OF_TRACKING = {  # the same, of the thread that brings the run into MLflow, wherever painting is meanwhile
    "while an input is logged": (r"inputs/\.artifact\.uploading", 1),
    "between a canvas's PNG and its WebP": (r"images/\.artifact\.uploading", 2),
    "after the folder is finished, before MLflow is": (r"artifacts/\.artifact\.uploading", 3),
    "while its spool is removed": (r"times\.csv$", 1),
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, bytes]:
    """The bytes of the run over two levels that nobody killed."""
    undisturbed = Place(tmp_path_factory.mktemp("truth") / "place", empty_store)
    undisturbed.paint(*LEVELS)
    return kills.lasting(undisturbed.outputs)


def faults(place: Place, truth: dict[str, bytes]) -> list[str]:
    """What is wrong with a finished run: bytes, MLflow, folder."""
    found = kills.lasting(place.outputs)
    return [name for name in truth if found[name] != truth[name]] + kills.check(place.outputs, pictures_every=1)


def killed(place: Place, *settings: str, at: tuple[str, int]) -> None:
    """A run that dies at a file."""
    process = kills.begin(kills.paint, place.configured(*settings), log=place.log, at=(*at, kills.die))
    process.join()
    assert process.exitcode == -signal.SIGKILL, at


def test_a_run_killed_at_each_step_of_its_bookkeeping_ends_with_the_same_bytes(place: Place, truth: dict) -> None:
    for moments in (MOMENTS, MOMENTS_OF_TRACKING):
        place.renew()
        for at in moments.values():
            killed(place, *LEVELS, OFTEN, at=at)
        place.paint(*LEVELS, OFTEN)
        assert faults(place, truth) == []


def test_runs_killed_at_random_moments_resume_to_the_same_bytes(tmp_path: Path, empty_store: Path) -> None:
    kills.draw_pictures(tmp_path)
    kinds = {"coarse to fine in bfloat16, by Adam": kills.KINDS["coarse to fine in bfloat16, by Adam"]}
    assert kills.kill_runs(tmp_path, random.Random(5), 5, kinds=kinds, verbose=False) == 0


def test_a_run_goes_on_from_its_checkpoint_and_says_so(place: Place, truth: dict) -> None:
    killed(place, *LEVELS, OFTEN, at=(r"canvas_000010\.partial$", 1))
    (folder,) = place.folders()
    mtime = (folder / "canvas_000004.png").stat().st_mtime_ns
    place.paint(*LEVELS, OFTEN)
    (resumed,) = run_folder.read(folder)["resumed"]
    assert resumed["step"] == 9
    assert (folder / "canvas_000004.png").stat().st_mtime_ns == mtime
    assert faults(place, truth) == []


def test_a_checkpoint_that_does_not_do_is_set_aside_and_the_run_starts_afresh(place: Place, truth: dict) -> None:
    killed(place, *LEVELS, OFTEN, at=(r"canvas_000010\.partial$", 1))
    (folder,) = place.folders()
    checkpoint = folder / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    state = torch.load(checkpoint, weights_only=True)
    fewer_rows = "\n".join(state["losses"].splitlines()[:-2]) + "\n"
    pixel = whole.index(state["state"]["canvas"].numpy().tobytes()) + 100  # a byte of the canvas
    unfit = {
        "empty": (lambda: checkpoint.write_bytes(b""), "can't be read"),
        "cut": (lambda: checkpoint.write_bytes(whole[: len(whole) // 2]), "can't be read"),
        "a folder": (checkpoint.mkdir, "can't be read"),
        "a wrong bit": (
            lambda: checkpoint.write_bytes(whole[:pixel] + bytes([whole[pixel] ^ 1]) + whole[pixel + 1 :]),
            "bytes were changed",
        ),
        "noise": (lambda: checkpoint.write_bytes(os.urandom(1000)), "can't be read"),
        "older layout": (lambda: torch.save(state | {"layout": 0}, checkpoint), "another version of the algorithm"),
        "other key": (lambda: torch.save(state | {"key": "0" * 64}, checkpoint), "another run"),
        "losses": (lambda: torch.save(state | {"losses": fewer_rows}, checkpoint), "losses are not complete"),
    }
    checkpoint.unlink()
    for number, (damage, reason) in enumerate(unfit.values(), 1):
        damage()
        process = kills.begin(
            kills.paint,
            place.configured(*LEVELS, "checkpoint_seconds=60"),
            log=place.log,
            at=(r"canvas_000001\.partial$", 1, kills.die),
        )
        process.join()
        said = place.log.read_text()
        assert f"checkpoint set aside as checkpoint.pt.before-{number}: " in said and reason in said
        assert not checkpoint.exists()
    place.paint(*LEVELS)
    assert faults(place, truth) == []
    assert run_folder.read(folder)["resumed"] == []
    assert len(list(folder.glob("checkpoint.pt.before-*"))) == len(unfit)


def test_a_checkpoint_by_another_version_of_the_algorithm_is_set_aside(place: Place, truth: dict) -> None:
    killed(place, *LEVELS, OFTEN, at=(r"canvas_000010\.partial$", 1))
    (folder,) = place.folders()
    record = run_folder.read(folder)
    older = record["decisive"] | {"algorithm": ALGORITHM - 1}
    run_folder.write(folder, record | {"decisive": older, "key": key_of(older)})
    was = folder.rename(folder.with_name(folder.name[:-12] + key_of(older)[:12]))
    said = place.paint(*LEVELS)
    reason = f"by version {ALGORITHM - 1} of the algorithm, this is {ALGORITHM}; the run starts afresh"
    assert f"checkpoint set aside as {was / 'checkpoint.pt.before-1'}: {reason}" in said
    assert [file.name for file in was.glob("checkpoint.pt*")] == ["checkpoint.pt.before-1"]
    assert folder.is_dir() and run_folder.read(folder)["resumed"] == []


def test_half_written_files_of_a_killed_run_do_not_confuse_the_next(place: Place, truth: dict) -> None:
    killed(place, *LEVELS, OFTEN, at=(r"canvas_000010\.partial$", 1))
    (folder,) = place.folders()
    with (folder / "losses.csv").open("a") as losses:
        losses.write("10,1,3.0\n11,1,0.")
    (folder / "run.json").write_text((folder / "run.json").read_text()[:300])  # as after a power failure
    (folder / "canvas_000011.png").write_bytes(b"half")
    (folder / "checkpoint.partial").write_bytes(b"half")
    place.paint(*LEVELS)
    assert faults(place, truth) == []


def test_sigterm_leaves_a_killed_run_with_its_reason_that_goes_on_later(place: Place, truth: dict) -> None:
    process = kills.begin(
        kills.stylelab, *place.arguments(*LEVELS, OFTEN), log=place.log, at=(r"canvas_000009\.partial$", 1, terminate)
    )
    process.join()
    assert process.exitcode == 143
    (folder,) = place.folders()
    record = run_folder.read(folder)
    assert (record["status"], record["reason"]) == ("KILLED", "SIGTERM")
    assert place.statuses() == ["KILLED"]
    reasons = "select value from tags where key = 'stylelab.reason'"
    assert place.ask(reasons) == [("SIGTERM",)]
    place.paint(*LEVELS)
    assert place.ask(reasons) == []
    assert run_folder.read(folder)["reason"] is None
    assert faults(place, truth) == []


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_interval_of_checkpoints_grows_with_what_one_costs(tmp_path: Path) -> None:
    class Job:
        folder, key, decisive = tmp_path, "0" * 64, {}

        class spec:
            checkpoint_seconds = 0.05

    checkpoint = Checkpoint(Job)
    checkpoint.last = time.monotonic() - 1
    assert checkpoint._is_due()
    checkpoint.cost = 0.1  # 2 % of five seconds
    assert not checkpoint._is_due()
    checkpoint.last -= 4.1
    assert checkpoint._is_due()


def test_checkpoints_asked_for_at_every_step_are_held_to_a_small_part_of_the_time(place: Place) -> None:
    # A fiftieth is aimed at, from what the last one took; the bound leaves room for a busy machine's hiccups.
    place.stylelab("images.long_side=64", "optimizer.steps=150", "checkpoint_seconds=0.01", "tracking=off")
    (folder,) = place.folders()
    record = json.loads((folder / "run.json").read_text())
    assert 0 < record["metrics"]["time/checkpoint_seconds"] < 0.1 * record["metrics"]["time/total_seconds"]
