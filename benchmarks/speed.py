"""How fast the engine is: `make benchmark`, or `python benchmarks/speed.py --help`.

Times the engine against a plain implementation (plain.py), and peers where their checkouts are given, all taking turns
evaluation by evaluation. Writes benchmarks/results/*.json and the measured part of docs/performance.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import page
import paintings
import sections
from peers import PEERS, seated
from studio import ROOT, Studio, digest, random_parameters

RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "images"
PAIRS = (
    ("riverside_town", "swirling_strokes"),
    ("mountain_lake", "wave_print"),
    ("portrait", "crosshatching"),
)
STARTS = ("content", "noise")
PYRAMIDS = tuple(paintings.LABELS)
SECTIONS = ("limits", "evaluation", "start", "optimizer", "equal_loss", "fidelity", "together", "eight")


def main() -> int:
    """Measure, write, say where."""
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            studio = furnished(options, Path(folder))
            found = {
                "label": options.label,
                "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
                "machine": machine.facts(options.device, studio.source),
                "device": options.device,
                "parameters": "drawn at random" if options.parameters is None else digest(options.parameters),
                "pairs": [f"{content.stem}, {style.stem}" for content, style in studio.pairs],
                "peers": [each.partition("=")[0] for each in options.peer],
                "sections": {},
            }
            path = target(found, options)
            for name, measure in planned(studio, options):
                say(f"{name} ...")
                began = time.perf_counter()
                found["sections"].setdefault(name.split()[0], []).append(measure())
                say(f"{name}: {time.perf_counter() - began:.0f} s")
                path.write_text(json.dumps(found, indent=1) + "\n")  # nothing measured is lost
        if not options.no_page:
            page.write(RESULTS, ROOT / "docs")
    except ValueError as error:
        say(str(error))
        return 1
    print(path.relative_to(ROOT))
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parameters", type=Path, help="safetensors of neural-style's VGG-19; the default is drawn at random")
    add("--pair", action="append", default=[], help="CONTENT,STYLE: pictures; up to three; the default is our own")
    add("--sides", type=int, nargs="+", default=[128, 256], help="pixels of the longer side (default: %(default)s)")
    add("--threads", type=int, nargs="+", default=[machine.cores()], help="CPU threads (default: %(default)s)")
    add("--seconds", type=float, default=15, help="of turns in each table (default: %(default)s)")
    add("--steps", type=int, default=60, help="evaluations of whole paintings (default: %(default)s)")
    add("--painted-side", type=int, default=128, help="pixels of whole paintings (default: %(default)s)")
    add("--starts", nargs="+", choices=STARTS, default=STARTS, help="of whole paintings (default: %(default)s)")
    add("--pyramids", nargs="+", choices=PYRAMIDS, default=PYRAMIDS, help="of ours from noise (default: %(default)s)")
    add("--history", type=int, default=20, help="pairs of ours in paintings to equal loss (default: %(default)s)")
    add("--runs", type=int, nargs="+", default=[8, 32], help="that go on together (default: %(default)s)")
    add("--repetitions", type=int, default=3, help="of starts (default: %(default)s)")
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME", help=", ".join(SECTIONS))
    add("--peer", action="append", default=[], metavar="NAME=CHECKOUT", help=f"time it too: {', '.join(PEERS)}")
    add(
        "--compiled",
        action="store_true",
        help="time the plain implementation through torch.compile too; wants a C++ compiler",
    )
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--configurations", type=Path, help="file of composed configurations: written, and read where Hydra is missing")
    add("--source", type=Path, default=ROOT, help="another checkout, whose engine is timed; the default is this one")
    add("--label", default="", help="a word that tells this run from others in the tables")
    add("--no-page", action="store_true", help="leave docs/performance.md as it is")
    return parser.parse_args()


def furnished(options: argparse.Namespace, folder: Path) -> Studio:
    """What the contestants are given."""
    for path in [options.parameters, *(Path(name) for pair in options.pair for name in pair.split(","))]:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
    given = [tuple(Path(name) for name in pair.split(",")) for pair in options.pair]
    if any(len(pair) != 2 for pair in given):
        raise ValueError(f"--pair: found {options.pair}, expected CONTENT,STYLE")
    ours = [(PICTURES / "content" / f"{one}.png", PICTURES / "style" / f"{other}.png") for one, other in PAIRS]
    parameters = options.parameters or random_parameters(folder)
    return Studio(
        folder=folder,
        parameters=parameters.resolve(),
        pairs=given or ours,
        device=options.device,
        threads=options.threads[0],
        peers=seated(options.peer, parameters, folder),
        configurations=options.configurations,
        source=options.source.resolve(),
        compiled=options.compiled,
    )


def planned(studio: Studio, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every table to be measured, by name, shortest first."""
    side, steps = options.painted_side, options.steps
    for section in SECTIONS:
        if section not in options.sections:
            continue
        if section == "limits":
            for threads in options.threads:
                yield (
                    f"limits, {threads} threads",
                    lambda at=threads: sections.machine_limits(studio.with_threads(at), seconds=options.seconds),
                )
        if section == "evaluation":
            for threads in options.threads:
                for each in options.sides:
                    yield (
                        f"evaluation at {each} pixels, {threads} threads",
                        lambda at=threads, each=each: sections.evaluation(
                            studio.with_threads(at), each, seconds=options.seconds
                        ),
                    )
        if section == "start":
            yield "start", lambda: sections.starts(studio, options.sides[-1], repetitions=options.repetitions)
        if section == "optimizer":
            for each in options.sides:
                yield (
                    f"optimizer at {each} pixels",
                    lambda each=each: sections.optimizers(studio, each, seconds=options.seconds),
                )
        if section == "equal_loss":
            for start in options.starts:
                yield (
                    f"equal_loss from {start}",
                    lambda start=start: paintings.equal_loss(
                        studio, side, start=start, steps=steps, history=options.history, pyramids=options.pyramids
                    ),
                )
        if section == "fidelity":
            yield "fidelity", lambda: paintings.fidelity(studio, side, steps=steps, pairs=len(studio.pairs))
        if section == "together":
            for each in options.sides:
                yield (
                    f"together at {each} pixels",
                    lambda each=each: sections.together(studio, each, seconds=options.seconds, runs=options.runs),
                )
        if section == "eight":
            yield "eight runs", lambda: paintings.eight(studio, side, steps=steps)


def target(found: dict[str, Any], options: argparse.Namespace) -> Path:
    """The file of this run's results."""
    RESULTS.mkdir(exist_ok=True)
    words = [
        found["when"].replace(" ", "_").replace(":", ""),
        found["machine"]["commit"],
        options.label,
        options.device,
    ]
    return RESULTS / ("-".join(word for word in words if word) + ".json")


def say(message: str) -> None:
    """Tell the user."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # this process only waits
    sys.exit(main())
