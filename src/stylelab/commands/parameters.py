"""`stylelab-parameters`: lists, fetches and verifies VGG-19's parameter files, and measures mean activations."""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stylelab import parameter_files, pictures
from stylelab.composition import composed
from stylelab.configuration import CONF, plain
from stylelab.console import one_line_errors
from stylelab.job import network_file
from stylelab.schema import build
from stylelab.spec import Vgg19

PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="stylelab-parameters", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--fetch", action="store_true", help="download the network's file into the cache, verified")
    action.add_argument("--verify", action="store_true", help="hold the network's file against its sha256")
    action.add_argument("--mean-activation", type=Path, metavar="PHOTOGRAPHS", help="measure over a folder of pictures")
    parser.add_argument("--output", type=Path, help="file for the mean activations")
    parser.add_argument("--against", type=Path, help="file of mean activations to compare with")
    parser.add_argument("overrides", nargs="*", help="as for stylelab: network=vgg19_torchvision network.path=FILE ...")
    given = parser.parse_args(arguments)
    with one_line_errors():
        if given.fetch or given.verify or given.mean_activation:
            network = _network(given.overrides)
            if given.fetch:
                print(network_file(network))
            elif given.verify:
                _verify(network)
            else:
                _measure(network, given.mean_activation, given.output, given.against)
        else:
            _list(given.overrides)


def _network(overrides: Sequence[str]) -> Vgg19:
    network = plain(composed(overrides))["network"]
    if network["source"] not in ("caffe", "torchvision"):
        raise ValueError(f"network.source: {network['source']} has no parameter file to fetch: use network=vgg19_caffe")
    return build(Vgg19, network, where="network")


def _list(overrides: Sequence[str]) -> None:
    """What conf/network offers, and where each file is."""
    for option in sorted(path.stem for path in (CONF / "network").glob("*.yaml")):
        network = plain(composed([f"network={option}", *overrides]))["network"]
        if "url" not in network:
            print(f"{option}: needs no file")
            continue
        cache = Path(network["cache"])
        file = parameter_files.at_hand(path=network["path"], url=network["url"], cache=cache)
        where = (
            f"at hand: {file}" if file is not None and file.is_file() else f"not at hand; --fetch gets {network['url']}"
        )
        print(f"{option}: {where}")


def _verify(network: Vgg19) -> None:
    file = parameter_files.at_hand(path=network.path, url=network.url, cache=Path(network.cache))
    if file is None or not file.is_file():
        raise ValueError(f"network.path: there is no file {file or 'in the cache'}: fetch it by --fetch")
    from stylelab.networks import PREPROCESSING
    from stylelab.parameters import read  # imports torch

    sha256 = parameter_files.verify(file, sha256=network.sha256)
    read(file, PREPROCESSING[network.source])
    print(f"{file}: sixteen convolutions of VGG-19, sha256 {sha256}")


def _measure(network: Vgg19, photographs: Path, output: Path | None, against: Path | None) -> None:
    """Write every filter's mean activation with each pooling that conf/ offers."""
    from stylelab.networks import PREPROCESSING
    from stylelab.parameters import mean_activations, means_key, read  # imports torch

    files = sorted(path for path in photographs.glob("*") if path.suffix.lower() in PHOTOGRAPHS)
    if not files:
        raise ValueError(f"--mean-activation: {photographs} holds no pictures: give a folder of photographs")
    parameters = read(network_file(network), PREPROCESSING[network.source])
    means = {}
    for option in sorted(path.stem for path in (CONF / "pooling").glob("*.yaml")):
        pooling = plain(composed([f"pooling={option}"]))["pooling"]
        kind, factor = pooling["kind"], pooling["factor"]
        found = mean_activations(parameters, _loaded(files, option), pool=kind, pool_factor=factor)
        key = means_key(pool=kind, pool_factor=factor)
        means[key] = {layer: [float(f"{value:.6g}") for value in values] for layer, values in found.items()}
    if against is not None:
        _compare(means, json.loads(against.read_text()))
    target = output or Path(f"vgg19_{network.source}_mean_activations.json")
    target.write_text(json.dumps(means))
    print(
        f"{target}: mean activations over {len(files)} pictures; used by network.normalised=true network.means={target}"
    )


def _loaded(files: Sequence[Path], pool: str) -> Iterator:
    from tqdm import tqdm

    from stylelab.images import from_picture

    for file in tqdm(files, desc=f"{pool} pooling", unit="picture", file=sys.stderr):
        yield from_picture(pictures.load(file, key="--mean-activation"))


def _compare(means: Mapping[str, Mapping], others: Mapping[str, Sequence[float]]) -> None:
    """Median ratio and correlation of the logarithms, layer by layer, over filters that fire in both."""
    for pool, ours in means.items():
        for layer, theirs in others.items():
            pairs = [(a, b) for a, b in zip(ours[layer], theirs, strict=True) if a > 0 and b > 0]
            logarithms = [[math.log(value) for value in side] for side in zip(*pairs, strict=True)]
            correlation = statistics.correlation(*logarithms)
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{pool} pooling, {layer}: median ratio {ratio:.2f}, correlation of logarithms {correlation:.2f}")


if __name__ == "__main__":
    main()
