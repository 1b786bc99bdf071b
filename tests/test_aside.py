"""Canvases written beside the painting and steps recorded a step late, as on a GPU: the same run, and nothing lost."""

import errno
import threading
import time

import pytest

from stylelab import aside, job, pictures, run_folder, runner
from stylelab.aside import Aside
from stylelab.errors import Pruned
from stylelab.recorders import Checkpoint
from stylelab.transfer import Step


@pytest.fixture
def prepared(configuration, picture, tmp_path, monkeypatch):
    """A run of three steps that keeps every canvas."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("content.png", "style.png")):
        picture(1 + seed, 40, 32).save(name)
    changes = {"tracking.pictures_every": 1, "optimizer.steps": 3, "pyramid.steps": [3]}
    return job.prepare(configuration(changes))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    told = runner._Told
    monkeypatch.setattr(runner, "Aside", lambda *, threaded: Aside(threaded=True))
    monkeypatch.setattr(runner, "_Told", lambda recorders, *, late: told(recorders, late=True))


def contents(folder):
    names = ("pastiche.png", "losses.csv", *(f"canvas_{step:06d}.png" for step in (1, 2, 3)))
    return {name: (folder / name).read_bytes() for name in names}


def test_a_thread_does_what_it_is_given_in_order_and_says_what_failed():
    done, worker, gate = [], Aside(threaded=True), threading.Event()
    worker.do(gate.wait)
    for number in range(3):
        worker.do(lambda number=number: done.append((number, threading.current_thread().name)))
    assert done == []
    gate.set()
    worker.wait()
    assert [number for number, _ in done] == [0, 1, 2]
    assert threading.current_thread().name not in {name for _, name in done}
    worker.do(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        worker.close()
    with pytest.raises(RuntimeError):  # the thread has ended all the same
        worker.do(done.clear)


def test_the_painting_waits_for_a_thread_that_falls_behind(monkeypatch):
    monkeypatch.setattr(Aside, "MOST_WAITING", 2)
    worker, gate, given = Aside(threaded=True), threading.Event(), []

    def give():
        for number in range(4):
            worker.do(gate.wait)
            given.append(number)

    giver = threading.Thread(target=give)
    giver.start()
    giver.join(0.5)
    assert given == [0, 1]
    gate.set()
    giver.join()
    worker.close()
    assert given == [0, 1, 2, 3]


def test_a_run_whose_canvases_are_written_beside_it_leaves_the_same_bytes(prepared, as_on_a_gpu, monkeypatch):
    writers = set()
    save = pictures.save_png

    def noting(picture, path, *, texts):
        writers.add(threading.current_thread().name)
        save(picture, path, texts=texts)

    monkeypatch.setattr(pictures, "save_png", noting)
    runner.run(prepared, hydra_record={})
    beside = contents(prepared.folder)
    assert len(writers) == 2  # the pastiche is written by the run itself
    run_folder.set_aside(prepared.folder)
    monkeypatch.undo()
    assert runner.Aside is aside.Aside
    monkeypatch.chdir(prepared.folder.parents[2])
    runner.run(prepared, hydra_record={})
    assert contents(prepared.folder) == beside


class Watcher:
    """Writes down which steps had begun when it was told of each; ends the run at one."""

    def __init__(self, begun, *, last):
        self.begun, self.last, self.seen = begun, last, []

    def start(self, record, resumed_at):
        pass

    def finish(self, record):
        pass

    def step(self, step):
        self.seen.append((step.number, max(self.begun)))
        if step.number == self.last:
            raise Pruned("seen enough")


def test_a_step_is_recorded_when_the_next_has_begun_unless_it_is_saved(prepared, as_on_a_gpu, monkeypatch):
    """And a run that is ended between the two goes on from what was saved, to the same bytes."""
    wants, begin, begun = Checkpoint.wants, Step.begin, []

    def at_the_second(self, step):
        self.last = time.monotonic() - (self.interval + 1 if step.number == 2 else 0)
        return wants(self, step)

    monkeypatch.setattr(Checkpoint, "wants", at_the_second)
    monkeypatch.setattr(Step, "begin", lambda self: begun.append(self.number) or begin(self))
    watcher = Watcher(begun, last=3)
    with pytest.raises(Pruned):
        runner.run(prepared, hydra_record={}, watchers=[watcher])
    assert watcher.seen == [(0, 1), (1, 2), (2, 2), (3, 3)]
    record = run_folder.read(prepared.folder)
    assert record["status"] == "KILLED" and (prepared.folder / "checkpoint.pt").exists()
    begun.clear()
    runner.run(prepared, hydra_record={}, watchers=[watcher := Watcher(begun, last=None)])
    assert watcher.seen == [(2, 2), (3, 3)]
    assert [each["step"] for each in run_folder.read(prepared.folder)["resumed"]] == [2]
    late = contents(prepared.folder)
    run_folder.set_aside(prepared.folder)
    monkeypatch.undo()
    monkeypatch.chdir(prepared.folder.parents[2])
    runner.run(prepared, hydra_record={})
    assert contents(prepared.folder) == late


@pytest.mark.parametrize("number", [1, 3])
def test_a_canvas_that_can_not_be_written_fails_the_run(prepared, as_on_a_gpu, monkeypatch, number):
    save = pictures.save_png

    def full(picture, path, *, texts):
        if path.name == f"canvas_{number:06d}.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        save(picture, path, texts=texts)

    monkeypatch.setattr(pictures, "save_png", full)
    with pytest.raises(OSError, match="is full"):
        runner.run(prepared, hydra_record={})
    record = run_folder.read(prepared.folder)
    assert record["status"] == "FAILED" and "is full" in record["reason"]


def test_a_checkpoint_comes_after_the_canvases_before_it(prepared, monkeypatch):
    worker, gate = Aside(threaded=True), threading.Event()
    checkpoint = Checkpoint(prepared, aside=worker)
    prepared.folder.mkdir(parents=True)
    (prepared.folder / "losses.csv").write_text("")

    class Step:
        @staticmethod
        def state():
            return {}

    worker.do(gate.wait)
    saver = threading.Thread(target=checkpoint.save, args=(Step,))
    saver.start()
    saver.join(0.5)
    assert not checkpoint.path.exists()
    gate.set()
    saver.join()
    worker.close()
    assert checkpoint.path.exists()
