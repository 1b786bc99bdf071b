"""A study: Optuna chooses the next runs from what the finished ones scored; a sweep's machinery paints them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from stylelab import run_folder, study_record
from stylelab.addresses import redacted
from stylelab.configuration import in_one_line
from stylelab.errors import Pruned, SweepFailed
from stylelab.interrupts import sigterm_as_interrupt
from stylelab.provenance import flattened
from stylelab.search_space import SearchSpace
from stylelab.study_settings import Settings, distribution, open_study, sampler
from stylelab.sweep import Batch, Compose, Launch, Member, Parent, checked, gpus_of, is_finished, tell

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

TRIAL = "STYLELAB_TRIAL"  # environment of a trial's run: its number
STUDY = "STYLELAB_STUDY"  # and the study's name


def conduct(space: SearchSpace, settings: Settings, *, compose: Compose, launch: Launch, config: DictConfig) -> None:
    """Carry a study out, or go on with it, until `n_trials` of its trials were painted or pruned.

    Args:
        space: what varies.
        compose, launch, config: as of `sweep.conduct`.

    Raises:
        ValueError: a run can't be made as it is configured, a metric is none, or the storage can't be used; nothing
            was painted.
        SweepFailed: trials failed, or are left for the same command to finish.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the summary.
    """
    with sigterm_as_interrupt():
        extremes = checked(space.extremes(), compose, gpus=gpus_of(config))
        study_record.check_metrics(settings.metrics, extremes[0].job, space)
        common = _common(extremes)
        name = config.sweep or _name(config.hydra.runtime.choices.get("experiment"), space, settings, common)
        study = open_study(settings, name, outputs=Path(extremes[0].job.spec.outputs))
        _check_same(study, common, space)
        conductor = _Conductor(study, settings, space, extremes[0], Path(config.hydra.sweep.dir), gpus=gpus_of(config))
        conductor.conduct(compose, launch)


def _common(extremes: Sequence[Member]) -> dict[str, Any]:
    """What decides the pictures and is the same in every run of a space, as JSON holds it."""
    every = [json.loads(json.dumps(flattened(member.job.decisive), default=str)) for member in extremes]
    return {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}


def _name(experiment: str | None, space: SearchSpace, settings: Settings, common: Mapping[str, Any]) -> str:
    """A name that the same command finds again and another command does not."""
    told = [sorted(space.dimensions.items()), settings.metrics, settings.aims, sorted(common.items())]
    return f"{experiment or 'study'}-{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}"


def _check_same(study: "Study", common: Mapping[str, Any], space: SearchSpace) -> None:
    """Refuse to go on with a study whose runs would not compare with those that it has."""
    from optuna.distributions import check_distribution_compatibility

    before = study.user_attrs.get("common", {})
    for key, value in common.items():
        if before.get(key, value) != value:
            raise ValueError(
                f"{key.removeprefix('configuration.')}: the study {study.study_name} was begun with {before[key]}, and "
                f"now finds {value}: its runs would not compare: name another study by sweep=NAME"
            )
    known = [trial.distributions for trial in study.get_trials(deepcopy=False) if trial.distributions]
    for key, dimension in space.dimensions.items():
        try:
            for of in [trial[key] for trial in known if key in trial][-1:]:
                check_distribution_compatibility(of, distribution(dimension))
        except ValueError as error:
            raise ValueError(
                f"{key}: the study {study.study_name} was begun with another kind of range ({error}): name another "
                "study by sweep=NAME"
            ) from error
    if not before:
        study.set_user_attr("common", dict(common))


class _Conductor:
    """A study under way.

    Args:
        example: any run of it.
        folder: of this session alone, for Hydra's record and faults.
        gpus: as of `Member.of`.
    """

    def __init__(
        self,
        study: "Study",
        settings: Settings,
        space: SearchSpace,
        example: Member,
        folder: Path,
        *,
        gpus: float | None,
    ) -> None:
        from optuna.trial import TrialState

        self.gpus = gpus
        self.study, self.settings, self.space, self.folder = study, settings, space, folder
        self.states = TrialState
        self.outputs = str(Path(example.job.spec.outputs).resolve())
        fingerprint = hashlib.sha256(f"study {study.study_name} {self.outputs}".encode()).hexdigest()
        self.parent = Parent([example.job], study.study_name, fingerprint=fingerprint, reopens=True)
        counts = example.job.spec.retry == "none"  # else others are asked for in the place of those that failed
        self.failed_before = 0 if counts else len(self._in(TrialState.FAIL))
        self.left: set[int] = set()  # trials that this process leaves RUNNING, for the next one

    def conduct(self, compose: Compose, launch: Launch) -> None:
        """Paint batch after batch, say what came of it, close the parent run."""
        name, storage = self.study.study_name, redacted(self.settings.storage)
        try:
            tell(f"study {name} in {storage}: {study_record.counted(self.study) or 'no trial yet'}")
            while batch := self._next():
                if not self._paint(batch, compose, launch):
                    break
        finally:
            summary = study_record.summary(self.study, self.settings, self.space)
            study_record.show(summary)
            self.folder.mkdir(parents=True, exist_ok=True)
            run_folder.write_whole(self.folder / study_record.KEPT, json.dumps(summary, indent=2))
            self.parent.keep(summary, study_record.KEPT)
            self.parent.close(study_record.run_ids(summary), self._counts())
        self._check_whole()

    def _check_whole(self) -> None:
        failed = len(self._in(self.states.FAIL)) - self.failed_before
        missing = self.settings.n_trials - len(self._in(self.states.COMPLETE, self.states.PRUNED))
        if failed or missing > 0:
            begun = len(self._in(self.states.RUNNING))
            raise SweepFailed(
                f"{max(missing, 0)} of {self.settings.n_trials} trials are missing, {failed} failed and {begun} begun: "
                "the same command again finishes what was begun, and asks for others in the place of what failed"
            )

    def _counts(self) -> dict[str, int]:
        """How many trials ended how, as a sweep counts its runs."""
        counts = {
            "finished": len(self._in(self.states.COMPLETE)),
            "pruned": len(self._in(self.states.PRUNED)),
            "failed earlier": self.failed_before,
            "failed": len(self._in(self.states.FAIL)) - self.failed_before,
            "begun": len(self._in(self.states.RUNNING)),
        }
        return {word: count for word, count in counts.items() if count}

    def _in(self, *states: "TrialState") -> "list[FrozenTrial]":
        return self.study.get_trials(deepcopy=False, states=states)

    def _next(self) -> "list[Trial]":
        """The trials to paint next: those that dead processes left, then new ones."""
        size = self.settings.batch_size or 1
        found = self._left_by_dead_processes()[:size]
        taken = len(self._in(self.states.COMPLETE, self.states.PRUNED, self.states.RUNNING, self.states.FAIL))
        wanted = self.settings.n_trials - (taken - self.failed_before)
        return found + [self._asked() for _ in range(min(wanted, size - len(found)))]

    def _left_by_dead_processes(self) -> "list[Trial]":
        """The RUNNING trials of this outputs folder, where no living process conducts the study in it."""
        from optuna import Trial

        found = []
        for left in self._in(self.states.RUNNING) if self.parent.alone else ():
            if left.user_attrs.get("outputs") != self.outputs or left.number in self.left:
                continue
            trial = Trial(self.study, left._trial_id)
            if set(left.params) == set(self.space.dimensions):
                found.append(trial)
            else:
                self._end(
                    trial, self.states.FAIL, reason="its process died as it was asked for, or the space has changed"
                )
        return found

    def _asked(self) -> "Trial":
        """A new trial, seeded by its number: a study that was killed asks for the same ones as one that was not."""
        if not self._in(self.states.WAITING):
            self.study.enqueue_trial({}, user_attrs={"outputs": self.outputs})  # ours from its first moment
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = sampler(self.settings, number)
        trial = self.study.ask({key: distribution(of) for key, of in self.space.dimensions.items()})
        trial.set_user_attr("outputs", self.outputs)
        return trial

    def _paint(self, trials: "Sequence[Trial]", compose: Compose, launch: Launch) -> bool:
        """Paint some trials and tell the study; whether any of them came to an end."""
        chosen = [(trial, member) for trial in trials if (member := self._member(trial, compose))]
        batch = Batch([member for _, member in chosen], self.parent, self.folder)
        try:
            batch.paint(lambda jobs, environment: launch(jobs, environment | {STUDY: self.study.study_name}))
        finally:
            for (trial, member), outcome in zip(chosen, batch.outcomes(), strict=True):
                self._tell(trial, member, outcome)
        return len(chosen) < len(trials) or any(trial.number not in self.left for trial in trials)

    def _member(self, trial: "Trial", compose: Compose) -> Member | None:
        """The run of a trial; None where its values don't go together, which fails the trial alone."""
        run = self.space.run(trial.params)
        told, label = f"++hydra.job.env_set.{TRIAL}='{trial.number}'", " ".join(run[len(self.space.fixed) :])
        try:
            return Member.of(run, label, compose(run), gpus=self.gpus).with_override(told)
        except (ValueError, OmegaConfBaseException) as error:
            self._end(trial, self.states.FAIL, reason=in_one_line(error))
            return None

    def _tell(self, trial: "Trial", member: Member, outcome: str) -> None:
        folder = member.job.located().folder
        told = {"key": member.job.key, "folder": str(folder), "run_id": run_folder.read(folder).get("mlflow_run_id")}
        word, _, reason = outcome.partition(": ")
        if is_finished(outcome):
            values, fault = study_record.scores(folder, self.settings.metrics)
            self._end(trial, self.states.FAIL if fault else self.states.COMPLETE, values=values, reason=fault, **told)
        elif reason.startswith(Pruned.WORD):
            self._end(trial, self.states.PRUNED, reason=reason, **told)
        elif word == "failed":
            self._end(trial, self.states.FAIL, reason=reason, **told)
        else:  # killed, not begun, or painted by another process: the same command goes on with it
            self.left.add(trial.number)
            tell(f"trial {trial.number}: {outcome} ({member.label})")

    def _end(
        self,
        trial: "Trial",
        state: "TrialState",
        *,
        values: Sequence[float] | None = None,
        reason: str | None = None,
        **attributes: str | None,
    ) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for key, value in ({"reason": reason} | attributes).items():
                if value is not None:
                    trial.set_user_attr(key, value)
            self.study.tell(trial.number, values, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            return  # another process was quicker
        tell(study_record.told(self.study.get_trials(deepcopy=False)[trial.number], self.settings.metrics))
