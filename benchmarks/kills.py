"""Kills runs and sweeps at random moments and counts what survives: `python benchmarks/kills.py --kills 200`.

Every victim is a real process of its own, ended by SIGKILL: after a random time, or just as it opens, renames or
removes its k-th file, so that the narrow moments come up too. A run survives if, started again until it is left alone,
its pastiche.png and losses.csv have the bytes of a run that nobody killed, and its MLflow run is one run, FINISHED,
with every step of every metric once and every canvas once. Exits with 1 where one did not.
"""

import argparse
import json
import multiprocessing
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
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Victims are forked from a server that has imported everything, opened nothing and never run a thread.
PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = [
    "torch",
    "mlflow.store.tracking.sqlalchemy_store",
    "stylelab.runner",
    "stylelab.tracking",
    "stylelab.sweep_tracking",
    "torch.fx.experimental.symbolic_shapes",
    "torch.nested._internal.nested_tensor",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "sqlalchemy.dialects.sqlite",
    "PIL.WebPImagePlugin",
]
PROCESSES.set_forkserver_preload(PRELOADED)

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
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        draw_pictures(place)
        lost = kill_runs(place, dice, options.kills, verbose=options.verbose) if options.kills else 0
        lost += kill_sweep(place, dice, options.sweep, options.sweep_kills) if options.sweep else 0
    sys.exit(1 if lost else 0)


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


def configured(arguments: Sequence[str]) -> str:
    """The resolved configuration of `stylelab ARGUMENTS`, as text: composed here, it need not be by every victim."""
    from stylelab.composition import composed
    from stylelab.configuration import plain

    return json.dumps(plain(composed(arguments)))


def paint(configuration: str) -> None:
    """What `stylelab` does with a configuration, with as many checkpoints as it asks for, whatever they cost."""
    from stylelab.job import prepare
    from stylelab.recorders import Checkpoint
    from stylelab.runner import run

    Checkpoint.LARGEST_PART = float("inf")
    run(prepare(json.loads(configuration)), hydra_record={".hydra/overrides.yaml": "[]"})


def stylelab(*arguments: str) -> None:
    """`stylelab ARGUMENTS`, less the start of Python."""
    from stylelab.__main__ import main

    sys.argv = ["stylelab", *arguments]
    main()


def open_a_store(outputs: str) -> None:
    """Make the store of an outputs folder, which takes as long as many a run."""
    from stylelab.store import open_store

    open_store(None, outputs=Path(outputs), experiment="Default")


def begin(
    act: Callable[..., None], *arguments: str, log: Path, at: tuple[str, int, Callable] | None = None
) -> BaseProcess:
    """A process that acts and exits with 0, or 1 after a traceback in the log.

    Args:
        act: a function of this module, or another that can be imported.
        at: (pattern, n, do): what to do, in the process, as it touches the n-th file whose path the pattern matches.
    """
    process = PROCESSES.Process(target=_act, args=(act, arguments, str(log), at))
    process.start()
    return process


def _act(act: Callable[..., None], arguments: Sequence[str], log: str, at: tuple | None) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if at is not None:
        sys.addaudithook(_hook(*at))
    try:
        act(*arguments)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        raise SystemExit(1 if isinstance(stop.code, str) else stop.code) from None
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None


def _hook(pattern: str, number: int, do: Callable[[], None]) -> Callable[[str, tuple], None]:
    """An audit hook: files opened for writing, renamed, removed or made are counted, the n-th is not reached."""
    seen = 0

    def hook(event: str, values: tuple) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(values[1], str) and any(letter in values[1] for letter in "wax+")
        if (writes or event in ("os.rename", "os.remove", "os.mkdir")) and re.search(pattern, str(values[0])):
            seen += 1
            if seen == number:
                do()

    return hook


def die() -> None:
    """End this very process as nothing can prevent."""
    os.kill(os.getpid(), signal.SIGKILL)


def finish(act: Callable[..., None], *arguments: str, log: Path) -> None:
    """Act to the end, unharmed.

    Raises:
        RuntimeError: it failed.
    """
    process = begin(act, *arguments, log=log)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"what nobody killed failed: {log.read_text()[-3000:]}")


def kill_runs(
    place: Path, dice: random.Random, kills: int, *, kinds: Mapping[str, Sequence[str]] = KINDS, verbose: bool
) -> int:
    """Kill runs of every kind in turn; returns how many did not survive."""
    template, log = place / "template", place / "log"
    finish(open_a_store, str(template), log=log)
    truth, whole_time, files = {}, {}, {}
    for kind, settings in kinds.items():
        outputs = place / f"truth{len(truth)}"
        shutil.copytree(template, outputs)
        began = time.monotonic()
        finish(paint, configured(overrides(place, outputs, settings)), log=log)
        whole_time[kind] = time.monotonic() - began
        truth[kind] = lasting(outputs)
        files[kind] = 5 * len(list(outputs.rglob("*")))  # more than it touches: some victims get away
        if faults := check(outputs):
            raise RuntimeError(f"what nobody killed is not whole: {faults}")
    died, runs, lost, where = 0, 0, 0, Counter()
    while died < kills:
        kind = list(kinds)[runs % len(kinds)]
        outputs, log = place / f"run{runs}", place / f"run{runs}.log"
        shutil.copytree(template, outputs)
        runs += 1
        configuration = configured(overrides(place, outputs, kinds[kind]))
        for _ in range(dice.randint(1, 12)):
            if dice.random() < 0.5:
                how, at, patience = "at a file", ("", dice.randint(1, files[kind]), die), None
            else:
                how, at, patience = "after a time", None, dice.uniform(0, 1.2) * whole_time[kind]
            victim = begin(paint, configuration, log=log, at=at)
            victim.join(patience)
            victim.kill()
            victim.join()
            if victim.exitcode != -signal.SIGKILL:
                break
            died += 1
            where[how] += 1
        faults = survivors_faults(outputs, configuration, truth[kind], log)
        lost += bool(faults)
        if verbose or faults:
            print(f"run {runs} ({kind}): {died} kills so far: {'; '.join(faults) or 'whole'}", flush=True)
        if not faults:
            shutil.rmtree(outputs)
    print(
        f"kills: {died} ({', '.join(f'{count} {name}' for name, count in where.items())}) over {runs} runs of "
        f"{len(kinds)} kinds; same bytes, one MLflow run, every step and canvas once in {runs - lost}; lost: {lost}"
    )
    return lost


def lasting(outputs: Path) -> dict[str, bytes]:
    """The bytes of the picture and of the losses of the only run there."""
    (folder,) = [path for path in (outputs / "runs").iterdir() if path.is_dir() and ".before-" not in path.name]
    return {name: (folder / name).read_bytes() for name in ("pastiche.png", "losses.csv")}


def survivors_faults(outputs: Path, configuration: str, truth: Mapping[str, bytes], log: Path) -> list[str]:
    """Start once more, to the end; what is not as it should be."""
    try:
        finish(paint, configuration, log=log)
    except RuntimeError as error:
        return [str(error)]
    found = lasting(outputs)
    faults = [f"{name} has other bytes" for name in truth if found[name] != truth[name]]
    return faults + check(outputs)


def check(outputs: Path, *, pictures_every: int = 7) -> list[str]:
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
    faults += [
        f"no metric {name}" for name in ("loss/total", "loss/style/relu2_1", "time/total_seconds") if name not in held
    ]
    images = Path(runs[0][2].removeprefix("file://").replace("%20", " ")) / "images"
    names = [re.fullmatch(r"canvas\+step\+(\d+)\+.*(\.png|\.webp)", path.name) for path in images.iterdir()]
    if None in names:
        faults.append("strange files among the canvases")
    pictured = Counter((int(name.group(1)), name.group(2)) for name in names if name)
    expected = {(step, suffix): 1 for step in steps if step % pictures_every == 0 for suffix in (".png", ".webp")}
    if pictured != expected:
        faults.append(f"canvases in MLflow: {sorted(pictured.items())[:4]}")
    left = [path.name for path in folder.iterdir() if path.suffix in (".partial", ".pt") or path.name == "spool"]
    faults += [f"left behind: {left}"] if left else []
    if json.loads((folder / "run.json").read_text())["status"] != "FINISHED":
        faults.append("run.json is not FINISHED")
    return faults


def kill_sweep(place: Path, dice: random.Random, runs: int, kills: int) -> int:
    """Kill a whole sweep again and again; returns 1 unless it ends with every run finished and none painted twice."""
    outputs, log = place / "sweep", place / "sweep.log"
    finish(open_a_store, str(outputs), log=log)
    arguments = ["-m", *overrides(place, outputs, ("optimizer.steps=40",)), f"seed=range({runs})"]
    died, before = 0, 0
    victim = begin(stylelab, *arguments, log=log)
    while died < kills:
        enough = before + dice.randint(0, 2 * (runs - before) // (kills - died + 1))
        while victim.is_alive() and finished(outputs) < min(enough, runs - 1):
            time.sleep(0.05)
        victim.join(dice.uniform(0, 2))
        victim.kill()
        victim.join()
        if victim.exitcode != -signal.SIGKILL:  # it was quicker
            break
        died += 1
        now = finished(outputs)
        print(f"sweep killed {died} times: {now} of {runs} finished", flush=True)
        if now < before:
            sys.exit("a finished run was lost")
        before = now
        victim = begin(stylelab, *arguments, log=log)
    victim.join()
    status = victim.exitcode
    good = status == 0 and whole_sweep(outputs, runs)
    print(f"a sweep of {runs} runs, killed {died} times: exit status {status}: {'good' if good else 'NOT GOOD'}")
    if not good:
        print(log.read_text()[-3000:])
    return 0 if good else 1


def finished(outputs: Path) -> int:
    """How many runs are finished by their run.json."""
    records = (json.loads(path.read_text()) for path in (outputs / "runs").glob("*/run.json"))
    return sum(record["status"] == "FINISHED" for record in records)


def whole_sweep(outputs: Path, runs: int) -> bool:
    """Whether store and folders hold every run once, each of its 41 steps once, under one finished parent."""
    of_tag = "select r.status from runs r join tags t on t.run_uuid = r.run_uuid and t.key = ?"
    totals = "select count(*) from metrics where key = 'loss/total' group by run_uuid, step"
    with sqlite3.connect(outputs / "mlflow.db") as store:
        children = Counter(status for (status,) in store.execute(of_tag, ("stylelab.key",)))
        parents = [status for (status,) in store.execute(of_tag, ("stylelab.role",))]
        steps = Counter(count for (count,) in store.execute(totals))
    folders = [path.name for path in (outputs / "runs").iterdir() if path.is_dir()]
    resumed = [len(json.loads(path.read_text())["resumed"]) for path in (outputs / "runs").glob("*/run.json")]
    print(
        f"tracked runs {dict(children)}, parents {parents}, folders {len(folders)}, steps in the store "
        f"{steps.total()} of {runs * 41}, of them more than once {steps.total() - steps[1]}; "
        f"{sum(resumed)} times a run went on from a checkpoint"
    )
    return (
        children == {"FINISHED": runs} and parents == ["FINISHED"] and len(folders) == runs and steps == {1: runs * 41}
    )


if __name__ == "__main__":
    main()
