"""What a sweep's own run keeps of its members and its question: a report then shows those never painted too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stylelab.configuration import CONF
from stylelab.provenance import flattened

if TYPE_CHECKING:
    from stylelab.sweep import Member

MEMBERS = "members.json"  # artifact of a sweep's own run


def plan(members: "Sequence[Member]", outcomes: Sequence[str] | None) -> dict[str, Any]:
    """Every member with its key, its overrides and how it ended, configurations as MLflow's parameters.

    Args:
        members: of the sweep.
        outcomes: of each, once it has ended.

    Returns:
        {"common": {key: text}, "members": [{"key", "label", "overrides", "differs": {key: text}, "outcome"}, ...]}
    """
    every = [parameters(member.job.config) for member in members]
    common = dict(set.intersection(*(set(one.items()) for one in every)))
    return {
        "common": {key: value for key, value in every[0].items() if key in common},
        "members": [
            {
                "key": member.job.key,
                "label": member.label,
                "overrides": list(member.overrides),
                "differs": {key: value for key, value in one.items() if key not in common},
                "outcome": outcome,
            }
            for member, one, outcome in zip(members, every, outcomes or [None] * len(members), strict=True)
        ],
    }


def parameters(configuration: Any) -> dict[str, str]:
    """A configuration as MLflow keeps it: leaves, lists by index, each as a text."""
    return {key: "null" if value is None else str(value) for key, value in flattened(configuration).items()}


def question(experiment: str | None) -> str | None:
    """The opening words of an experiment's file: what it asks, and where it departs from its source."""
    file = CONF / "experiment" / f"{experiment}.yaml"
    if experiment is None or not file.is_file():
        return None
    words = []
    for line in file.read_text().splitlines()[1:]:
        if not line.startswith("# "):
            break
        words.append(line.removeprefix("# "))
    return "\n".join(words) or None
