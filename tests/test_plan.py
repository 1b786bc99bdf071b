"""What a sweep would do and take, said before its first second."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from victims import Place, kills

from stylelab import calibration, cost
from stylelab.calibration import Calibration
from stylelab.job import prepare
from stylelab.measurements import Measurements, Memory

STEPS = ("optimizer.steps=6", "tracking=off", "tracking.pictures_every=0")


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which timings are kept from one plan to the next."""
    return tmp_path_factory.mktemp("cache")


def plan(place: Place, cache: Path, *arguments: str) -> tuple[int, str]:
    """`stylelab-plan`: exit code and what was said."""
    place.log.unlink(missing_ok=True)
    process = kills.begin(plan_main, str(cache), *arguments, log=place.log)
    process.join()
    return process.exitcode, place.log.read_text()


def plan_main(cache: str, *arguments: str) -> None:
    os.environ["STYLELAB_CACHE"] = cache
    from stylelab import calibration, measurements
    from stylelab.commands.plan import main

    # Quick, and good for small pictures only.
    measurements.LONG_SIDES, measurements.STEPS = (32, 64), 1
    calibration.FEW, calibration.MANY, calibration.LARGER = 2, 12, 64

    main(list(arguments))


def test_a_plan_says_what_is_new_done_doubled_and_goes_on_and_paints_nothing(place: Place, calibrated: Path) -> None:
    by_adam = ("optimizer=adam", "optimizer.learning_rate=1.0")
    place.paint(*STEPS, *by_adam)
    failed = kills.begin(
        kills.paint,
        place.configured(*STEPS, "seed=1", "optimizer=adam", "optimizer.learning_rate=1e30"),
        log=place.log,
    )
    failed.join()
    dead = kills.begin(
        kills.paint, place.configured(*STEPS, *by_adam, "seed=1", "checkpoint_seconds=0.0001"), log=place.log,
        at=(r"checkpoint\.partial$", 8, kills.die),
    )  # fmt: skip
    dead.join()
    before = sorted(place.outputs.rglob("*"))
    grid = place.arguments("-m", *STEPS, "optimizer=adam", "seed=0,1,1", "optimizer.learning_rate=1.0,1e30")
    code, said = plan(place, calibrated, *grid)
    assert code == 0, said
    assert sorted(path for path in place.outputs.rglob("*") if path.suffix != ".lock") == [
        path for path in before if path.suffix != ".lock"
    ]
    table = said[said.index("run  state") :].splitlines()
    states = [line[5:19].strip() for line in table[1:7]]
    assert states == ["done", "new", "goes on at 3", "failed before", "doubled", "doubled"]
    assert all("32x24" in line and "embedded" in line for line in table[1:7])
    assert table[3].endswith("optimizer.learning_rate=1.0 seed=1") or table[3].endswith(
        "seed=1 optimizer.learning_rate=1.0"
    )
    assert table[7].startswith("6 runs: 1 done, 1 new, 1 goes on, 1 failed before, 2 doubled; one after another about ")


def test_a_fault_in_any_run_of_a_sweep_is_one_line_and_an_exit_code(place: Place, calibrated: Path) -> None:
    code, said = plan(place, calibrated, *place.arguments("-m", *STEPS, "layers.style=[relu1_1],[relu9_1]"))
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("stylelab: run 1 (layers.style=[relu9_1]): layers.style: VGG-19 has no layer relu9_1")
    code, said = plan(place, calibrated, *place.arguments(*STEPS, "optimizer.stpes=3"))
    assert (code, said.count("\n")) == (1, 1)


def test_help_needs_neither_torch_nor_mlflow() -> None:
    for command in ("plan", "reproduce"):
        asked = (
            f"import sys; from stylelab.commands.{command} import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
        )
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"usage: stylelab-{command}") and said.endswith("[]\n")


def plan_again_main(cache: str, *arguments: str) -> None:
    """With a second measurement of all but the process, which takes seconds and was the first one's."""
    (kept,) = Path(cache).glob("calibration-*.json")
    process = json.loads(kept.read_text())["table"]["process off"]
    calibration.Calibration._process = lambda self, job: {int(size): values for size, values in process.items()}
    plan_main(cache, "--calibrate", *arguments)


def test_measurements_are_kept_and_made_again_when_asked(place: Place, calibrated: Path) -> None:
    settings = place.arguments(*STEPS)
    plan(place, calibrated, *settings)
    assert "measuring" not in plan(place, calibrated, *settings)[1]
    (kept,) = calibrated.glob("calibration-*.json")
    before = json.loads(kept.read_text())
    process = kills.begin(plan_again_main, str(calibrated), *settings, log=place.log)
    process.join()
    assert process.exitcode == 0 and "measuring this machine, once" in place.log.read_text()
    after = json.loads(kept.read_text())
    assert before["about"] == after["about"] and before["about"]["threads"] == 1
    assert all(after["table"][kind] != before["table"][kind] for kind in after["table"].keys() - {"process off"})
    start = before["table"]["process off"]["768"]
    assert start["start"] > 0.3 and start["bytes"] > 100e6 and start["store"] == 0


def test_a_plan_is_made_where_its_measurements_can_not_be_kept(place: Place, calibrated: Path) -> None:
    plan(place, calibrated, *place.arguments(*STEPS))
    blocked = place.folder / "cache"
    shutil.copytree(calibrated, blocked)
    (kept,) = blocked.glob("calibration-*.json")
    kept.with_suffix(".partial").mkdir()  # nothing can be written there
    process = kills.begin(plan_again_main, str(blocked), *place.arguments(*STEPS), log=place.log)
    process.join()
    said = place.log.read_text()
    assert process.exitcode == 0 and "the measurements can't be kept" in said and "1 run: 1 new" in said


def test_measurements_of_other_code_versions_or_threads_do_not_count(tmp_path: Path, monkeypatch) -> None:
    def place_of(threads: int = 1) -> Path:
        return Calibration(tmp_path, device="cpu", threads=threads).path

    first = place_of()
    assert place_of() == first
    assert place_of(threads=2) != first
    code = tmp_path / "code"
    (code / "engine").mkdir(parents=True)
    (code / "engine" / "walk.py").write_text("quick = True\n")
    monkeypatch.setattr(calibration, "PACKAGE", code)
    second = place_of()
    (code / "engine" / "walk.py").write_text("quick = False\n")
    assert len({first, second, place_of()}) == 3


def test_a_quantity_is_a_line_between_sizes_and_goes_on_above_the_largest() -> None:
    sizes = {100: {"seconds": 1.0}, 300: {"seconds": 2.0}, 500: {"seconds": 4.0}}
    found = [cost.at(sizes, "seconds", pixels) for pixels in (10, 100, 200, 300, 400, 500, 1000)]
    assert found == [1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0]
    assert cost.at({100: {"seconds": 1.0}}, "seconds", 250) == 2.5
    assert (
        cost.at({100: {"seconds": 2.0}, 200: {"seconds": 1.9}}, "seconds", 300) == 1.9
    )  # a large picture costs no less


PART = {"build": 10.0, "network": 1e6, "building": 2e6, "encoding": 0.0, "left": 0.0}
RULER = {"seconds": 100.0, "build": 20.0, "network": 0.0, "building": 0.0, "bytes": 0.0}
PROCESS = {"run": 1000.0, "start": 0.0, "store": 0.0, "step": 0.1, "picture": 5.0, "bytes": 50 * 2**20}


def tabled(job) -> dict:
    """A table whose parts cost round numbers, whatever the size: 1 s a step in bfloat16, 2 s in float32."""
    table = {cost.ruler_kind(job): at_every_size(RULER), cost.process_kind(job): at_every_size(PROCESS)}
    for arithmetic, seconds in (("bfloat16", 1.0), ("float32", 2.0)):
        part = PART | {"seconds": seconds, "targets": 30.0, "bytes": seconds * 1e6}
        table[cost.painting_kind(job.spec, arithmetic)] = at_every_size(part)
    return table | {"lbfgs 4": at_every_size({"seconds": 0.5, "bytes": 7e6, "copy": 6e6})}


def at_every_size(values: dict) -> dict:
    """As measured at two sizes, and the same at both."""
    return {1: values, 10**9: values}


@pytest.fixture
def job(configuration, picture, tmp_path: Path):
    """Two levels of 9 and 19 steps in bfloat16, then float32 for a fifth of each."""
    for name in ("content", "style"):
        picture(0, 64, 48).save(tmp_path / f"{name}.png")
    config = configuration({"pyramid": {"long_sides": [32, 64], "steps": [9, 19]}, "images.long_side": 64})
    config["images"] |= {"content": str(tmp_path / "content.png"), "style": [str(tmp_path / "style.png")]}
    config["precision"] = {"network": "bfloat16", "float32_finish": 0.2}
    config["tracking"]["pictures_every"] = 10
    return prepare(config | {"outputs": str(tmp_path / "outputs")})


def test_a_run_s_seconds_are_those_of_its_parts(job) -> None:
    evaluations = 8 * 1.0 + 2 * 2.0 + 16 * 1.0 + 4 * 2.0  # both levels, bfloat16 then float32
    painting = evaluations + 30 * (0.5 + 0.1) + 4 * 30.0 + 2 * 5.0  # L-BFGS, rows, targets, pictures at 10 and 20
    whole = 10.0 + 20.0 + painting + 100.0 + 1000.0  # network, ruler, painting, judging, all else
    assert cost.expected(job, tabled(job)).seconds == pytest.approx(whole)
    # A checkpoint taken at the tenth evaluation, the first of the second level, saves the first level.
    saved = 8 * 1.0 + 2 * 2.0 + 10 * (0.5 + 0.1) + 2 * 30.0
    assert cost.expected(job, tabled(job), done=10).seconds == pytest.approx(whole - saved)
    saved += 18 * 1.0 - 2 * 1.0 + 2 * 2.0 + 18 * (0.5 + 0.1) + 30.0 + 2 * 5.0  # and one at the twenty-eighth nearly all
    assert cost.expected(job, tabled(job), done=28).seconds == pytest.approx(whole - saved)


def test_a_run_s_memory_is_that_of_its_fullest_moment(job) -> None:
    table = tabled(job)
    painting = 1e6 + 7e6 + 2e6  # network, pairs, evaluation in float32
    assert cost.painting_bytes(job, table, checkpoints=False) == painting
    assert cost.painting_bytes(job, table, checkpoints=True) == 1e6 + 7e6 + 6e6
    assert cost.expected(job, table).peak_mb == pytest.approx(50 + 14e6 / 2**20)
    ruler = at_every_size(RULER | {"network": 80e6, "bytes": 5e6})
    assert cost.painting_bytes(job, table | {cost.ruler_kind(job): ruler}, checkpoints=False) == 1e6 + 7e6 + 85e6


def test_measured_parts_cost_what_they_cost(job) -> None:
    found = Measurements(job, torch.device("cpu"), longest=64).lacking({})
    assert found.keys() == cost.pixels_wanted(job).keys() - {cost.process_kind(job)}
    for sizes in found.values():
        assert set(sizes) <= {32 * 24, 64 * 48, 3 * 32 * 24, 3 * 64 * 48}
        assert all(values["seconds"] > 0 and values["bytes"] >= 0 for values in sizes.values())
    pairs = found["lbfgs 4"][64 * 48]
    assert pairs["copy"] <= 4 * 2 * 3 * 64 * 48 * 4 + 2**20
    assert Measurements(job, torch.device("cpu"), longest=64).lacking(found) == {}


@pytest.mark.gpu
def test_memory_on_a_gpu_is_that_of_its_tensors() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    with Memory(torch.device("cuda")) as memory:
        kept = torch.empty(1 << 20, device="cuda")
        torch.empty(1 << 22, device="cuda")
    assert (memory.held, memory.fullest) == (kept.nbytes, 5 * kept.nbytes)
