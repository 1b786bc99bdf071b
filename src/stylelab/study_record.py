"""What is said and kept of a study: its metrics, the score of a run, a line for each trial, study.json."""

import csv
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylelab import run_folder
from stylelab.addresses import redacted
from stylelab.job import Job
from stylelab.schema import suggestion
from stylelab.search_space import Choice, SearchSpace

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from stylelab.study_settings import Settings

KEPT = "study.json"  # artifact of the study's own run, and a file in the session's folder
LOSSES = ("total", "content", "style", "variation")  # columns of losses.csv that a study may ask for
# What may vary in a study that asks for a loss: anything else changes what a loss measures.
COMPARABLE = ("optimizer", "canvas", "pyramid", "precision", "seed", "determinism", "threads", "device")
# Optuna's own choice, PED-ANOVA, asks what tells the best tenth of the trials from the others: of a dozen trials, one.
EVALUATOR = "fANOVA"


def check_metrics(metrics: Sequence[str], job: Job, space: SearchSpace) -> None:
    """Refuse metrics that the runs of a study will not have, or that can't be compared between them.

    Raises:
        ValueError: names the metric and says why.
    """
    ruler = "embedded_reference" if job.ruler is None else "reference"
    known = [f"{ruler}/content", *([f"{ruler}/style"] if job.spec.images.style else [])]
    known += [f"loss/{name}" for name in LOSSES]
    known += ["time/seconds_per_step", "time/total_seconds", "memory/peak_mb"]
    moved = [key for key in space.dimensions if key.lstrip("+").partition(".")[0] not in COMPARABLE]
    for metric in metrics:
        if metric.startswith("reference/") and ruler != "reference":
            raise ValueError(
                f"hydra.sweeper.metrics: {metric} needs VGG-19's Caffe parameters: say where they are by "
                f"reference.path=FILE, or ask for embedded_{metric}"
            )
        if metric not in known:
            raise ValueError(f"hydra.sweeper.metrics: no run will have a {metric}{suggestion(metric, known)}")
        if metric.startswith("loss/") and moved:
            raise ValueError(
                f"hydra.sweeper.metrics: {metric} can't be compared across {moved[0]}, which changes what it measures: "
                f"ask for {ruler}/style or {ruler}/content"
            )


def scores(folder: Path, metrics: Sequence[str]) -> tuple[list[float] | None, str | None]:
    """A finished run's metrics; or None, and what is wrong with them."""
    found = dict(run_folder.read(folder).get("metrics", {}))
    if any(metric.startswith("loss/") for metric in metrics):
        with (folder / "losses.csv").open() as file:
            last = list(csv.DictReader(file))[-1]
        found |= {f"loss/{name}": float(last[name]) for name in LOSSES}
    values = [found.get(metric, math.nan) for metric in metrics]
    for metric, value in zip(metrics, values, strict=True):
        if not math.isfinite(value):
            return None, f"its {metric} is {value if metric in found else 'missing'}"
    return values, None


def counted(study: "Study") -> str:
    """`8 complete, 1 fail`."""
    states = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
    return ", ".join(f"{count} {state}" for state, count in states.items())


def told(trial: "FrozenTrial", metrics: Sequence[str]) -> str:
    """A line for a trial that has ended."""
    values = [f"{metric} {value:.4g}" for metric, value in zip(metrics, trial.values or (), strict=False)]
    said = trial.user_attrs.get("reason") or ", ".join(values)
    params = " ".join(f"{key}={shown(value)}" for key, value in trial.params.items())
    return f"trial {trial.number}: {trial.state.name.lower()}: {said} ({params})"


def shown(value: Any) -> str:
    """A parameter's value, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def summary(study: "Study", settings: "Settings", space: SearchSpace) -> dict[str, Any]:
    """All that a report needs of a study."""
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    return {
        "name": study.study_name,
        "storage": redacted(settings.storage),
        "metrics": list(settings.metrics),
        "directions": settings.aims,
        "n_trials": settings.n_trials,
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "space": {key: _described(of) for key, of in space.dimensions.items()},
        "best": sorted(trial.number for trial in study.best_trials) if complete else [],
        "evaluator": EVALUATOR,
        "importances": importances(study, settings.metrics),
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name,
                "params": trial.params,
                "values": trial.values,
                "reported": {str(step): value for step, value in trial.intermediate_values.items()},
                **{name: trial.user_attrs.get(name) for name in ("key", "folder", "run_id", "reason")},
            }
            for trial in trials
        ],
    }


def _described(of: Any) -> str:
    if isinstance(of, Choice):
        return ", ".join(map(str, of.values))
    step = f", in steps of {of.step:g}" if of.step and of.step != 1 else ""
    return f"{of.low:g} to {of.high:g}{', logarithmic' if of.log else ''}{step}"


def importances(study: "Study", metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """How much each key decides each metric, as parts of one; nothing of a metric that too few trials have."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    found = {}
    for number, metric in enumerate(metrics):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parts = get_param_importances(
                    study, evaluator=FanovaImportanceEvaluator(seed=0), target=lambda trial, n=number: trial.values[n]
                )
        except (ValueError, RuntimeError):  # Optuna's word for too few trials
            continue
        if all(math.isfinite(value) for value in parts.values()):
            found[metric] = {key: float(value) for key, value in parts.items()}
    return found


def run_ids(summary: Mapping[str, Any]) -> list[str | None]:
    """The runs in MLflow of a study's trials."""
    return [trial["run_id"] for trial in summary["trials"]]


def show(summary: Mapping[str, Any]) -> None:
    """Print the best trials: one, or those of the Pareto front."""
    if not summary["best"]:
        print(f"\nstudy {summary['name']}: no trial is finished")
        return
    several = len(summary["metrics"]) > 1
    print(f"\nstudy {summary['name']}: {'Pareto front' if several else 'best trial'}")
    widths = {metric: max(10, len(metric)) for metric in summary["metrics"]}
    print("  ".join(["trial", *(f"{metric:>{width}}" for metric, width in widths.items()), "picture"]))
    for number in summary["best"][: None if several else 1]:
        trial = summary["trials"][number]
        values = [f"{value:>{width}.4g}" for value, width in zip(trial["values"], widths.values(), strict=True)]
        params = " ".join(f"{key}={shown(value)}" for key, value in trial["params"].items())
        print("  ".join([f"{number:>5}", *values, f"{trial['folder']}/pastiche.png ({params})"]))
    for metric, parts in summary["importances"].items() if len(summary["space"]) > 1 else ():
        print(f"importance for {metric}: {', '.join(f'{key} {part:.2f}' for key, part in parts.items())}")
