"""Errors of our own that a command line shows as one line."""


class SweepFailed(Exception):
    """Some runs of a sweep are not finished; the message counts them."""
