"""The command line as users meet it: real processes, real files, a real SQLite store."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stylelab import pictures
from stylelab.provenance import key_of

TINY = ["network=embedded", "images.long_side=64", "threads=1", "device=cpu"]
# Runs main() once for each list of arguments on stdin; answers with exit code, stderr and the heavy modules imported.
SEVERAL = """
import contextlib, io, json, sys
from stylelab.__main__ import main
answers = []
for arguments in json.load(sys.stdin):
    sys.argv, said, code = ["stylelab", *arguments], io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
    heavy = sorted({"torch", "torchvision", "mlflow"} & set(sys.modules))
    answers.append([code, said.getvalue(), heavy])
print(json.dumps(answers))
"""


def stylelab(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stylelab", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=240,
    )


def several(commands: list[list[str]], cwd: Path) -> list[list]:
    asked = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=240,
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout.splitlines()[-1])


def test_bad_input_gets_one_clear_line_before_torch_is_imported(tmp_path: Path, picture) -> None:
    picture(0, 80, 9).save(tmp_path / "flat.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "half.png").write_bytes((tmp_path / "flat.png").read_bytes()[:200])
    (tmp_path / "file").touch()
    expected = {
        "optimizer.stpes=3": "optimizer.stpes: there is no such key; did you mean optimizer.steps?",
        "optimzer.step=3": "optimzer.step: there is no such key; did you mean optimizer.steps?",
        "optimzer=adam": "optimzer: there is no such key; did you mean optimizer?",
        "network=vgg16": "network: there is no option vgg16; there is embedded, vgg19_caffe",
        "+extra=1": "extra: there is no such key",
        "+optimizer.extra=1": "optimizer.extra: there is no such key",
        "optimizer.steps=ten": "optimizer.steps: found 'ten', expected a whole number",
        "optimizer.steps=-3": "optimizer.steps: found -3, expected 1 or more",
        "optimizer.steps=2.5": "optimizer.steps: found 2.5, expected a whole number",
        "layers.style=[relu9_1]": "layers.style: VGG-19 has no layer relu9_1; it has conv1_1",
        "layers.style=relu1_1": "layers.style: found 'relu1_1', expected a list",
        "weights.style=[1,2]": "weights.style has 2 items but layers.style has 5",
        "pyramid.long_sides=[128,512]": "pyramid.long_sides has 2 levels but pyramid.steps has 1",
        "canvas.clamp=true": "canvas.clamp: L-BFGS infers curvature",
        "pooling=max": "pooling: the embedded network was distilled from VGG-19 with average pooling",
        "device=tpu": "device: found tpu, expected auto, cpu, cuda or cuda:N",
        f"images.content={tmp_path}/none.png": "images.content: there is no file",
        f"images.content={tmp_path}/text.png": "is not a picture that can be read",
        f"images.content={tmp_path}/half.png": "can't be decoded",
        f"images.style=[{tmp_path}/none.png]": "images.style[0]: there is no file",
        f"images.content={tmp_path}/flat.png": "64 x 7 pixels at level 0 is too small: relu5_1 needs at least 16 on",
        f"outputs={tmp_path}/file/below": "outputs: can't write to",
        "layers.style=[relu1_1": "layers.style=[relu1_1: can't be read",
    }
    tail = ["network=embedded", "images.long_side=64", f"outputs={tmp_path}/o", "tracking=off"]
    commands = [[*tail, override] for override in expected]
    answers = several(commands, tmp_path)
    for override, (code, said, heavy) in zip(expected, answers, strict=True):
        assert code == 1, override
        assert said.count("\n") == 1 and said.startswith("stylelab: "), (override, said)
        assert expected[override] in said, (override, said)
        assert heavy == [], override
    assert list((tmp_path / "o").glob("runs/*")) == []


def test_help_and_the_configuration_are_shown_without_torch_or_mlflow(tmp_path: Path) -> None:
    answers = several([["--help"], ["--cfg", "job"], ["--info", "defaults-tree"]], tmp_path)
    assert [heavy for _, _, heavy in answers] == [[], [], []]
    assert [code for code, _, _ in answers] == [0, 0, 0]


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """Two steps through the command line, from another directory than the repository's."""
    folder = tmp_path_factory.mktemp("painted")
    done = stylelab(*TINY, "optimizer.steps=2", "tracking.pictures_every=1", f"outputs={folder}/o", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "o", done


def run_folder(outputs: Path) -> Path:
    (folder,) = (outputs / "runs").iterdir()
    return folder


def test_a_run_leaves_every_file_that_the_design_lists(painted) -> None:
    folder = run_folder(painted[0])
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "pastiche.png", "canvas_000001.png", "canvas_000002.png", "losses.csv", "run.json",
        ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml",
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert folder.name == f"riverside_town-swirling_strokes-{record['key'][:12]}"
    assert record["status"] == "FINISHED"
    assert record["configuration"]["optimizer"]["steps"] == 2
    assert record["inputs"]["content"]["sha256"] == record["decisive"]["content"]
    assert {"python", "torch", "mlflow", "pillow"} <= set(record["versions"])
    assert record["metrics"]["memory/peak_mb"] > 50
    rows = (folder / "losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "0", "1", "2"]
    assert "step,level,total,content,style,variation,content/relu4_2/weighted,style/relu1_1/weighted" in rows[0]


def test_losses_csv_adds_up_and_falls(painted) -> None:
    lines = (run_folder(painted[0]) / "losses.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), map(float, line.split(",")), strict=True)) for line in lines[1:]]
    for row in rows:
        assert row["total"] == pytest.approx(sum(value for key, value in row.items() if key.endswith("/weighted")))
        assert row["style/relu1_1/weighted"] == pytest.approx(1e9 / 5 * row["style/relu1_1/unweighted"])
        assert row["content/relu4_2/weighted"] == pytest.approx(1e6 * row["content/relu4_2/unweighted"])
    assert rows[2]["total"] < rows[0]["total"]


def test_the_png_alone_says_how_it_was_made(painted) -> None:
    texts = pictures.read_texts(run_folder(painted[0]) / "pastiche.png")
    decisive = json.loads(texts["stylelab.configuration"])
    assert key_of(decisive) == texts["stylelab.key"]
    assert decisive["configuration"]["layers.style.4"] == "relu5_1"
    assert decisive["configuration"]["optimizer.steps"] == 2
    assert str(painted[0]) not in json.dumps(texts)


def test_the_end_says_where_the_picture_and_the_tracked_run_are(painted) -> None:
    outputs, done = painted
    run_id = json.loads((run_folder(outputs) / "run.json").read_text())["mlflow_run_id"]
    assert f"picture: {run_folder(outputs)}/pastiche.png" in done.stdout
    assert f"tracked run: {run_id} in sqlite:///{outputs}/mlflow.db" in done.stdout
    assert f"mlflow ui --backend-store-uri sqlite:///{outputs}/mlflow.db" in done.stdout
    assert "step 0/2: total" in done.stderr  # plain lines, as stderr is no terminal


def test_everything_is_in_mlflow(painted) -> None:
    from mlflow import MlflowClient

    outputs, folder = painted[0], run_folder(painted[0])
    record = json.loads((folder / "run.json").read_text())
    client = MlflowClient(f"sqlite:///{outputs}/mlflow.db")
    run = client.get_run(record["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(f"file://{outputs}/mlartifacts/")
    assert run.data.tags["stylelab.key"] == record["key"]
    assert {"stylelab.commit", "stylelab.dirty"} <= set(run.data.tags) or record["commit"] is None
    assert run.data.params["layers.style.4"] == "relu5_1"
    assert run.data.params["images.content"] == record["configuration"]["images"]["content"]
    assert run.data.params["optimizer.steps"] == "2"
    for name in (
        "loss/total",
        "loss/content",
        "loss/style",
        "loss/variation",
        "loss/style/relu3_1",
        "loss/content/relu4_2",
    ):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, name)] == [0, 1, 2], name
    totals = [float(line.split(",")[2]) for line in (folder / "losses.csv").read_text().splitlines()[1:]]
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss/total")] == pytest.approx(totals)
    ruler = "reference" if "reference/style" in run.data.metrics else "embedded_reference"
    assert {f"{ruler}/content", f"{ruler}/style", f"{ruler}/style/relu5_1"} <= set(run.data.metrics)
    assert {"time/seconds_per_step", "time/total_seconds", "memory/peak_mb"} <= set(run.data.metrics)
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"pastiche.png", "losses.csv", "run.json", ".hydra", "images", "inputs"} <= artifacts
    canvases = [a.path for a in client.list_artifacts(run.info.run_id, "images") if a.path.endswith(".png")]
    assert sorted(int(re.search(r"canvas\Wstep\W(\d+)\W", path).group(1)) for path in canvases) == [0, 1, 2]


def test_the_same_configuration_gives_the_same_bytes_and_is_then_left_alone(painted, tmp_path: Path) -> None:
    again = stylelab(*TINY, "optimizer.steps=2", "tracking=off", f"outputs={tmp_path}/o", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    first, second = run_folder(painted[0]), run_folder(tmp_path / "o")
    assert first.name == second.name
    for name in ("pastiche.png", "losses.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    before = (second / "run.json").read_bytes()
    third = stylelab(*TINY, "optimizer.steps=2", "tracking=off", f"outputs={tmp_path}/o", cwd=tmp_path)
    assert "painted already" in third.stdout
    assert (second / "run.json").read_bytes() == before


def test_without_tracking_mlflow_is_never_imported(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['mlflow'] = None; from stylelab.__main__ import main; main()"
    arguments = [*TINY, "optimizer.steps=1", "tracking=off", f"outputs={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", blocked, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (run_folder(tmp_path) / "pastiche.png").is_file()


def wait_for_rows(outputs: Path, rows: int) -> Path:
    for _ in range(1200):
        found = list(outputs.glob("runs/*/losses.csv"))
        if found and found[0].read_text().count("\n") > rows:
            return found[0].parent
        time.sleep(0.1)
    raise AssertionError("the run never began")


@pytest.mark.parametrize(("signal_sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_killed_with_its_last_canvas_saved(tmp_path: Path, signal_sent: int, code: int) -> None:
    from mlflow import MlflowClient

    arguments = [*TINY, "optimizer.steps=100000", "tracking.pictures_every=20", f"outputs={tmp_path}"]
    process = subprocess.Popen([sys.executable, "-m", "stylelab", *arguments], stderr=subprocess.PIPE, text=True)
    folder = wait_for_rows(tmp_path, 21)
    process.send_signal(signal_sent)
    assert process.wait(timeout=60) == code
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "KILLED"
    last = (folder / "losses.csv").read_text().splitlines()[-1].split(",")[0]
    assert (folder / f"canvas_{int(last):06d}.png").is_file()
    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(record["mlflow_run_id"])
    assert run.info.status == "KILLED"


def test_a_loss_that_is_not_finite_fails_the_run_with_its_message(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    done = stylelab(
        *TINY, "optimizer=adam", "optimizer.steps=30", "optimizer.learning_rate=1e30", f"outputs={tmp_path}"
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "loss is" in said and "lower optimizer.learning_rate" in said
    record = json.loads((run_folder(tmp_path) / "run.json").read_text())
    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(record["mlflow_run_id"])
    assert (record["status"], run.info.status) == ("FAILED", "FAILED")
    assert "lower optimizer.learning_rate" in run.data.tags["stylelab.reason"]
    assert not (run_folder(tmp_path) / "pastiche.png").exists()
