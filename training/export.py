"""Writes a checkpoint as the file that the package ships: float16, with its record beside it.

    python -m training.export --checkpoint /tmp/embedded/checkpoint.pt --output src/stylelab/data/embedded.safetensors \
        --record record.json

Of several checkpoints it takes the mean of their parameters, which is better than each where one was trained on from
the other (Wortsman et al. 2022, "Model soups").
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ATTRIBUTION = (
    "Distilled from VGG-19 (K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image"
    " Recognition, arXiv 1409.1556, 2014; parameters under CC BY 4.0)."
)


def read(checkpoint: Path) -> dict[str, Tensor]:
    """The parameters of a distil.py's checkpoint.pt, or of a safetensors file."""
    if checkpoint.suffix == ".safetensors":
        return load_file(checkpoint)
    return torch.load(checkpoint, map_location="cpu")["parameters"]


def mean(several: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Parameter by parameter, in float32."""
    return {name: sum(each[name].float() for each in several) / len(several) for name in several[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True, help="of several, the mean is taken")
    parser.add_argument("--record", type=Path, help="JSON: how it was trained, to go into the record beside the file")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    parameters = mean([read(checkpoint) for checkpoint in options.checkpoint])
    halves = {name: value.half().contiguous() for name, value in sorted(parameters.items())}
    save_file(halves, options.output)
    record = json.loads(options.record.read_text()) if options.record else {}
    contents = options.output.read_bytes()
    record = {
        "sha256": hashlib.sha256(contents).hexdigest(),
        "bytes": len(contents),
        "parameters": sum(value.numel() for value in halves.values()),
        "attribution": ATTRIBUTION,
        **record,
    }
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(record["sha256"], record["bytes"], record["parameters"])


if __name__ == "__main__":
    main()
