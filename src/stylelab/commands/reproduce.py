"""`stylelab-reproduce RUN [OVERRIDES]`: paints a tracked run again from what was tracked and says how near it came."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylelab.console import one_line_errors

if TYPE_CHECKING:
    from stylelab.reproduction import Original, Verdict

EPILOG = """exit code: 0 where the picture has the same bytes or is within tolerance, 1 where it is different.
Where pictures or parameters lie elsewhere now: stylelab-reproduce RUN images.content=PATH network.path=FILE"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="stylelab-reproduce",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="an MLflow run id, a run's folder, or a pastiche.png")
    parser.add_argument("overrides", nargs="*", help="where things lie: images.content=PATH outputs=FOLDER ...")
    given = parser.parse_args(arguments)
    with one_line_errors():
        verdict = reproduce(given.run, given.overrides)
        print(verdict)
        if verdict.word == "different":
            sys.exit(1)


def reproduce(name: str, overrides: Sequence[str]) -> "Verdict":
    """Find, check, paint again, compare."""
    from omegaconf import OmegaConf

    from stylelab import reproduction
    from stylelab.composition import composed
    from stylelab.configuration import plain

    for override in overrides:
        if "=" not in override:
            raise ValueError(f"{override}: is no override: write KEY=VALUE, as images.content=picture.jpg")
    own = OmegaConf.from_dotlist(list(overrides))
    outputs = Path(OmegaConf.select(own, "outputs") or plain(composed([]))["outputs"]).resolve()
    uri = OmegaConf.select(own, "tracking.uri")
    with reproduction.fetched_folder() as fetched:
        original = reproduction.find(name, uri=uri, outputs=outputs, fetched=Path(fetched))
        theirs = Path(original.record["configuration"]["outputs"])
        stored = theirs if OmegaConf.select(own, "outputs") is None and theirs.is_dir() else outputs
        folder = stored / "reproductions" / f"{original.record['key'][:12]}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
        config = reproduction.configured(original, overrides, outputs=stored, folder=folder)
        record = _painted(original, config)
        verdict = reproduction.compared(original, Path(record["folder"]))
        _track(record, original, verdict, config)
    return verdict


def _painted(original: "Original", config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run.json of the reproduction, every difference said beforehand."""
    from stylelab import reproduction
    from stylelab.job import prepare

    job = prepare(config)
    found = list(reproduction.differences(original, job))
    print("as it was: pictures, parameters, code, libraries, machine" if not found else "not as it was:")
    for line in found:
        print(f"  {line}")
    from stylelab.runner import run  # imports torch
    from stylelab.tracking import REPRODUCES

    os.environ[REPRODUCES] = original.run_id or original.record["key"]
    try:
        record = run(job, hydra_record={})
    finally:
        del os.environ[REPRODUCES]
    print(f"picture: {Path(record['folder']) / 'pastiche.png'}")
    return record


def _track(record: Mapping[str, Any], original: "Original", verdict: "Verdict", config: Mapping[str, Any]) -> None:
    """Say in the reproduction's tracked run how near it came."""
    if config["tracking"]["store"] == "off":
        return
    from stylelab.tracking import add

    metrics = {"reproduction/max_pixel": verdict.max_pixel, "reproduction/mean_pixel": verdict.mean_pixel}
    if verdict.loss is not None:
        metrics["reproduction/loss"] = verdict.loss
    of = config["tracking"]
    run_id = add(
        Path(record["folder"]),
        {"tags": {"stylelab.verdict": verdict.word}, "metrics": metrics},
        address=of["uri"],
        experiment=of["experiment"],
    )
    print(f"tracked run: {run_id or 'not in MLflow yet'}, reproduces {original.run_id or original.picture}")


if __name__ == "__main__":
    main()
