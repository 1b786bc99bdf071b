"""What stopped a run, in a line that says what would help; the libraries' own words where they say it already."""

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from stylelab import cost
from stylelab.errors import is_out_of_memory
from stylelab.job import Job

MARGIN = 0.9  # of the free memory: the allocator leaves gaps
LONGEST = 256  # pixels of a long side: large enough to tell memory from the allocator's gaps, small enough to fit
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(error: Exception, job: Job, *, companions: int = 0) -> Exception:
    """The error to show and to record: one line where the cause is known, else the error itself.

    Args:
        companions: runs that this process paints beside the job's.
    """
    if _is_full_disk(error):
        found = OSError(
            f"outputs: the disk of {Path(job.spec.outputs)} is full or its quota used up: free some space, or choose "
            "another place by outputs=...; the same command goes on from the last checkpoint"
        )
        found.errno = errno.ENOSPC
        return found
    if is_out_of_memory(error):
        return MemoryError(_smaller_batch(job, companions) if companions else _what_would_fit(error, job))
    return error


def _is_full_disk(error: BaseException) -> bool:
    return any(getattr(cause, "errno", None) in FULL for cause in _causes(error))


def _smaller_batch(job: Job, companions: int) -> str:
    runs, device, long_side = 1 + companions, job.spec.device, job.spec.images.long_side
    return (
        f"batch: {device} is out of memory with {runs} runs of {long_side} pixels in one process: "
        f"the same command with batch={runs // 2} goes on with half as many at a time"
    )


def _what_would_fit(error: Exception, job: Job) -> str:
    """Out of memory: what was wanted, what there is, and the long side that would fit.

    What painting takes is measured there and then, on the same device with the same network, at sizes that still fit.
    """
    device, long_side = job.spec.device, job.spec.images.long_side
    said = f"images.long_side: {device} is out of memory at {long_side} pixels"
    for cause in _causes(error):
        traceback.clear_frames(cause.__traceback__)  # they hold the features of the failed evaluation
    from stylelab.shelves import forget  # imports torch

    forget()
    try:
        free = _free_bytes(device)
        table = _measured(job)
        wanted = cost.painting_bytes(job, table, checkpoints=True)
        # What ran out is known, what it takes only nearly: stay below both.
        fits = cost.long_side_that_fits(job, table, min(free, wanted) * MARGIN)
    except (MemoryError, RuntimeError):
        return f"{said}, and so full that not even a small picture would fit: free some memory"
    sizes = f"(about {wanted / 1e9:.2g} GB wanted, {free / 1e9:.2g} GB free)"
    cure = f"images.long_side={fits} would fit" if fits else "not even a small picture would fit: free some memory"
    return f"{said} {sizes}: {cure}"


def _measured(job: Job) -> cost.Table:
    import torch

    from stylelab.measurements import Measurements

    return Measurements(job, torch.device(job.spec.device), longest=LONGEST).lacking({})


def _free_bytes(device: str) -> float:
    """Bytes that this process may still take on a device."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return float(free)
    import resource

    import psutil

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # what `ulimit -v` and batch systems set
    left = float("inf") if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms
    return float(min(psutil.virtual_memory().available, left))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
