"""The device of a run: threads, determinism and peak memory."""

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

MEBIBYTE = 1024**2
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # Linux: "always [madvise] never"
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt
LARGE = 8 * MEBIBYTE  # a block of memory that goes back to the system at once when it is freed
MOST_KEPT = 32 * MEBIBYTE  # the largest such size that every glibc takes


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
    # Sums over millions of places: their parts stay in float32, also where several units share one.
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
    reset_peak(device)
    return device


def default_threads() -> int:
    """CPU threads of a run that states none."""
    shared_out = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(shared_out) if shared_out.isdecimal() and int(shared_out) else available_cores()


def give_back_freed_memory(*, largest: int) -> None:
    """Give freed memory that glibc keeps back to the system: after a set-up, whose copies are not wanted again.

    From then on it keeps what an evaluation frees for the next one, unless the largest block of an evaluation is a
    large one: then it keeps no large blocks. In a set-up they are faster kept.

    Args:
        largest: bytes of an evaluation's largest tensor.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
        _keep_blocks_below(MOST_KEPT if largest < MOST_KEPT else LARGE)


def _keep_blocks_below(size: int) -> None:
    """Have glibc give larger blocks back when they are freed, where fresh memory comes in pages of 2 MB.

    By itself it keeps them in pieces of which few fit the next tensors: a fifth of the peak at 1024 pixels. In pages of
    4 kB fresh memory would take a quarter of an evaluation's time, in large ones it takes none that can be measured on
    one thread, and a tenth on two, which wait for each other. Of small pictures the memory is little, and kept.
    """
    with contextlib.suppress(OSError):
        if "[never]" in HUGE_PAGES.read_text() or os.environ.get("THP_MEM_ALLOC_ENABLE") != "1":
            return
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        # Of the heap's end, which small blocks come from, it keeps some: they are wanted again at once.
        top = 2 * LARGE if size == LARGE else 16 * MOST_KEPT
        kept = ((M_MMAP_THRESHOLD, size), (M_TRIM_THRESHOLD, 2 * top), (M_TOP_PAD, 2 * LARGE))
        for parameter, value in kept if mallopt else ():
            mallopt(parameter, value)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_its_way(numbers: Tensor) -> Callable[[], Tensor]:
    """A tensor on the CPU in two parts: a GPU's copy is asked for now, the call waits for it, but for nothing later."""
    if not numbers.is_cuda:
        return lambda: numbers
    here = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)  # pinned: the copy does not stop the host
    here.copy_(numbers, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(numbers.device))

    def arrived() -> Tensor:
        copied.synchronize()
        return here

    return arrived


def reset_peak(device: torch.device) -> None:
    """Let peak memory count from now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # elsewhere the peak is the whole process's, as documented below
        Path("/proc/self/clear_refs").write_text("5")  # Linux: peak resident memory counts from now


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


def bfloat16_units() -> str | None:
    """The CPU's instructions for products of bfloat16; None: it has none, or none that are known of."""
    try:
        found = set(Path("/proc/cpuinfo").read_text().replace("\t", " ").split())
    except OSError:
        return None
    named = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "svebf16": "SVE-BF16", "bf16": "BF16"}  # the last: Arm's
    return next((name for flag, name in named.items() if flag in found), None)


def arithmetic(asked: str, device: torch.device) -> str:
    """The arithmetic of the network that is painted in: the one asked for, or float32 where that is the faster one.

    Without instructions for it a CPU computes bfloat16 by way of float32, several times slower.
    """
    return "float32" if asked == "bfloat16" and device.type == "cpu" and bfloat16_units() is None else asked


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    units = bfloat16_units()
    kinds = f"{torch.backends.cpu.get_cpu_capability()}, {'no' if units is None else units} units for bfloat16"
    return f"CPU, {torch.get_num_threads()} threads, {kinds}"
