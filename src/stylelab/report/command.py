"""stylelab-report: the comparison of a sweep's runs, or of two runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        prog="stylelab-report",
        description="Lay tracked runs side by side: contact sheet, HTML page, CSV; in outputs/reports and in MLflow.",
        epilog="examples: stylelab-report latest; stylelab-report figure3 --rows layers.style --columns "
        "weights.alpha_over_beta; stylelab-report --filter \"params.`pooling.kind` = 'max'\"; "
        "stylelab-report --compare RUN RUN",
    )
    found.add_argument(
        "sweep", nargs="*", metavar="SWEEP", help="a sweep's name or MLflow run id, or: latest; or several"
    )
    found.add_argument("--filter", metavar="CONDITION", help="any runs, by an MLflow filter")
    found.add_argument("--compare", nargs=2, metavar="RUN", help="two runs over each other, by MLflow run id or name")
    for name, what in (("rows", "the rows"), ("columns", "the columns"), ("facets", "sheets one below the other")):
        found.add_argument(f"--{name}", metavar="KEY", help=f"the key or group that makes {what}; default: found")
    found.add_argument("--metric", metavar="NAME", help="judge by this metric alone, for example time/total_seconds")
    found.add_argument("--name", help="the report's folder; default: the sweep's name")
    found.add_argument("--outputs", type=Path, metavar="FOLDER", help="outputs folder; default: the repository's")
    found.add_argument("--uri", help="MLflow store; default: MLFLOW_TRACKING_URI, else SQLite in the outputs folder")
    found.add_argument("--experiment", default="stylelab", help="MLflow experiment; default: stylelab")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a report; a user's error leaves one line on stderr and exit code 1."""
    asked = parser().parse_args(arguments)
    if bool(asked.compare) == bool(asked.sweep or asked.filter):
        parser().error("name a sweep (or `latest`, or --filter), or two runs by --compare")
    from stylelab.console import one_line_errors  # an import of Hydra's: after everything that can be wrong above

    with one_line_errors():
        for file in sorted(_write(asked).iterdir()):
            print(file)


def _write(asked: argparse.Namespace) -> Path:
    """Write what was asked for; returns its folder."""
    from stylelab.configuration import root
    from stylelab.report import write
    from stylelab.report.store import open_existing
    from stylelab.store import store_uri

    outputs = asked.outputs or root() / "outputs"
    store = open_existing(store_uri(asked.uri, outputs), asked.experiment)
    reports = outputs / "reports"
    if asked.compare:
        from stylelab.report import compare

        return compare.write(store, asked.compare, reports=reports, name=asked.name)
    selection = store.select(asked.sweep, condition=asked.filter)
    axes = write.Axes(rows=asked.rows, columns=asked.columns, facets=asked.facets)
    return write.write(store, selection, axes, reports=reports, name=asked.name, metric=asked.metric)
