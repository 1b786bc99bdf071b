"""Reports of a real sweep in a real SQLite store, and their pages in a real Chromium."""

import base64
import csv
import gzip
import io
import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param, Run
from PIL import Image

from stylelab.__main__ import main as paint
from stylelab.report import page, sheet
from stylelab.report.axes import differences, swept
from stylelab.report.command import main
from stylelab.report.grid import lay_out
from stylelab.report.runs import Run as TrackedRun
from stylelab.report.runs import Selection
from stylelab.report.store import open_existing

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (  # what Chromium would ask for by itself is off
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
RATIO = "weights.alpha_over_beta"


@dataclass(frozen=True)
class Tracked:
    """A store with two sweeps: `ratios`, painted whole, and `troubled`: some of its runs, and some that went wrong."""

    outputs: Path
    client: MlflowClient
    experiment: str

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.outputs / 'mlflow.db'}"

    def runs(self, condition: str) -> list[Run]:
        return list(reversed(self.client.search_runs([self.experiment], condition)))

    def report(self, *arguments: str) -> Path:
        """Write a report; its folder."""
        before = set((self.outputs / "reports").glob("*"))
        main([*arguments, "--outputs", str(self.outputs)])
        (made,) = set((self.outputs / "reports").glob("*")) - before
        return made


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Two ratios by two seeds, painted by the command line; of a third ratio, one seed failed and one was killed."""
    outputs = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        words = "-m network=embedded images.long_side=48 canvas=noise optimizer=adam optimizer.steps=4 threads=1"
        more = ["tracking.pictures_every=2", "sweep=ratios", f"{RATIO}=1e-3,1e-2", "seed=0,1", f"outputs={outputs}"]
        patch.setattr(sys, "argv", ["stylelab", *words.split(), *more])
        paint()
    client = MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    found = Tracked(outputs, client, client.get_experiment_by_name("stylelab").experiment_id)
    _trouble(found)
    return found


def _trouble(tracked: Tracked) -> None:
    members = tracked.runs("tags.`mlflow.parentRunId` != ''")
    tags = {"stylelab.role": "sweep", "stylelab.sweep": "troubled"}
    parent = tracked.client.create_run(tracked.experiment, run_name="troubled", tags=tags).info.run_id
    for name, part in (("stylelab.members", members[:2]), ("stylelab.members.1", members[2:3])):
        tracked.client.set_tag(parent, name, json.dumps([run.info.run_id for run in part]))
    for seed, status, reason in ((0, "FAILED", "FloatingPointError: total loss is nan"), (1, "KILLED", "SIGTERM")):
        child = {"mlflow.parentRunId": parent, "stylelab.key": status, "stylelab.reason": reason}
        run_id = tracked.client.create_run(tracked.experiment, run_name=status.lower(), tags=child).info.run_id
        values = members[0].data.params | {RATIO: "0.1", "seed": str(seed)}
        tracked.client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])
        tracked.client.log_metric(run_id, "loss/total", math.nan, step=1)
        if status == "KILLED":
            tracked.client.log_image(run_id, Image.new("RGB", (48, 36), "teal"), key="canvas", step=2, synchronous=True)
        tracked.client.set_terminated(run_id, status=status)


@pytest.fixture(scope="module")
def troubled(tracked: Tracked) -> Path:
    return tracked.report("troubled")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_is_found_by_its_name_its_run_id_and_as_the_latest(tracked):
    store = open_existing(tracked.uri, "stylelab")
    by_name = store.select(["ratios"], condition=None)
    assert (by_name.title, len(by_name.runs), len(by_name.parents)) == ("ratios", 4, 1)
    assert store.select([by_name.parents[0]], condition=None).runs == by_name.runs
    assert store.select(["latest"], condition=None).title == "troubled"
    single = by_name.runs[2].run_id
    assert [run.run_id for run in store.select([single], condition=None).runs] == [single]


def test_a_sweep_that_has_not_ended_and_a_run_that_is_gone_are_said(tracked):
    store = open_existing(tracked.uri, "stylelab")
    assert store.select(["troubled"], condition=None).notes == (
        "The sweep troubled is still running, or was killed without a word.",
    )
    tags = {"stylelab.role": "sweep", "stylelab.members": json.dumps(["0" * 32])}
    parent = tracked.client.create_run(tracked.experiment, run_name="emptied", tags=tags, start_time=1).info.run_id
    with pytest.raises(ValueError, match="emptied: no run was tracked there"):
        store.select(["emptied"], condition=None)
    some = store.select(["ratios"], condition=None).runs[0].run_id
    tracked.client.set_tag(parent, "stylelab.members.1", json.dumps([some]))
    tracked.client.set_terminated(parent)
    assert store.select(["emptied"], condition=None).notes == (f"The run {'0' * 32} is no longer in the store.",)


def test_several_sweeps_make_one_report_with_each_run_once(tracked):
    found = open_existing(tracked.uri, "stylelab").select(["ratios", "troubled"], condition=None)
    assert len(found.runs) == 6
    assert len(found.parents) == 2
    assert found.name == "ratios+troubled"


def test_a_filter_selects_runs_and_no_sweep(tracked):
    found = open_existing(tracked.uri, "stylelab").select([], condition="params.seed = '1'")
    assert len(found.runs) == 3
    assert not found.parents


def test_pictures_curves_and_inputs_come_from_the_store_alone(tracked):
    store = open_existing(tracked.uri, "stylelab")
    run = store.select(["ratios"], condition=None).runs[0]
    tracked_file = tracked.client.download_artifacts(run.run_id, "pastiche.png")
    with Image.open(tracked_file) as pastiche:
        assert store.picture(run).tobytes() == pastiche.convert("RGB").tobytes()
    content, styles = store.inputs(run)
    assert max(content.size) == 48
    assert len(styles) == 1
    curve = store.curves([run], ["loss/total"])[run.run_id]["loss/total"]
    assert [step for step, _ in curve] == [0, 1, 2, 3, 4]
    assert all(later < curve[0][1] for _, later in curve[1:])


def test_an_unfinished_run_shows_its_last_canvas(tracked):
    store = open_existing(tracked.uri, "stylelab")
    killed = next(run for run in store.select(["troubled"], condition=None).runs if run.status == "KILLED")
    assert store.picture(killed).getpixel((0, 0)) == (0, 128, 128)


def test_the_csv_holds_every_run_and_every_gap(troubled):
    found = rows(troubled)
    assert sorted(row["status"] for row in found) == ["FAILED", "FINISHED", "FINISHED", "FINISHED", "KILLED", "MISSING"]
    missing = next(row for row in found if row["status"] == "MISSING")
    assert (missing[RATIO], missing["seed"]) == ("0.01", "1")
    finished = next(row for row in found if row["status"] == "FINISHED")
    assert float(finished["embedded_reference/style"]) > 0
    assert finished["layers.style"] == "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"
    failed = next(row for row in found if row["status"] == "FAILED")
    assert failed["reason"] == "FloatingPointError: total loss is nan"


def test_a_report_is_kept_with_the_sweeps_own_run(tracked, troubled):
    parent = open_existing(tracked.uri, "stylelab").select(["troubled"], condition=None).parents[0]
    kept = {entry.path for entry in tracked.client.list_artifacts(parent, "report")}
    assert kept == {"report/report.html", "report/runs.csv", "report/sheet.png"}


def test_members_that_were_never_begun_or_painted_by_another_sweep_have_their_place(tracked, tmp_path):
    store = open_existing(tracked.uri, "stylelab")
    painted = store.select(["ratios"], condition=None)
    kept = tracked.client.download_artifacts(painted.parents[0], "members.json", str(tmp_path))
    plan = json.loads(Path(kept).read_text())
    assert [member["key"] for member in plan["members"]] == [run.key for run in painted.runs]
    new = {"key": "f" * 64, "label": "seed=2", "overrides": [f"{RATIO}=1e-3", "seed=2"], "outcome": None}
    plan["members"].append(new | {"differs": {RATIO: "0.001", "seed": "2"}})
    Path(kept).write_text(json.dumps(plan))
    tags = {"stylelab.role": "sweep", "stylelab.sweep": "planned", "mlflow.note.content": "Question: what is left?"}
    parent = tracked.client.create_run(tracked.experiment, run_name="planned", tags=tags, start_time=1).info.run_id
    tracked.client.log_artifact(parent, kept)
    tracked.client.set_terminated(parent)
    folder = tracked.report("planned", "--name", "with-gaps")
    found = rows(folder)
    assert [row["run_id"] for row in found[:4]] == [run.run_id for run in painted.runs]
    assert (found[4]["status"], found[4]["reason"], found[4]["key"]) == ("MISSING", "not begun", "f" * 64)
    assert (found[4]["seed"], found[4]["layers.content"], found[4]["started"]) == ("2", "relu4_2", "")
    text = (folder / "report.html").read_text()
    assert "6 runs: 4 finished, 2 missing" in text  # the one planned, and seed 2 at the other ratio
    assert "Question: what is left?" in text


def test_a_damaged_picture_is_no_picture_and_the_report_goes_on(tracked, tmp_path):
    store = open_existing(tracked.uri, "stylelab")
    whole = store.select(["ratios"], condition=None).runs[0]
    good = Path(tracked.client.download_artifacts(whole.run_id, "pastiche.png", str(tmp_path))).read_bytes()
    noise = io.BytesIO()
    Image.effect_noise((400, 300), 80).save(noise, "PNG")  # its pixels fill several chunks
    second = noise.getvalue().index(b"IDAT", noise.getvalue().index(b"IDAT") + 4)
    chunk = noise.getvalue()[:second] + b"\xff\xff\xff\xff" + noise.getvalue()[second + 4 :]
    damages = {"cut": good[: len(good) // 2], "text": b"<html>404</html>", "empty": b"", "chunk": chunk}
    tags = {"stylelab.role": "sweep", "stylelab.sweep": "damaged"}
    parent = tracked.client.create_run(tracked.experiment, run_name="damaged", tags=tags, start_time=1).info.run_id
    for number, (name, content) in enumerate(damages.items()):
        child = {"mlflow.parentRunId": parent, "stylelab.key": name}
        run_id = tracked.client.create_run(tracked.experiment, run_name=name, tags=child, start_time=1).info.run_id
        for file, folder in (("pastiche.png", None), ("content.png", "inputs"), ("style_0.png", "inputs")):
            (tmp_path / file).write_bytes(content)
            tracked.client.log_artifact(run_id, str(tmp_path / file), folder)
        values = {"seed": str(number), "canvas.start": "noise", "images.content": "a.png", "images.style.0": "b.png"}
        tracked.client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])
        tracked.client.set_terminated(run_id)
    runs = store.select(["damaged"], condition=None).runs
    assert [store.picture(run) for run in runs] == [None] * 4
    assert [store.inputs(run) for run in runs] == [(None, ())] * 4
    text = (tracked.report("damaged") / "report.html").read_text()
    assert text.count("no picture<span") == 4


def test_named_axes_make_the_grid(tracked):
    folder = tracked.report("ratios", "--rows", "seed", "--columns", RATIO, "--name", "turned")
    text = (folder / "report.html").read_text()
    assert re.search(r'class="axis">seed</span>', text)
    assert re.search(r'class="axis">α / β</th>', text)


def test_a_page_names_no_address_outside_it(troubled):
    text = (troubled / "report.html").read_text()
    assert "default-src 'none'" in text  # the browser itself refuses whatever the page might ask for
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    packed = re.search(r'id="plotly">([^<]+)<', text).group(1)
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed))
    assert text.count('id="plotly"') == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], r"there is no sweep nosuch: the latest are troubled, ratios"),
        (["--filter", "foo="], r"--filter: MLflow does not take foo="),
        (["--filter", "params.seed = '77'"], r"no run was tracked there"),
        (["ratios", "--rows", "sed"], r"sed: no run has such a key; did you mean seed\?"),
        (["ratios", "--metric", "loss/total"], r"loss/total can't be compared across weights.alpha_over_beta"),
        (["ratios", "--experiment", "other"], r"no experiment other"),
        (["ratios", "--uri", "http://127.0.0.1:9"], r"the store http://127.0.0.1:9 does not answer"),
        (["--compare", "nosuch", "failed"], r"nosuch: no run of that id or name"),
        (["--compare", "failed", "failed"], r"are the same run: give two"),
    ],
)
def test_a_users_error_is_one_line(tracked, arguments, said):
    with pytest.raises(SystemExit, match=said) as error:
        main([*arguments, "--outputs", str(tracked.outputs)])
    assert str(error.value).startswith("stylelab: ")
    assert "\n" not in str(error.value)


def test_nothing_tracked_yet_is_an_error_that_makes_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit, match="nothing was tracked yet"):
        main(["latest", "--outputs", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_neither_sweep_nor_comparison_is_an_error(capsys):
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    assert "name a sweep" in capsys.readouterr().err


class Page:
    """A page in Chromium, with what it complained about and what it asked for."""

    def __init__(self, browser, file: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.goto(file.as_uri())
        self.charts = self.page.query_selector_all(".chart")
        for chart in self.charts:
            chart.scroll_into_view_if_needed()
            self.page.wait_for_function("chart => chart.dataset.drawn === 'true'", arg=chart)

    def _note(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"asked for {url[:80]}")

    def count(self, selector: str) -> int:
        return len(self.page.query_selector_all(selector))

    def column(self, number: int) -> list[str]:
        return self.page.eval_on_selector_all(
            "#runs tbody tr", f"rows => rows.map(row => row.cells[{number}].textContent.trim())"
        )


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield found
        found.close()


CONTRAST = """() => {
  const parsed = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parsed(colour).map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parsed(colour).length < 4 || parsed(colour)[3] > 0) return colour;
    }
  };
  return Math.min(...[...document.querySelectorAll("main p, main td, main th, main a, main button, header *, footer p")]
    .filter((element) => element.textContent.trim() && element.offsetParent)
    .map((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    }));
}"""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_the_page_is_whole_and_legible(browser, troubled, width, scheme):
    found = Page(browser, troubled / "report.html", width, scheme)
    page = found.page
    assert len(found.charts) == 2
    assert found.count(".chart .scatterlayer .trace") >= 6
    assert found.count(".picture") == 5
    assert found.count(".missing") == 1
    assert found.count(".picture.FAILED") == found.count(".picture.KILLED") == 1
    assert page.evaluate("[...document.images].filter(i => i.src).every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("[...document.images].every(i => i.hasAttribute('alt'))")
    assert page.eval_on_selector_all(".picture img, .inputs img", "all => all.every(i => i.alt.length > 8)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) >= 4.5  # WCAG 2.1, 1.4.3
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 28)"
    assert dark == (scheme == "dark")
    assert found.complaints == []
    found.context.close()


def test_a_click_shows_the_run_and_the_slider_lays_it_over_the_content(browser, troubled):
    found = Page(browser, troubled / "report.html", 1280, "light")
    page = found.page
    picture = page.query_selector_all(".picture.FINISHED")[1]
    picture.click()
    run = next(row for row in rows(troubled) if row["run_id"] == picture.get_attribute("data-run"))
    assert run["run_id"] in page.inner_text("#run-id")
    assert "embedded_reference/style" in page.inner_text("#run-metrics")
    assert page.inner_text("#again") == f"Paint it again: stylelab-reproduce {run['run_id']}"
    assert f"{RATIO}\t1e-" in page.inner_text("#run-settings")
    assert page.get_attribute("#before", "alt").startswith("content: ")

    def cut() -> str:
        return page.evaluate("getComputedStyle(document.getElementById('before')).clipPath")

    start = cut()
    box = page.query_selector("#slider").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    assert abs(int(page.input_value("#cut")) - 25) <= 2
    assert cut() != start
    page.focus("#cut")
    page.keyboard.press("Home")
    assert page.input_value("#cut") == "0"
    page.select_option("#other", "1")
    assert page.get_attribute("#before", "alt").startswith("style: ")
    page.click("#next")
    assert run["run_id"] not in page.inner_text("#run-id")
    page.keyboard.press("Escape")
    assert not page.is_visible("#run")
    assert found.complaints == []
    found.context.close()


def test_the_keyboard_alone_reaches_a_run(browser, troubled):
    found = Page(browser, troubled / "report.html", 400, "dark")
    page = found.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('picture')"):
            break
    page.keyboard.press("Enter")
    assert page.is_visible("#run")
    first = page.inner_text("#run-id")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#run-id") != first
    found.context.close()


def test_the_table_sorts_by_number_both_ways_with_gaps_last(browser, troubled):
    found = Page(browser, troubled / "report.html", 1280, "light")
    heads = found.page.eval_on_selector_all("#runs thead tr > *", "all => all.map(head => head.textContent.trim())")
    column = heads.index("embedded_reference/style")
    button = found.page.query_selector_all("#runs thead tr > *")[column].query_selector("button")
    button.click()
    up = found.column(column)
    assert up[3:] == ["–", "–", "–"]
    assert [float(value) for value in up[:3]] == sorted(float(value) for value in up[:3])
    button.click()
    assert found.column(column) == [*reversed(up[:3]), "–", "–", "–"]
    assert found.page.query_selector("#runs th[aria-sort=descending]")
    found.context.close()


def test_the_losses_can_be_chosen(browser, troubled):
    found = Page(browser, troubled / "report.html", 1280, "light")
    shown = "document.querySelector('[data-chart=losses]').data.filter(t => t.visible).map(t => t.meta.loss)"
    assert set(found.page.evaluate(shown)) == {"loss/total"}
    found.page.select_option("#loss", "loss/style")
    assert set(found.page.evaluate(shown)) == {"loss/style"}
    found.context.close()


def test_a_page_of_a_hundred_runs_opens_at_once(browser, tmp_path):
    scene = Image.effect_mandelbrot((512, 384), (-2, -1.5, 1, 1.5), 100).convert("RGB")
    runs = tuple(
        TrackedRun(
            run_id=f"{ratio}-{seed}", name="run", status="FINISHED", reason=None, key="key", sweep="s", started=0,
            configuration={RATIO: ratio, "seed": seed, "canvas.start": "noise"}, tags={},
            metrics={"reference/style": ratio * (1 + seed / 100), "reference/content": 1 / ratio},
        )
        for ratio in range(1, 11)
        for seed in range(10)
    )  # fmt: skip
    material = page.Material(
        selection=Selection(name="s", title="s", runs=runs, parents=(), superseded=0),
        grid=lay_out(runs, swept(runs), rows=None, columns=None, facets=None),
        axes=tuple(swept(runs)),
        pictures={run.run_id: scene for run in runs},
        inputs={run.run_id: sheet.Inputs(content=scene, styles=(scene,)) for run in runs},
        curves={run.run_id: {"loss/total": [(n, 1 / (n + 1)) for n in range(500)]} for run in runs},
        studies=(),
        metric=None,
        written="",
    )
    file = tmp_path / "report.html"
    file.write_text(page.render(material))
    assert file.stat().st_size < 6e6  # 2 MB of it are Plotly, a picture is 400 pixels wide
    opened = browser.new_page()
    opened.goto(file.as_uri())
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    assert 0 < opened.evaluate(timing) < 3000  # milliseconds, on cores that others use too; 400 measured
    assert opened.evaluate("typeof window.Plotly") == "undefined"  # unpacked only when a chart comes near
    opened.close()


def test_two_runs_are_laid_over_each_other(browser, tracked):
    first, second = tracked.runs("params.seed = '0' and tags.stylelab.sweep = 'ratios'")
    folder = tracked.report("--compare", first.info.run_id, second.info.run_id)
    assert {file.name for file in folder.iterdir()} == {"compare.html", "difference.png"}
    found = Page(browser, folder / "compare.html", 1280, "light")
    page = found.page
    assert RATIO in page.inner_text("#differed")
    assert "1e-3" in page.inner_text("#differed")
    assert page.evaluate("document.querySelector('.chart').data.length") == 6
    assert "of the pixels differ" in page.inner_text("main")
    lines = page.inner_text("#metrics").splitlines()
    assert next(line for line in lines if line.startswith("loss/total")).endswith("–")
    assert not next(line for line in lines if line.startswith("embedded_reference/style\t")).endswith("–")
    page.focus("#cut")
    page.keyboard.press("End")
    assert page.evaluate("document.getElementById('slider').style.getPropertyValue('--cut')") == "100%"
    assert found.complaints == []
    found.context.close()


def test_a_picture_read_from_two_folders_is_one_picture(tracked, tmp_path, monkeypatch):
    store = open_existing(tracked.uri, "stylelab")
    settings = store.select(["ratios"], condition=None).runs[0].configuration
    content, style = (tmp_path / Path(path).name for path in (settings["images.content"], *settings["images.style"]))
    shutil.copy(settings["images.content"], content)
    Image.new("RGB", (64, 48), "teal").save(style)  # of the same name, and another picture
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = "network=embedded images.long_side=48 canvas=noise optimizer=adam optimizer.steps=4 threads=1"
    more = ["tracking.pictures_every=2", f"outputs={tracked.outputs}", f"images.content={content}"]
    for name, styles in (("moved", settings["images.style"][0]), ("other", style)):
        given = ["-m", *words.split(), *more, f"images.style=[{styles}]", f"sweep={name}", "seed=7"]
        monkeypatch.setattr(sys, "argv", ["stylelab", *given])
        paint()
    found = differences(store.select(["ratios", "moved", "other"], condition=None).runs)
    assert "images.content" not in found
    assert found["images.style"] == {settings["images.style"]: 5, (str(style),): 1}
