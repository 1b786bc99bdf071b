"""Work recorded on a GPU and replayed: the same numbers, and without one the same work as it is."""

import pytest
import torch

from stylelab import replay
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
    replayed = Replayed(Sum("cpu"), kind="sum")
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
    replayed, found = Replayed(Sum("cuda"), kind="sum"), []
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
    replayed = Replayed(Sum("cuda"), kind="sum")
    numbers = torch.ones(3, device="cuda")
    for _ in range(Replayed.CALLS_BEFORE + 1):
        replayed(numbers)
    torch.cuda.set_sync_debug_mode("error")
    try:
        replayed(numbers)
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Scarce:
    """Memory that ends at every call until something was let go of."""

    def __init__(self) -> None:
        self.calls, self.room = 0, False

    def __call__(self, numbers: torch.Tensor) -> tuple[torch.Tensor]:
        self.calls += 1
        if not self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is")
        return (numbers + 1,)


def test_where_memory_ends_graphs_are_let_go_of_and_the_work_is_done_once_more(monkeypatch):
    work = Scarce()
    replayed, held = Replayed(work, kind="plus"), Replayed(Sum("cpu"), kind="sum")
    with pytest.raises(torch.OutOfMemoryError):  # nothing to let go of
        replayed(torch.ones(2))
    assert work.calls == 1
    held.graph, held.device = object(), torch.device("cpu")
    monkeypatch.setattr(held, "_forget", lambda: (setattr(held, "graph", None), setattr(work, "room", True)))
    monkeypatch.setattr(replay, "_recorded", {held})
    assert replayed(torch.ones(2))[0].tolist() == [2, 2]
    assert work.calls == 3 and held.graph is None and not held.room


@pytest.mark.gpu
@on_a_gpu
def test_graphs_of_a_kind_share_their_memory_and_it_goes_with_the_last():
    """Three of them work in the room of one, for they never work at once."""

    def work(numbers: torch.Tensor) -> tuple[torch.Tensor]:
        for _ in range(3):
            numbers = numbers * 1.5 + 1
        return (numbers.sum(),)

    numbers, reserved, replays = torch.ones(1 << 24, device="cuda"), [], []
    expected = float(work(numbers)[0])
    for _ in range(3):
        replays.append(Replayed(work, kind="numbers"))
        for _ in range(Replayed.CALLS_BEFORE + 1):
            found = replays[-1](numbers)
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    assert all(each.graph is not None for each in replays)
    assert [float(each(numbers)[0]) for each in replays] == [expected] * 3 == [float(found[0])] * 3
    # Each has what it is given in memory of its own: 64 MB; the room to work in is as large again or larger.
    assert reserved[2] - reserved[1] < 1.5 * numbers.nbytes
    before = torch.cuda.memory_reserved()
    del replays
    torch.cuda.empty_cache()
    assert before - torch.cuda.memory_reserved() > 4 * numbers.nbytes
