"""A study's trial, seen from its run: how it goes is told as it is painted, and the pruner may end it."""

import math
import os
import sys
import time
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from stylelab import images, reference
from stylelab.errors import Pruned
from stylelab.job import Job
from stylelab.recorders import Record, Recorder
from stylelab.study import STUDY, TRIAL
from stylelab.study_settings import Settings, open_storage, pruner
from stylelab.transfer import Step

if TYPE_CHECKING:
    from optuna import Trial


def watchers(job: Job) -> list[Recorder]:
    """What watches the run of this process: of a trial that may be pruned, a `Pruning`; else nothing."""
    if TRIAL not in os.environ:
        return []
    settings = Settings.from_config(OmegaConf.to_container(HydraConfig.get().sweeper, resolve=True))
    return [Pruning(job, settings, study=os.environ[STUDY], number=int(os.environ[TRIAL]))] if settings.prunes else []


class Pruning:
    """Judges the canvas every so many steps by the ruler, tells the study, and ends the run where the pruner says so.

    A storage that does not answer ends nothing: the run goes on unwatched.
    """

    def __init__(self, job: Job, settings: Settings, *, study: str, number: int) -> None:
        self.job, self.settings, self.study, self.number = job, settings, study, number
        self.trial: Trial | None = None
        self.judges: dict[int, reference.Judge] = {}  # by level
        self.record: Record | None = None
        self.spent = 0.0  # seconds in all

    def start(self, record: Record, resumed_at: int | None) -> None:
        """Find the trial."""
        from optuna import Trial, load_study

        self.record, began = record, time.perf_counter()
        try:
            study = load_study(
                study_name=self.study, storage=open_storage(self.settings.storage), pruner=pruner(self.settings)
            )
            self.trial = Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)
        except Exception as error:
            self._unwatched(error)
        self._count(began)

    def step(self, step: Step) -> None:
        """Judge, tell and ask, where it is time."""
        last = step.level == self.job.levels[-1].number and step.index == self.job.levels[-1].steps
        if self.trial is None or not step.number or step.number % self.settings.pruner["every"] or last:
            return
        began = time.perf_counter()
        value = self._judged(step).get(self.settings.metrics[0], math.nan)  # nan: of a level too small to be judged
        ends = math.isfinite(value) and self._is_pruned(value, step.number)
        self._count(began)
        if ends:
            raise Pruned(f"{Pruned.WORD} at step {step.number}, with {self.settings.metrics[0]} {value:.4g}")

    def _is_pruned(self, value: float, number: int) -> bool:
        try:
            self.trial.report(value, number)
            return self.trial.should_prune()
        except Exception as error:
            self._unwatched(error)
            return False

    def _unwatched(self, error: Exception) -> None:
        self.trial = None
        said = " ".join(str(error).split())[:200]
        print(
            f"trial {self.number}: goes on and can't be pruned, because its study does not answer ({said})",
            file=sys.stderr,
        )

    def _judged(self, step: Step) -> dict[str, float]:
        """The metrics of the canvas, against content and style at the sizes of its level."""
        if step.level not in self.judges:
            level = next(level for level in self.job.levels if level.number == step.level)
            device = step.canvas.device
            self.name, network = reference.ruler(self.job.ruler, device=device)
            self.judges = {
                step.level: reference.Judge(
                    network,
                    content=self.job.content,
                    styles=reference.weighted(self.job.styles, self.job.spec.images.style_weights),
                    level=level,
                    device=device,
                )
            }
        judged = self.judges[step.level](images.to_picture(step.canvas))
        return {f"{self.name}/{key}": value for key, value in judged.items()}

    def _count(self, began: float) -> None:
        self.spent += time.perf_counter() - began
        self.record.metrics["time/pruning_seconds"] = self.spent

    def finish(self, record: Record) -> None:
        """The study is told by the process that conducts it."""
