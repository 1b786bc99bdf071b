"""A study: Optuna chooses, a sweep's machinery paints; killed, it goes on to the trials of one that nobody killed."""

import json
import signal
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from victims import TAGGED, Place, kills

optuna = pytest.importorskip("optuna")

from stylelab import study_record  # noqa: E402
from stylelab.configuration import CONF  # noqa: E402
from stylelab.job import prepare  # noqa: E402
from stylelab.search_space import Choice, Interval, SearchSpace, search_space  # noqa: E402
from stylelab.study_settings import Settings, distribution, open_storage, open_study, sampler  # noqa: E402

BOTH = "hydra.sweeper.metrics=[embedded_reference/style,embedded_reference/content]"
STYLE = "hydra.sweeper.metrics=[embedded_reference/style]"
STUDY = ["-m", "hydra/sweeper=optuna", "reference.cache=none", "optimizer.steps=4", "sweep=s"]
RATIO = "weights.alpha_over_beta=tag(log,interval(1e-4,1))"


def trials(place: Place) -> list[optuna.trial.FrozenTrial]:
    """The trials in a place's storage."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name="s", storage=f"sqlite:///{place.outputs}/optuna.db").trials


def states(place: Place) -> list[str]:
    return [trial.state.name for trial in trials(place)]


def kept(place: Place) -> dict:
    """What the study's own run in MLflow keeps of it."""
    (file,) = (place.outputs / "mlartifacts").rglob("study.json")
    return json.loads(file.read_text())


def test_a_killed_study_goes_on_to_the_trials_of_one_that_nobody_killed_and_paints_none_twice(place: Place) -> None:
    study = [*STUDY, BOTH, RATIO, "optimizer.history=int(interval(2,9))", "hydra.sweeper.n_trials=5"]
    study += ["+hydra.sweeper.sampler.n_startup_trials=2", "hydra.sweeper.batch_size=2"]
    code, said = place.stylelab(*study)
    assert code == 0, said
    undisturbed = [(trial.params, trial.values) for trial in trials(place)]
    assert states(place) == ["COMPLETE"] * 5
    assert len({str(params) for params, _ in undisturbed}) == 5
    place.renew()

    for nth in (3, 3):  # a picture is opened, then renamed: in the second run; then in the run after that one
        arguments = place.arguments(*study)
        process = kills.begin(kills.stylelab, *arguments, log=place.log, at=(r"pastiche\.partial$", nth, kills.die))
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert states(place) == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]
    code, said = place.stylelab(*study)
    assert code == 0, said
    assert [(trial.params, trial.values) for trial in trials(place)] == undisturbed
    assert place.statuses() == ["FINISHED"] * 5
    assert place.ask(TAGGED, "stylelab.role") == [("FINISHED",)]

    with sqlite3.connect(place.outputs / "optuna.db") as storage:  # finished, and killed before the study was told
        storage.execute("update trials set state = 'RUNNING', datetime_complete = null where number = 3")
        storage.execute("delete from trial_values where trial_id = 4")
    painted = [(folder / "pastiche.png").stat().st_mtime_ns for folder in place.folders()]
    code, said = place.stylelab(*study)
    assert code == 0 and "4 complete, 1 running" in said and "trial 3: complete" in said and "step" not in said
    assert [(trial.params, trial.values) for trial in trials(place)] == undisturbed
    assert [(folder / "pastiche.png").stat().st_mtime_ns for folder in place.folders()] == painted
    assert place.ask(TAGGED, "stylelab.role") == [("FINISHED",)]
    found = kept(place)
    assert found["metrics"] == ["embedded_reference/style", "embedded_reference/content"]
    assert [trial["values"] for trial in found["trials"]] == [values for _, values in undisturbed]
    assert found["best"] == front([values for _, values in undisturbed])
    assert set(found["importances"]["embedded_reference/style"]) == {"weights.alpha_over_beta", "optimizer.history"}
    runs = {run_id for (run_id,) in place.ask("select run_uuid from tags where key = 'stylelab.key'")}
    assert {trial["run_id"] for trial in found["trials"]} == runs


def front(points: list[list[float]]) -> list[int]:
    """The numbers of the points that no other is below in one coordinate and not above in the other."""
    return [
        n for n, (x, y) in enumerate(points) if not any((a <= x and b < y) or (a < x and b <= y) for a, b in points)
    ]


def test_failed_trials_are_recorded_stop_nothing_and_are_replaced_by_others(place: Place) -> None:
    study = [*STUDY, STYLE, "optimizer=adam", "optimizer.learning_rate=0.01,0.02,1e30", "hydra.sweeper.n_trials=4"]
    study += ["hydra.sweeper.sampler.kind=random"]
    code, said = place.stylelab(*study)
    first = trials(place)
    failed = [trial.number for trial in first if trial.params["optimizer.learning_rate"] == 1e30]
    assert failed and len(failed) < 4
    assert [trial.number for trial in first if trial.state.name == "FAIL"] == failed
    assert all("lower optimizer.learning_rate" in first[n].user_attrs["reason"] for n in failed)
    assert code == 1
    assert f"{len(failed)} of 4 trials are missing, {len(failed)} failed and 0 begun" in said
    assert place.ask(TAGGED, "stylelab.role") == [("FAILED",)]
    pictures = len(place.folders())

    for _ in range(9):
        code, said = place.stylelab(*study)
        if code == 0:
            break
    assert code == 0 and states(place).count("COMPLETE") == 4
    assert [trial.state.name for trial in trials(place)][:4] == [trial.state.name for trial in first]
    assert len(place.folders()) <= max(pictures, 3)  # three learning rates: the same run is painted once
    assert place.ask(TAGGED, "stylelab.role") == [("FINISHED",)]


def test_a_pruned_run_is_recorded_as_such_and_keeps_what_it_painted(place: Place) -> None:
    study = [*STUDY, STYLE, RATIO, "hydra.sweeper.n_trials=2", "hydra.sweeper.pruner.every=2"]
    study += ["hydra.sweeper.pruner.kind=threshold", "+hydra.sweeper.pruner.upper=1e-9"]
    code, said = place.stylelab(*study)
    assert code == 0, said
    assert states(place) == ["PRUNED"] * 2
    first = trials(place)[0]
    assert list(first.intermediate_values) == [2] and first.values == [first.intermediate_values[2]]
    assert place.statuses() == ["KILLED"] * 2
    reasons = [reason for (reason,) in place.ask("select value from tags where key = 'stylelab.reason'")]
    assert len(reasons) == 2
    assert all(reason.startswith("pruned at step 2, with embedded_reference/style ") for reason in reasons)
    assert place.ask(TAGGED, "stylelab.role") == [("FINISHED",)]
    assert all((folder / "canvas_000002.png").is_file() for folder in place.folders())
    assert place.ask("select value from latest_metrics where key = 'runs/pruned'") == [(2.0,)]


def space(*arguments: str, params: Mapping[str, str] | None = None) -> SearchSpace:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        return search_space(arguments, params=params, config_loader=loader)


@pytest.mark.parametrize(
    "written, dimension",
    [
        ("interval(1,2)", Interval(1.0, 2.0, None, False)),
        ("tag(log,interval(1e-6,1e-2))", Interval(1e-6, 1e-2, None, True)),
        ("int(interval(1,20))", Interval(1, 20, None, False)),
        ("tag(log,int(interval(1,64)))", Interval(1, 64, None, True)),
        ("range(5)", Interval(0, 4, 1, False)),
        ("range(10,0,-3)", Interval(1, 10, 3, False)),
        ("range(0,1,0.25)", Interval(0.0, 0.75, 0.25, False)),
        ("max,average", Choice(("max", "average"))),
        ("choice(1,2.5,true,[a,b],q,'q,r')", Choice((1, 2.5, True, "[a,b]", "q", "'q,r'"))),
    ],
)
def test_the_space_is_what_hydras_overrides_say(written: str, dimension: object) -> None:
    found = space(f"a={written}", "seed=3")
    assert found.dimensions == {"a": dimension} and found.fixed == ("seed=3",)
    of = distribution(dimension)
    assert all(of._contains(of.to_internal_repr(value)) for value in dimension.extremes)


def test_the_command_line_has_the_last_word_and_every_extreme_is_tried() -> None:
    found = space("a=interval(1,2)", "b=x,true,z", params={"a": "range(3)", "c": "1", "seed": "0,1"})
    assert found.fixed == ("c=1",)
    assert found.run({"a": 1.5, "b": True, "seed": 1}) == ("c=1", "seed=1", "a=1.5", "b=true")
    assert found.extremes() == [
        ("c=1", "seed=0", "a=1.0", "b=x"),
        ("c=1", "seed=1", "a=1.0", "b=x"),
        ("c=1", "seed=0", "a=2.0", "b=x"),
        ("c=1", "seed=0", "a=1.0", "b=true"),
        ("c=1", "seed=0", "a=1.0", "b=z"),
    ]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["seed=0"], "nothing varies"),
        (["a=interval(2,1)"], r"a: found interval\(2,1\), which ends before it starts"),
        (["a=tag(log,interval(0,1))"], "a: found .*, but a logarithm needs numbers above zero"),
        (["a=tag(loud,interval(0,1))"], "a: found the tag loud, expected log or none"),
        (["a=tag(log,choice(1,2))"], "a: the tag log has no effect on a choice"),
        (["a=range(3,3)"], r"a: found the empty range range\(3,3\)"),
        (["a=tag(log,range(1,9,2))"], "a: a range tagged log counts in steps of 1"),
        (["images=glob(nothing*)"], "images: found no value to choose from"),
    ],
)
def test_a_bad_space_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        space(*arguments)


def settings(**changes: object) -> Settings:
    values = OmegaConf.to_container(OmegaConf.load(CONF / "hydra/sweeper/optuna.yaml"), resolve=False)
    return Settings.from_config(values | {"storage": "sqlite:///x"} | changes)


TPE, MEDIAN = {"kind": "tpe", "seed": 0}, {"kind": "median", "every": 5}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"metrics": []}, r"metrics: found \[\], expected one metric or several"),
        ({"directions": ["minimize"]}, "directions has 1 item but hydra.sweeper.metrics has 2: give one per metric"),
        ({"directions": ["minimize", "up"]}, r"directions\[1\]: found 'up', expected minimize or maximize"),
        ({"directions": "up"}, r"directions: found 'up', expected \[minimize or maximize, ...\] or null"),
        ({"n_trials": 0}, "n_trials: found 0, expected 1 or more"),
        ({"batch_size": 0}, "batch_size: found 0, expected 1 or more"),
        ({"trials": 3}, "hydra.sweeper.trials: there is no such key; did you mean n_trials"),
        ({"sampler": TPE | {"kind": "tp"}}, "sampler.kind: there is no tp; did you mean tpe"),
        ({"sampler": {"kind": "tpe"}}, "sampler.seed: found None, expected a whole number"),
        ({"pruner": MEDIAN | {"every": 0}}, "pruner.every: found 0, expected 1 or more"),
        ({"pruner": MEDIAN}, "pruner.kind: Optuna prunes by one metric, but there are 2"),
        ({"pruner": MEDIAN, "metrics": ["memory/peak_mb"]}, "pruner.kind: memory/peak_mb is known only at the end"),
    ],
)
def test_bad_settings_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**changes)


def test_what_optunas_classes_do_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sampler\.startup: TPESampler takes no startup; did you mean n_startup"):
        sampler(settings(sampler=TPE | {"startup": 3}), 0)
    with pytest.raises(ValueError, match=r"sampler: NSGAIISampler does not take .*population_size"):
        sampler(settings(sampler=TPE | {"kind": "nsgaii", "population_size": 1}), 0)


@pytest.mark.parametrize("kind", ["tpe", "gp", "nsgaii", "random"])
def test_every_sampler_asks_within_the_space(kind: str, tmp_path: Path) -> None:
    told = settings(sampler=TPE | {"kind": kind}, storage=f"sqlite:///{tmp_path}/x.db")
    study = open_study(told, "s", outputs=tmp_path)
    of = {"a": distribution(Interval(1, 64, None, True)), "b": distribution(Choice(("x", "y")))}
    for number in range(12):
        study.sampler = sampler(told, number)
        trial = study.ask(of)
        assert 1 <= trial.params["a"] <= 64 and trial.params["b"] in "xy"
        study.tell(trial, [trial.params["a"], -trial.params["a"]])
    assert len({trial.params["a"] for trial in study.trials}) > 4


@pytest.mark.parametrize(
    "metric, dimension, said",
    [
        ("reference/style", RATIO, "reference/style needs VGG-19's Caffe parameters: say where they are"),
        ("embedded_reference/stile", RATIO, "no run will have a embedded_reference/stile; did you mean embedded_ref"),
        ("loss/total", RATIO, "loss/total can't be compared across weights.alpha_over_beta, which changes what it"),
    ],
)
def test_metrics_that_will_not_be_there_or_do_not_compare_are_refused(
    metric: str, dimension: str, said: str, place: Place
) -> None:
    job = prepare(json.loads(place.configured("reference.cache=none")))
    with pytest.raises(ValueError, match=said):
        study_record.check_metrics([metric], job, space(dimension))
    study_record.check_metrics(["loss/total", "time/total_seconds"], job, space("optimizer.history=range(3,5)"))


@pytest.mark.parametrize(
    "address, said",
    [
        ("studies.db", "found 'studies.db', expected sqlite:///FILE or postgresql"),
        ("sqlite:////proc/x.db", "sqlite:////proc/x.db can't be used: unable to open database file"),
        ("mysql://u:secret@h/x", "mysql://h/x needs a driver that is not installed"),
    ],
)
def test_a_storage_that_can_not_be_used_is_named_without_its_password(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        open_storage(address)
    assert "secret" not in str(error.value)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"Optuna is not installed: pip install 'stylelab\[optuna\]'"):
        open_storage("sqlite:///x")


def test_a_named_study_takes_no_other_pictures_metrics_or_kinds_of_range(place: Place) -> None:
    study = [*STUDY, STYLE, RATIO, "hydra.sweeper.n_trials=1", "tracking=off"]
    assert place.stylelab(*study)[0] == 0
    for change, said in (
        (
            ["optimizer.history=3"],
            "optimizer.history: the study s was begun with 20, and now finds 3: its runs would not",
        ),
        (
            [BOTH],
            "the study s was begun to minimize embedded_reference/style, not to minimize embedded_reference/style and",
        ),
        (
            ["weights.alpha_over_beta=1e-3,1e-2"],
            "weights.alpha_over_beta: the study s was begun with another kind of range",
        ),
    ):
        code, told = place.stylelab(*study, *change)
        assert code == 1 and told.count("\n") == 1 and said in told
    assert states(place) == ["COMPLETE"]
