"""What a report shows of a study: where the points lie, whose pictures stand beside them, what decides."""

import math

import pytest
from PIL import Image

from stylelab.report import study
from stylelab.report.runs import Run


def kept(values: list[list[float] | None], *, metrics: list[str], best: list[int]) -> dict:
    """study.json of trials with these values; None: a failed one."""
    return {
        "name": "s",
        "metrics": metrics,
        "directions": ["minimize"] * len(metrics),
        "sampler": {"kind": "tpe", "seed": 0},
        "pruner": {"kind": "none", "every": 20},
        "space": {"a": "1 to 2", "b": "x, y"},
        "best": best,
        "evaluator": "fANOVA",
        "importances": {"m": {"a": 0.25, "b": 0.75}},
        "trials": [
            {"number": n, "state": "COMPLETE" if found else "FAIL", "params": {"a": 1.5, "b": "x"}, "values": found,
             "key": f"key {n}", "run_id": f"run {n}", "reason": None if found else "it failed"}
            for n, found in enumerate(values)
        ],
    }  # fmt: skip


def runs(count: int) -> tuple[list[Run], dict[str, Image.Image]]:
    """A run and a picture for each trial."""
    found = [
        Run(run_id=f"again {n}", name="", status="FINISHED", reason=None, key=f"key {n}", sweep="s", started=0,
            configuration={}, metrics={}, tags={})
        for n in range(count)
    ]  # fmt: skip
    return found, {run.run_id: Image.new("RGB", (64, 48)) for run in found}


def test_a_scale_puts_values_where_they_belong_and_ticks_at_round_ones() -> None:
    scale = study.Scale.of([0.0, 10.0], 0, 116)
    assert scale(0.0) == pytest.approx(8) and scale(5.0) == 58 and scale(10.0) == pytest.approx(108)
    assert [words for _, words in scale.ticks()] == ["0", "2", "4", "6", "8", "10"]
    wide = study.Scale.of([1e-3, 10.0], 0, 116)
    assert wide(0.1) == 58
    assert [words for _, words in wide.ticks()][:4] == ["0.0005", "0.001", "0.002", "0.005"]
    assert math.isfinite(study.Scale.of([0.5, 0.5], 0, 100)(0.5))


def test_the_front_has_pictures_near_its_points_apart_from_each_other_and_within_the_frame() -> None:
    values = [[1.0, 8.0], [2.0, 4.0], [4.0, 2.0], [8.0, 1.0], [8.0, 8.0], None]
    every, pictures = runs(5)
    found = study.section(kept(values, metrics=["m", "n"], best=[3, 0, 1, 2]), every, pictures)
    (plot,) = found["plots"]
    assert [picture["number"] for picture in plot["pictures"]] == [0, 1, 2, 3]
    assert [point["best"] for point in plot["points"]] == [True] * 4 + [False]
    assert plot["points"][4]["run"] == "again 4" and plot["points"][4]["words"] == "trial 4: m 8.00, n 8.00"
    boxes = [(p["x"], p["y"], p["width"], p["height"], p["from"]) for p in plot["pictures"]]
    for left, top, width, height, (x, y) in boxes:
        assert (width, height) == (128, 96)
        assert study.LEFT <= left <= study.WIDTH - study.RIGHT - width
        assert study.TOP <= top <= study.HEIGHT - study.BOTTOM - height
        assert math.dist((left + width / 2, top + height / 2), (x, y)) < 150
    for n, one in enumerate(boxes):
        for other in boxes[n + 1 :]:
            assert abs(one[0] - other[0]) >= 128 or abs(one[1] - other[1]) >= 96
    places = [(point["x"], point["y"]) for point in plot["points"][:4]]
    assert plot["line"].startswith("M{} {}".format(*places[0])) and plot["line"].count("H") == 3
    assert found["trials"][5]["state"] == "FAILED" and found["trials"][5]["run"] is None
    assert [row["key"] for row in found["importances"]] == ["b", "a"]
    assert "5 finished, 1 failed" in found["facts"][0]


def test_one_metric_is_shown_by_trial_with_those_that_were_better_than_all_before() -> None:
    every, pictures = runs(4)
    found = study.section(kept([[3.0], [4.0], [1.0], [2.0]], metrics=["m"], best=[2]), every, pictures)
    assert [picture["number"] for picture in found["plots"][0]["pictures"]] == [0, 2]
    assert found["plots"][0]["titles"] == ("trial", "m")
    assert not found["several"]


def test_of_a_long_front_a_dozen_pictures_are_shown_the_first_and_the_last_among_them() -> None:
    values = [[1.0 + n, 100.0 - n] for n in range(40)]
    every, pictures = runs(40)
    (plot,) = study.section(kept(values, metrics=["m", "n"], best=list(range(40))), every, pictures)["plots"]
    numbers = [picture["number"] for picture in plot["pictures"]]
    assert len(numbers) == 12 and (numbers[0], numbers[-1]) == (0, 39)


def test_a_study_without_a_finished_trial_has_no_plot() -> None:
    assert study.section(kept([None, None], metrics=["m"], best=[]), [], {})["plots"] == []
