"""Times one evaluation, loss and gradient to the canvas, with VGG-19 and with the embedded network, turn by turn.

Time is that of the process on all cores, which other work on the machine disturbs less than that on the wall.

python -m training.pace --teacher ../shared/weights/vgg19_caffe_features_fp16.safetensors --size 512 --rounds 5
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from stylelab.devices import give_back_freed_memory
from stylelab.embedded import TRUNK
from stylelab.layers import channels
from stylelab.objective import Objective
from training.judge import networks, weighting

WIDTHS = {"vgg19_normalised": channels("conv1_1"), "embedded": TRUNK[0].width}  # at the picture's own size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="VGG-19's Caffe parameters")
    parser.add_argument("--parameters", type=Path, help="of the embedded network; those shipped if not given")
    parser.add_argument("--size", type=int, default=512, help="pixels on each side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    content, style = (torch.rand(1, 3, options.size, options.size, generator=generator) for _ in range(2))
    for options.bfloat16 in (False, True):
        objectives = {}
        for name, network in networks(options).items():
            objectives[name] = Objective(network, weighting=weighting(1e-3), content=content, styles=[(1.0, style)])
        seconds = {name: [] for name in ("vgg19_normalised", "embedded")}
        for _ in range(options.rounds):
            for name, values in seconds.items():
                # As a run does, which has nothing else in memory.
                give_back_freed_memory(largest=WIDTHS[name] * options.size**2 * (2 if options.bfloat16 else 4))
                objectives[name].evaluate(content)  # warms up
                started = time.process_time()
                objectives[name].evaluate(content)
                values.append(time.process_time() - started)
        ratios = [ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)]
        fastest = ", ".join(f"{name} {min(values):.3f} s" for name, values in seconds.items())
        print(
            f"{'bfloat16' if options.bfloat16 else 'float32'}: fastest {fastest}, ratio of these "
            f"{min(seconds['embedded']) / min(seconds['vgg19_normalised']):.3f}, median of ratios "
            f"{statistics.median(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
