"""What ends a run or a sweep: errors that a command line shows as one line, and the end of memory."""


class SweepFailed(Exception):
    """Some runs of a sweep are not finished; the message counts them."""


class Pruned(Exception):
    """A study ended a run early, because others were nearer at the same step; the message says at which."""

    WORD = "pruned"  # how the message, and with it the run's reason, begins


class SyncFailed(Exception):
    """MLflow still lacks something; the message counts it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    words = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    words += ("can't allocate memory", "not enough memory")
    torchs = type(error).__name__ == "OutOfMemoryError"  # without importing it
    named = isinstance(error, MemoryError) or torchs
    return named or (isinstance(error, RuntimeError) and any(part in str(error) for part in words))
