"""The store: tracked runs and their artifacts, through MLflow's client, so that a server does as well as a file."""

import json
import logging
import math
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from PIL import Image

from stylelab.addresses import redacted
from stylelab.membership import MEMBERS
from stylelab.report.runs import (
    FINISHED,
    Run,
    Selection,
    chosen_options,
    configuration,
    folder_name,
    in_order,
    latest_of_each_key,
    overrides,
    planned,
)
from stylelab.schema import suggestion
from stylelab.store import ANSWERS, QUIET

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

SWEEP = "tags.`stylelab.role` = 'sweep'"
STUDY = "study.json"  # artifact of a study's own run
READERS = 8  # threads: a server's answers are waited for together
LONGEST_PAGE = 1000  # runs that MLflow returns at once
Found = TypeVar("Found")


class Store:
    """An MLflow store with one experiment of it.

    Args:
        client: of the store.
        experiment: its name.

    Raises:
        ValueError: there is no such experiment.
    """

    def __init__(self, client: "MlflowClient", experiment: str) -> None:
        self.client = client
        found = client.get_experiment_by_name(experiment)
        if found is None:
            others = [other.name for other in client.search_experiments() if other.name != "Default"]
            hint = suggestion(experiment, others) if others else ""
            raise ValueError(f"the store has no experiment {experiment}: nothing was tracked there yet{hint}")
        self.experiment = found.experiment_id

    def select(self, sweeps: Sequence[str], *, condition: str | None) -> Selection:
        """The runs of some sweeps, or of an MLflow filter, or of both.

        Args:
            sweeps: names, MLflow run ids, or `latest`.
            condition: as MLflow writes it: "params.`pooling.kind` = 'max'".

        Raises:
            ValueError: a sweep is unknown, the filter is none, or no run is left.
        """
        parents = [self._sweep(name) for name in sweeps]
        ids = [run_id for parent in parents for run_id in self._members(parent)]
        names = [parent.info.run_name for parent in parents]
        found = {run.info.run_id: run for run in self._fetch(dict.fromkeys(ids))}
        if condition:
            names.append(condition)
            found |= {run.info.run_id: run for run in self._search(condition) if not _is_sweep(run)}
        gone = [run_id for run_id in dict.fromkeys(ids) if run_id not in found]
        plan = [run for parent in parents for run in self._planned(parent)]
        keys = {run.data.tags.get("stylelab.key") for run in found.values()}
        for run in self._all(self._of_key, [member.key for member in plan if member.key not in keys]):
            found |= {run.info.run_id: run} if run else {}
        if not found:
            raise ValueError(f"{' and '.join(names)}: no run was tracked there")
        tracked = latest_of_each_key(self._read(list(found.values())))
        sweeps_own = {parent.info.run_id: parent for parent in parents if _is_sweep(parent)}
        return Selection(
            name=folder_name(names),
            title=" + ".join(names),
            runs=tuple(self._with_one_path_each(in_order(tracked, plan))),
            parents=tuple(sweeps_own),
            superseded=len(found) - len(tracked),
            notes=tuple(_notes(parents, gone)),
            questions=tuple(_questions(sweeps_own.values())),
        )

    def run(self, name: str) -> Run:
        """One run by its MLflow id, the start of it, or its name.

        Raises:
            ValueError: there is none, or several.
        """
        found = [run for run in self._search("") if run.info.run_id.startswith(name) or run.info.run_name == name]
        found = [run for run in found if not _is_sweep(run)]
        if len(found) != 1:
            count = "no run" if not found else f"{len(found)} runs"
            raise ValueError(f"{name}: {count} of that id or name: give the MLflow run id that the run printed")
        return self._read(found)[0]

    def _sweep(self, name: str) -> "MlflowRun":
        sweeps = self._search(SWEEP)  # newest first
        if name == "latest" and sweeps:
            return sweeps[0]
        for run in sweeps:
            if name in (run.info.run_id, run.data.tags.get("stylelab.sweep"), run.info.run_name):
                return run
        single = self._fetch([name]) if re.fullmatch(r"[0-9a-f]{32}", name) else []
        if single:
            return single[0]
        known = list(dict.fromkeys(run.info.run_name for run in sweeps))[:5]
        hint = f"the latest are {', '.join(known)}" if known else "none was tracked yet; paint one by -m"
        raise ValueError(f"there is no sweep {name}: {hint}")

    def _members(self, parent: "MlflowRun") -> list[str]:
        if not _is_sweep(parent):
            return [parent.info.run_id]
        tags = parent.data.tags
        parts = sorted(
            (name for name in tags if name.startswith("stylelab.members")), key=lambda name: (len(name), name)
        )
        listed = [run_id for name in parts for run_id in json.loads(tags[name])]  # a tag holds only so many
        children = self._search(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        return [*listed, *(run.info.run_id for run in reversed(children))]

    def _planned(self, parent: "MlflowRun") -> list[Run]:
        """The members that a sweep set out to paint; none of a single run, or of a sweep that noted none."""
        if not _is_sweep(parent):
            return []
        with self._artifact(parent.info.run_id, MEMBERS) as file:
            return planned(json.loads(file.read_text()), parent.data.tags.get("stylelab.sweep")) if file else []

    def _of_key(self, key: str) -> "MlflowRun | None":
        """The run of a key that a report would show: a finished one before others, then the latest."""
        found = [run for run in self._search(f"tags.`stylelab.key` = '{key}'") if not _is_sweep(run)]
        return next((run for run in found if run.info.status == FINISHED), found[0] if found else None)

    def _search(self, condition: str) -> list["MlflowRun"]:
        """All runs of a filter, the newest first."""
        from mlflow.exceptions import MlflowException

        found, token = [], None
        while True:
            try:
                page = self.client.search_runs(
                    [self.experiment], condition, max_results=LONGEST_PAGE, page_token=token,
                    order_by=["attributes.start_time DESC"],
                )  # fmt: skip
            except MlflowException as error:
                raise ValueError(f"--filter: MLflow does not take {condition}: {_first_line(error)}") from error
            found, token = [*found, *page], page.token
            if not token:
                return found

    def _fetch(self, ids: Iterable[str]) -> list["MlflowRun"]:
        """The runs of these ids that there are, in their order."""
        from mlflow.exceptions import MlflowException

        def fetch(run_id: str) -> "MlflowRun | None":
            try:
                run = self.client.get_run(run_id)
            except MlflowException:
                return None
            return run if run.info.lifecycle_stage == "active" else None

        return [run for run in self._all(fetch, ids) if run is not None]

    def _all(self, read: Callable[[Any], Found], what: Iterable[Any]) -> list[Found]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(read, what))

    def _read(self, runs: "Sequence[MlflowRun]") -> list[Run]:
        """The runs as plain records. Only what waits for the store is done by threads: Python 3.11 parses in one."""
        records = self._all(self._hydra_record, [run.info.run_id for run in runs])
        return [
            Run(
                run_id=run.info.run_id,
                name=run.info.run_name,
                status=run.info.status,
                reason=run.data.tags.get("stylelab.reason"),
                key=run.data.tags.get("stylelab.key", run.info.run_id),
                sweep=run.data.tags.get("stylelab.sweep"),
                started=run.info.start_time,
                configuration=configuration(run.data.params),
                metrics={name: _true(value) for name, value in run.data.metrics.items()},
                tags=dict(run.data.tags),
                **record,
            )
            for run, record in zip(runs, records, strict=True)
        ]

    def _hydra_record(self, run_id: str) -> dict[str, Mapping[str, str]]:
        with self._artifact(run_id, ".hydra/overrides.yaml") as file:
            lines = yaml.safe_load(file.read_text()) if file else None
        with self._artifact(run_id, ".hydra/hydra.yaml") as file:
            options = chosen_options(file.read_text()) if file else {}
        return {"overrides": overrides(lines or []), "options": options}

    def _with_one_path_each(self, runs: Sequence[Run]) -> list[Run]:
        """The runs, each picture under one path though they read it from several: two clones', or two machines'."""
        paths = {path for run in runs for path in run.input_paths}
        names = Counter(PurePath(path).name for path in paths)
        doubtful = {path for path in paths if names[PurePath(path).name] > 1}
        concerned = [run for run in runs if run.tracked and doubtful.intersection(run.input_paths)]
        first: dict[str, str] = {}  # path of each picture by its sha256
        renamed: dict[str, str] = {}
        for hashes in self._all(self._input_hashes, concerned):
            renamed |= {path: first.setdefault(sha256, path) for path, sha256 in hashes.items()}
        return [run.with_paths(renamed) for run in runs]

    def _input_hashes(self, run: Run) -> dict[str, str]:
        """The sha256 of each picture that a run read, by its path; nothing where the run did not note it."""
        with self._artifact(run.run_id, "run.json") as file:
            try:
                noted = json.loads(file.read_text())["inputs"] if file else {"content": None, "styles": []}
                return {one["path"]: one["sha256"] for one in (noted["content"], *noted["styles"]) if one}
            except (ValueError, KeyError, TypeError):  # damaged
                return {}

    def picture(self, run: Run) -> Image.Image | None:
        """The pastiche, or the last canvas of a run that did not finish; None where that is gone or damaged."""
        with self._artifact(run.run_id, "pastiche.png") as file:
            if file or run.finished:
                return _opened(file)
        listed = [entry.path for folder in (None, "images") for entry in self._listed(run.run_id, folder)]
        canvases = {int(number): path for path in listed for number in _step_of_canvas(path)}
        if not canvases:
            return None
        with self._artifact(run.run_id, canvases[max(canvases)]) as file:
            return _opened(file)

    def inputs(self, run: Run) -> tuple[Image.Image | None, tuple[Image.Image, ...]]:
        """The content and the style pictures as the run saw them."""
        found = []
        for name in ("content", *(f"style_{n}" for n in range(len(run.configuration.get("images.style", ()))))):
            with self._artifact(run.run_id, f"inputs/{name}.png") as file:
                found.append(_opened(file))
        return found[0], tuple(style for style in found[1:] if style is not None)

    def studies(self, parents: Sequence[str]) -> list[Mapping[str, Any]]:
        """What the sweeps among these runs that were studies kept of themselves."""
        found = []
        for run_id in parents:
            with self._artifact(run_id, STUDY) as file:
                found += [json.loads(file.read_text())] if file else []
        return found

    def pictures(self, runs: Sequence[Run], *, longest: int) -> dict[str, Image.Image]:
        """The picture of each run that has one, by run id, no side longer than `longest` pixels."""

        def read(run: Run) -> Image.Image | None:
            picture = self.picture(run)
            if picture is not None:
                picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            return picture

        tracked = [run for run in runs if run.tracked]
        found = zip(tracked, self._all(read, tracked), strict=True)
        return {run.run_id: picture for run, picture in found if picture is not None}

    def curves(self, runs: Sequence[Run], names: Sequence[str]) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Each run's metrics by step, each step once, by run id and name."""

        def read(wanted: tuple[Run, str]) -> list[tuple[int, float]]:
            run, name = wanted
            history = self.client.get_metric_history(run.run_id, name)
            return sorted({metric.step: _true(metric.value) for metric in history}.items())

        wanted = [(run, name) for run in runs for name in names if name in run.metrics]
        found: dict[str, dict[str, list[tuple[int, float]]]] = {run.run_id: {} for run in runs}
        for (run, name), curve in zip(wanted, self._all(read, wanted), strict=True):
            found[run.run_id][name] = curve
        return found

    def publish(self, folder: Path, run_id: str, place: str) -> None:
        """Keep a folder's files as artifacts of a run."""
        self.client.log_artifacts(run_id, str(folder), place)

    def _listed(self, run_id: str, folder: str | None) -> list:
        return self.client.list_artifacts(run_id, folder)

    @contextmanager
    def _artifact(self, run_id: str, path: str) -> Iterator[Path | None]:
        """A copy of one artifact for as long as the block lasts; None where there is none."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="stylelab-report-") as folder:
            try:
                file = Path(self.client.download_artifacts(run_id, path, folder))
            except (MlflowException, OSError):
                file = None
            yield file


def open_existing(uri: str, experiment: str) -> Store:
    """The store of an address, made nowhere: a report of nothing is an error.

    Raises:
        ValueError: there is no such store, or it does not answer.
    """
    path = uri.removeprefix("sqlite:///")
    if path != uri and not Path(path).is_file():
        raise ValueError(f"there is no store {path}: nothing was tracked yet; paint first, or give another by --uri")
    quiet = QUIET | ANSWERS | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return Store(MlflowClient(tracking_uri=uri), experiment)
    except MlflowException as error:
        raise ValueError(f"the store {redacted(uri)} does not answer: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]


def _notes(parents: "Sequence[MlflowRun]", gone: Sequence[str]) -> Iterator[str]:
    for parent in parents:
        if _is_sweep(parent) and parent.info.status == "RUNNING":
            yield f"The sweep {parent.info.run_name} is still running, or was killed without a word."
    for run_id in gone:
        yield f"The run {run_id} is no longer in the store."


def _true(value: float) -> float:
    """A metric as it was logged: SQL stores keep the largest float in place of an infinite one."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _questions(sweeps: "Iterable[MlflowRun]") -> Iterator[str]:
    """What each sweep's own run is described by: its experiment's opening words."""
    yield from dict.fromkeys(note for run in sweeps if (note := run.data.tags.get("mlflow.note.content")))


def _is_sweep(run: "MlflowRun") -> bool:
    return run.data.tags.get("stylelab.role") == "sweep"


def _step_of_canvas(path: str) -> list[str]:
    """The step's number in canvas_000010.png and in images/canvas+step+10+timestamp+….png, in a list or not at all."""
    return re.findall(r"(?:^canvas_|^images/canvas[+%]step[+%])(\d+)[^/]*(?<!compressed)\.png$", path)


def _opened(file: Path | None) -> Image.Image | None:
    """A picture; None where there is no file, or none that can be read to its end."""
    if file is None:
        return None
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # whatever Pillow calls a broken file
        return None
