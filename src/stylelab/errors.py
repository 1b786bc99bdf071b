"""Ends of a run or a sweep that a command line shows as one line."""


class SweepFailed(Exception):
    """Some runs of a sweep are not finished; the message counts them."""


class Pruned(Exception):
    """A study ended a run early, because others were nearer at the same step; the message says at which."""

    WORD = "pruned"  # how the message, and with it the run's reason, begins


class SyncFailed(Exception):
    """MLflow still lacks something; the message counts it."""
