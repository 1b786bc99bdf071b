"""What a set of runs was swept over, out of what was tracked: overrides, else how the configurations differ."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stylelab.layers import LAYERS
from stylelab.report.labels import heading, labels, wordy
from stylelab.report.runs import Run
from stylelab.schema import suggestion

ABSENT = "–"  # the value of a key that a run's configuration does not have
SEED = "seed"
EACH = "run"  # the axis of runs that differ in nothing: each is its own option
# Keys that change where a run keeps or reads things, never what it paints.
INCIDENTAL = (
    "tracking", "reference", "outputs", "checkpoint_seconds", "experiment", "sweep", "retry", "force", "size",
    "network.path", "network.url", "network.sha256", "network.cache", "network.means", "device", "threads",
)  # fmt: skip
FULL_ENOUGH = 0.5  # part of a grid that must be there for two keys of a group to count as crossed


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One swept key, or several that change together."""

    key: str  # as given to --rows: a key, or a group
    option: Mapping[str, Hashable]  # of each run, by run id
    options: tuple[Hashable, ...]  # in order
    labels: Mapping[Hashable, str]

    @property
    def heading(self) -> str:
        """The key in words."""
        return heading(self.key)


def swept(runs: Sequence[Run]) -> list[Axis]:
    """The axes that runs vary along: as their overrides say, else as their configurations differ; the seed last."""
    found = _from_overrides(runs) or _from_configurations(runs)
    return sorted(found, key=lambda axis: axis.key == SEED)


def axis(runs: Sequence[Run], key: str, *, but: Collection[str] = ()) -> Axis:
    """The axis of a key or a group that the user named.

    Args:
        but: keys with an axis of their own, which a group's does not vary along.

    Raises:
        ValueError: no run's configuration has it.
    """
    leaves = [leaf for leaf in _leaves(runs) if leaf == key or leaf.startswith(f"{key}.")]
    if leaves == [key]:
        return _leaf_axis(runs, key)
    if leaves:
        differing = [leaf for leaf in leaves if leaf in differences(runs) and leaf not in but]
        return _group_axis(runs, key, differing)
    if any(key in run.overrides for run in runs):
        return axis_of(key, {run.run_id: run.overrides.get(key, ABSENT) for run in runs})
    raise ValueError(f"{key}: no run has such a key{suggestion(key, [*dict.fromkeys(_leaves(runs)), *_groups(runs)])}")


def seedless(axis: Axis, runs: Sequence[Run]) -> Axis:
    """An axis whose options include seeds without them, so that runs that differ in nothing else are one option.

    `start` of `noise_0`, `noise_1` and `content` is `canvas` of `noise` and `content`.
    """
    if not determines(axis.option, _values(runs, SEED)):
        return axis
    others = {run.run_id: tuple(pair for pair in _configuration(run) if pair[0] != SEED) for run in runs}
    followed = [key for key in differences(runs) if key != SEED and decisive(key) and _varies_with(axis, runs, key)]
    groups = list(dict.fromkeys(key.partition(".")[0] for key in followed))
    if len(groups) != 1 or len(set(others.values())) == len(axis.options):
        return axis
    return _group_axis(runs, groups[0], followed)


def differences(runs: Sequence[Run]) -> dict[str, dict[Hashable, int]]:
    """The keys in which runs differ, with how many runs have each value."""
    found = {}
    for key in _leaves(runs):
        counts: dict[Hashable, int] = {}
        for run in runs:
            value = run.configuration.get(key, ABSENT)
            counts[value] = counts.get(value, 0) + 1
        if len(counts) > 1:
            found[key] = counts
    return found


def common(runs: Sequence[Run]) -> dict[str, Any]:
    """The keys in which all runs agree, with the value."""
    differing = differences(runs)
    return {key: value for key, value in runs[0].configuration.items() if key not in differing}


def decisive(key: str) -> bool:
    """Whether a key can change the picture."""
    return not any(key == name or key.startswith(f"{name}.") for name in INCIDENTAL)


def _from_overrides(runs: Sequence[Run]) -> list[Axis]:
    """Axes out of Hydra's overrides; none where these don't tell every run from every other."""
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.overrides) if decisive(key)]
    keys = [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]
    if not all(key in run.overrides for key in keys for run in runs):
        return []
    if len({_configuration(run) for run in runs}) > len({tuple(run.overrides[key] for key in keys) for run in runs}):
        return []
    axes = [_override_axis(runs, key) for key in keys]
    return _merged(axes)


def _override_axis(runs: Sequence[Run], key: str) -> Axis:
    """The axis of an override: the one configuration key that it changes, else the override itself."""
    leaves = _leaves(runs)
    if key in leaves:
        return _leaf_axis(runs, key)
    written = {run.run_id: run.overrides[key] for run in runs}
    within = [leaf for leaf in differences(runs) if leaf.startswith(f"{key}.") and decisive(leaf)]
    followed = [leaf for leaf in within if determines(written, _values(runs, leaf))]
    if len(followed) == 1 and determines(_values(runs, followed[0]), written) and not _is_switch(runs, followed[0]):
        return _leaf_axis(runs, followed[0])
    return axis_of(key, written)


def _is_switch(runs: Sequence[Run], leaf: str) -> bool:
    """Whether a key is true or false, which says less than the option that sets it."""
    return all(isinstance(value, bool) for value in _values(runs, leaf).values())


def _from_configurations(runs: Sequence[Run]) -> list[Axis]:
    """Axes out of how the configurations differ: keys that change together are one axis."""
    keys = [key for key in differences(runs) if decisive(key)]
    for group in dict.fromkeys(key.partition(".")[0] for key in keys):
        own = [key for key in keys if key.startswith(f"{group}.")]
        if len(own) > 1 and (_named(runs, group, own) or not _crossed(runs, own)):
            keys = [key for key in keys if key not in own] + [group]
    ordered = sorted(keys, key=lambda key: -_first_change(_values_of(runs, key)))  # the slowest first
    return _merged([axis(runs, key) for key in ordered])


def _varies_with(axis: Axis, runs: Sequence[Run], key: str) -> bool:
    return determines(axis.option, _values(runs, key))


def _crossed(runs: Sequence[Run], keys: Sequence[str]) -> bool:
    """Whether the keys of a group vary freely of each other: most of their combinations were painted."""
    columns = [_values(runs, key) for key in keys]
    combinations = len({tuple(column[run.run_id] for column in columns) for run in runs})
    possible = 1
    for column in columns:
        possible *= len(set(column.values()))
    free = not any(determines(a, b) for a in columns for b in columns if a is not b)
    return free and combinations > FULL_ENOUGH * possible


def _first_change(values: Sequence[Hashable]) -> int:
    """How many runs pass until a key changes first: the more, the slower it varies."""
    return next((n for n, value in enumerate(values) if value != values[0]), len(values))


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    """The axes that say something of their own: one that others determine goes."""
    kept: list[Axis] = []
    for candidate in axes:
        if not any(determines(other.option, candidate.option) for other in kept):
            kept = [other for other in kept if not determines(candidate.option, other.option)] + [candidate]
    return kept


def determines(first: Mapping[str, Hashable], second: Mapping[str, Hashable]) -> bool:
    """Whether each option of the first goes with one option of the second."""
    return len(set(first.values())) == len({(first[run_id], second[run_id]) for run_id in first})


def _leaf_axis(runs: Sequence[Run], key: str) -> Axis:
    return axis_of(key, _values(runs, key))


def _group_axis(runs: Sequence[Run], group: str, leaves: Sequence[str]) -> Axis:
    """A group's axis: by the names of its options where they tell the runs apart, else by its differing keys."""
    if named := _named(runs, group, leaves):
        return axis_of(group, named)
    if len(leaves) == 1:
        return _leaf_axis(runs, leaves[0])
    words = {
        run.run_id: wordy({leaf: run.configuration[leaf] for leaf in leaves if leaf in run.configuration})
        for run in runs
    }
    return axis_of(group, words)


def _named(runs: Sequence[Run], group: str, leaves: Sequence[str]) -> dict[str, str] | None:
    """Each run's option of a group, where the options tell the group's values apart and say no more than these."""
    values = {run.run_id: tuple(run.configuration.get(leaf, ABSENT) for leaf in leaves) for run in runs}
    for named in ({run.run_id: run.overrides.get(group) for run in runs},
                  {run.run_id: run.options.get(group) for run in runs}):  # fmt: skip
        if None not in named.values() and determines(named, values) and determines(values, named):
            return named
    return None


def axis_of(key: str, option: Mapping[str, Hashable], named: Mapping[Hashable, str] | None = None) -> Axis:
    """An axis of these options: numbers and lists of layers sorted, others in the order of their first run."""
    options = tuple(dict.fromkeys(option.values()))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in options):
        options = tuple(sorted(options))
    elif all(isinstance(value, tuple) and set(value) <= set(LAYERS) for value in options):
        options = tuple(sorted(options, key=lambda names: (len(names), [LAYERS.index(name) for name in names])))
    return Axis(key=key, option=option, options=options, labels=named or labels(options))


def _values(runs: Sequence[Run], key: str) -> dict[str, Hashable]:
    return {run.run_id: run.configuration.get(key, ABSENT) for run in runs}


def _values_of(runs: Sequence[Run], key: str) -> list[Hashable]:
    return list(axis(runs, key).option.values())


def _leaves(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(key for run in runs for key in run.configuration))


def _groups(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(key.partition(".")[0] for key in _leaves(runs) if "." in key))


def _configuration(run: Run) -> tuple:
    return tuple(sorted((key, repr(value)) for key, value in run.configuration.items() if decisive(key)))
