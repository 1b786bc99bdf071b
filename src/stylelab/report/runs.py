"""Tracked runs as plain records, and how MLflow's texts become values again."""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

FINISHED = "FINISHED"
MISSING = "MISSING"  # planned by a sweep, and not tracked


@dataclass(frozen=True, kw_only=True)
class Run:
    """One tracked run; its configuration as leaves, lists whole: {"layers.style": ("relu1_1", "relu2_1")}."""

    run_id: str
    name: str
    status: str  # RUNNING, FINISHED, FAILED or KILLED; MISSING of a sweep's member that was never tracked
    reason: str | None  # why it did not finish
    key: str
    sweep: str | None
    started: int  # milliseconds since 1970
    configuration: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)  # what the command line or the sweep set
    options: Mapping[str, str] = field(default_factory=dict)  # the option of each group: {"pooling": "max"}

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.status == FINISHED

    @property
    def tracked(self) -> bool:
        """Whether the store knows it: else its id is its key, and it has nothing but its configuration."""
        return self.status != MISSING

    @property
    def random(self) -> bool:
        """Whether its seed had anything to decide: painting from a picture draws nothing."""
        return self.configuration.get("canvas.start") == "noise"

    @property
    def input_paths(self) -> tuple[str, ...]:
        """Of its content picture and its styles."""
        content = self.configuration.get("images.content")
        return (*([content] if content else []), *self.configuration.get("images.style", ()))

    def with_paths(self, renamed: Mapping[str, str]) -> "Run":
        """The same run, its pictures under other paths."""
        if not any(path in renamed for path in self.input_paths):
            return self
        content = self.configuration["images.content"]
        styles = tuple(renamed.get(path, path) for path in self.configuration.get("images.style", ()))
        named = {"images.content": renamed.get(content, content), "images.style": styles}
        return replace(self, configuration={**self.configuration, **named})


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs of a report."""

    name: str  # of the report's folder
    title: str
    runs: tuple[Run, ...]  # one for each key, in the order of the sweep
    parents: tuple[str, ...]  # the sweeps' own runs
    superseded: int  # earlier attempts that a later run of the same key replaces
    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()  # what each sweep asks, and where it departs from its source


def latest_of_each_key(runs: Iterable[Run]) -> list[Run]:
    """One run for each key, in the order of first appearance: a finished one before others, then the latest."""
    found: dict[str, Run] = {}
    for run in runs:
        before = found.get(run.key)
        if before is None or (run.finished, run.started) > (before.finished, before.started):
            found[run.key] = run
    return list(found.values())


def in_order(tracked: Sequence[Run], plan: Sequence[Run]) -> list[Run]:
    """Tracked runs and those that are missing, in the order of the plan; what was never planned comes last.

    A run that another sweep painted before is told by what this sweep overrides.
    """
    overridden = {run.key: run.overrides for run in plan}
    told = {run.key: replace(run, overrides=overridden.get(run.key, run.overrides)) for run in tracked}
    return list(({run.key: run for run in plan} | told).values())


def planned(plan: Mapping[str, Any], sweep: str | None) -> list[Run]:
    """The members of a sweep as it planned them, each as the run that is missing.

    Args:
        plan: members.json of the sweep's own run.
        sweep: its name.
    """
    return [
        Run(
            run_id=member["key"],
            name=member["label"] or member["key"][:12],
            status=MISSING,
            reason=_why_missing(member["outcome"]),
            key=member["key"],
            sweep=sweep,
            started=0,
            configuration=configuration(plan["common"] | member["differs"]),
            metrics={},
            tags={},
            overrides=overrides(member["overrides"]),
        )
        for member in plan["members"]
    ]


def _why_missing(outcome: str | None) -> str:
    word, _, reason = (outcome or "").partition(": ")
    if word in ("finished", "done before"):
        return "it was finished, and is no longer in the store"
    return reason or "not begun"


def configuration(parameters: Mapping[str, str]) -> dict[str, Any]:
    """MLflow's parameters as a configuration's leaves, lists whole."""
    return whole_lists({key: parsed(value) for key, value in parameters.items()})


def parsed(text: str) -> Any:
    """A parameter's text as the value that it was: a number, a truth value, None, an empty list, else the text."""
    if text == "null":
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, int | float | bool) or value is None else text


def whole_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"layers.style.0": "relu1_1"} as {"layers.style": ("relu1_1",)}; other keys as they are."""
    found: dict[str, Any] = {}
    lists: dict[str, dict[int, Any]] = {}
    for key, value in values.items():
        parent, _, last = key.rpartition(".")
        if last.isdigit() and parent:
            lists.setdefault(parent, {})[int(last)] = value
        else:
            found[key] = value
    return found | {key: tuple(items[n] for n in sorted(items)) for key, items in lists.items()}


def overrides(lines: Iterable[str]) -> dict[str, str]:
    """Hydra's overrides, less its own and the marks that add or force: {"pooling": "max", "seed": "1"}."""
    found = {}
    for line in lines:
        key, _, value = str(line).partition("=")
        key = key.lstrip("+~").partition("@")[0]
        if not key.startswith("hydra"):
            found[key] = value
    return found


def folder_name(names: Sequence[str]) -> str:
    """A folder's name out of sweeps' names and a filter: safe, and not too long."""
    safe = "+".join(re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") for name in names)
    return safe[:120].rstrip("._+") or "report"


def chosen_options(text: str) -> dict[str, str]:
    """Hydra's runtime choices; of the rest of its record, which is long, nothing is parsed."""
    block = re.search(r"^( *)choices:\n((?:\1 +.*\n?)+)", text, re.MULTILINE)
    choices = yaml.safe_load(block.group(2)) if block else {}
    return {key: str(value) for key, value in choices.items() if not key.startswith("hydra/")}
