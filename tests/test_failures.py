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
    code, said = place.stylelab(*settings, "retry=none")
    assert code == 1 and "retry: it failed before (OSError: outputs: the disk of " in said
    place.paint(*settings)
    assert run_folder.is_whole(folder)


def short_of_memory(*arguments: str) -> None:
    """`stylelab` in a process that may take 400 MB more than it has."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 400_000_000,) * 2)
    kills.stylelab(*arguments)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="only Linux tells and limits a process's memory so")
def test_out_of_memory_names_the_long_side_that_does_fit(place: Place) -> None:
    settings = ("tracking=off", "optimizer.steps=1", "tracking.pictures_every=0", "layers=gatys2015")

    def painted(long_side: int) -> tuple[int, str]:
        place.log.unlink(missing_ok=True)
        arguments = place.arguments(*settings, f"images.long_side={long_side}")
        process = kills.begin(short_of_memory, *arguments, log=place.log)
        process.join()
        return process.exitcode, place.log.read_text()

    code, said = painted(1024)
    assert code == 1 and "Traceback" not in said
    *_, line = said.splitlines()
    assert line.startswith("stylelab: images.long_side: cpu is out of memory at 1024 pixels (about ")
    assert line.endswith(" would fit")
    (folder,) = place.folders()
    record = run_folder.read(folder)
    assert record["status"] == "FAILED" and record["reason"].endswith(" would fit")
    fits = int(line.split("images.long_side=")[1].split()[0])
    assert 256 <= fits < 1024
    assert painted(fits)[0] == 0, place.log.read_text()


@pytest.fixture
def job(configuration, picture, tmp_path: Path):
    for name in ("content", "style"):
        picture(0, 64, 48).save(tmp_path / f"{name}.png")
    config = configuration({"images.long_side": 512, "pyramid": {"long_sides": [512], "steps": [3]}})
    config["images"] |= {"content": str(tmp_path / "content.png"), "style": [str(tmp_path / "style.png")]}
    return prepare(config | {"outputs": str(tmp_path / "outputs"), "force": False, "retry": "failed", "sweep": None})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=["GPU", "CPU", "Python"],
)
def test_out_of_memory_is_told_from_other_errors(job, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_free_bytes", lambda device: 1000.0)
    monkeypatch.setattr(failures, "LONGEST", 32)
    shown = failures.explained(error, job)
    assert isinstance(shown, MemoryError)
    assert "out of memory at 512 pixels" in str(shown) and "not even a small picture would fit" in str(shown)
    assert failures.explained(RuntimeError("own fault"), job).args == ("own fault",)


def test_what_fits_does_fit(job) -> None:
    line = {"seconds": 1.0, "build": 0.0, "network": 0.0, "building": 0.0, "encoding": 0.0, "left": 0.0, "copy": 0.0}
    small, large = ({**line, "bytes": pixels * 1000.0} for pixels in (1000, 10_000))  # a thousand bytes per pixel
    table = {kind: {1000: small, 10_000: large} for kind in cost.pixels_wanted(job)}
    table[cost.ruler_kind(job)] = {1: line | {"bytes": 0.0}, 10**9: line | {"bytes": 0.0}}
    for long_side in (64, 256, 384):
        room = 2000.0 * long_side * long_side * 3 / 4  # painting and L-BFGS's pairs
        assert cost.long_side_that_fits(job, table, room) == long_side
        assert cost.long_side_that_fits(job, table, room - 1) == long_side - 16
    assert cost.long_side_that_fits(job, table, 1.0) is None


@pytest.mark.gpu
def test_a_gpu_out_of_memory_names_the_long_side_that_does_fit(place: Place) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    settings = ("tracking=off", "optimizer.steps=1", "tracking.pictures_every=0", "device=cuda")
    process = kills.begin(on_a_full_gpu, *place.arguments(*settings, "images.long_side=2048"), log=place.log)
    process.join()
    line = place.log.read_text().splitlines()[-1]
    assert process.exitcode == 1 and "cuda is out of memory at 2048 pixels" in line and line.endswith(" would fit")
    fits = int(line.split("images.long_side=")[1].split()[0])
    process = kills.begin(on_a_full_gpu, *place.arguments(*settings, f"images.long_side={fits}"), log=place.log)
    process.join()
    assert 64 <= fits < 2048 and process.exitcode == 0


def on_a_full_gpu(*arguments: str) -> None:
    """`stylelab` where one gigabyte of a GPU is free."""
    free, _ = torch.cuda.mem_get_info()
    kept = torch.empty(free - 2**30, dtype=torch.uint8, device="cuda")
    kills.stylelab(*arguments)
    del kept


def test_what_nobody_can_explain_stays_as_it_is(job) -> None:
    other = ValueError("own fault")
    assert failures.explained(other, job) is other
