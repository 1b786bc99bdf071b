"""The device of a run: threads, determinism and peak memory."""

import os
import resource
import sys
from pathlib import Path

import torch

MEBIBYTE = 1024**2


def prepare_device(name: str, *, threads: int | None, determinism: str) -> torch.device:
    """Set the process up for a run.

    Args:
        name: cpu, cuda or cuda:N.
        threads: CPU threads; None for OMP_NUM_THREADS, by which launchers share the cores out, else all of them.
        determinism: "strict" (an operation without a deterministic form is an error), "default" (deterministic on a
            CPU, and on a GPU wherever cuDNN offers it) or "fast" (TF32, whichever algorithm is quickest).
    """
    torch.set_num_threads(threads or default_threads())
    if determinism == "strict":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
    # Not torch.use_deterministic_algorithms, which does the same and imports the whole compiler: 2 to 9 seconds.
    torch.set_deterministic_debug_mode("error" if determinism == "strict" else "default")
    torch.backends.cudnn.deterministic = determinism != "fast"
    torch.backends.cudnn.benchmark = determinism == "fast"
    torch.backends.cuda.matmul.allow_tf32 = determinism == "fast"
    torch.backends.cudnn.allow_tf32 = determinism == "fast"
    device = torch.device(name)
    reset_peak(device)
    return device


def default_threads() -> int:
    """CPU threads of a run that states none."""
    shared_out = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(shared_out) if shared_out.isdecimal() and int(shared_out) else available_cores()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reset_peak(device: torch.device) -> None:
    """Let peak memory count from now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: peak resident memory counts from now
    except OSError:
        pass  # elsewhere the peak is the whole process's, as documented below


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of the run in MiB: the GPU's, or the process's resident set on a CPU (since its start, off Linux)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    try:
        return _status("VmHWM")
    except (OSError, IndexError):
        kilobyte = 1024 if sys.platform != "darwin" else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte / MEBIBYTE


def memory_mb(device: torch.device) -> float:
    """Memory taken now in MiB: the GPU's by tensors, or the process's resident set on a CPU (0 where none can tell)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / MEBIBYTE
    try:
        return _status("VmRSS")
    except (OSError, IndexError):
        return 0.0


def _status(entry: str) -> float:
    """MiB of an entry of Linux's /proc/self/status."""
    return int(Path("/proc/self/status").read_text().split(f"{entry}:")[1].split()[0]) / 1024


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
