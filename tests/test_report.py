"""The report's reasoning, on runs written down here: labels, axes, grid, conclusions, the contact sheet's layout."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

from stylelab.configuration import CONF, plain, register_resolvers
from stylelab.provenance import flattened
from stylelab.report import charts, compare, conclusions, sheet, tables
from stylelab.report.axes import axis, common, differences, swept
from stylelab.report.grid import lay_out, lines
from stylelab.report.labels import labels, measured
from stylelab.report.runs import Run, in_order, latest_of_each_key, overrides, parsed, planned, whole_lists
from stylelab.report.verdicts import conclude

SUBSETS = [("relu1_1",), ("relu1_1", "relu2_1"), ("relu1_1", "relu2_1", "relu3_1")]
BASE = {"network.source": "caffe", "canvas.start": "noise", "weights.convention": "paper", "seed": 0}


def run(
    configuration: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
    *,
    overrides: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    status: str = "FINISHED",
    started: int = 0,
    key: str | None = None,
) -> Run:
    """A tracked run, as the store would hand it out; its id says what it is."""
    name = " ".join(f"{k}={v}" for k, v in configuration.items())
    return Run(
        run_id=f"{name} {status} {started}", name=name, status=status, reason=None, key=key or name, sweep="s",
        started=started, configuration=BASE | dict(configuration), metrics=metrics or {}, tags={},
        overrides=overrides or {}, options=options or {},
    )  # fmt: skip


def judged(style: float, content: float) -> dict[str, float]:
    return {"reference/style": style, "reference/content": content}


def test_numbers_of_one_axis_share_a_form():
    assert labels([1e-5, 1e-4, 1e-3, 1e-2]) == {1e-5: "1e-5", 1e-4: "1e-4", 1e-3: "1e-3", 1e-2: "1e-2"}
    assert labels([0.5, 1.0, 20]) == {0.5: "0.5", 1.0: "1", 20: "20"}
    assert labels([2.5e9, 1e6]) == {2.5e9: "2.5e9", 1e6: "1e6"}


def test_a_list_of_layers_is_labelled_by_its_ends_unless_that_is_ambiguous():
    assert list(labels(SUBSETS).values()) == ["relu1_1", "relu1_1 … relu2_1", "relu1_1 … relu3_1"]
    gap = ("relu1_1", "relu3_1")
    assert labels([SUBSETS[2], gap])[gap] == "relu1_1, relu3_1"
    assert labels([()])[()] == "none"


def test_a_picture_is_labelled_by_its_name():
    assert labels(["/any/where/wave_print.png"]) == {"/any/where/wave_print.png": "wave print"}
    assert labels([("a/one.png", "b/two.jpg")])[("a/one.png", "b/two.jpg")] == "one + two"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.123456, "0.123"),
        (2041.7, "2042"),
        (2.0417e7, "2.04e7"),
        (4.2e-5, "4.2e-5"),
        (12.0, "12.0"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_measured_value_has_three_digits(value, text):
    assert measured(value) == text


def test_parameters_become_the_values_that_they_were():
    stored = {
        "layers.style.0": "relu1_1",
        "layers.style.1": "relu2_1",
        "layers.content": "[]",
        "seed": "1",
        "x": "1e-05",
    }
    found = whole_lists({key: parsed(text) for key, text in stored.items()})
    assert found == {"layers.style": ("relu1_1", "relu2_1"), "layers.content": (), "seed": 1, "x": 1e-5}
    assert (parsed("null"), parsed("True"), parsed("vgg19")) == (None, True, "vgg19")


def test_hydras_own_overrides_and_marks_are_left_out():
    found = overrides(["pooling=max", "+sweep=a", "++seed=2", "hydra/launcher=joblib", "hydra.verbose=true"])
    assert found == {"pooling": "max", "sweep": "a", "seed": "2"}


def test_of_two_attempts_at_one_key_the_finished_one_counts_then_the_latest():
    failed = run({}, key="k", status="FAILED", started=9)
    first, second = run({}, key="k", started=1), run({}, key="k", started=2)
    assert latest_of_each_key([first, failed, second]) == [second]
    assert latest_of_each_key([run({}, key="k", status="KILLED", started=1), failed]) == [failed]


PLAN = {
    "common": {"network.source": "caffe", "layers.style.0": "relu1_1", "images.style_weights": "null"},
    "members": [
        {"key": key, "label": f"seed={seed}", "overrides": ["+sweep=a", f"seed={seed}"], "differs": {"seed": seed},
         "outcome": outcome}
        for key, seed, outcome in (
            ("k0", "0", None), ("k1", "1", "finished"), ("k2", "2", "failed: ValueError: no file"), ("k3", "3", "done"),
        )
    ],
}  # fmt: skip


def test_a_planned_run_that_was_never_tracked_is_missing_with_its_settings_and_the_reason():
    tracked = run({"seed": 3}, key="k3", overrides={"experiment": "another"})
    found = in_order([tracked], planned(PLAN, "s"))
    assert [(one.key, one.status, one.reason) for one in found] == [
        ("k0", "MISSING", "not begun"),
        ("k1", "MISSING", "it was finished, and is no longer in the store"),
        ("k2", "MISSING", "ValueError: no file"),
        ("k3", "FINISHED", None),
    ]
    assert found[2].configuration == {
        "network.source": "caffe", "layers.style": ("relu1_1",), "images.style_weights": None, "seed": 2,
    }  # fmt: skip
    assert found[3].overrides == {"sweep": "a", "seed": "3"}
    (seeds,) = swept(found)
    assert (seeds.key, seeds.options) == ("seed", (0, 1, 2, 3))


def test_many_options_are_not_all_named():
    beaten = [run({"a.b": n}, judged(1 + n, 1 + n)) for n in range(12)] + [run({"a.b": 12}, judged(0.5, 99))]
    (conclusion,) = conclude(beaten, swept(beaten), metric=None)
    assert "1, 2, 3, 4, 5, 6, 5 others are beaten in both" in conclusion.sentences[0]


def test_an_infinite_metric_is_no_measurement():
    runs = [run({"seed": seed}, judged(math.inf, value)) for seed, value in ((0, math.nan), (1, 0.5), (2, 0.7))]
    (together,) = conclusions.replicates(runs)
    assert together.spread("reference/style") is None
    assert together.spread("reference/content").mean == pytest.approx(0.6)
    assert sheet.caption(runs[0]).endswith("content\u00a0nan")


def test_axes_are_the_swept_overrides_slowest_first_and_the_seed_last():
    runs = [
        run(
            {"seed": seed, "layers.style": subset, "weights.alpha_over_beta": ratio},
            overrides={"seed": str(seed), "layers": f"to_{len(subset)}", "weights.alpha_over_beta": str(ratio)},
        )
        for seed in (0, 1)
        for subset in SUBSETS
        for ratio in (1e-3, 1e-2)
    ]
    assert [found.key for found in swept(runs)] == ["layers.style", "weights.alpha_over_beta", "seed"]
    without = [run(dict(one.configuration)) for one in runs]
    assert {found.key for found in swept(without)} == {"layers.style", "weights.alpha_over_beta", "seed"}


def test_keys_that_change_together_are_one_axis_named_by_the_option():
    pools = {"average": ("average", 1.0), "max": ("max", 1.0), "average_rescaled": ("average", 2.0)}
    configurations = [{"pooling.kind": kind, "pooling.factor": factor} for kind, factor in pools.values()]
    by_override = [run(one, overrides={"pooling": name}) for name, one in zip(pools, configurations, strict=True)]
    by_option = [run(one, options={"pooling": name}) for name, one in zip(pools, configurations, strict=True)]
    for runs in (by_override, by_option):
        (found,) = swept(runs)
        assert (found.key, list(found.labels.values())) == ("pooling", list(pools))
    plain_runs = [run({"pooling.kind": kind, "pooling.factor": n}) for n, kind in enumerate("abcd", 1)]
    (found,) = swept(plain_runs)
    assert list(found.labels.values())[2] == "kind c, factor 3"


def test_what_follows_from_another_key_is_no_axis_of_its_own():
    runs = [run({"images.long_side": n, "pyramid.long_sides": (n,), "outputs": f"/{n}"}) for n in (64, 128)]
    assert [found.key for found in swept(runs)] == ["images.long_side"]


def test_each_experiment_is_laid_out_by_the_keys_that_it_sweeps():
    register_resolvers()
    checked = 0
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for file in sorted((CONF / "experiment").glob("*.yaml")):
            swept_keys = OmegaConf.select(OmegaConf.load(file), "hydra.sweeper.params") or {}
            if not swept_keys:
                continue
            jobs = [[f"experiment={file.stem}"]]
            for key, values in swept_keys.items():
                written = OverridesParser.create().parse_override(f"{key}={values}")
                several = list(written.sweep_string_iterator())[:2] if written.is_sweep_override() else [values]
                jobs = [[*job, f"{key}={value}"] for job in jobs for value in several]
            runs = []
            for job in jobs:
                values = {key: parsed(str(value)) for key, value in flattened(plain(compose("config", job))).items()}
                runs.append(run(whole_lists(values), overrides=overrides(job)))
            found = [one.key for one in swept(runs)]
            wanted = [
                key.lstrip("+") for key in swept_keys if len({job[1 + list(swept_keys).index(key)] for job in jobs}) > 1
            ]
            assert len(found) == len(wanted), file.stem
            assert all(any(one == key or one.startswith(f"{key}.") for one in found) for key in wanted), file.stem
            checked += 1
    assert checked


def test_every_question_has_its_section_its_sheet_and_its_place_in_make_figures():
    root = Path(__file__).parents[1]
    documented = (root / "docs" / "experiments.md").read_text()
    made = re.search(r"^FIGURES := ((?:.*\\\n)*.*)", (root / "Makefile").read_text(), re.MULTILINE).group(1)
    asked = {file.stem for file in (CONF / "experiment").glob("*.yaml")} - {"demo", "preview"}  # tasters, no questions
    assert set(made.replace("\\", "").split()) == asked
    for name in asked:
        assert re.search(rf"experiment={name}[ `]", documented), name
        assert f"](figures/{name}.jpg)" in documented
        assert (root / "docs" / "figures" / f"{name}.jpg").stat().st_size < 260_000, name


def test_an_axis_that_no_run_has_is_refused():
    with pytest.raises(ValueError, match=r"layers\.stile: no run has such a key; did you mean layers\.style\?"):
        axis([run({"layers.style": SUBSETS[0]})], "layers.stile")


def test_the_grid_shows_where_a_run_is_missing_and_where_none_is_needed():
    runs = [run({"a.b": x, "a.c": y}) for x in (1, 2) for y in (1, 2, 3) if (x, y) != (2, 2)]
    grid = lay_out(runs, swept(runs), rows="a.b", columns="a.c", facets=None)
    assert grid.missing() == [(None, 2, 2)]
    starts = [run({"canvas.start": "noise", "seed": seed}) for seed in (0, 1)] + [run({"canvas.start": "content"})]
    grid = lay_out(starts, swept(starts), rows=None, columns=None, facets=None)
    assert (grid.rows.key, grid.columns.key, grid.missing()) == ("canvas.start", "seed", [])
    assert grid.idle(None, "content", 1)


def test_a_named_group_does_not_vary_along_a_key_of_it_that_has_its_own_axis():
    conventions = {"gatys2015": ("paper", 1.0), "authors_code": ("authors_code", 1e9)}
    runs = [
        run(
            {"weights.convention": convention, "weights.beta": beta, "weights.alpha_over_beta": ratio},
            overrides={"weights": name, "weights.alpha_over_beta": str(ratio)},
        )
        for name, (convention, beta) in conventions.items()
        for ratio in (1e-3, 1e-2, 1e-1)
    ]
    grid = lay_out(runs, swept(runs), rows="weights", columns="weights.alpha_over_beta", facets=None)
    assert (list(grid.rows.labels.values()), grid.missing()) == (list(conventions), [])


def test_a_single_axis_is_broken_into_even_lines():
    runs = [run({"a.b": n}) for n in range(8)]
    grid = lay_out(runs, swept(runs), rows=None, columns=None, facets=None)
    assert [len(line.cells) for line in lines(grid, None)] == [4, 4]


def test_what_differed_and_what_was_common():
    runs = [run({"a.b": 1}), run({"a.b": 2}), run({"a.b": 2, "a.c": None}, started=1)]
    assert differences(runs) == {"a.b": {1: 1, 2: 2}, "a.c": {"–": 2, None: 1}}
    assert common(runs) == BASE


def test_the_pareto_front_holds_what_nothing_beats():
    points = {"a": (1, 4), "b": (2, 2), "c": (4, 1), "d": (3, 3), "e": (2, 4), "f": (2, 2)}
    assert conclusions.pareto_front(points) == ["a", "b", "c", "f"]


def seeds_of(values: Mapping[str, tuple[float, ...]], start: str = "noise") -> list[Run]:
    """Runs of a pooling each with several seeds, judged alike in style and content."""
    return [
        run({"pooling.kind": kind, "seed": seed, "canvas.start": start}, judged(value, value))
        for kind, several in values.items()
        for seed, value in enumerate(several)
    ]


def test_a_difference_beyond_the_spread_over_seeds_is_claimed():
    # Three and three seeds with a pooled deviation of 0.01; t(4) = 2.776: 2.776 * 0.01 * sqrt(2 / 3) = 0.0227.
    runs = seeds_of({"average": (0.19, 0.20, 0.21), "max": (0.23, 0.24, 0.25)})
    found = conclusions.compare(swept(runs)[0], runs, metric="reference/style")
    assert found.best == "average"
    assert found.explained["max"] == pytest.approx(2.776 * 0.01 * math.sqrt(2 / 3), rel=1e-3)
    assert found.behind == ["max"]
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.sentences[0] == "average is best in style and in content alike."
    assert "Seeds alone scatter by 0.010, which explains a difference of up to 0.023." in conclusion.sentences[1]
    assert "Higher by more than that explains: max (by 0.0400)." in conclusion.sentences[1]


def test_a_difference_within_the_spread_over_seeds_is_not_claimed():
    runs = seeds_of({"average": (0.19, 0.20, 0.21), "max": (0.20, 0.21, 0.22)})
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    lowest = "average comes out lowest in style and in content alike; no lead exceeds what the seeds explain: no claim."
    assert conclusion.sentences[0] == lowest
    assert "no claim: max (by 0.0100)." in conclusion.sentences[1]


def test_one_seed_allows_no_claim():
    runs = seeds_of({"average": (0.1,), "max": (0.9,)})
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.sentences[0].endswith("alike; one seed, so no claim.")
    assert "max next, 0.900; one seed, so no claim." in conclusion.sentences[1]
    assert conclusion.comparisons[0].deviation is None


def test_seeds_that_decide_nothing_allow_no_claim():
    runs = seeds_of({"average": (0.1, 0.1), "max": (0.9, 0.9)}, start="content")
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert "nothing is drawn at random from a picture" in conclusion.sentences[1]


def test_a_lead_over_some_options_is_claimed_against_these_alone():
    runs = seeds_of({"average": (0.20, 0.21), "rescaled": (0.21, 0.22), "max": (0.90, 0.91)})
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.sentences[0].endswith("alike; the lead exceeds what the seeds explain against max only.")
    content = {"average": 0.50, "rescaled": 0.60, "max": 0.70}
    runs = [
        replace(one, metrics=one.metrics | {"reference/content": content[one.configuration["pooling.kind"]] + n / 100})
        for n, one in zip((0, 1) * 3, runs, strict=True)
    ]
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.sentences[0].endswith(
        "the lead exceeds what the seeds explain only in style against max and in content against rescaled, max."
    )


def test_a_start_from_a_picture_is_held_against_the_spread_of_the_noises():
    def started(start: str, seed: int, value: float) -> Run:
        name = start if start != "noise" else f"noise_{seed}"
        return run(
            {"canvas.start": start, "canvas.deviation": 1.0 if start == "noise" else None, "seed": seed},
            judged(value, value), overrides={"experiment/start": name}, options={"canvas": start},
        )  # fmt: skip

    noises = [started("noise", seed, value) for seed, value in enumerate((0.70, 0.72, 0.71, 0.73))]
    runs = [started("content", 0, 0.60), started("style", 0, 0.69), *noises]
    (found,) = swept(runs)
    assert (found.key, len(found.options)) == ("experiment/start", 6)
    (conclusion,) = conclude(runs, [found], metric=None)
    assert set(conclusion.axis.options) == {"content", "style", "noise"}
    # A deviation of 0.0129 with 3 degrees of freedom, four noises: 5.910 / sqrt(2) * 0.0129 / sqrt(4) = 0.0270.
    assert conclusion.comparisons[0].explained == {"noise": pytest.approx(0.02697, rel=1e-3)}
    assert "Higher by more than that explains: noise (by 0.115)." in conclusion.sentences[1]
    assert "style: higher, and nothing drawn at random there" in conclusion.sentences[1]


def test_what_favours_an_option_in_the_ruler_is_said():
    runs = seeds_of({"average": (0.1,), "max": (0.9,)})
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.caveat.startswith("The ruler pools by averages, which favours them")
    embedded = [replace(one, metrics={f"embedded_{k}": v for k, v in one.metrics.items()}) for one in runs]
    assert [one.caveat for one in conclude(embedded, swept(embedded), metric=None)] == [None]


def test_times_scatter_whatever_painting_starts_from():
    seconds = {"lbfgs": (1.0, 1.2), "adam": (2.0, 2.2)}
    runs = [
        run({"optimizer.kind": kind, "seed": seed, "canvas.start": "content"}, {"time/total_seconds": value})
        for kind, several in seconds.items()
        for seed, value in enumerate(several)
    ]
    (conclusion,) = conclude(runs, swept(runs), metric="time/total_seconds")
    assert "Higher by more than that explains: adam (by 1.00)." in conclusion.sentences[0]


def test_a_trade_off_names_the_options_that_nothing_beats():
    values = {1e-4: (0.1, 0.9), 1e-3: (0.4, 0.4), 1e-2: (0.9, 0.1), 1e-1: (0.95, 0.5)}
    runs = [run({"weights.alpha_over_beta": ratio}, judged(*both)) for ratio, both in values.items()]
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.front == (1e-4, 1e-3, 1e-2)
    assert "1e-1 is beaten in both" in conclusion.sentences[0]


def test_options_are_compared_only_under_the_same_settings():
    rows = [("average", 1, 0.2), ("max", 1, 0.1), ("average", 2, 0.9)]  # max has no run at factor 2
    runs = [run({"pooling.kind": kind, "optimizer.steps": n}, judged(v, v)) for kind, n, v in rows]
    found = conclusions.compare(axis(runs, "pooling.kind"), runs, metric="reference/style")
    assert (found.means, found.settings) == ({"max": 0.1, "average": 0.2}, 1)


def test_options_with_other_numbers_of_seeds_have_thresholds_of_their_own():
    runs = seeds_of({"average": (0.19, 0.20, 0.21), "max": (0.23, 0.25), "rescaled": (0.9,)})
    found = conclusions.compare(swept(runs)[0], runs, metric="reference/style")
    deviation = math.sqrt((0.0002 + 0.0002) / 3)  # three degrees of freedom
    apart = 5.910 / math.sqrt(2)  # Tukey's range of three means at 95 %: 5.910 (NIST/SEMATECH e-Handbook, 7.4.7.1)
    assert found.explained["max"] == pytest.approx(apart * deviation * math.sqrt(1 / 3 + 1 / 2), rel=1e-4)
    assert found.explained["rescaled"] == pytest.approx(apart * deviation * math.sqrt(1 / 3 + 1), rel=1e-4)
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert "rescaled (by 0.700; up to 0.056 explained)" in conclusion.sentences[1]


def test_no_picture_is_called_best():
    runs = [run({"images.long_side": n}, judged(0.1 * n, 0.1)) for n in (1, 2)]
    (conclusion,) = conclude(runs, swept(runs), metric=None)
    assert conclusion.sentences == (
        "No option of images.long_side is called best: each run is measured against its own pictures, at its size.",
    )


def test_rulers_are_never_mixed():
    runs = [
        run({"pooling.kind": "average"}, judged(0.5, 0.5)),
        run({"pooling.kind": "max"}, {"embedded_reference/style": 0.1, "embedded_reference/content": 0.1}),
    ]
    found = conclude(runs, swept(runs), metric=None)
    assert [conclusion.ruler for conclusion in found] == ["reference", "embedded_reference"]
    assert all(not conclusion.comparisons for conclusion in found)
    points = charts.trade_off(runs, {one.run_id: "" for one in runs}, colour=None, along=None, ruler="reference")[
        "data"
    ]
    assert [list(trace["x"]) for trace in points] == [[0.5]]


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ({"pooling.kind": "max"}, {"pooling.kind": "average"}, "across pooling.kind: another pool"),
        ({"layers.style": SUBSETS[0]}, {"layers.style": SUBSETS[1]}, "across layers.style: a loss sums"),
        ({"network.source": "caffe"}, {"network.source": "random"}, "across network.source: each network"),
        ({"weights.convention": "paper"}, {"weights.convention": "johnson"}, "across weights.convention: each"),
        ({"weights.beta": 1.0}, {"weights.beta": 2.0}, "across weights.beta: the weights multiply it"),
        ({"images.content": "a.png"}, {"images.content": "b.png"}, "across images.content: a loss measures"),
    ],
)  # fmt: skip
def test_raw_losses_are_not_compared_across(first, second, why):
    runs = [run(first, {"loss/total": 1.0}), run(second, {"loss/total": 2.0})]
    assert why in conclusions.refusal("loss/total", runs)
    with pytest.raises(ValueError, match="--metric: loss/total can't be compared across"):
        conclusions.check_metric("loss/total", runs)


def test_raw_losses_are_compared_where_nothing_changes_their_scale():
    runs = [run({"optimizer.kind": kind}, {"loss/total": value}) for kind, value in (("lbfgs", 1.0), ("adam", 2.0))]
    assert conclusions.refusal("loss/total", runs) is None
    (conclusion,) = conclude(runs, swept(runs), metric="loss/total")
    assert conclusion.comparisons[0].best == "lbfgs"


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match=r"--metric: no run has a reference/stile; did you mean reference/style\?"):
        conclusions.check_metric("reference/stile", [run({}, judged(1, 1))])


def test_a_run_that_ended_in_nan_is_not_judged():
    runs = [
        run({"pooling.kind": "max"}, judged(math.nan, math.nan)),
        run({"pooling.kind": "average"}, judged(0.1, 0.2)),
    ]
    assert conclusions.judged(runs, "reference") == [runs[1]]


def test_means_and_deviations_over_seeds():
    runs = seeds_of({"average": (0.1, 0.2, 0.3), "max": (0.5,)})
    rows = tables.over_seeds(runs, [axis(runs, "pooling.kind")], ["reference/style"])
    assert [(row["seeds"], str(row["spreads"][0])) for row in rows] == [(3, "0.200 ± 0.10"), (1, "0.500")]


def test_curves_of_runs_that_do_not_compare_start_at_one():
    runs = [run({"pooling.kind": kind}) for kind in ("max", "average")]
    curves = {
        runs[0].run_id: {"loss/total": [(0, 50.0), (1, 5.0)]},
        runs[1].run_id: {"loss/total": [(0, 4.0), (1, 1.0)]},
    }
    titles = {one.run_id: one.name for one in runs}
    figure = charts.loss_curves(runs, curves, titles, colour=swept(runs)[0])
    assert [list(trace["y"]) for trace in figure["data"]] == [[1.0, 0.1], [1.0, 0.25]]
    same = [run({"optimizer.kind": kind}) for kind in ("lbfgs", "adam")]
    curves = {one.run_id: {"loss/total": [(0, 50.0), (1, 5.0)]} for one in same}
    figure = charts.loss_curves(same, curves, {one.run_id: "" for one in same}, colour=None)
    assert list(figure["data"][0]["y"]) == [50.0, 5.0]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    found = charts.thinned([(n, float(n)) for n in range(5000)], 90)
    assert 60 < len(found) <= 90
    assert (found[:3], found[-1]) == ([(0, 0.0), (1, 1.0), (2, 2.0)], (4999, 4999.0))


def test_the_difference_of_two_pictures_is_measured_at_the_first_ones_size():
    first = Image.fromarray(np.full((4, 6, 3), 10, np.uint8))
    second = Image.fromarray(np.full((8, 12, 3), (10, 30, 13), np.uint8))
    assert (compare.difference(first, second) == 20).all()
    found = compare.distance(first, second)
    assert (found["resized"], found["mean"], found["part"], found["same"]) == (True, "20.0", "100", False)
    assert compare.distance(first, first.copy())["same"]


def test_the_sheet_puts_each_picture_at_its_place():
    colours = {(1, 1): "red", (1, 2): "lime", (2, 1): "blue"}
    runs = [run({"a.b": row, "a.c": column}) for row, column in colours]
    pictures = {
        one.run_id: Image.new("RGB", (200, 100), colour) for one, colour in zip(runs, colours.values(), strict=True)
    }
    grid = lay_out(runs, swept(runs), rows="a.b", columns="a.c", facets=None)
    nothing = sheet.Inputs(content=None, styles=())
    drawn = sheet.draw(grid, pictures, {one.run_id: nothing for one in runs}, sheet.Words(title="t"))
    pixels = np.asarray(drawn).astype(int)
    boxes = {}
    for place, colour in {(1, 1): (255, 0, 0), (1, 2): (0, 255, 0), (2, 1): (0, 0, 255)}.items():
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        assert len(rows) == 200 * 100, place
        boxes[place] = (columns.min(), rows.min())
    assert boxes[1, 1][1] == boxes[1, 2][1] < boxes[2, 1][1]
    assert boxes[1, 1][0] == boxes[2, 1][0] < boxes[1, 2][0]
    corner = pixels[boxes[2, 1][1] : boxes[2, 1][1] + 100, boxes[1, 2][0] : boxes[1, 2][0] + 200]
    assert 0 < (corner != pixels[0, 0]).any(axis=2).mean() < 0.1  # "no run" in a dashed frame
