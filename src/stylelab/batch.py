"""`batch=N`: runs of a sweep painted together by one process, each with its own configuration, folder and record."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from omegaconf import DictConfig, OmegaConf, open_dict

from stylelab import bundles, console
from stylelab.configuration import ours, plain
from stylelab.interrupts import sigterm_as_interrupt
from stylelab.job import Job, prepare
from stylelab.rounds import Overview, Rounds
from stylelab.runner import painting
from stylelab.shelves import share_between_runs
from stylelab.sweep import check_unchanged
from stylelab.trial import watchers


def paint_together(runs: Sequence[bundles.Run]) -> None:
    """Paint the runs of this job of Hydra's; what became of each is said, and noted for the sweep.

    Args:
        runs: `bundles.bundled`'s; all of one `Job.company`.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or a cluster's notice.
    """
    share_between_runs()
    begun: dict[int, tuple[Job, Mapping[str, Any]]] = {}
    for number, config in _configurations(runs):
        try:
            with _as_job_of_hydra(config):
                job = prepare(plain(config))
                check_unchanged(job)
                begun[number] = job, {"hydra_record": console.hydra_record(ours(config)), "watchers": watchers(job)}
        except Exception as error:
            console.say_how_it_failed(number, error)
    overview = Overview({number: _steps(job) for number, (job, _) in begun.items()})
    paintings = {
        number: painting(job, **own, progress=overview.of(number), companions=len(begun) - 1)
        for number, (job, own) in begun.items()
    }
    most = max((_most_at_once(job, len(begun)) for job, _ in begun.values()), default=1)
    with sigterm_as_interrupt():
        Rounds(paintings, most=most, ended=_say).paint()


def _most_at_once(job: Job, runs: int) -> int:
    """Canvases to evaluate at once. On a CPU that gains nothing, and one after another has the bytes of single runs."""
    return runs if job.spec.device.startswith("cuda") and job.spec.determinism != "strict" else 1


def _steps(job: Job) -> int:
    return sum(level.steps + 1 for level in job.levels) - 1


def _say(number: int, result: Mapping[str, Any] | Exception) -> None:
    """Say where a finished run is, or what ended it."""
    if isinstance(result, Exception):
        console.say_how_it_failed(number, result)
    else:
        console.report(result)
        sys.stdout.flush()


def _configurations(runs: Sequence[bundles.Run]) -> Iterator[tuple[int, DictConfig]]:
    """Each run's whole configuration, Hydra's part included, as if it had been launched by itself."""
    of_job = HydraConfig.get()
    own = {*runs[0][1]}  # the job's overrides are the first run's and the bundle
    shared = [each for each in of_job.overrides.hydra if each not in own and not each.startswith(bundles.SETTING)]
    about = {"overrides": {"hydra": shared}, "job": {"config_name": of_job.job.config_name}}
    for number, overrides in runs:
        sweep = OmegaConf.create({"hydra": about})
        config = GlobalHydra.instance().config_loader().load_sweep_config(sweep, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            config.hydra.runtime.output_dir = of_job.runtime.output_dir
        yield number, config


@contextmanager
def _as_job_of_hydra(config: DictConfig) -> Iterator[None]:
    """What Hydra sets around a job of its own: its configuration, and the environment that it asks for."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        with env_override(config.hydra.job.env_set):
            yield
    finally:
        HydraConfig.instance().cfg = before
