"""What stops a run leaves one clear line and a true status."""

import resource
from pathlib import Path

import pytest
import torch
from victims import Place, kills

from stylelab import cost, failures, run_folder
from stylelab.job import prepare


def limited(*arguments: str) -> None:
    """`stylelab` where no file may grow beyond 40 kB, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    kills.stylelab(*arguments)


def test_a_full_disk_leaves_one_line_a_status_and_a_run_that_goes_on(place: Place) -> None:
    settings = ("tracking=off", "optimizer.steps=30", "tracking.pictures_every=0", "images.long_side=64")
    process = kills.begin(limited, *place.arguments(*settings, "checkpoint_seconds=0.0001"), log=place.log)
    process.join()
    said = place.log.read_text()
    assert process.exitcode == 1
    assert "Traceback" not in said
    assert f"stylelab: outputs: the disk of {place.outputs} is full" in said.splitlines()[-1]
    (folder,) = place.folders()
    record = run_folder.read(folder)
    assert record["status"] == "FAILED" and "is full" in record["reason"]
    assert [path.name for path in folder.iterdir() if path.suffix == ".partial"] == []
    place.paint(*settings)
    assert run_folder.is_whole(folder)


@pytest.fixture
def job(configuration, picture, tmp_path: Path):
    for name in ("content", "style"):
        picture(0, 64, 48).save(tmp_path / f"{name}.png")
    config = configuration({"images.long_side": 512, "pyramid": {"long_sides": [512], "steps": [3]}})
    config["images"] |= {"content": str(tmp_path / "content.png"), "style": [str(tmp_path / "style.png")]}
    return prepare(config | {"outputs": str(tmp_path / "outputs"), "force": False, "retry": "failed", "sweep": None})


def test_out_of_memory_names_the_long_side_that_would_fit(job, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = cost.painting_bytes(job.spec, [(level.canvas, level.styles) for level in job.levels])
    monkeypatch.setattr(failures, "_free_bytes", lambda device: wanted / 2)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ):
        shown = failures.explained(error, job)
        assert isinstance(shown, MemoryError)
        fits = int(str(shown).partition("images.long_side=")[2].split()[0])
        assert 16 <= fits < 512 and str(shown).endswith("would fit")
        assert "out of memory at 512 pixels" in str(shown)
    monkeypatch.setattr(failures, "_free_bytes", lambda device: 1000.0)
    assert "not even a small picture would fit" in str(failures.explained(MemoryError(), job))


def test_memory_grows_with_the_picture_and_what_fits_does_fit(job) -> None:
    def bytes_at(side: int) -> float:
        return cost.painting_bytes(job.spec, [((side, side * 3 // 4), [(side, side * 3 // 4)])])

    assert bytes_at(256) < bytes_at(512) < bytes_at(1024)
    for long_side in (64, 256, 384):
        fits = cost.long_side_that_fits(job, bytes_at(long_side))
        assert long_side - 16 <= fits <= long_side
    assert cost.long_side_that_fits(job, 1.0) is None


def test_a_store_that_refuses_is_one_line(job) -> None:
    from mlflow.exceptions import MlflowException

    shown = failures.explained(MlflowException("no such\ntable"), job)
    assert isinstance(shown, failures.TrackingFailed)
    assert str(shown).startswith("tracking.uri: the store refused (no such table): ")
    full = failures.explained(MlflowException("(sqlite3.OperationalError) database or disk is full"), job)
    assert "is full" in str(full)
    other = ValueError("own fault")
    assert failures.explained(other, job) is other
