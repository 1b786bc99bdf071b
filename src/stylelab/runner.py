"""One run from a checked job to a finished folder: claims, resumes, paints, records, judges, says how it ended."""

import json
import sys
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stylelab import devices, failures, images, networks, pictures, provenance, reference, run_folder
from stylelab.addresses import redacted, redacted_values
from stylelab.aside import Aside
from stylelab.configuration import root
from stylelab.errors import Pruned
from stylelab.interrupts import named, sigterm_as_interrupt
from stylelab.job import Job
from stylelab.parameter_files import sha256_of
from stylelab.recorders import FAILED, FINISHED, KILLED, Checkpoint, Folder, Progress, Record, Recorder, saving_canvas
from stylelab.sharing import Resident
from stylelab.shelves import NETWORKS, TARGETS
from stylelab.transfer import Step, transfer

# What run.json says of the tracked run.
TRACKED = ("mlflow_identity", "mlflow_uri", "mlflow_run_id", "mlflow_experiment_id")


Painting = Generator[Step | None, None, Mapping[str, Any]]


def run(job: Job, *, hydra_record: Mapping[str, str], watchers: Sequence[Recorder] = ()) -> Mapping[str, Any]:
    """Paint a job and record it; go on where a killed process stopped; leave alone what is finished.

    Args:
        job: `stylelab.job.prepare`'s.
        hydra_record: the files that Hydra would leave, by their names within the run's folder.
        watchers: told of every step after it was recorded; one may end the run by raising `Pruned`.

    Returns:
        The run's run.json, with `skipped` true where it was finished already.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the last canvas is saved and the run KILLED.
        Pruned: by a watcher; the same.
        Exception: whatever stopped the painting; the run is FAILED, with the reason.
    """
    one = painting(job, hydra_record=hydra_record, watchers=watchers)
    with sigterm_as_interrupt():
        while True:
            try:
                if next(one) is None:
                    time.sleep(run_folder.PAUSE)
            except StopIteration as end:
                return end.value


def painting(
    job: Job,
    *,
    hydra_record: Mapping[str, str],
    watchers: Sequence[Recorder] = (),
    progress: Recorder | None = None,
    companions: int = 0,
) -> Painting:
    """`run`, step by step, so that several can go on in turns.

    Args:
        progress: shows how far the run is; None: a bar of its own.
        companions: runs that go on beside it in this process.

    Yields:
        Each step before it is recorded, and its losses are wanted; None, again and again, while another process has the
        same picture in hand.
    """
    claim = run_folder.Claim(Path(job.spec.outputs), job.key[:12])
    for _ in claim.awaited(tell=_tell):
        yield None
    try:
        job = job.located()
        if job.spec.retry == "none":
            _refuse_another_try(job)
        if run_folder.is_whole(job.folder) and not job.spec.paints_again:
            return _skipped(job)
        if run_folder.read(job.folder).get("status") == FINISHED:  # forced, or no longer whole: nothing is lost
            run_folder.set_aside(job.folder)
        if progress is None:
            progress = Progress(sum(level.steps + 1 for level in job.levels) - 1)
        record = yield from _paint_and_record(job, hydra_record, watchers, progress, companions)
        return record.as_json()
    finally:
        claim.release()


def _refuse_another_try(job: Job) -> None:
    before = run_folder.read(job.folder)
    if before.get("status") == FAILED:
        raise ValueError(
            f"retry: it failed before ({before.get('reason')}), and retry=none: use retry=failed to try again"
        )


def _skipped(job: Job) -> Mapping[str, Any]:
    """What is known of a finished run; MLflow is told of it where it was not."""
    before = run_folder.read(job.folder)
    tracker = _tracker(job)
    if tracker is not None:
        record = Record.of_finished(job, before)
        tracker.complete(record, before)
        found = {"reason": None} | record.tracking
        before = run_folder.read(job.folder)  # the tracker may have written it
        if before != before | found:
            run_folder.write(job.folder, before | found)
    (job.folder / "checkpoint.pt").unlink(missing_ok=True)
    return before | {"skipped": True}


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _tracker(job: Job) -> Any | None:
    if job.spec.tracking.store == "off":
        return None
    from stylelab.tracking import MlflowRecorder

    return MlflowRecorder(job)


def _paint_and_record(
    job: Job,
    hydra_record: Mapping[str, str],
    watchers: Sequence[Recorder],
    progress: Recorder,
    companions: int,
) -> Generator[Step, None, Record]:
    before = run_folder.read(job.folder)
    record = Record(job=job, facts=_facts(), started=before.get("started") or time.time())
    record.tracking = {key: before[key] for key in TRACKED if key in before}
    record.resumed = before.get("resumed", [])
    if companions:
        record.facts["painted_together"] = 1 + companions  # which the times and the memory are of
    on_gpu = job.spec.device.startswith("cuda")
    aside = Aside(threaded=on_gpu)
    folder = Folder(job.folder, pictures_every=job.spec.tracking.pictures_every, aside=aside)
    checkpoint = Checkpoint(job, aside=aside, companions=companions)
    # In the order of their end: the folder is complete before the tracker copies it, the checkpoint goes when both are.
    recorders: list[Recorder] = [progress, folder, checkpoint]
    told = _Told(recorders, late=on_gpu)
    step = None
    try:
        resume = checkpoint.load()
        number = None if resume is None else resume["number"]
        if number is not None:
            record.resumed.append({"step": number, "time": time.time(), "host": record.facts["machine"]["host"]})
        folder.start(record, number)
        if (tracker := _tracker(job)) is not None:
            recorders.insert(-1, tracker)
            tracker.start(record, number)
        recorders += watchers
        for recorder in (progress, checkpoint, *watchers):
            recorder.start(record, number)
        _write_hydra_record(job.folder, hydra_record)
        for step in _paint(job, record, resume):
            yield step
            step.begin()
            told.of(step, at_once=checkpoint.wants(step))
        told.rest()
        _finish_picture(job, told.last, record)
        aside.wait()  # a canvas that could not be written fails the run
        record.metrics["memory/peak_mb"] = devices.peak_memory_mb(told.last.canvas.device)
        record.metrics["time/checkpoint_seconds"] = checkpoint.spent
        record.status = FINISHED
    except (KeyboardInterrupt, Pruned) as interrupt:
        record.status = KILLED
        record.reason = str(interrupt) if isinstance(interrupt, Pruned) else named(interrupt)
        if told.last is not None:
            aside.do(saving_canvas(told.last, job.folder))  # after those that are being written
        raise
    except Exception as error:
        told = step = None  # they hold the targets, and memory may be what is wanted
        shown = failures.explained(error, job, companions=companions)
        record.status, record.reason = FAILED, redacted(f"{type(shown).__name__}: {shown}")
        raise shown from error
    finally:
        record.ended = time.time()
        record.metrics["time/total_seconds"] = record.ended - record.started
        _finish_all(recorders, record)
    return record


class _Told:
    """Recorders told of steps: at once, or one late, so that a GPU has the next canvas before the host looks at this.

    Args:
        recorders: may become more.
    """

    def __init__(self, recorders: Sequence[Recorder], *, late: bool) -> None:
        self.recorders, self.late = recorders, late
        self.waiting: deque[Step] = deque()
        self.last: Step | None = None

    def of(self, step: Step, *, at_once: bool) -> None:
        """Tell of a step, and of the one before."""
        self.waiting.append(step)
        self._tell(leave=1 if self.late and not at_once else 0)

    def rest(self) -> None:
        """Tell of the last step."""
        self._tell(leave=0)

    def _tell(self, *, leave: int) -> None:
        while len(self.waiting) > leave:
            self.waiting[0].losses  # noqa: B018 (refused, if they are not finite, before they are recorded)
            self.last = self.waiting.popleft()
            for recorder in self.recorders:
                recorder.step(self.last)


def _finish_all(recorders: Sequence[Recorder], record: Record) -> None:
    """Let every recorder finish, even where another one can't; a run that could not be recorded has not FINISHED."""
    first: Exception | None = None
    for recorder in recorders:
        try:
            recorder.finish(record)
        except Exception as error:
            shown = failures.explained(error, record.job)
            if record.status == FINISHED:
                record.status, record.reason, first = FAILED, f"{type(shown).__name__}: {shown}", shown
            else:  # the run's own failure is on its way already
                _tell(f"could not record it: {shown}")
    if first is None:
        return
    kept = run_folder.read(record.job.folder)
    if kept.get("status") == FINISHED:  # painted whole; only the store does not know: the next start tells it
        run_folder.write(record.job.folder, kept | {"reason": record.reason})
    raise first


def _facts() -> dict[str, Any]:
    commit, dirty = provenance.commit(root())
    machine = redacted_values(provenance.machine())  # its command line may hold an address with a password
    return {"commit": commit, "dirty": dirty, "versions": provenance.versions(), "machine": machine}


def _paint(job: Job, record: Record, resume: Mapping[str, Any] | None) -> Iterator[Step]:
    spec = job.spec
    device = devices.prepare_device(spec.device, threads=spec.threads, determinism=spec.determinism)
    record.facts["device"] = devices.describe(device)
    if devices.arithmetic(spec.precision.network, device) != spec.precision.network:
        _tell(f"precision.network: this CPU has no units for {spec.precision.network}: painting in float32, the faster")
    if job.ruler is not None and job.ruler not in job.files.values():
        reference.ruler(job.ruler)  # a broken file is found before the painting, not after it
    network = NETWORKS.get(_network_key(job), lambda: _network(job, device))
    began, first, step = time.perf_counter(), None, None
    for step in transfer(spec, network, content=job.content, styles=job.styles, device=device, resume=resume):
        if first is None:
            first = step.number
            record.weights_in_paper_units = step.objective.in_paper_units()
        yield step
    record.metrics["time/seconds_per_step"] = (time.perf_counter() - began) / (step.number - first + 1)


def _network(job: Job, device: torch.device) -> Resident:
    spec = job.spec
    found = networks.encoder(spec.network, pooling=spec.pooling, layers=spec.all_layers, files=job.files)
    return Resident(found.to(device))


def _network_key(job: Job) -> Hashable:
    """All that decides a network's features, to the bit."""
    values = job.decisive["configuration"].items()
    kept = tuple(sorted((key, value) for key, value in values if key.startswith(("network.", "pooling."))))
    return ("network", kept, job.spec.all_layers, tuple(sorted(job.decisive["parameters"].items())), *_arithmetic(job))


def _arithmetic(job: Job) -> tuple[Hashable, ...]:
    """What may change the last bits of the same computation."""
    return job.spec.device, job.spec.determinism, torch.get_num_threads()


def _judge(job: Job) -> tuple[str, reference.Judge]:
    """The ruler's name, and the ruler that has seen the job's content and style."""
    name, network = reference.ruler(job.ruler)
    styles = reference.weighted(job.styles, job.spec.images.style_weights)
    level = job.levels[-1]
    seen = (job.decisive["content"], *job.decisive["styles"], *(share for share, _ in styles))
    judge = TARGETS.get(
        ("judge", job.ruler and sha256_of(job.ruler), seen, level.canvas, level.styles, *_arithmetic(job)),
        lambda: reference.Judge(network, content=job.content, styles=styles, level=level),
    )
    return name, judge


def _finish_picture(job: Job, last: Step, record: Record) -> None:
    """Save the pastiche and hold it against the fixed ruler."""
    pastiche = images.to_picture(last.canvas)
    texts = {"stylelab.key": job.key, "stylelab.configuration": json.dumps(job.decisive, sort_keys=True)}
    pictures.save_png(pastiche, job.folder / "pastiche.png", texts=texts)
    name, judge = _judge(job)
    record.facts["ruler"] = {"name": name, "path": str(job.ruler), "sha256": job.ruler and sha256_of(job.ruler)}
    record.metrics |= {f"{name}/{metric}": value for metric, value in judge(pastiche).items()}


def _write_hydra_record(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
