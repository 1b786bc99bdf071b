"""Work recorded on a GPU and replayed: the same numbers, and without one the same work as it is."""

import pytest
import torch

from stylelab.replay import Replayed

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Sum:
    """Adds up what it is given, in place, as work that is replayed must."""

    def __init__(self, device: str) -> None:
        self.total = torch.zeros((), device=device)

    def __call__(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.total.add_(numbers.sum())
        return numbers * 2, self.total


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_where_nothing_can_be_recorded_the_work_is_done_as_it_is_and_that_is_said_once(monkeypatch):
    monkeypatch.setattr(Replayed, "possible", True)
    replayed = Replayed(Sum("cpu"))
    for call in range(Replayed.CALLS_BEFORE):
        assert replayed(torch.ones(3))[1] == 3 * (call + 1)
    with pytest.warns(UserWarning, match="not replayed as a CUDA graph, and starts slower: CUDA"):
        twice, total = replayed(torch.full((3,), 2.0))
    assert twice.tolist() == [4, 4, 4] and total == 12  # done once, though it was tried to be recorded
    for call in range(4):
        assert replayed(torch.ones(2))[1] == 14 + 2 * call
    assert replayed.graph is None and not Replayed.possible


@pytest.mark.gpu
@on_a_gpu
def test_replays_do_what_the_work_does_in_memory_of_their_own():
    replayed, found = Replayed(Sum("cuda")), []
    for call in range(6):
        found.append(replayed(torch.full((3,), float(call), device="cuda")))
        assert (replayed.graph is not None) == (call >= Replayed.CALLS_BEFORE)
    for call, (twice, total) in enumerate(found):
        assert twice.tolist() == [2.0 * call] * 3
        assert call < Replayed.CALLS_BEFORE or float(total) == 3 * sum(range(call + 1))
    assert replayed(torch.ones(5, device="cuda"))[1] == 45 + 5
    assert replayed.graph is None  # of another shape: recorded anew at its third call


@pytest.mark.gpu
@on_a_gpu
def test_no_replay_waits_for_the_gpu():
    replayed = Replayed(Sum("cuda"))
    numbers = torch.ones(3, device="cuda")
    for _ in range(Replayed.CALLS_BEFORE + 1):
        replayed(numbers)
    torch.cuda.set_sync_debug_mode("error")
    try:
        replayed(numbers)
    finally:
        torch.cuda.set_sync_debug_mode("default")
