"""A tracked run painted again from what was tracked: every difference named, and a verdict that a program reads."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from victims import Place, kills

from stylelab import devices, provenance, run_folder
from stylelab.reproduction import Original, as_today, compared, configuration_of

STEPS = ("optimizer.steps=6", "tracking.pictures_every=0")


def reproduce(place: Place, name: object, *overrides: str) -> tuple[int, str]:
    """`stylelab-reproduce`: exit code and what was said."""
    place.log.unlink(missing_ok=True)
    process = kills.begin(reproduce_main, str(name), *overrides, log=place.log)
    process.join()
    return process.exitcode, place.log.read_text()


def reproduce_main(*arguments: str) -> None:
    from stylelab.commands.reproduce import main

    main(list(arguments))


def test_a_run_is_reproduced_to_the_byte_and_the_new_run_links_it(place: Place) -> None:
    place.paint(*STEPS)
    (folder,) = place.folders()
    run_id = run_folder.read(folder)["mlflow_run_id"]
    code, said = reproduce(place, run_id, f"outputs={place.outputs}")
    assert (code, said.splitlines()[-1]) == (0, "identical: pastiche.png has the same bytes")
    assert "as it was" in said
    linked = place.ask("select run_uuid from tags where key = 'stylelab.reproduces' and value = ?", run_id)
    assert len(linked) == 1 and linked[0][0] in said
    verdict = "select value from tags where key = 'stylelab.verdict' and run_uuid = ?"
    assert place.ask(verdict, linked[0][0]) == [("identical",)]
    assert place.statuses() == ["FINISHED", "FINISHED"]
    (again,) = place.outputs.glob("reproductions/*/runs/*")
    assert (again / "losses.csv").read_bytes() == (folder / "losses.csv").read_bytes()


def test_a_picture_alone_tells_what_painted_it_and_moved_files_are_found_by_overrides(place: Place) -> None:
    place.paint(*STEPS, "tracking=off")
    (folder,) = place.folders()
    alone = place.folder / "alone.png"
    shutil.copy(folder / "pastiche.png", alone)
    for name in ("content", "style"):
        (place.folder / f"{name}.png").rename(place.folder / f"moved_{name}.png")
    code, said = reproduce(place, folder)
    assert (code, said.count("\n")) == (1, 1)
    assert f"images.content: there is no file {place.folder}/content.png" in said
    moved = [f"images.content={place.folder}/moved_content.png", f"images.style=[{place.folder}/moved_style.png]"]
    code, said = reproduce(place, alone, *moved, "tracking=off", f"outputs={place.outputs}")
    assert (code, said.splitlines()[-1]) == (0, "identical: pastiche.png has the same bytes")


def test_every_difference_is_named_and_another_picture_is_different(place: Place) -> None:
    place.paint(*STEPS, "tracking=off", "canvas=noise")
    (folder,) = place.folders()
    record = json.loads((folder / "run.json").read_text())
    record["versions"]["torch"] = "1.0"
    record["machine"]["processor"] = "an abacus"
    record["commit"] = "0" * 40
    run_folder.write(folder, record)
    code, said = reproduce(
        place, folder, f"images.content={place.folder}/style.png", "optimizer.steps=5", "pyramid.steps=[5]"
    )
    assert code == 1
    assert said.splitlines()[-1].startswith("different: pixels differ by at most ")
    for line in (
        "images.content: sha256 was ",
        "optimizer.steps: was 6, now 5",
        "torch: version was 1.0, now ",
        "processor: was an abacus, now ",
        "code: commit was 000000000000, now ",
    ):
        assert f"\n  {line}" in said, line


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no run of the store sqlite:///"),
        ("{}/content.png", "is no pastiche.png of a run"),
        ("{}", "holds no finished run"),
    ],
)
def test_what_is_no_run_gets_one_line(place: Place, name: str, reason: str) -> None:
    code, said = reproduce(place, name.format(place.folder), f"outputs={place.outputs}")
    assert code == 1
    assert said.splitlines()[-1].startswith("stylelab: ") and reason in said


@pytest.mark.parametrize("tier", ["strict", "default", "fast"])
def test_a_tier_of_determinism_keeps_its_promise_on_a_cpu(place: Place, tier: str) -> None:
    found = []
    for name in ("first", "second"):
        outputs = place.folder / name
        kills.finish(
            kills.paint,
            place.configured("optimizer.steps=20", f"determinism={tier}", "tracking=off", f"outputs={outputs}"),
            log=place.log,
        )
        (folder,) = (outputs / "runs").iterdir()
        found.append(folder)
    original = Original({}, found[0] / "pastiche.png", found[0] / "losses.csv", None)
    verdict = compared(original, found[1])
    assert verdict.word == "identical" or (tier == "fast" and verdict.word == "within tolerance")


def test_strict_refuses_operations_without_a_deterministic_form() -> None:
    try:
        devices.prepare_device("cpu", threads=1, determinism="strict")
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
            torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
        devices.prepare_device("cpu", threads=1, determinism="fast")
        assert torch.backends.cudnn.benchmark and torch.backends.cuda.matmul.allow_tf32
    finally:
        devices.prepare_device("cpu", threads=1, determinism="default")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_configuration_comes_back_from_what_decided_a_picture(configuration) -> None:
    config = configuration({"layers.style": [], "images.style": [], "layers.content": ["relu1_1", "relu2_1"]})
    decisive = provenance.canonical(config, content="c", styles=[], parameters={})
    found = configuration_of(decisive)
    again = provenance.canonical(found | {"device": "cpu"}, content="c", styles=[], parameters={})
    assert provenance.key_of(again) == provenance.key_of(decisive)
    assert found["layers"] == config["layers"]


def test_a_configuration_of_another_version_is_read_as_today_s(configuration) -> None:
    today = configuration() | {"sweep": None, "force": False, "retry": "failed"}
    older = json.loads(json.dumps(today))
    del older["weights"]["variation_norm"], older["optimizer"]["history"], older["reference"], older["determinism"]
    older["optimizer"]["nesterov"] = older["flavour"] = "sweet"
    found = as_today(older)
    assert found["optimizer"] == today["optimizer"] | {"history": 20}  # conf/optimizer/lbfgs.yaml's
    assert found["weights"] == today["weights"] and found["determinism"] == "default"
    assert found.keys() == today.keys() and found["images"] == today["images"]
    older["optimizer"]["kind"] = "muon"
    with pytest.raises(ValueError, match=r"optimizer\.kind: found 'muon', expected lbfgs or adam"):
        as_today(older)


def test_every_difference_of_another_version_is_named(place: Place) -> None:
    place.paint(*STEPS, "tracking=off")
    (folder,) = place.folders()
    record = json.loads((folder / "run.json").read_text())
    whole, decisive = record["configuration"], record["decisive"]
    del whole["weights"]["variation_norm"], decisive["configuration"]["weights.variation_norm"]
    whole["optimizer"]["nesterov"] = decisive["configuration"]["optimizer.nesterov"] = True
    decisive["algorithm"] = 0
    run_folder.write(folder, record)
    code, said = reproduce(place, folder)
    assert code == 0 and said.splitlines()[-1] == "identical: pastiche.png has the same bytes"
    for line in (
        "algorithm: version 0, now ",
        "optimizer.nesterov: was True, now no key",
        "weights.variation_norm: was no key, now squared",
    ):
        assert f"\n  {line}" in said, line


def test_tolerance_is_measured_in_pixels_and_loss(tmp_path: Path) -> None:
    from PIL import Image

    folders = [tmp_path / name for name in ("one", "other")]
    for folder, level, loss in zip(folders, (100, 103), (1.0, 1.005), strict=True):
        folder.mkdir()
        picture = Image.new("RGB", (10, 10), (100, 100, 100))
        picture.putpixel((0, 0), (level, 100, 100))
        picture.save(folder / "pastiche.png")
        (folder / "losses.csv").write_text(f"step,total\n0,9\n1,{loss}\n")
    original = Original({}, folders[0] / "pastiche.png", folders[0] / "losses.csv", None)
    verdict = compared(original, folders[1])
    assert (verdict.word, verdict.max_pixel) == ("within tolerance", 3)
    assert (verdict.mean_pixel, verdict.loss) == (pytest.approx(0.01), pytest.approx(0.005))
    (folders[1] / "losses.csv").write_text("step,total\n0,9\n1,1.05\n")
    assert compared(original, folders[1]).word == "different"
    Image.new("RGB", (10, 11)).save(folders[1] / "pastiche.png")
    assert compared(original, folders[1]).word == "different"
