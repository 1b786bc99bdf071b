"""Kills runs and sweeps at random moments and counts what survives: `python benchmarks/kills.py --kills 200`.

Every victim is a real process of its own, ended by SIGKILL: after a random time, or just as it opens, renames or removes
its k-th file, so that the narrow moments come up too. A run survives if, started again until it is left alone, its
pastiche.png and losses.csv have the bytes of a run that nobody killed, and its MLflow run is one run, FINISHED, with
every step of every metric once and every canvas once. Prints one line per kill with --verbose, and the counts at the end.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

COMMON = (
    "network=embedded",
    "layers.content=[relu2_1]",
    "layers.style=[relu1_1,relu2_1]",
    "images.long_side=32",
    "threads=1",
    "device=cpu",
    "checkpoint_seconds=0.02",
    "tracking.pictures_every=7",
)
KINDS = {  # what must survive: every optimizer, every arithmetic, levels, a stop by tolerance
    "lbfgs": ("optimizer.steps=40", "optimizer.history=5"),
    "adam": ("optimizer=adam", "optimizer.steps=40", "canvas=noise", "canvas.clamp=true"),
    "coarse to fine": ("pyramid=coarse_to_fine", "pyramid.long_sides=[16,32]", "pyramid.steps=[15,25]", "canvas=noise"),
    "bfloat16, then float32": ("precision=bfloat16", "optimizer.steps=40"),
    "coarse to fine in bfloat16, by Adam": (
        "precision=bfloat16",
        "optimizer=adam",
        "pyramid=coarse_to_fine",
        "pyramid.long_sides=[16,24,32]",
        "pyramid.steps=[12,12,12]",
    ),
    "tolerance": ("optimizer.steps=60", "optimizer.tolerance=1e-3"),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of single runs")
    parser.add_argument("--sweep", type=int, default=40, help="runs of the sweep; 0 for no sweep")
    parser.add_argument("--sweep-kills", type=int, default=10, help="kills of the whole sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        draw_pictures(place)
        lost = kill_runs(place, dice, options.kills, verbose=options.verbose) if options.kills else 0
        lost += kill_sweep(place, dice, options.sweep, options.sweep_kills) if options.sweep else 0
    sys.exit(1 if lost else 0)


def import_all() -> None:
    """Import once what every victim needs: victims are forked from here, before anything is opened or any thread runs."""
    import torch

    torch.set_num_threads(1)
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import mlflow.tracking  # noqa: F401

    import stylelab.runner
    import stylelab.tracking  # noqa: F401


def draw_pictures(place: Path) -> None:
    """Two small pictures of coloured noise."""
    from PIL import Image

    for name, seed in (("content", 1), ("style", 2)):
        values = bytes(random.Random(seed).randrange(256) for _ in range(12 * 9 * 3))
        Image.frombytes("RGB", (12, 9), values).resize((40, 30)).save(place / f"{name}.png")


def overrides(place: Path, outputs: Path, kind: Sequence[str]) -> list[str]:
    """The command line of a run."""
    pictures = (f"images.content={place}/content.png", f"images.style=[{place}/style.png]")
    return [*COMMON, *pictures, f"outputs={outputs}", *kind]


def paint(arguments: Sequence[str]) -> None:
    """What `stylelab ARGUMENTS` does, less the start of Python."""
    from stylelab.composition import composed
    from stylelab.configuration import plain
    from stylelab.job import prepare
    from stylelab.runner import run

    run(prepare(plain(composed(arguments))), hydra_record={".hydra/overrides.yaml": "\n".join(arguments)})


def sweep(arguments: Sequence[str]) -> None:
    """What `stylelab -m ARGUMENTS` does, less the start of Python."""
    from stylelab.__main__ import main as stylelab

    sys.argv = ["stylelab", "-m", *arguments]
    stylelab()


def fork(act: Callable[[], None], *, log: Path, die_at: int | None = None) -> int:
    """A process that acts and exits with 0, or 1 after a traceback in the log; it may kill itself at its n-th file."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if die_at is not None:
            sys.addaudithook(killer(die_at))
        act()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def killer(die_at: int) -> Callable[[str, tuple], None]:
    """An audit hook that kills its own process at the n-th file opened for writing, renamed, removed or made."""
    seen = 0

    def hook(event: str, values: tuple) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(values[1], str) and any(letter in values[1] for letter in "wax+")
        if writes or event in ("os.rename", "os.remove", "os.mkdir"):
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def waited(pid: int, seconds: float | None = None) -> int | None:
    """The exit status of a process; None where it is still alive after so many seconds."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def kill_runs(place: Path, dice: random.Random, kills: int, *, verbose: bool) -> int:
    """Kill runs of every kind in turn; returns how many runs did not survive."""
    template = place / "template"
    finish(lambda: open_a_store(template), place / "template.log")
    truth, whole_time, files = {}, {}, {}
    for kind, settings in KINDS.items():
        outputs = place / f"truth{len(truth)}"
        shutil.copytree(template, outputs)
        began = time.monotonic()
        finish(lambda settings=settings, outputs=outputs: paint(overrides(place, outputs, settings)), place / "truth.log")
        whole_time[kind] = time.monotonic() - began
        truth[kind] = lasting(outputs)
        files[kind] = count_files(place, template, settings)
        check(outputs, kind)
    died, runs, lost, where = 0, 0, 0, Counter()
    while died < kills:
        kind = list(KINDS)[runs % len(KINDS)]
        outputs, log = place / f"run{runs}", place / f"run{runs}.log"
        shutil.copytree(template, outputs)
        runs += 1
        for _ in range(dice.randint(1, 12)):
            at_file = dice.random() < 0.5
            die_at = dice.randint(1, files[kind]) if at_file else None
            act = lambda outputs=outputs, kind=kind: paint(overrides(place, outputs, KINDS[kind]))  # noqa: E731
            pid = fork(act, log=log, die_at=die_at)
            status = waited(pid, None if at_file else dice.uniform(0, 1.2) * whole_time[kind])
            if status is None:
                os.kill(pid, signal.SIGKILL)
                status = waited(pid)
            if status == -signal.SIGKILL:
                died += 1
                where["at a file" if at_file else "after a time"] += 1
                continue
            break
        faults = survivors_faults(place, outputs, kind, truth[kind], log)
        lost += bool(faults)
        if verbose or faults:
            print(f"run {runs} ({kind}): {died} kills so far: {'; '.join(faults) or 'whole'}", flush=True)
        if not faults:
            shutil.rmtree(outputs)
    print(
        f"kills: {died} ({', '.join(f'{count} {name}' for name, count in where.items())}) over {runs} runs of "
        f"{len(KINDS)} kinds; runs with the same bytes, one MLflow run, every step and canvas once: {runs - lost}; lost: {lost}"
    )
    return lost


def open_a_store(outputs: Path) -> None:
    from stylelab.tracking import open_store

    open_store(None, outputs=outputs, experiment="Default")


def count_files(place: Path, template: Path, settings: Sequence[str]) -> int:
    """How many files a run opens for writing, renames, removes or makes."""
    outputs, counted = place / "counted", place / "counted.txt"
    shutil.copytree(template, outputs)

    def act() -> None:
        seen = 0

        def hook(event: str, values: tuple) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(values[1], str) and any(letter in values[1] for letter in "wax+")
            seen += writes or event in ("os.rename", "os.remove", "os.mkdir")

        sys.addaudithook(hook)
        paint(overrides(place, outputs, settings))
        counted.write_text(str(seen))

    finish(act, place / "counted.log")
    shutil.rmtree(outputs)
    return int(counted.read_text())


def finish(act: Callable[[], None], log: Path) -> None:
    """Run to the end, unharmed."""
    if waited(fork(act, log=log)) != 0:
        sys.exit(f"a run that nobody killed failed:\n{log.read_text()[-3000:]}")


def lasting(outputs: Path) -> dict[str, bytes]:
    """The bytes of the picture and of the losses of the only run there."""
    (folder,) = [path for path in (outputs / "runs").iterdir() if path.is_dir() and ".before-" not in path.name]
    return {name: (folder / name).read_bytes() for name in ("pastiche.png", "losses.csv")}


def survivors_faults(place: Path, outputs: Path, kind: str, truth: dict[str, bytes], log: Path) -> list[str]:
    """Start once more, to the end; what is not as it should be."""
    status = waited(fork(lambda: paint(overrides(place, outputs, KINDS[kind])), log=log))
    if status != 0:
        return [f"exit status {status}: {log.read_text()[-2000:]}"]
    found = lasting(outputs)
    faults = [f"{name} has other bytes" for name in truth if found[name] != truth[name]]
    return faults + check(outputs, kind)


def check(outputs: Path, kind: str) -> list[str]:
    """What is wrong with the tracked runs of an outputs folder that holds one run."""
    faults = []
    with sqlite3.connect(outputs / "mlflow.db") as store:
        runs = store.execute("select run_uuid, status, artifact_uri from runs").fetchall()
        if len(runs) != 1 or runs[0][1] != "FINISHED":
            return [f"MLflow holds {[(name, status) for name, status, _ in runs]}"]
        rows = store.execute("select key, step, count(*) from metrics group by key, step").fetchall()
        held = {key for key, _, _ in rows}
    (folder,) = [path for path in (outputs / "runs").iterdir() if path.is_dir()]
    steps = {int(line.split(",")[0]) for line in (folder / "losses.csv").read_text().splitlines()[1:]}
    faults += [f"{key} at step {step}: {count} times" for key, step, count in rows if count != 1]
    for key in held:
        expected = steps if key.startswith("loss/") else {0}
        if (lacking := expected ^ {step for name, step, _ in rows if name == key}) != set():
            faults.append(f"{key}: steps {sorted(lacking)[:5]} missing or too many")
    faults += [f"no metric {name}" for name in ("loss/total", "loss/style/relu2_1", "time/total_seconds") if name not in held]
    images = Path(runs[0][2].removeprefix("file://").replace("%20", " ")) / "images"
    names = [re.fullmatch(r"canvas\+step\+(\d+)\+.*(\.png|\.webp)", path.name) for path in images.iterdir()]
    if None in names:
        faults.append("strange files among the canvases")
    pictured = Counter((int(name.group(1)), name.group(2)) for name in names if name)
    expected = {(step, suffix): 1 for step in steps if step % 7 == 0 for suffix in (".png", ".webp")}
    if pictured != expected:
        faults.append(f"canvases in MLflow: {sorted(pictured.items())[:4]}")
    left = [path.name for path in folder.iterdir() if path.suffix in (".partial", ".pt")]
    faults += [f"left behind: {left}"] if left else []
    if json.loads((folder / "run.json").read_text())["status"] != "FINISHED":
        faults.append("run.json is not FINISHED")
    return faults


def kill_sweep(place: Path, dice: random.Random, runs: int, kills: int) -> int:
    """Kill a whole sweep again and again; returns 1 unless it ends with every run finished and none painted twice."""
    outputs, log = place / "sweep", place / "sweep.log"
    finish(lambda: open_a_store(outputs), place / "template.log")
    arguments = [*overrides(place, outputs, ("optimizer.steps=40",)), f"seed=range({runs})"]
    died, finished_before = 0, 0
    while died < kills:
        pid = fork(lambda: sweep(arguments), log=log)
        status = waited(pid, dice.uniform(2, 10))
        if status is not None:
            break
        os.kill(pid, signal.SIGKILL)
        waited(pid)
        died += 1
        folders = [path for path in (outputs / "runs").glob("*") if path.is_dir()]
        finished = sum(json.loads((path / "run.json").read_text())["status"] == "FINISHED" for path in folders if (path / "run.json").is_file())
        print(f"sweep killed {died} times: {finished} of {runs} finished", flush=True)
        assert finished >= finished_before, "a finished run was lost"
        finished_before = finished
    status = waited(fork(lambda: sweep(arguments), log=log))
    with sqlite3.connect(outputs / "mlflow.db") as store:
        children = "select r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'stylelab.key'"
        states = Counter(state for _, state in store.execute(children))
        (doubled,) = store.execute(
            "select count(*) from (select 1 from metrics where key = 'loss/total' group by run_uuid, step having count(*) > 1)"
        ).fetchone()
        (rows,) = store.execute("select count(*) from metrics where key = 'loss/total'").fetchone()
        parents = store.execute(
            "select r.status from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'stylelab.role'"
        ).fetchall()
    folders = [path for path in (outputs / "runs").iterdir() if path.is_dir()]
    good = (
        status == 0
        and states == {"FINISHED": runs}
        and doubled == 0
        and rows == runs * 41
        and len(folders) == runs
        and parents == [("FINISHED",)]
    )
    print(
        f"a sweep of {runs} runs, killed {died} times: exit status {status}, tracked runs {dict(states)}, folders {len(folders)}, "
        f"steps in the store {rows} of {runs * 41}, doubled {doubled}, parent runs {parents}: {'good' if good else 'NOT GOOD'}"
    )
    if not good:
        print(log.read_text()[-3000:])
    return 0 if good else 1


if __name__ == "__main__":
    main()
