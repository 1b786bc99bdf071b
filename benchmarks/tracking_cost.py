"""What tracking costs a run: time in the recorder and in its uploader's thread against the whole painting.

    python benchmarks/tracking_cost.py [overrides of stylelab]

CPU time is robust on a busy machine; the clock is what a user waits. The uploader works beside the painting, so that of
its clock only the recorder's `finish`, which waits for its end, is waited for. Import and first use of a store are told
apart, because a sweep pays them once.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from stylelab.composition import composed
from stylelab.configuration import plain
from stylelab.job import prepare


def main(overrides: list[str]) -> None:
    """Paint one run and print the table."""
    with tempfile.TemporaryDirectory() as outputs:
        job = prepare(plain(composed([*overrides, f"outputs={outputs}"])))
        from stylelab import runner

        importing = measured(lambda: __import__("mlflow"), time.process_time)
        from stylelab.store import open_store
        from stylelab.tracking import MlflowRecorder
        from stylelab.uploader import Uploader

        opening = measured(
            lambda: open_store(None, outputs=job.folder.parents[1], experiment="stylelab"), time.process_time
        )
        spent = dict.fromkeys(("start", "step", "finish", "run"), (0.0, 0.0))
        for name in ("start", "step", "finish"):
            setattr(MlflowRecorder, name, timed(name, getattr(MlflowRecorder, name), spent))
        Uploader.run = timed("run", Uploader.run, spent)
        whole = measured(lambda: runner.run(job, hydra_record={}), time.process_time)
    print(f"{'':28}{'clock s':>9}{'CPU s':>9}{'of clock':>10}{'of CPU':>9}")
    spent["uploader, beside it"] = uploader = spent.pop("run")
    recorder = tuple(sum(times) for times in zip(*(spent[name] for name in ("start", "step", "finish")), strict=True))
    rows = {
        "import of mlflow": importing,
        "first use of a new store": opening,
        "the run itself": whole,
        "tracking in it": (recorder[0], recorder[1] + uploader[1]),
    }
    for name, (clock, cpu) in {**rows, **{f"  {k}": v for k, v in spent.items()}}.items():
        print(f"{name:28}{clock:9.2f}{cpu:9.2f}{clock / whole[0]:10.2%}{cpu / whole[1]:9.2%}")


def measured(work: Callable[[], Any], cpu_clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds on the clock and of CPU time that some work takes."""
    clock, cpu = time.perf_counter(), cpu_clock()
    work()
    return time.perf_counter() - clock, cpu_clock() - cpu


def timed(name: str, method: Callable, spent: dict[str, tuple[float, float]]) -> Callable:
    """A method that adds what it takes of its own thread to `spent`."""

    def called(*arguments: Any) -> Any:
        answer = []
        took = measured(lambda: answer.append(method(*arguments)), time.thread_time)
        spent[name] = (spent[name][0] + took[0], spent[name][1] + took[1])
        return answer[0]

    return called


if __name__ == "__main__":
    main(sys.argv[1:] or ["images.long_side=256"])
