"""The machine and the versions that figures belong to."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16")
PACKAGES = ("torch", "torchvision", "numpy", "pillow")


def facts(device: str, source: Path) -> dict[str, Any]:
    """Processor, cores, memory, features, GPU, versions and commit."""
    flags = _cpuinfo("flags").split()
    return {
        "processor": _processor(),
        "cores": cores(),
        "features": {name: name in flags for name in FEATURES},
        "torch_uses": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "system": platform.system(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "commit": commit(source),
    }


def _processor() -> str:
    """Its name; some makers give many the same, so with family and model where they are told."""
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    family, model = _cpuinfo("cpu family"), _cpuinfo("model\t")
    return f"{name} (family {family}, model {model})" if family and model else name


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit(source: Path) -> str:
    """The commit of a checkout, with `+` where files of the engine differ from it; "" outside git."""
    found = git(source, "rev-parse", "--short=12", "HEAD")
    changed = git(source, "status", "--porcelain", "--", "src", "conf")
    return found + ("+" if found and changed else "")


def git(source: Path, *arguments: str) -> str:
    """What git says of a checkout; "" where it fails or is missing."""
    try:
        done = subprocess.run(["git", "-C", source, *arguments], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
