"""L-BFGS and Adam against torch.optim on the real loss, their states, and whose losses a canvas comes with."""

import gc
import io
import weakref
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from stylelab.descent import Adam, Lbfgs, LbfgsOnDevice, Move, Optimizer, descend, make_together, rows_on_device
from stylelab.objective import CONVENTIONS, Evaluation, Losses, Objective, Term, Weighting


@pytest.fixture
def objective(small_encoder, image) -> Callable[..., Objective]:
    """A style and a content loss over a small Encoder; `scale` multiplies the whole loss."""

    def build(dtype: torch.dtype = torch.float64, *, scale: float = 1.0, beta: float = 1e6) -> Objective:
        weighting = Weighting(
            convention=CONVENTIONS["authors_code"],
            alpha=1e2 * scale,
            beta=beta * scale,
            content={"relu3_1": 1.0},
            style={"relu1_1": 0.5, "relu2_1": 0.5},
            variation=0.0,
            variation_norm="squared",
        )
        return Objective(
            small_encoder("relu3_1", "relu1_1", "relu2_1", dtype=dtype),
            weighting=weighting,
            content=image(1, 24, 20).to(dtype),
            styles=[(1.0, image(2, 22, 26).to(dtype))],
        )

    return build


class Bowl:
    """sum of coefficient * (canvas - centre)^2 with its gradient: an objective with an answer on the page."""

    def __init__(self, coefficients: Tensor, centre: float = 0.0) -> None:
        self.coefficients, self.centre, self.asked = coefficients, centre, []

    def evaluate(self, canvas: Tensor) -> tuple[Losses, Tensor]:
        self.asked.append(canvas.clone())
        away = canvas - self.centre
        value = (self.coefficients * away.square()).sum()
        return Losses((Term("content", "relu1_1", 1.0),), value[None]), 2 * self.coefficients * away


def lbfgs(history: int = 4, learning_rate: float = 1.0) -> Lbfgs:
    return Lbfgs(history=history, learning_rate=learning_rate)


def lbfgs_on_device(history: int = 4, learning_rate: float = 1.0) -> LbfgsOnDevice:
    return LbfgsOnDevice(history=history, learning_rate=learning_rate)


def remembered(optimizer: Lbfgs | LbfgsOnDevice) -> int:
    return optimizer.state()["count"]


both_forms = pytest.mark.parametrize("lbfgs", [lbfgs, lbfgs_on_device])


def adam(clamp: bool = False) -> Adam:
    return Adam(learning_rate=0.02, beta1=0.9, beta2=0.99, clamp=clamp)


def paint(objective: Objective, canvas: Tensor, optimizer: Optimizer, steps: int) -> list[Tensor]:
    found = descend(lambda _: objective, canvas, optimizer, steps=steps, tolerance=0)
    return [evaluation.canvas for _, evaluation in found if evaluation.losses]


def paint_by_torch(objective: Objective, canvas: Tensor, optimizer_of: Callable, steps: int) -> list[Tensor]:
    pixels = torch.nn.Parameter(canvas.clone())
    optimizer, found = optimizer_of([pixels]), [canvas]

    def closure() -> float:
        losses, pixels.grad = objective.evaluate(pixels)
        return losses.total

    for _ in range(steps):
        optimizer.step(closure)
        found.append(pixels.detach().clone())
    return found


def their_lbfgs(history: int, learning_rate: float = 1.0) -> Callable:
    settings = {"lr": learning_rate, "max_iter": 1, "history_size": history}
    return lambda pixels: torch.optim.LBFGS(pixels, tolerance_grad=-1, tolerance_change=-1, **settings)


@both_forms
@pytest.mark.parametrize(("history", "learning_rate"), [(20, 1.0), (4, 1.0), (1, 1.0), (5, 0.5)])
def test_lbfgs_paints_the_canvases_of_torchs_own_also_after_the_history_wraps_round(
    objective, image, history, learning_rate, lbfgs
):
    of, start = objective(), image(3, 24, 20)
    ours = paint(of, start, lbfgs(history, learning_rate), 15)
    theirs = paint_by_torch(of, start, their_lbfgs(history, learning_rate), 15)
    for number, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert (found - expected).abs().max() < 1e-9, f"canvas {number}"
    assert (ours[-1] - ours[0]).abs().max() > 0.1
    assert of.evaluate(ours[-1])[0].total < 0.5 * of.evaluate(ours[0])[0].total


@both_forms
def test_lbfgs_paints_the_canvases_of_torchs_own_in_float32_to_the_digits_kept_of_its_pairs(objective, image, lbfgs):
    """Eleven bits, half of float32's memory: after 15 steps less than 8 bits can show."""
    of, start = objective(torch.float32), image(3, 24, 20).float()
    ours = paint(of, start, lbfgs(4), 15)
    theirs = paint_by_torch(of, start, their_lbfgs(4), 15)
    exact = paint_by_torch(objective(), start.double(), their_lbfgs(4), 15)
    moved = (exact[-1] - exact[0]).abs().max()
    for found, expected, reference in zip(ours, theirs, exact, strict=True):
        assert (found - expected).abs().max() < 0.01 * moved
        assert (found - reference).abs().max() < 1 / 255


@both_forms
def test_lbfgs_of_twenty_pairs_takes_the_memory_of_at_most_24_pictures(lbfgs):
    """Forty vectors of half the width, the last gradient and the last move; beside them a step makes two pictures."""
    centre, start = torch.linspace(0.2, 0.8, 3 * 64 * 64).view(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    optimizer = lbfgs(history=20, learning_rate=0.1)
    paint(Bowl(torch.linspace(1, 9, 3 * 64 * 64).view(1, 3, 64, 64), centre), start, optimizer, 24)
    assert remembered(optimizer) > 20
    held = (
        [optimizer.pairs.stretches, optimizer.gradient, optimizer.moved]
        if lbfgs is not lbfgs_on_device
        else [optimizer.memory.rows.stretches, optimizer.memory.gradient, optimizer.memory.moved]
    )
    assert sum(tensor.nbytes for tensor in held) <= 22.5 * start.nbytes


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-80, 2.0**20])
@pytest.mark.parametrize("optimizer", [lbfgs, lbfgs_on_device, adam])
def test_a_multiple_of_the_loss_gives_the_same_canvases_however_small(objective, image, scale, optimizer):
    start = image(3, 24, 20).float()
    whole = paint(objective(torch.float32), start, optimizer(), 12)
    part = paint(objective(torch.float32, scale=scale), start, optimizer(), 12)
    for found, expected in zip(part, whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("optimizer", [lbfgs, lbfgs_on_device, adam])
def test_a_loss_of_a_million_millionth_does_not_stall(objective, image, optimizer):
    start = image(3, 24, 20).float()
    whole = paint(objective(torch.float32), start, optimizer(), 12)
    part = paint(objective(torch.float32, scale=1e-12), start, optimizer(), 12)
    moved = (whole[-1] - whole[0]).abs().max()
    assert moved > 0.05
    assert (part[-1] - whole[-1]).abs().max() < 0.02 * moved
    assert all((after - before).abs().max() > 0 for before, after in pairwise(part))


@both_forms
def test_gradients_whose_squares_overflow_do_not_stop_lbfgs_from_remembering(objective, image, lbfgs):
    optimizer = lbfgs()
    found = paint(objective(torch.float32, scale=2.0**80), image(3, 24, 20).float(), optimizer, 6)
    assert remembered(optimizer) > 3
    assert found[-1].isfinite().all()


@both_forms
def test_torchs_own_lbfgs_stalls_where_ours_does_not(objective, image, lbfgs):
    """The departure that lbfgs.py marks: the first step of torch.optim.LBFGS shrinks with the loss."""
    of, start = objective(scale=1e-12), image(3, 24, 20)
    theirs = paint_by_torch(of, start, their_lbfgs(4), 1)
    ours = paint(of, start, lbfgs(), 1)
    assert (theirs[1] - start).abs().sum() < 1e-3
    assert (ours[1] - start).abs().sum().item() == pytest.approx(1.0)  # gradient / sum of magnitudes


@both_forms
def test_a_pair_without_positive_curvature_is_not_remembered(lbfgs):
    optimizer, hill = lbfgs(), Bowl(torch.tensor([-1.0, -1.0]))
    paint(hill, torch.tensor([0.3, 0.4]), optimizer, 4)
    assert remembered(optimizer) == 0


@both_forms
def test_steps_grow_while_the_curvature_is_negative_and_stop_growing_when_it_is_not(lbfgs):
    """On -x^2 the gradient never turns; on x^2 the second step is Newton's."""
    slow = lbfgs(learning_rate=2.0**-10)
    hill = [float(canvas) for canvas in paint(Bowl(torch.tensor([-1.0])), torch.tensor([0.25]), slow, 4)]
    assert [after - before for before, after in pairwise(hill)] == [2.0**-10, 2.0**-8, 2.0**-6, 2.0**-4]
    bowl = [float(canvas) for canvas in paint(Bowl(torch.tensor([1.0])), torch.tensor([0.09375]), lbfgs(), 2)]
    assert bowl == [0.09375, 0.03125, 0.0]


@both_forms
def test_no_step_changes_the_pixels_by_more_than_a_sixteenth_in_root_mean_square(lbfgs):
    """Whatever the curvature promises: one canvas far off costs a hundred steps."""
    for learning_rate in (1.0, 1e30):
        found = paint(Bowl(torch.tensor([1.0, 1e-3, 1e-6])), torch.tensor([1.0, 2.0, 3.0]), lbfgs(4, learning_rate), 8)
        moves = [(after - before).square().mean().sqrt().item() for before, after in pairwise(found)]
        assert max(moves) == pytest.approx(1 / 16, rel=1e-5)
        assert found[-1].isfinite().all()


@both_forms
def test_lbfgs_finds_the_bottom_of_a_bowl_in_as_many_steps_as_it_has_dimensions(lbfgs):
    bowl = Bowl(torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64), centre=0.5)
    found = paint(bowl, torch.tensor([0.0, 0.9, 0.2], dtype=torch.float64), lbfgs(10), 30)
    assert (found[-1] - 0.5).abs().max() < 1e-8


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_adam_paints_the_canvases_of_torchs_own(objective, image, dtype):
    of, start = objective(dtype), image(3, 24, 20).to(dtype)
    _, gradient = of.evaluate(start)
    epsilon = 1e-8 * float(gradient.square().mean().sqrt())
    theirs = paint_by_torch(
        of, start, lambda pixels: torch.optim.Adam(pixels, lr=0.02, betas=(0.9, 0.99), eps=epsilon), 15
    )
    ours = paint(of, start, adam(), 15)
    bound = 1e-10 if dtype == torch.float64 else 1e-3
    for number, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert (found - expected).abs().max() < bound, f"canvas {number}"


def test_adams_first_step_is_its_learning_rate_at_every_pixel(objective, image):
    first, second = paint(objective(), image(3, 24, 20), adam(), 1)
    assert (second - first).abs().sub(0.02).abs().max() < 1e-6  # Kingma & Ba, section 2.1


def test_a_canvas_that_has_arrived_stays_where_it_is():
    for optimizer in (adam(), lbfgs(), lbfgs_on_device()):
        start = torch.full((3,), 0.5)
        found = paint(Bowl(torch.ones(3), centre=0.5), start, optimizer, 600)  # the gradient is zero from the start
        assert all(torch.equal(canvas, start) for canvas in found)


def test_adam_clamps_where_it_is_told_to_and_only_there():
    far = Bowl(torch.ones(2), centre=5.0)
    start = torch.tensor([0.97, 0.5])
    kept, free = paint(far, start, adam(clamp=True), 40), paint(far, start, adam(), 40)
    assert kept[-1].tolist() == [1.0, 1.0]
    assert max(float(canvas.max()) for canvas in kept) == 1.0
    assert float(free[-1].max()) > 1.05
    assert kept[1].tolist() == pytest.approx([0.99, 0.52])


def saved_and_loaded(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("make", [lbfgs, lbfgs_on_device, adam])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 9])
def test_a_saved_state_goes_on_bit_for_bit(objective, image, make, dtype, stop):
    of, start = objective(dtype), image(3, 24, 20).to(dtype)
    optimizer, state, found = make(), None, []
    for index, evaluation in descend(lambda _: of, start, optimizer, steps=10, tolerance=0):
        if index == stop:
            state = saved_and_loaded({"canvas": evaluation.canvas, "optimizer": optimizer.state()})
        if index >= stop:
            found.append((evaluation.canvas, evaluation.losses.values()))
    again = make()
    again.restore(state["optimizer"])
    resumed = descend(lambda _: of, state["canvas"], again, steps=10, tolerance=0, first=stop)
    for (canvas, values), (index, other) in zip(found, resumed, strict=True):
        assert torch.equal(canvas, other.canvas), f"canvas {index}"
        assert values == other.losses.values()


@pytest.mark.parametrize("make", [lbfgs, lbfgs_on_device, adam])
def test_a_state_does_not_change_while_painting_goes_on(objective, image, make):
    of, optimizer = objective(), make()
    steps = descend(lambda _: of, image(3, 24, 20), optimizer, steps=8, tolerance=0)
    for index, _ in steps:
        if index == 5:
            break
    state = optimizer.state()
    copy = saved_and_loaded(state)
    list(steps)
    for key, value in copy.items():
        assert torch.equal(state[key], value) if isinstance(value, Tensor) else state[key] == value, key


def test_the_losses_of_a_step_are_those_of_its_own_canvas(objective, image):
    of = objective()
    for _, found in descend(lambda _: of, image(3, 24, 20), lbfgs(), steps=5, tolerance=0):
        assert found.losses.values() == of.evaluate(found.canvas)[0].values()


def test_a_step_is_one_evaluation():
    bowl = Bowl(torch.tensor([1.0, 2.0]))
    found = paint(bowl, torch.tensor([0.3, 0.4]), lbfgs(), 7)
    assert len(found) == len(bowl.asked) == 8
    assert all(torch.equal(canvas, asked) for canvas, asked in zip(found, bowl.asked, strict=True))


def test_the_first_canvas_is_never_written_to(objective, image):
    for optimizer in (lbfgs(), adam(clamp=True)):
        start = image(3, 24, 20)
        before = start.clone()
        found = paint(objective(), start, optimizer, 3)
        assert torch.equal(start, before) and torch.equal(found[0], before)
        assert not torch.equal(found[1], before)


def halving_steps(tolerance: float, **more: object) -> list[tuple[int, float]]:
    """Gradient descent on x^2 with half steps: each step brings the loss to a quarter."""

    class Halving:
        def step(self, canvas: Tensor, gradient: Tensor) -> Tensor:
            return canvas - gradient / 4

    bowl = Bowl(torch.ones(1, dtype=torch.float64))
    start = torch.ones(1, dtype=torch.float64)
    found = descend(lambda _: bowl, start, Halving(), steps=6, tolerance=tolerance, **more)
    return [(index, evaluation.losses.total) for index, evaluation in found]


def test_a_tolerance_stops_when_a_step_changes_the_loss_by_a_smaller_part():
    whole = [(index, 4.0**-index) for index in range(7)]
    assert halving_steps(0.0) == whole
    assert halving_steps(0.74) == whole  # each step takes three quarters away
    assert halving_steps(0.76) == whole[:2]
    assert halving_steps(0.76, previous=1.2) == whole[:1]  # a step of 1/6, taken before an interruption
    assert halving_steps(0.76, previous=100.0) == whole[:2]


@both_forms
def test_no_pair_is_formed_across_a_change_of_the_objective(lbfgs):
    narrow, wide = Bowl(torch.tensor([50.0, 50.0])), Bowl(torch.tensor([1.0, 1.0]))
    optimizer, counts = lbfgs(), []
    for _, evaluation in descend(
        lambda index: narrow if index < 3 else wide, torch.tensor([0.9, 0.8]), optimizer, steps=6, tolerance=0
    ):
        assert evaluation.canvas.isfinite().all()  # the step to it is made now
        counts.append(remembered(optimizer))
    assert counts[:5] == [0, 0, 1, 2, 2]  # the step from canvas 3 compares with none


def test_a_change_of_the_objective_is_no_reason_to_stop():
    narrow, wide = Bowl(torch.tensor([1.0]), centre=0.5), Bowl(torch.tensor([1.0]), centre=-1.0)
    found = descend(lambda index: narrow if index < 1 else wide, torch.tensor([0.0]), adam(), steps=3, tolerance=0.9)
    assert [index for index, _ in found] == [0, 1, 2]


def test_on_a_device_no_step_looks_at_a_number(image):
    """A tensor of the device `meta` has none, and says so to whoever asks."""
    optimizer, canvas = lbfgs_on_device(), torch.empty(1, 3, 24, 20, device="meta")
    for _ in range(6):
        canvas = optimizer.step(canvas, torch.empty_like(canvas))
    with pytest.raises((RuntimeError, NotImplementedError)):
        optimizer.state()


def bowls(count: int) -> list[Bowl]:
    curvatures = torch.linspace(1, 9, 3 * 24 * 20, dtype=torch.float64).view(1, 3, 20, 24)
    return [Bowl(curvatures.roll(7 * number), 0.2 + 0.1 * number) for number in range(count)]


def steps_together(of: list[Bowl], optimizers: list[LbfgsOnDevice], canvases: list[Tensor]) -> list[Tensor]:
    moves = [
        Move(optimizer, Evaluation(bowl, canvas))
        for bowl, optimizer, canvas in zip(of, optimizers, canvases, strict=True)
    ]
    make_together(moves)
    assert all("canvas" in vars(move) for move in moves)
    return [move.canvas for move in moves]


def test_canvases_that_step_together_go_where_each_would_alone(image):
    """Of any age, and also when some have left or come: one starts three steps late, one is done after eight."""
    of, starts = bowls(4), [image(number, 24, 20) for number in range(4)]
    alone = [paint(bowl, start, lbfgs(), 14) for bowl, start in zip(of, starts, strict=True)]
    optimizers, canvases, made = [lbfgs_on_device() for _ in of], list(starts), [0] * 4
    for turn in range(14):
        present = [number for number in range(4) if (number != 2 or turn >= 3) and (number != 1 or turn < 8)]
        found = steps_together(*([each[number] for number in present] for each in (of, optimizers, canvases)))
        for number, canvas in zip(present, found, strict=True):
            canvases[number], made[number] = canvas, made[number] + 1
            torch.testing.assert_close(canvas, alone[number][made[number]], rtol=0, atol=1e-10)
    assert made == [14, 8, 11, 14]
    assert len({id(each.memory) for each in optimizers}) == 2  # that of the one that left, and that of the others


def test_what_is_remembered_goes_with_the_last_that_remembers_it(image):
    """At once, not when Python looks for rings of references: on a GPU a graph's memory goes with it."""
    of, starts = bowls(2), [image(number, 24, 20) for number in range(2)]
    optimizers, canvases = [lbfgs_on_device() for _ in of], starts
    gc.disable()
    try:
        for _ in range(3):
            canvases = steps_together(of, optimizers, canvases)
        memory = weakref.ref(optimizers[0].memory)
        optimizers[0].step(canvases[0], torch.ones_like(canvases[0]))
        assert memory() is not None
        del optimizers[1]
        assert memory() is None
    finally:
        gc.enable()


def test_a_state_of_one_among_several_is_its_own_and_goes_on_alone(image):
    of, starts = bowls(3), [image(number, 24, 20) for number in range(3)]
    alone = [paint(bowl, start, lbfgs(), 12) for bowl, start in zip(of, starts, strict=True)]
    optimizers, canvases = [lbfgs_on_device() for _ in of], starts
    for _ in range(7):
        canvases = steps_together(of, optimizers, canvases)
    optimizers[2].objective_changed()  # of the third alone
    for number, then in ((0, lbfgs()), (1, lbfgs_on_device()), (1, lbfgs())):
        then.restore(saved_and_loaded(optimizers[number].state()))
        found = paint(of[number], canvases[number], then, 5)
        for canvas, expected in zip(found, alone[number][7:], strict=True):
            torch.testing.assert_close(canvas, expected, rtol=0, atol=1e-10)
    assert optimizers[2].state()["gradient"] is None and optimizers[1].state()["gradient"] is not None


def test_only_steps_of_one_kind_are_made_together(image):
    """Another history, another learning rate, another size, Adam: each makes its own step, and none is left out."""
    of, small = bowls(1)[0], Bowl(torch.ones(1, 3, 4, 4, dtype=torch.float64))
    kinds = [lbfgs_on_device(4), lbfgs_on_device(5), lbfgs_on_device(4, 0.5), adam(), lbfgs_on_device(4), lbfgs()]
    moves = [Move(kind, Evaluation(of, image(1, 24, 20))) for kind in kinds]
    moves.append(Move(lbfgs_on_device(4), Evaluation(small, image(1, 4, 4))))
    make_together(moves)
    assert [len(kind.memory.count) for kind in kinds if isinstance(kind, LbfgsOnDevice)] == [2, 1, 1, 2]
    assert ["canvas" in vars(move) for move in moves] == [True, True, True, False, True, False, True]
    assert torch.equal(moves[0].canvas, moves[4].canvas) and not torch.equal(moves[0].canvas, moves[2].canvas)


def test_many_stretches_are_as_one(image, monkeypatch):
    of, start = bowls(1)[0], image(3, 24, 20)
    whole = paint(of, start, lbfgs_on_device(), 12)
    monkeypatch.setattr(rows_on_device, "STRETCH_ON_DEVICE", 100)
    optimizer = lbfgs_on_device()
    for found, expected in zip(paint(of, start, optimizer, 12), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert optimizer.memory.rows.stretches.shape == (15, 1, 8, 96)
    again = lbfgs()
    again.restore(saved_and_loaded(optimizer.state()))
    torch.testing.assert_close(
        paint(of, whole[-1], again, 3)[-1], paint(of, start, lbfgs(), 15)[-1], rtol=0, atol=1e-10
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_no_step_waits_and_the_canvases_are_those_of_the_cpu(objective, image):
    bowl, start = Bowl(torch.linspace(1, 9, 3 * 24 * 20).view(1, 3, 20, 24), 0.4), image(3, 24, 20).float()
    wanted = paint(bowl, start, lbfgs(), 12)
    canvas, coefficients, optimizer = start.cuda(), bowl.coefficients.cuda(), lbfgs_on_device()
    for expected in wanted[1:]:
        gradient = 2 * coefficients * (canvas - bowl.centre)
        torch.cuda.set_sync_debug_mode("error")
        try:
            canvas = optimizer.step(canvas, gradient)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(canvas.cpu(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("first", "then"), [(lbfgs, lbfgs_on_device), (lbfgs_on_device, lbfgs)])
@pytest.mark.parametrize("stop", [0, 1, 3, 9])
def test_either_form_of_lbfgs_goes_on_from_the_others_state(objective, image, first, then, stop):
    of, start, whole = objective(), image(3, 24, 20), first()
    wanted, state = [], None
    for index, evaluation in descend(lambda _: of, start, whole, steps=12, tolerance=0):
        if index == stop:
            state = saved_and_loaded({"canvas": evaluation.canvas, "optimizer": whole.state()})
        wanted.append(evaluation.canvas)
    again = then()
    again.restore(state["optimizer"])
    for index, other in descend(lambda _: of, state["canvas"], again, steps=12, tolerance=0, first=stop):
        torch.testing.assert_close(other.canvas, wanted[index], rtol=0, atol=1e-10)
