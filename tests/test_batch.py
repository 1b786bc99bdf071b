"""Many runs at once: each as if it were alone, with its own losses and its own end; what they share changes no byte."""

import signal
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from victims import Place, kills

from stylelab import bundles, cost, failures, job, run_folder, runner, shelves
from stylelab.commands import plan
from stylelab.interrupts import Preempted
from stylelab.objective import CONVENTIONS, Evaluation, Objective, Weighting
from stylelab.rounds import Rounds
from stylelab.sharing import Resident
from stylelab.sweep import Member
from stylelab.together import Together

WEIGHTING = Weighting(
    convention=CONVENTIONS["johnson"],
    alpha=2.0,
    beta=30.0,
    content={"relu3_1": 1.0},
    style={"relu1_1": 0.5, "conv2_1": 0.5},
    variation=0.3,
    variation_norm="squared",
)


@pytest.fixture(autouse=True)
def _nothing_shared() -> Iterator[None]:
    yield
    shelves.forget()
    shelves.NETWORKS.capacity = shelves.TARGETS.capacity = 0


@pytest.fixture
def evaluations(small_encoder, image) -> Callable[[type], list[Evaluation]]:
    """Four runs that share a network: other weights, contents and canvases; the first two have one content."""

    def make(wrap: type) -> list[Evaluation]:
        encoder = wrap(small_encoder("relu3_1", "relu1_1", "conv2_1"))
        if isinstance(encoder, Resident):
            encoder = encoder.encoder(torch.float64)
        found = []
        for number in range(4):
            weighting = replace(WEIGHTING, alpha=2.0 + number, beta=30.0 / (1 + number), variation=0.1 * number)
            content, style = image(max(1, number), 24, 20), image(9, 28, 22)
            of = Objective(encoder, weighting=weighting, content=content, styles=[(1.0, style)])
            found.append(Evaluation(of, image(20 + number, 24, 20)))
        return found

    return make


@pytest.mark.parametrize("wrap", [Resident, lambda network: network], ids=["engine", "autograd"])
@pytest.mark.parametrize("most", [4, 3, 2])
def test_canvases_evaluated_together_have_the_losses_and_gradients_of_each_alone(evaluations, wrap, most):
    alone, together = evaluations(wrap), evaluations(wrap)
    Together(most).evaluate(together)
    for number, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert ("found" in vars(other)) == (most != 3 or number < 3)  # the fourth would be alone
        assert torch.allclose(other.losses.unweighted, one.losses.unweighted, rtol=1e-12, atol=0)
        assert torch.allclose(other.gradient, one.gradient, rtol=1e-9, atol=1e-12 * float(one.gradient.abs().max()))
    assert len({each.losses.total for each in together}) == 4


def test_what_was_kept_for_more_canvases_goes_when_fewer_are_tried(evaluations):
    """Its memory is what was wanted."""
    together = Together(64)
    together.evaluate(evaluations(Resident))
    (stack,) = map(weakref.ref, together.stacks.values())
    together.halve()
    assert together.most == 2  # half of the four that there were
    assert stack() is None


def test_canvases_of_other_sizes_or_layers_are_evaluated_apart(evaluations, image):
    found = evaluations(Resident)
    other = Evaluation(replaced(found[0].objective, image(3, 32, 20)), image(5, 32, 20))
    fewer = Objective(
        found[0].objective.encoder,
        weighting=replace(WEIGHTING, content={}),
        content=image(1, 24, 20),
        styles=[(1.0, image(9, 28, 22))],
    )
    third = Evaluation(fewer, image(6, 24, 20))
    Together(8).evaluate([*found, other, third])
    assert all("found" in vars(each) for each in found)
    assert "found" not in vars(other) and "found" not in vars(third)


def replaced(of: Objective, content: torch.Tensor) -> Objective:
    return Objective(of.encoder, weighting=of.weighting, content=content, styles=[(1.0, content)])


class Walk:
    """A painting whose steps are evaluations of a real objective, written down."""

    def __init__(self, evaluation: Evaluation, steps: int, fails: Exception | None = None) -> None:
        self.evaluation, self.steps, self.fails, self.seen = evaluation, steps, fails, []

    def __iter__(self):
        try:
            for number in range(self.steps):
                step = Evaluated(Evaluation(self.evaluation.objective, self.evaluation.canvas + 0.01 * number))
                yield step
                self.seen.append(step.evaluation.losses.total)
            if self.fails:
                raise self.fails
        except BaseException as error:
            self.ended_by = error
            raise
        return {"steps": self.steps}


class Evaluated:
    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation


def test_one_that_fails_leaves_and_the_others_go_on(evaluations):
    failure = ValueError("no more")
    walks = [
        Walk(each, 2 + number, failure if number == 1 else None)
        for number, each in enumerate(evaluations(Resident))
    ]  # fmt: skip
    ends: dict[int, object] = {}
    Rounds({number: iter(walk) for number, walk in enumerate(walks)}, most=4, ended=ends.__setitem__).paint()
    assert ends == {0: {"steps": 2}, 1: failure, 2: {"steps": 4}, 3: {"steps": 5}}
    for walk, each in zip(walks, evaluations(Resident), strict=True):
        alone = [each.objective.evaluate(each.canvas + 0.01 * number)[0].total for number in range(walk.steps)]
        assert walk.seen == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Preempted()], ids=["Ctrl-C", "notice"])
def test_an_interrupt_ends_every_painting(evaluations, stop):
    walks = [Walk(each, 3, stop if number == 1 else None) for number, each in enumerate(evaluations(Resident))]
    walks[3].steps = 9
    with pytest.raises(KeyboardInterrupt) as raised:
        Rounds({number: iter(walk) for number, walk in enumerate(walks)}, most=1, ended=lambda *_: None).paint()
    assert raised.value is stop
    if isinstance(stop, Preempted):  # a real one saves its checkpoint at its next step, and raises of itself
        assert len(walks[3].seen) == 9
    else:
        assert walks[3].ended_by is stop


def test_where_memory_ends_fewer_are_evaluated_at_once(evaluations, capsys):
    walks = [Walk(each, 2) for each in evaluations(Resident)]
    rounds = Rounds({number: iter(walk) for number, walk in enumerate(walks)}, most=64, ended=lambda *_: None)
    whole = rounds.together.evaluate

    def with_room_for_two(found: list[Evaluation]) -> None:
        if rounds.together.most > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is")
        whole(found)

    rounds.together.evaluate = with_room_for_two
    rounds.paint()
    assert [len(walk.seen) for walk in walks] == [2] * 4
    assert "going on with 2; batch=2 would fit" in capsys.readouterr().err


def test_a_run_without_memory_beside_others_names_a_smaller_batch(configuration, monkeypatch, tmp_path, picture):
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "style.png"):
        picture(1, 40, 32).save(name)
    alone = job.prepare(configuration())
    shown = failures.explained(torch.OutOfMemoryError("CUDA out of memory."), alone, companions=7)
    assert isinstance(shown, MemoryError)
    assert str(shown).startswith("batch: cpu is out of memory with 8 runs of 32 pixels in one process: ")
    assert "batch=4" in str(shown)


def test_runs_travel_in_one_job_s_overrides():
    runs = [(3, ("seed=1", "images.content='a b,$\\{c}.png'")), (5, ("seed=2",))]
    *first, setting = bundles.bundle(runs)
    name, _, word = setting.partition("=")
    assert tuple(first) == runs[0][1] and name == f"++hydra.job.env_set.{bundles.VARIABLE}"
    assert bundles.bundled({bundles.VARIABLE: word.strip("'")}) == runs
    assert set(word.strip("'")) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    assert bundles.bundled({}) == []


def test_shared_networks_and_targets_paint_the_same_bytes(configuration, picture, tmp_path: Path):
    for seed, name in enumerate(("content.png", "style.png")):
        picture(1 + seed, 40, 32).save(tmp_path / name)

    def paint(outputs: str) -> list[dict[str, bytes]]:
        found = []
        for beta in (1e4, 3e4):
            changes = {
                "images.content": str(tmp_path / "content.png"),
                "images.style": [str(tmp_path / "style.png")],
                "weights.beta": beta,
                "reference.cache": str(tmp_path / "none"),
                "outputs": str(tmp_path / outputs),
            }
            prepared = job.prepare(configuration(changes))
            record = runner.run(prepared, hydra_record={})
            files = {name: (prepared.folder / name).read_bytes() for name in run_folder.LASTING}
            found.append(files | {"judged": str(sorted(reference_of(record).items())).encode()})
        torch.set_num_threads(1)
        return found

    apart = paint("apart")
    assert not shelves.NETWORKS.kept and not shelves.TARGETS.kept
    shelves.share_between_runs()
    made = []
    get = shelves.Shelf.get

    def counting(self, key, make):
        return get(self, key, lambda: (made.append(key[0]), make())[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelves.Shelf, "get", counting)
        assert paint("shared") == apart
    assert sorted(map(str, made)).count("network") == 1
    assert made.count("features") == made.count("grams") == made.count("judge") == made.count("ruler") == 1


def reference_of(record) -> dict[str, float]:
    return {name: value for name, value in record["metrics"].items() if "reference" in name}


def test_a_shelf_keeps_what_was_used_last_within_its_bytes():
    shelf = shelves.Shelf()
    assert shelf.get("a", lambda: torch.zeros(10)) is not shelf.get("a", lambda: torch.zeros(10))
    shelf.capacity = 100
    first = shelf.get("a", lambda: torch.zeros(10))
    shelf.get("b", lambda: {"x": (torch.zeros(10), first)})
    assert shelf.get("a", lambda: None) is first
    shelf.get("c", lambda: torch.zeros(6))
    assert list(shelf.kept) == ["a", "c"]
    shelf.get("d", lambda: torch.zeros(1000))
    assert shelves.bytes_of(shelf.kept) <= 100


def pictures_of(place: Place) -> dict[tuple[str, str], bytes]:
    """The lasting bytes of every finished run."""
    whole = [folder for folder in place.folders() if run_folder.is_whole(folder)]
    return {(folder.name, name): (folder / name).read_bytes() for folder in whole for name in run_folder.LASTING}


GRID = ("-m", "optimizer=adam", "optimizer.steps=4", "seed=0,1", "optimizer.learning_rate=0.02,1e30")


def test_a_batch_paints_what_single_runs_paint_but_for_the_one_that_fails(place: Place):
    code, said = place.stylelab(*GRID, "hydra/launcher=batched", "determinism=strict", "tracking=off")
    assert code == 1 and "2 finished, 2 failed" in said.replace("2 failed, 2 finished", "2 finished, 2 failed")
    assert said.count("lower optimizer.learning_rate") >= 2
    batched = pictures_of(place)
    assert len(place.folders()) == 4
    records = [run_folder.read(folder) for folder in place.folders()]
    assert [record["painted_together"] for record in records] == [4] * 4
    place.renew()
    place.stylelab(*GRID[:-1], "determinism=strict", "tracking=off", "optimizer.learning_rate=0.02")
    alone = pictures_of(place)
    assert alone and alone.items() <= batched.items()


def test_a_killed_batch_goes_on_with_each_of_its_runs_and_tracks_each(place: Place):
    grid = ["-m", "optimizer.steps=4", "seed=range(3)", "batch=3", "hydra/launcher=batched"]
    process = kills.begin(
        kills.stylelab, *place.arguments(*grid), log=place.log, at=(r"pastiche\.partial$", 2, kills.die)
    )
    process.join()
    assert process.exitcode == -signal.SIGKILL
    code, said = place.stylelab(*grid)
    assert code == 0, said
    assert place.statuses() == ["FINISHED"] * 3
    assert all(run_folder.is_whole(folder) for folder in place.folders())


def test_a_plan_counts_the_memory_of_runs_with_their_companions(configuration, monkeypatch, tmp_path, picture):
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "style.png"):
        picture(1, 40, 32).save(name)
    table = CountedTable()
    lines = []
    for seed in range(3):
        prepared = job.prepare(configuration({"batch": 2, "seed": seed}))
        lines.append(plan.Line(Member((), "", prepared), "new", 0, cost.Cost(seconds=1.0, peak_mb=100.0)))
    lines.append(replace(lines[0], state="done"))
    found = [plan._with_companions(line, lines, table).cost.peak_mb for line in lines]
    assert found == [100 + 3 + 5, 100 + 3 + 5, 100 + 3 + 5, 100]


class CountedTable(dict):
    """3 MiB of targets and 5 MiB of pairs, whatever the kind."""

    def __missing__(self, kind: str) -> cost.Sizes:
        return {10**9: {"bytes": 5 * cost.MEBIBYTE, "left": 3 * cost.MEBIBYTE}}


@pytest.mark.parametrize("shared", [False, True])
def test_the_network_is_let_go_of_once_it_is_laid_out_unless_other_runs_share_it(small_encoder, image, shared):
    if shared:
        shelves.share_between_runs()
    network = small_encoder("relu2_1")
    expected = network(image(1, 24, 20))["relu2_1"]
    resident, gone = Resident(network), weakref.ref(network)
    del network
    laid_out = resident.encoder(torch.float64, only=True)
    assert (gone() is None) != shared
    assert resident.encoder(torch.float64) is laid_out
    torch.testing.assert_close(laid_out.features(image(1, 24, 20), ["relu2_1"])["relu2_1"], expected)


def test_a_network_that_is_wanted_in_another_arithmetic_too_is_kept(small_encoder, image):
    resident = Resident(small_encoder("relu2_1"))
    exact, rough = (resident.encoder(kind) for kind in (torch.float64, torch.bfloat16))
    features = [each.features(image(1, 24, 20), ["relu2_1"])["relu2_1"].double() for each in (exact, rough)]
    torch.testing.assert_close(*features, rtol=0.1, atol=0.05)
