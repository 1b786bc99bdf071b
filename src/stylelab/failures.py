"""What stopped a run, in a line that says what would help; the libraries' own words where they say it already."""

import errno
from collections.abc import Iterator
from pathlib import Path

from stylelab import cost
from stylelab.job import Job

MARGIN = 0.9  # of the free memory: the allocator leaves gaps
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STORE_SAYS_FULL = ("database or disk is full", "No space left on device", "disk I/O error")


class TrackingFailed(OSError):
    """The store that runs are tracked in refused or can't be reached."""


def explained(error: Exception, job: Job) -> Exception:
    """The error to show and to record: one line where the cause is known, else the error itself."""
    if _is_full_disk(error):
        found = OSError(
            f"outputs: the disk of {Path(job.spec.outputs)} is full or its quota used up: free some space, or choose "
            "another place by outputs=...; the same command goes on from the last checkpoint"
        )
        found.errno = errno.ENOSPC
        return found
    if _is_out_of_memory(error):
        return MemoryError(_what_would_fit(job))
    if type(error).__module__.startswith(("mlflow", "sqlalchemy")):
        said = " ".join(str(error).split())[:200]
        return TrackingFailed(
            f"tracking.uri: the store refused ({said}): what is painted is kept and the same command goes on; "
            "tracking=off paints without a store"
        )
    return error


def _is_full_disk(error: BaseException) -> bool:
    return any(
        getattr(cause, "errno", None) in FULL or any(words in str(cause) for words in STORE_SAYS_FULL)
        for cause in _causes(error)
    )


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("CUDA out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    named = (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    )  # torch's, without importing it
    return named or (isinstance(error, RuntimeError) and any(part in str(error) for part in words))


def _what_would_fit(job: Job) -> str:
    """Out of memory: what was wanted, what there is, and the long side that would fit."""
    device, images = job.spec.device, job.spec.images
    wanted = cost.painting_bytes(job.spec, [(level.canvas, level.styles) for level in job.levels])
    free = _free_bytes(device)
    said = (
        f"images.long_side: {device} is out of memory at {images.long_side} pixels (about {wanted / 1e9:.1f} GB wanted"
    )
    if free is None:
        return f"{said}): use a smaller one, or pyramid=single"
    # What ran out is known, what it takes only nearly: stay below both.
    fits = cost.long_side_that_fits(job, min(free, wanted) * MARGIN)
    cure = f"images.long_side={fits} would fit" if fits else "not even a small picture would fit: free some memory"
    return f"{said}, {free / 1e9:.1f} GB free): {cure}"


def _free_bytes(device: str) -> float | None:
    """Bytes free on a device once this process has let its own go."""
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            return None
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return float(free)
    import psutil

    return float(psutil.virtual_memory().available)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
