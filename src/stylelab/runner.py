"""One run from a checked job to a finished folder: claims, resumes, paints, records, judges, says how it ended."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stylelab import devices, images, networks, pictures, provenance, reference, run_folder
from stylelab.configuration import root
from stylelab.job import Job
from stylelab.recorders import FAILED, FINISHED, KILLED, Checkpoint, Folder, Progress, Record, Recorder, save_canvas
from stylelab.transfer import Step, transfer


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be treated as Ctrl-C, with an exit code of its own."""


def run(job: Job, *, hydra_record: Mapping[str, str]) -> Mapping[str, Any]:
    """Paint a job and record it; go on where a killed process stopped; leave alone what is finished.

    Args:
        job: `stylelab.job.prepare`'s.
        hydra_record: the files that Hydra would leave, by their names within the run's folder.

    Returns:
        The run's run.json, with `skipped` true where it was finished already.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the last canvas is saved and the run KILLED.
        Exception: whatever stopped the painting; the run is FAILED, with the reason.
    """
    outputs = Path(job.spec.outputs)
    claim = run_folder.Claim(outputs, job.key)
    with sigterm_as_interrupt():
        claim.acquire(tell=_tell)
        try:
            tracker = _tracker(job)
            if not job.spec.force and is_done(job, tracker):
                return run_folder.read(job.folder) | {"skipped": True}
            if run_folder.read(job.folder).get("status") == FINISHED:  # forced, or no longer whole: nothing is lost
                run_folder.set_aside(job.folder)
            return _paint_and_record(job, tracker, hydra_record).as_json()
        finally:
            claim.release()


def is_done(job: Job, tracker: Any | None) -> bool:
    """Whether a job's picture is painted: its folder whole, and its run FINISHED where it is tracked."""
    if not run_folder.is_whole(job.folder):
        return False
    return tracker is None or tracker.holds_finished(run_folder.read(job.folder).get("mlflow_run_id"))


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _tracker(job: Job) -> Any | None:
    tracking = job.spec.tracking
    if tracking.store == "off":
        return None
    from stylelab.tracking import MlflowRecorder, open_store  # MLflow takes seconds to import

    client, experiment = open_store(tracking.uri, outputs=Path(job.spec.outputs), experiment=tracking.experiment)
    return MlflowRecorder(client, experiment, pictures_every=tracking.pictures_every)


def _paint_and_record(job: Job, tracker: Recorder | None, hydra_record: Mapping[str, str]) -> Record:
    before = run_folder.read(job.folder)
    record = Record(job=job, facts=_facts(), started=before.get("started") or time.time())
    record.tracking = {key: before[key] for key in ("mlflow_run_id", "mlflow_experiment_id") if key in before}
    checkpoint = Checkpoint(job)
    recorders = _in_order_of_their_end(job, checkpoint, tracker)
    last: Step | None = None
    try:
        resume = checkpoint.load()
        for recorder in reversed(recorders):  # the tracker first: run.json names its run
            recorder.start(record, None if resume is None else resume["number"])
        _write_hydra_record(job.folder, hydra_record)
        for last in _paint(job, record, resume):
            for recorder in recorders:
                recorder.step(last)
        _finish_picture(job, last, record)
        record.status = FINISHED
    except KeyboardInterrupt as interrupt:
        record.status = KILLED
        record.reason = "SIGTERM" if isinstance(interrupt, Terminated) else "Ctrl-C"
        if last is not None:
            save_canvas(last, job.folder)
        raise
    except Exception as error:
        record.status, record.reason = FAILED, f"{type(error).__name__}: {error}"
        raise
    finally:
        record.ended = time.time()
        record.metrics["time/total_seconds"] = record.ended - record.started
        _finish_all(recorders, record)
    return record


def _in_order_of_their_end(job: Job, checkpoint: Checkpoint, tracker: Recorder | None) -> Sequence[Recorder]:
    """The folder is complete before the tracker copies it; the checkpoint goes when both hold the finished run."""
    steps = sum(level.steps + 1 for level in job.levels) - 1
    folder = Folder(job.folder, pictures_every=job.spec.tracking.pictures_every)
    return [Progress(steps), folder, *([tracker] if tracker else []), checkpoint]


def _finish_all(recorders: Sequence[Recorder], record: Record) -> None:
    """Let every recorder finish, even where another one can't; then raise the first error."""
    errors: list[Exception] = []
    for recorder in recorders:
        try:
            recorder.finish(record)
        except Exception as error:
            errors.append(error)
    if errors and record.status == FINISHED:
        raise errors[0]
    for error in errors:  # the run's own failure is on its way already
        _tell(f"could not record it: {error}")


def _facts() -> dict[str, Any]:
    commit, dirty = provenance.commit(root())
    return {"commit": commit, "dirty": dirty, "versions": provenance.versions(), "machine": provenance.machine()}


def _paint(job: Job, record: Record, resume: Mapping[str, Any] | None) -> Iterator[Step]:
    spec = job.spec
    device = devices.prepare_device(spec.device, threads=spec.threads, determinism=spec.determinism)
    record.facts["device"] = devices.describe(device)
    network = networks.encoder(spec.network, pooling=spec.pooling, layers=spec.all_layers, files=job.files)
    began, first, step = time.perf_counter(), None, None
    for step in transfer(spec, network, content=job.content, styles=job.styles, device=device, resume=resume):
        if first is None:
            first = step.number
            record.weights_in_paper_units = step.objective.in_paper_units()
        yield step
    record.metrics["time/seconds_per_step"] = (time.perf_counter() - began) / (step.number - first + 1)
    record.metrics["memory/peak_mb"] = devices.peak_memory_mb(device)


def _finish_picture(job: Job, last: Step, record: Record) -> None:
    """Save the pastiche and hold it against the fixed ruler."""
    pastiche = images.to_picture(last.canvas)
    texts = {"stylelab.key": job.key, "stylelab.configuration": json.dumps(job.decisive, sort_keys=True)}
    pictures.save_png(pastiche, job.folder / "pastiche.png", texts=texts)
    name, network = reference.ruler(job.ruler)
    shares = job.spec.images.style_weights or [1.0] * len(job.styles)
    styles = [(share / sum(shares), style) for share, style in zip(shares, job.styles, strict=True)]
    found = reference.judge(network, pastiche=pastiche, content=job.content, styles=styles, level=job.levels[-1])
    record.metrics |= {f"{name}/{metric}": value for metric, value in found.items()}


def _write_hydra_record(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside; only a main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(signum: int, frame: object) -> None:
        raise Terminated

    before: Callable | int | None = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
