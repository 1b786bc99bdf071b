"""What runs are made of, measured on this machine once and kept: the table that `stylelab.cost` reads."""

import hashlib
import itertools
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock

from stylelab import cost, devices, provenance, run_folder
from stylelab.composition import composed
from stylelab.configuration import PACKAGE, plain
from stylelab.job import Job, prepare
from stylelab.measurements import Measurements, covers
from stylelab.store import open_store

FEW, MANY = 8, 208  # steps of the small runs
SMALL, LARGER = 32, 256  # and their long sides, in pixels
PROGRAM = """
import json, sys, time
from stylelab.__main__ import main
arguments, marks = json.loads(sys.argv[1]), sys.argv[2]
for run in arguments:
    sys.argv = ["stylelab", *run]
    main()
    with open(marks, "a") as file:
        file.write(f"{time.time()} {time.process_time()}\\n")
"""


class Calibration:
    """The table of one machine, device, number of threads and version of everything, kept in a file.

    Args:
        cache: folder of the file.
        device, threads: the runs'.
        clock: `time.perf_counter`; or `time.process_time`, to leave out what other work on the machine takes.
    """

    def __init__(
        self, cache: Path, *, device: str, threads: int | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.device = devices.prepare_device(device, threads=threads, determinism="default")
        self.clock = clock
        self.about = {
            "machine": f"{platform.node()}, {provenance.machine()['processor']}",
            "device": devices.describe(self.device),
            "threads": torch.get_num_threads(),
            "clock": clock.__name__,
            "versions": provenance.versions(),
            "code": _digest_of_code(),
        }
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()
        self.path = cache / f"calibration-{digest[:12]}.json"
        self.table: dict[str, cost.Sizes] = {}

    def read(self) -> None:
        """Take the table that an earlier plan left."""
        try:
            kept = json.loads(self.path.read_text())["table"]
            self.table = {kind: {int(size): values for size, values in sizes.items()} for kind, sizes in kept.items()}
        except (OSError, ValueError, KeyError, AttributeError):
            return

    def lacks(self, job: Job) -> bool:
        """Whether something of a job is not measured up to its size."""
        return not all(covers(self.table.get(kind), size) for kind, size in cost.pixels_wanted(job).items())

    def complete(self, jobs: Iterable[Job]) -> None:
        """Measure what these jobs need and the table lacks; the largest first, so that no part is measured twice."""
        for job in sorted(jobs, key=lambda job: -max(cost.pixels_wanted(job).values())):
            if not self.lacks(job):
                continue
            self.table |= Measurements(job, self.device, clock=self.clock).lacking(self.table)
            if cost.process_kind(job) not in self.table:
                self.table[cost.process_kind(job)] = self._process(job)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from measuring at the same time; where the cache can't be written to, nothing does."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix(".lock"))
            lock.acquire()
        except OSError:
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def write(self) -> None:
        """Keep the table.

        Raises:
            OSError: the cache can't be written to.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        run_folder.write_whole(self.path, json.dumps({"about": self.about, "table": self.table}, indent=1) + "\n")

    def _process(self, job: Job) -> cost.Sizes:
        """All that a process and its runs take beside painting and judging: differences between small real runs.

        Between more steps and fewer lie the steps' rows, between runs with pictures and without the pictures, between a
        whole run and its known parts all the rest.
        """
        store = job.spec.tracking.store
        with tempfile.TemporaryDirectory(prefix="stylelab-") as folder:
            making = self._seconds_to_make_a_store(Path(folder)) if store == "mlflow" else 0.0
            runs = _small_runs(job, threads=self.about["threads"], folder=folder)
            first, few, many, pictured, larger, larger_pictured, end = self._timed(runs, Path(folder))
            small, large = (prepare(plain(composed(runs[number]))) for number in (1, 4))
            peak_mb = run_folder.read(small.folder)["metrics"]["memory/peak_mb"]
        self.table |= Measurements(large, self.device, clock=self.clock).lacking(self.table)
        evaluation = cost.at(self.table[cost.painting_kind(small.spec, "float32")], "seconds", 0)
        step = max(0.0, (many - few) / (MANY - FEW) - evaluation)
        constant = {"start": first - few + end, "store": making, "step": step, "bytes": 0.0, "run": 0.0}
        found = {}
        for each, whole, with_pictures in ((small, few, pictured), (large, larger, larger_pictured)):
            width, height = each.levels[-1].canvas
            values = constant | {"picture": max(0.0, (with_pictures - whole) / FEW)}
            parts = cost.expected(each, self.table | {f"process {store}": {width * height: values}})
            found[width * height] = values | {"run": max(0.0, whole - parts.seconds)}
            if each is small:
                constant["bytes"] = max(0.0, peak_mb - parts.peak_mb) * cost.MEBIBYTE
        return {pixels: values | {"bytes": constant["bytes"]} for pixels, values in found.items()}

    def _seconds_to_make_a_store(self, folder: Path) -> float:
        import mlflow  # noqa: F401 (its import belongs to the start of a process)

        times = []
        for _ in range(2):
            began = self.clock()
            open_store(f"sqlite:///{folder}/mlflow.db", outputs=folder, experiment="stylelab")
            times.append(self.clock() - began)
        return max(0.0, times[0] - times[1])

    def _timed(self, runs: Sequence[Sequence[str]], folder: Path) -> list[float]:
        """Seconds of each run of one process, the first from the process's beginning on; and of the process's end."""
        marks = folder / "marks"
        began, used = time.time(), _used_by_children()
        said = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(runs), str(marks)], capture_output=True, text=True, check=False
        )
        if said.returncode:
            raise RuntimeError(f"a small run to time failed: {said.stderr[-1000:]}")
        column, start, end = (1, 0.0, _used_by_children() - used)
        if self.clock is time.perf_counter:
            column, start, end = 0, began, time.time()
        times = [start, *(float(line.split()[column]) for line in marks.read_text().splitlines()), end]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


def _small_runs(job: Job, *, threads: int, folder: str) -> list[list[str]]:
    """The command lines: one to import everything, fewer and more steps, without and with pictures, at both sizes."""
    store = job.spec.tracking.store
    settings = [
        "network=embedded",
        "optimizer=adam",
        "reference.path=null",
        f"reference.cache={folder}",  # holds no parameters, so that the embedded network is the ruler
        f"device={job.spec.device}",
        f"threads={threads}",
        f"outputs={folder}",
        f"tracking={store}",
        *([f"tracking.uri=sqlite:///{folder}/mlflow.db"] if store == "mlflow" else []),
    ]
    runs = ((SMALL, FEW, 0), (SMALL, FEW, 0), (SMALL, MANY, 0), (SMALL, FEW, 1), (LARGER, FEW, 0), (LARGER, FEW, 1))
    of = "images.long_side={} optimizer.steps={} tracking.pictures_every={}"
    return [[*settings, *of.format(*run).split(), f"seed={number}"] for number, run in enumerate(runs)]


def _used_by_children() -> float:
    """Seconds of the processor that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _digest_of_code() -> str:
    """Changes whenever any code of ours does: a quicker engine is measured again."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
