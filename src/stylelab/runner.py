"""One run from a checked job to a finished folder: paints, records, judges, and says how it ended."""

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stylelab import devices, images, networks, pictures, provenance, reference
from stylelab.configuration import root
from stylelab.job import Job
from stylelab.recorders import FAILED, FINISHED, KILLED, Checkpoint, Folder, Progress, Record, Recorder, save_canvas
from stylelab.transfer import Step, transfer


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be treated as Ctrl-C, with an exit code of its own."""


def run(job: Job, *, hydra_record: Mapping[str, str]) -> Record:
    """Paint a job and record it.

    Args:
        job: `stylelab.job.prepare`'s.
        hydra_record: the files that Hydra would leave, by their names within the run's folder.

    Returns:
        What is known of the run; its status is FINISHED.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the last canvas is saved and the run KILLED.
        Exception: whatever stopped the painting; the run is FAILED, with the reason.
    """
    record = Record(job=job, facts=_facts(job), started=time.time())
    recorders = _recorders(job)
    last: Step | None = None
    try:
        with _sigterm_as_interrupt():
            for recorder in reversed(recorders):  # the tracker first: run.json names its run
                recorder.start(record, None)
            _write_hydra_record(job.folder, hydra_record)
            for last in _paint(job, record):
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
        record.metrics["time/total_seconds"] = time.time() - record.started
        for recorder in recorders:
            recorder.finish(record)
    return record


def _recorders(job: Job) -> Sequence[Recorder]:
    every = job.spec.tracking.pictures_every
    steps = sum(level.steps + 1 for level in job.levels) - 1
    found: list[Recorder] = [Progress(steps)]
    if job.spec.tracking.store == "mlflow":
        from stylelab.tracking import MlflowRecorder, open_store  # MLflow takes seconds to import

        outputs = Path(job.spec.outputs)
        client, experiment = open_store(
            job.spec.tracking.uri, outputs=outputs, experiment=job.spec.tracking.experiment
        )
        found.append(MlflowRecorder(client, experiment, pictures_every=every))
    # In the order of their end: the folder is complete before the tracker copies it.
    return [Folder(job.folder, pictures_every=every), Checkpoint(job), *found]


def _facts(job: Job) -> dict:
    commit, dirty = provenance.commit(root())
    return {"commit": commit, "dirty": dirty, "versions": provenance.versions(), "machine": provenance.machine()}


def _paint(job: Job, record: Record) -> Iterator[Step]:
    spec = job.spec
    device = devices.prepare_device(spec.device, threads=spec.threads, determinism=spec.determinism)
    record.facts["device"] = devices.describe(device)
    network = networks.encoder(spec.network, pooling=spec.pooling, layers=spec.all_layers, files=job.files)
    began, step = time.perf_counter(), None
    for step in transfer(spec, network, content=job.content, styles=job.styles, device=device):
        if step.number == 0:
            record.weights_in_paper_units = step.objective.in_paper_units()
        yield step
    if step.number:
        record.metrics["time/seconds_per_step"] = (time.perf_counter() - began) / (step.number + 1)
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
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside; only a main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(signum: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
