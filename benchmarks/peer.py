"""A peer's process: `python benchmarks/peer.py SETTINGS`; it runs the program and ends a turn after each backward.

Nothing of the peer's files is changed. Where its loss is of another kind (crowsonkb's Wasserstein distance), its own
Gram matrices take that place in memory, unless `own_loss` asks for what it ships.
"""

import importlib
import json
import os
import runpy
import sys
from typing import Any

from gate import CudaClock, Gate


def take_turns(gate: Gate) -> None:
    """End a turn after every backward pass: each program makes one for each evaluation."""
    import torch

    torch.optim.Adam([torch.zeros(1)])  # imports the compiler: 900 modules, 125 MB
    backward = torch.Tensor.backward

    def ending_the_turn(loss: torch.Tensor, *arguments: Any, **settings: Any) -> None:
        backward(loss, *arguments, **settings)
        gate.end_turn(lambda: float(loss.detach()))

    torch.Tensor.backward = ending_the_turn


def gram_for_wasserstein() -> None:
    """Let crowsonkb's program compare mean squared differences of its own Gram matrices."""
    import torch
    from style_transfer import style_transfer as program

    class GramLoss(torch.nn.Module):
        def __init__(self, target: tuple[torch.Tensor, torch.Tensor]) -> None:
            super().__init__()
            self.register_buffer("target", target[1])

        @staticmethod
        def get_target(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return features.mean((-2, -1)), program.StyleLoss.get_target(features)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.mse_loss(program.StyleLoss.get_target(features), self.target)

    program.StyleLossW2 = GramLoss


def main() -> None:
    """Run the program."""
    of, gate = json.loads(sys.argv[1]), Gate()
    os.chdir(of["folder"])
    sys.path[0] = of["folder"]
    for name in of["imports"]:
        importlib.import_module(name)
    take_turns(gate)
    if of["gpu"]:
        gate.clock = CudaClock()
    if of["gram_for_wasserstein"]:
        gram_for_wasserstein()
    gate.imported()
    sys.argv = [of["program"], *of["arguments"]]
    if of["program"].endswith(".py"):
        runpy.run_path(of["program"], run_name="__main__")
    else:
        runpy.run_module(of["program"], run_name="__main__")


if __name__ == "__main__":
    main()
