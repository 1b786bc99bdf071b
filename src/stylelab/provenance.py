"""Where a picture comes from: the run's key, hashes of its inputs, the code's commit, versions, machine."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ALGORITHM = 7  # raised whenever the same configuration would paint another picture
# What cannot change the picture, or is in the key by its content instead of its name.
NOT_IN_KEY = (
    "images.content",
    "images.style",
    "network.path",
    "network.url",
    "network.sha256",
    "network.cache",
    "network.means",
    "tracking",
    "reference",
    "checkpoint_seconds",
    "force",
    "retry",
    "sweep",
    "batch",
    "outputs",
)
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "hydra-core", "omegaconf", "mlflow", "safetensors")


def canonical(
    config: Mapping[str, Any], *, content: str, styles: Sequence[str], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """All that decides the picture: the configuration less `NOT_IN_KEY`, with hashes in place of paths.

    Args:
        config: resolved and checked, as plain mappings, every number of the type that its key asks for: 1 and 1.0 would
            give two keys.
        content, styles: the sha256 of the pictures' files.
        parameters: the sha256 of every file that the network was built from, by its part.
    """
    kept = {key: value for key, value in flattened(config).items() if not _is_left_out(key)}
    return {
        "algorithm": ALGORITHM,
        "configuration": kept,
        "content": content,
        "styles": list(styles),
        "parameters": dict(parameters),
    }


def key_of(decisive: Mapping[str, Any]) -> str:
    """The run's key: the sha256 of what `canonical` returned."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _is_left_out(key: str) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in NOT_IN_KEY)


def flattened(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping: {"layers.style.0": "relu1_1"}; an empty list stays as it is."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    found = {}
    for name, value in items:
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping | list | tuple) and len(value):
            found |= flattened(value, key)
        else:
            found[key] = value
    return found


def commit(folder: Path) -> tuple[str | None, bool | None]:
    """The checked-out commit of the repository that holds a folder, and whether tracked files differ from it."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that a picture passes through."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine and the process."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "pid": os.getpid(),
        "command": sys.argv,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
