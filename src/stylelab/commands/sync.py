"""`stylelab-sync`: brings to MLflow what it lacks of runs and sweeps, because it was away when they were painted."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylelab.console import one_line_errors
from stylelab.errors import SyncFailed

if TYPE_CHECKING:
    from stylelab.patience import Talk

EPILOG = """It may be run as often as one likes, also while runs are painted: what MLflow holds is not brought again.
exit code: 0 where nothing that has ended waits any more, 1 where something does."""
NOT_ENDED = "goes on: it has not ended"


PATIENCE = 30.0  # seconds for a server that is silent: somebody asked for just this


@dataclass(frozen=True)
class Waiting:
    """A run or a sweep that MLflow lacks, at least in part."""

    folder: Path
    recorded: str  # where it is to be tracked, without credentials
    bring: "Callable[[Path, str, Talk], bool]"  # False: its process lives, or it has not ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="stylelab-sync",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--outputs", type=Path, metavar="FOLDER", help="outputs folder; default: the repository's")
    parser.add_argument(
        "--uri",
        help="MLflow store for all of them; default: where each was to go, with the credentials of MLFLOW_TRACKING_URI",
    )
    given = parser.parse_args(arguments)
    with one_line_errors():
        from stylelab.configuration import root

        sync((given.outputs or root() / "outputs").resolve(), given.uri)


def sync(outputs: Path, uri: str | None) -> None:
    """Bring everything that waits under an outputs folder; say what became of each.

    Raises:
        SyncFailed: something still waits.
    """
    found = list(waiting(outputs))
    if not found:
        print(f"nothing waits in {outputs}")
        return
    from stylelab.patience import renew
    from stylelab.store import check_driver, import_mlflow, store_uri

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{PATIENCE:.0f}")
    import_mlflow()
    renew(PATIENCE)
    left = 0
    for each in found:
        address = store_uri(uri, outputs) if uri else _with_credentials(each.recorded)
        check_driver(address)
        outcome = _brought(each, address)
        waits = outcome not in ("brought", NOT_ENDED)
        left += waits
        print(f"{each.folder}: {outcome}", file=sys.stderr if waits else sys.stdout, flush=True)
    if left:
        raise SyncFailed(f"{left} of {len(found)} still wait; the same command again brings them")


def waiting(outputs: Path) -> Iterator[Waiting]:
    """The runs that wait, then the sweeps: a sweep's own run links its members."""
    from stylelab import spool, sweep_mirror, uploader

    for folder in spool.waiting(outputs):
        yield Waiting(folder, spool.read(folder).get("uri", ""), uploader.bring)
    for folder in sweep_mirror.waiting(outputs):
        yield Waiting(folder, sweep_mirror.read(folder)["uri"], sweep_mirror.bring_ended)


def _with_credentials(recorded: str) -> str:
    from stylelab.addresses import with_credentials

    return with_credentials(recorded)


def _brought(each: Waiting, address: str) -> str:
    """What became of one of them, in a few words."""
    from stylelab.patience import Unanswered, ask

    try:
        whole = ask(lambda talk: each.bring(each.folder, address, talk), address)
    except Unanswered as unanswered:
        return f"waits: {unanswered}"
    return "brought" if whole else NOT_ENDED


if __name__ == "__main__":
    main()
