"""The benchmarks: what they count, whom they compare, and that turns, ratios and verdicts are what they say."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import check  # noqa: E402
import endings  # noqa: E402
import goals  # noqa: E402
import limit  # noqa: E402
import page  # noqa: E402
import peers  # noqa: E402
import plain  # noqa: E402
import sections  # noqa: E402
from studio import Studio, random_parameters  # noqa: E402
from turns import Contestant, Seat, Table, Turn  # noqa: E402

from stylelab.objective import Objective  # noqa: E402


@pytest.fixture(scope="module")
def parameter_file(tmp_path_factory):
    return random_parameters(tmp_path_factory.mktemp("parameters"))


def picture(seed, height=48, width=64):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_the_operations_counted_are_those_of_a_forward_pass_watched_by_hooks(parameter_file):
    network, counted = plain.Network(str(parameter_file)), []
    for module in network:
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda conv, _, output: counted.append(2 * output.numel() * conv.weight[0].numel())
            )
    features = network.features(plain.to_caffe(picture(0)))
    grams = sum(4 * features[layer].numel() * features[layer].shape[1] for layer in plain.STYLES)
    assert limit.operations(64, 48) == {"forward": sum(counted), "backward": sum(counted), "gram": grams}


def test_the_operations_at_512_pixels_are_those_that_the_prototypes_counted():
    assert limit.total(512, 384) == pytest.approx(297.7e9, rel=1e-3)


def test_the_plain_implementation_and_the_engine_agree_on_loss_and_gradient(parameter_file):
    content, style, canvas = picture(1), picture(2), picture(3)
    encoder = endings.encoder(parameter_file)
    of = Objective(encoder, weighting=endings.weighting(), content=content, styles=[(1.0, style)])
    ours, gradient = of.evaluate(canvas)
    loss = plain.Loss(plain.Network(str(parameter_file)), plain.to_caffe(content), plain.to_caffe(style))
    leaf = canvas.clone().requires_grad_()
    theirs = loss(plain.to_caffe(leaf))
    theirs.backward()
    assert ours.total == pytest.approx(theirs.item(), rel=1e-4)
    assert (gradient - leaf.grad).norm() < 1e-4 * leaf.grad.norm()


def test_the_descent_that_endings_are_held_against_is_plains_and_its_unit_matters_to_the_first_step_alone(
    parameter_file,
):
    content, style = picture(1), picture(2)
    encoder = endings.encoder(parameter_file).double()
    of = Objective(encoder, weighting=endings.weighting(), content=content.double(), styles=[(1.0, style.double())])
    loss = plain.Loss(
        plain.Network(str(parameter_file)).double(), *map(plain.to_caffe, (content.double(), style.double()))
    )
    painting = plain.paint(loss, plain.to_caffe(content.double()), optimizer="lbfgs", steps=5)
    found = endings.by_torch(of, content.double(), steps=4, unit=endings.PEERS)
    assert found == pytest.approx([reported for _, reported in painting], rel=1e-6)
    other = endings.by_torch(of, content.double(), steps=4, unit=2 * endings.PEERS)
    assert other[0] == found[0] and other[1] != found[1]


def test_converted_parameters_answer_as_the_originals_within_the_borders(parameter_file):
    from safetensors.torch import load_file

    original = {key: value.double() for key, value in load_file(parameter_file).items()}
    deviation, mean = torch.tensor((0.229, 0.224, 0.225)) * 255, torch.tensor((0.485, 0.456, 0.406)) * 255
    found = peers.converted(original, scale=deviation, mean=mean)
    image = picture(4).double()
    fed = (image * 255 - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    answers = [
        torch.nn.functional.conv2d(pixels, values["features.0.weight"], values["features.0.bias"])
        for pixels, values in ((plain.to_caffe(image), original), (fed, found))
    ]
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-3)


def test_a_gpu_gets_rows_for_its_arithmetics_from_configurations_composed_elsewhere(parameter_file, tmp_path):
    ours = (
        BENCHMARKS.parent / "images" / "content" / "portrait.png",
        BENCHMARKS.parent / "images" / "style" / "cut_outs.png",
    )
    composed = tmp_path / "composed.json"
    studio = Studio(
        folder=tmp_path, parameters=parameter_file, pairs=[ours], device="cuda", threads=1, configurations=composed
    )
    of = studio.painting(64)
    assert studio.precisions == ("float32", "tf32", "bfloat16", "float16")
    assert list(limit.kernels(studio.precisions, "cuda"))[2:4] == ["matrix product, tf32", "convolution, tf32"]
    first = studio.engine(of, "float16")
    assert first["config"]["precision"]["network"] == "float16" and first["config"]["device"] == "cuda"
    missing = tmp_path / "elsewhere" / "src" / "hydra.py"  # found before the installed one
    missing.parent.mkdir(parents=True)
    missing.write_text("raise ModuleNotFoundError('No module named hydra')")
    without_hydra = replace(studio, source=missing.parents[1])
    assert without_hydra.engine(of, "float16") == first
    with pytest.raises(ValueError, match=r"can't be composed .*No module named hydra.*: see --configurations"):
        without_hydra.engine(of, "tf32")


def program(body, **settings):
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); from gate import Gate; gate = Gate(); {body}"
    return Contestant(command=(sys.executable, "-c", code), **settings)


def test_contestants_work_only_in_their_turns_and_end_when_they_are_done(tmp_path):
    log = tmp_path / "log"
    body = "[(open({!r}, 'a').write({!r}), gate.end_turn(lambda n=n: n)) for n in range(4)]"
    contestants = [program(body.format(str(log), name), name=name) for name in "ab"]
    with Table(contestants) as table:
        assert log.read_text() == "ab"
        kept = table.rounds(2)
        assert (
            sorted(log.read_text()[2:4]) == sorted(log.read_text()[4:6]) == sorted(log.read_text()[6:8]) == ["a", "b"]
        )
        assert [turn.loss for turn in kept["a"]] == [2, 3]  # 0 was the start, 1 to warm up
        assert table.seats["a"].turn() is None


def test_a_process_of_several_programs_gives_each_its_own_row():
    body = "[gate.end_turn(lambda n=n: n) for n in range(20)]"
    several = program(body, name="several", programs=("even", "odd"))
    with Table([several, program(body, name="one")]) as table:
        kept = table.rounds(3, warm_up=0)
    assert {name: [turn.loss for turn in turns] for name, turns in kept.items()} == {
        "even": [2, 4, 6],
        "odd": [3, 5, 7],
        "one": [1, 2, 3],
    }


def test_a_contestant_that_fails_is_named_with_its_last_word():
    with pytest.raises(ValueError, match=r"^the peer ended before its turn was over: RuntimeError: no such network$"):
        Seat(program("raise RuntimeError('no such network')", name="the peer"))


def test_an_unknown_peer_and_a_folder_without_its_program_are_refused(parameter_file, tmp_path):
    with pytest.raises(ValueError, match=r"--peer: found x=y, expected NAME=CHECKOUT with a name out of"):
        peers.seated(["x=y"], parameter_file, tmp_path)
    with pytest.raises(ValueError, match=r"has no neural_style.py: give the folder of the program's checkout"):
        peers.seated([f"neural-style-pt={tmp_path}"], parameter_file, tmp_path / "copies")


def turns(*seconds):
    return [Turn(seconds=each, cpu_seconds=each, peak_mb=0, imports_mb=0, loss=0) for each in seconds]


def test_ratios_are_taken_round_by_round():
    found = sections.ratios(turns(2, 40, 6), turns(1, 10, 2), "seconds")
    assert found["median"] == 3 and 2 <= found["low"] < 3 < found["high"] <= 4


def test_the_interval_of_a_median_holds_it_as_often_as_it_says():
    generator, held = torch.Generator().manual_seed(0), 0
    for _ in range(500):
        low, _, high = check.interval((1.03 + 0.06 * torch.randn(30, generator=generator)).tolist())
        held += low <= 1.03 <= high
    assert 0.98 <= held / 500 <= 1


def test_a_check_goes_on_while_the_limit_lies_within_what_was_found():
    assert check.settled([1.0 + n / 1000 for n in range(-20, 21)])
    assert not check.settled([1.05 + n / 1000 for n in range(-20, 21)])
    assert check.settled([0.96, 1.0, 1.06])  # starts: few, their median clear below the limit
    assert not check.settled([1.036, 1.072, 1.173])  # an unchanged program's, as once measured
    assert check.settled([1.1, 1.15, 1.2])
    assert not check.settled([1.0, 1.04, 1.06])


@pytest.mark.parametrize(("cost", "says"), [(1.08, True), (1.0, False), (0.8, False)])
def test_the_verdict_names_what_costs_over_five_per_cent_more(cost, says, capsys):
    generator = torch.Generator().manual_seed(1)
    before = (1 + 0.05 * torch.randn(40, generator=generator)).tolist()
    now = [cost * (value + 0.03) for value in before]
    found = {"float32 evaluation": check.Quantity("CPU s", now=now, before=before, plain=before)}
    lines = check.report(found, "abc")
    assert bool(lines) is says
    assert ("slower: float32 evaluation takes" in capsys.readouterr().out) is says


def test_an_uncommitted_change_is_compared_with_its_commit_and_a_commit_with_the_one_recorded_last():
    history = [{"commit": "first"}, {"commit": "last"}]
    assert check.compared_with("abc+", history, record=False) == "abc"
    assert check.compared_with("abc", history, record=False) == "last"
    assert check.compared_with("abc", [], record=True) == "abc"
    with pytest.raises(ValueError, match=r"history.jsonl is empty: record a first entry by make benchmark-record"):
        check.compared_with("abc", [], record=False)


def test_a_commit_that_the_checkout_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"this checkout has no commit 0123456789ab to compare with: fetch"):
        check.checked_out("0123456789ab", tmp_path)


def test_the_page_changes_between_its_markers_only(tmp_path):
    (tmp_path / "performance.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    results = tmp_path / "results"
    results.mkdir()
    row = {"name": "matrix product, float32", "unit": "FLOP", "best": 2e11, "median": 1e11}
    machine = {"processor": "P", "cores": 2, "gpu": None, "features": {"amx_bf16": False}, "torch_uses": "AVX512"}
    machine |= {"memory_gb": 8, "system": "Linux", "commit": "abc", "versions": {"torch": "2.15"}}
    run = {"when": "2026-01-01 00:00", "label": "", "machine": machine, "parameters": "random", "pairs": ["a, b"]}
    run["sections"] = {"limits": [{"threads": 1, "rows": [row]}]}
    (results / "one.json").write_text(json.dumps(run))
    page.write(results, tmp_path)
    written = (tmp_path / "performance.md").read_text()
    assert written.startswith(f"before\n{page.BEGIN}") and written.endswith(f"{page.END}\nafter\n")
    assert "old" not in written
    assert "| matrix product, float32 | 200 GFLOP/s | 100 GFLOP/s |" in written
    assert "not measured" in written  # the goals that nothing was measured for


def test_a_goal_is_held_against_the_size_that_it_is_for_and_the_peer_before_what_is_newest():
    def table(side, when, *, peer, share):
        excess = [{"optimizer": name, "excess": {"bfloat16": share}} for name in ("lbfgs", "adam")]
        rows = [*excess, {"name": goals.PEER}] if peer else excess
        return {"side": side, "when": when, "steps": 80, "rows": [{"optimizer": "", **row} for row in rows]}

    wanted = table(512, "2026-01-02", peer=True, share=0.001)
    others = [
        table(512, "2026-01-01", peer=True, share=0.002),
        table(512, "2026-01-03", peer=False, share=0.003),
        table(96, "2026-01-04", peer=True, share=0.004),
    ]
    for tables in ([wanted, *others], [*others, wanted]):
        assert "| +0.10% | 512 pixels, 80 steps" in goals.table({"fidelity": tables})


def test_a_missing_number_is_a_dash():
    assert page.number(math.nan) == page.number(None) == "-"
