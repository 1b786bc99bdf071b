"""One contestant's process: `python benchmarks/painter.py SETTINGS` with the settings as JSON; started by `turns.py`.

`who` is ours (the engine, through `stylelab.transfer.transfer`), command (the command line), plain (`plain.py`), import
(`import torch`), lbfgs (an optimizer alone), one of the machine's limits (matrix, convolution, copy), or several of
these in turn. Each is a generator that does one turn's work at a time and yields what tells the float32 loss.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gate import CudaClock, Gate

Settings = Mapping[str, Any]
Turns = Iterator[Callable[[], float]]


def unknown() -> float:
    """The loss where none is told."""
    return float("nan")


def ours(of: Settings, gate: Gate) -> Turns:
    """The engine on a configuration; judged in float32 by the yardstick every `judge_every` evaluations."""
    spec, device, network = _prepared(of["config"], gate)
    judge = _judge(spec, device) if of["judge_every"] else None
    for step in _painting(spec, device, network):
        evaluated(step)
        judged = (
            judge is not None and step.number % of["judge_every"] == 0 and step.level == len(spec.pyramid.steps) - 1
        )
        yield (lambda step=step: judge(step.canvas)) if judged else unknown


def _prepared(config: Mapping[str, Any], gate: Gate) -> tuple[Any, Any, Any]:
    """What a configuration asks for, the device as it wants it, and the network there."""
    from stylelab import devices, networks
    from stylelab.sharing import Resident
    from stylelab.spec import Spec

    spec = Spec.from_config(config)
    device = devices.prepare_device(spec.device, threads=spec.threads, determinism=spec.determinism)
    if device.type == "cuda":
        gate.clock = CudaClock(spec.device)
    gate.imported()
    files = {"parameters": Path(spec.network.path)}
    found = networks.encoder(spec.network, pooling=spec.pooling, layers=spec.all_layers, files=files)
    return spec, device, Resident(found.to(device))


def _painting(spec: Any, device: Any, network: Any) -> Iterator[Any]:
    from stylelab import pictures
    from stylelab.transfer import transfer

    content = pictures.load(spec.images.content, key="images.content")
    styles = [pictures.load(path, key="images.style") for path in spec.images.style]
    return transfer(spec, network, content=content, styles=styles, device=device)


def together(of: Settings, gate: Gate) -> Turns:
    """Runs of one configuration and seeds of their own, up to `most` canvases at once; a turn is `rounds` of them."""
    from dataclasses import replace

    from stylelab.shelves import share_between_runs
    from stylelab.together import Together

    share_between_runs()
    spec, device, network = _prepared(of["config"], gate)
    paintings = [_painting(replace(spec, seed=seed), device, network) for seed in range(of["runs"])]
    at_once = Together(of["most"])
    while True:
        for _ in range(of["rounds"]):
            steps = [next(each) for each in paintings]
            at_once.evaluate([step.evaluation for step in steps])
            for step in steps:
                step.begin()  # as a run does; the losses of the step before are looked at by the painting
        yield unknown


def evaluated(step: Any) -> None:
    """Have a step's canvas evaluated now, not when the next one is asked for."""
    assert step.losses.total >= 0


def _judge(spec: Any, device: Any) -> Any:
    import plain
    import torch

    pictures = (plain.read(path).to(device) for path in (spec.images.content, spec.images.style[0]))
    loss = plain.Loss(plain.Network(spec.network.path).to(device), *pictures)

    def judge(canvas: torch.Tensor) -> float:
        with torch.no_grad():
            return float(loss(plain.to_caffe(canvas)))

    return judge


def plainly(of: Settings, gate: Gate) -> Turns:
    """The yardstick."""
    import plain
    import torch

    device = torch.device(of["device"])
    if device.type == "cuda":
        gate.clock = CudaClock(of["device"])
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.optim.Adam([torch.zeros(1)])  # imports the compiler: 900 modules, 125 MB
    gate.imported()
    content, style = (plain.read(of[key]).to(device) for key in ("content", "style"))
    first = content if of["start"] == "content" else plain.noise(content.shape, of["seed"]).to(device)
    loss = plain.Loss(plain.Network(of["parameters"]).to(device), content, style)
    if of.get("compiled"):
        loss = torch.compile(loss.__call__)
    for _, found in plain.paint(loss, first, optimizer=of["optimizer"], steps=of["steps"]):
        yield lambda found=found: found


def matrix(of: Settings, gate: Gate) -> Turns:
    """A square matrix product a turn."""
    left, right = (_drawn((of["side"], of["side"]), of, gate) for _ in range(2))
    while True:
        left @ right
        yield unknown


def convolution(of: Settings, gate: Gate) -> Turns:
    """A convolution of 3 x 3 a turn, channels last, as VGG-19's third block has it."""
    import torch

    layout = torch.channels_last
    image, filters = (_drawn(size, of, gate).contiguous(memory_format=layout) for size in (of["image"], of["filters"]))
    while True:
        torch.nn.functional.conv2d(image, filters, padding=1)
        yield unknown


def copy(of: Settings, gate: Gate) -> Turns:
    """Numbers copied from one place to another, a turn."""
    source = _drawn((of["numbers"],), of, gate)
    target = source.clone()
    while True:
        target.copy_(source)
        yield unknown


def _drawn(size: Sequence[int], of: Settings, gate: Gate) -> Any:
    import torch

    if of["device"].startswith("cuda"):
        gate.clock = CudaClock(of["device"])
        fast = of["arithmetic"] == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = fast
    kind = torch.float32 if of["arithmetic"] == "tf32" else getattr(torch, of["arithmetic"])
    return torch.randn(*size, device=of["device"]).to(kind)


def lbfgs(of: Settings, gate: Gate) -> Turns:
    """A step of L-BFGS a turn, its history full, on a quadratic; memory counts from before it is made."""
    import torch

    canvas = 0.5 + torch.rand(of["size"], device=of["device"])
    curvature = 0.5 + torch.rand(of["size"], device=of["device"])
    make = _torch_step if of["torch"] else _our_step
    small = make(torch.rand(1000, device=of["device"]), torch.rand(1000, device=of["device"]), of["history"])
    for _ in range(of["history"] + 2):
        small()  # libraries make their working memory
    if canvas.is_cuda:
        gate.clock = CudaClock(of["device"])
    gate.imported()
    step = make(canvas, curvature, of["history"])
    for _ in range(of["history"] + 2):
        step()
    while True:
        yield unknown
        step()


SMALL = 0.01  # learning rate, so that the minimum stays far away


def _our_step(canvas: Any, curvature: Any, history: int) -> Callable[[], None]:
    from stylelab import devices
    from stylelab.descent import lbfgs_for

    devices.give_back_freed_memory(largest=64 * canvas.nbytes // 3)  # of a painting: relu1_1
    optimizer = lbfgs_for(canvas.device, history=history, learning_rate=SMALL)

    def step() -> None:
        canvas.copy_(optimizer.step(canvas, canvas * curvature))

    return step


def _torch_step(canvas: Any, curvature: Any, history: int) -> Callable[[], None]:
    import torch

    optimizer = torch.optim.LBFGS([canvas], lr=SMALL, max_iter=1, history_size=history)

    def closure() -> float:
        canvas.grad = canvas * curvature
        return 1.0

    return lambda: optimizer.step(closure)


def importing(of: Settings, gate: Gate) -> Turns:
    """`import torch` alone."""
    import torch

    yield lambda: float(torch.zeros(()))


def several(of: Settings, gate: Gate) -> Turns:
    """Several programs in one process, one turn of each after the other."""
    programs = [WHO[each["who"]](each, gate) for each in of["programs"]]
    while True:
        for program in programs:
            yield next(program)


WHO = {
    "ours": ours,
    "together": together,
    "plain": plainly,
    "import": importing,
    "lbfgs": lbfgs,
    "matrix": matrix,
    "convolution": convolution,
    "copy": copy,
    "several": several,
}


def command(of: Settings, gate: Gate) -> None:
    """`stylelab OVERRIDES`, with a turn's end after each step that it paints."""
    from stylelab import __main__, transfer

    paint = transfer.transfer

    def painting(*arguments: Any, **settings: Any) -> Any:
        for step in paint(*arguments, **settings):
            evaluated(step)
            gate.end_turn()
            yield step

    transfer.transfer = painting
    sys.argv = ["stylelab", *of["overrides"]]
    __main__.main()


def main() -> None:
    """Take turns until there are no more."""
    settings, gate = json.loads(sys.argv[1]), Gate()
    if settings["who"] == "command":
        command(settings, gate)
        return
    for loss in WHO[settings["who"]](settings, gate):
        gate.end_turn(loss)


if __name__ == "__main__":
    main()
