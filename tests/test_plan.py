"""What a sweep would do and take, said before its first second."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from victims import Place, kills

from stylelab import cost
from stylelab.cost import Operation, Seconds
from stylelab.layers import LAYERS, deepest
from stylelab.vgg import Encoder

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
    from stylelab import calibration
    from stylelab.commands.plan import main

    # Quick, and good for small pictures only.
    calibration.MOST_MULTIPLY_ADDS, calibration.LEAST_SECONDS = 2_000_000, 0.001

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


def test_timings_are_kept_and_taken_again_when_asked(place: Place, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    settings = place.arguments(*STEPS)
    first = plan(place, cache, *settings)[1]
    assert "timing this machine, once" in first
    (kept,) = cache.glob("calibration-*.json")
    before = kept.read_bytes()
    assert "timing" not in plan(place, cache, *settings)[1]
    assert kept.read_bytes() == before
    assert "timing" in plan(place, cache, "--calibrate", *settings)[1]
    assert kept.read_bytes() != before
    assert json.loads(before)["about"]["threads"] == 1


def test_operations_of_vgg19_are_those_of_the_encoder(small_encoder) -> None:
    encoder: Encoder = small_encoder("relu4_2", "relu1_1")
    found = cost.network_operations("caffe", ("relu4_2", "relu1_1"), (64, 48), "float32")
    assert [each.kind for each in found] == [name.rstrip("0123456789_") for name in encoder.path]
    convolutions = [each for each in found if each.kind == "conv"]
    assert convolutions[0] == Operation("conv", 3, 64, 3, "float32", 64 * 48)
    assert convolutions[-1] == Operation("conv", 512, 512, 3, "float32", 8 * 6)
    # VGG-19 up to relu4_2, multiply-adds per pixel: 9 * (3*64 + 64^2 + (64*128 + 128^2)/4 + ...)
    by_hand = 9 * (3 * 64 + 64**2 + (64 * 128 + 128**2) / 4 + (128 * 256 + 3 * 256**2) / 16 + (256 * 512 + 512**2) / 64)
    assert sum(each.multiply_adds for each in convolutions) == by_hand * 64 * 48


def test_times_in_between_follow_a_power_and_above_the_largest_are_proportional() -> None:
    operation = Operation("relu", 1, 1, 1, "float32", 0)
    table = {operation.name: {100: Seconds(1.0, 2.0), 10_000: Seconds(10.0, 200.0)}}
    at = lambda positions: cost.seconds_of(operation._replace(positions=positions), table)  # noqa: E731
    assert at(1) == Seconds(1.0, 2.0)
    assert at(1000) == pytest.approx((10**0.5, 20.0))
    assert at(30_000) == pytest.approx((30.0, 600.0))


def test_what_is_left_after_a_checkpoint_is_a_part_of_the_whole() -> None:
    whole = cost.Cost(seconds=10.0, peak_mb=1.0, evaluations=100)
    assert whole.without(25) == cost.Cost(seconds=7.5, peak_mb=1.0, evaluations=75)
    assert whole.without(200).seconds == 0


def test_the_deepest_layer_decides_how_far_a_network_runs() -> None:
    for layer in ("relu1_1", "pool3", "relu5_4"):
        found = cost.network_operations("caffe", (layer, "relu1_1"), (32, 32), "float32")
        assert len(found) == LAYERS.index(deepest((layer, "relu1_1"))) + 1
