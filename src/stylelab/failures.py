"""What stopped a run, in a line that says what would help; the libraries' own words where they say it already."""

import errno
from collections.abc import Iterator
from pathlib import Path

from stylelab.job import Job

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


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
