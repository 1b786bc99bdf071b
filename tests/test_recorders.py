"""What a terminal sees of a run, and the rows of losses.csv."""

import os
import pty
import sys
from pathlib import Path

import torch

from stylelab.objective import Losses, Term
from stylelab.recorders import header, numbers

TERMS = (Term("content", "relu4_2", 2.0), Term("style", "relu1_1", 10.0), Term("variation", "", 0.5))


def test_a_row_holds_sums_then_weighted_then_unweighted_terms() -> None:
    losses = Losses(TERMS, torch.tensor([3.0, 0.25, 4.0]))
    row = dict(zip(header(losses)[2:], numbers(losses), strict=True))
    assert row == {
        "total": 10.5, "content": 6.0, "style": 2.5, "variation": 2.0,
        "content/relu4_2/weighted": 6.0, "style/relu1_1/weighted": 2.5, "variation/weighted": 2.0,
        "content/relu4_2/unweighted": 3.0, "style/relu1_1/unweighted": 0.25, "variation/unweighted": 4.0,
    }  # fmt: skip


def test_a_terminal_shows_a_bar_with_the_losses_and_the_time_left(tmp_path: Path) -> None:
    """A real pseudo-terminal, which says that it has no columns."""
    arguments = ["network=embedded", "images.long_side=32", "optimizer.steps=12", "threads=1", "device=cpu"]
    arguments += ["layers.style=[relu1_1]", "tracking=off", f"outputs={tmp_path}"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "stylelab", *arguments])
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError:  # the end, on Linux
        pass
    assert os.waitpid(pid, 0)[1] == 0, said.decode()
    assert "/12 [" in said.decode() and "total " in said.decode() and "step/s" in said.decode()
