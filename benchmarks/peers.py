"""Other programs for the same purpose, run from a checkout that the user gives: their files, network and settings.

Each gets the same parameters in its own format, pictures of the same size, content relu4_2, style relu1_1 to relu5_1
and no total variation; pooling is average where the program has that.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from turns import Contestant

HERE = Path(__file__).parent
CAFFE_MEAN = torch.tensor((123.68, 116.779, 103.939))  # red, green, blue
FIRST = "features.0"


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What every contestant is asked to paint."""

    content: Path  # PNG of the size to paint
    style: Path
    start: str  # content or noise
    optimizer: str  # lbfgs or adam
    steps: int
    gpu: bool
    environment: Mapping[str, str]


def converted(parameters: Mapping[str, Tensor], *, scale: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Caffe's parameters for a program that feeds RGB pixels as (255 x - mean) / scale.

    Equal but at the borders, where padding with zeros pads with another colour.
    """
    found = dict(parameters)
    filters = parameters[f"{FIRST}.weight"][:, [2, 1, 0]]
    found[f"{FIRST}.weight"] = filters * scale.view(1, 3, 1, 1)
    shift = (filters.sum((2, 3)) * (mean - CAFFE_MEAN)).sum(1)
    found[f"{FIRST}.bias"] = parameters[f"{FIRST}.bias"] + shift
    return found


def write_parameters(parameters: Mapping[str, Tensor], file: Path) -> None:
    """A file as the peers' users have it: with a classifier, here of zeros, that nobody uses and everybody loads."""
    sizes = {0: (4096, 512 * 7 * 7), 3: (4096, 4096), 6: (1000, 4096)}
    whole = {key: value.contiguous() for key, value in parameters.items()}
    for number, size in sizes.items():
        whole[f"classifier.{number}.weight"], whole[f"classifier.{number}.bias"] = (
            torch.zeros(size),
            torch.zeros(size[0]),
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(whole, file)


def copied(checkout: Path, needed: str, folder: Path) -> Path:
    """The programs of a checkout in a folder of ours, so that nothing is written into the user's."""
    if not (checkout / needed).is_file():
        raise ValueError(f"--peer: {checkout} has no {needed}: give the folder of the program's checkout")
    shutil.copytree(checkout, folder, ignore=_all_but_programs, dirs_exist_ok=True)
    return folder


def _all_but_programs(folder: str, names: Sequence[str]) -> list[str]:
    kept = (".py", ".icc", ".html", ".css", ".js")
    return [name for name in names if not (name.endswith(kept) or (Path(folder) / name).is_dir()) or name == ".git"]


Starter = Callable[[Painting], Contestant]


def neural_style_pt(checkout: Path, parameters: Mapping[str, Tensor], folder: Path) -> Starter:
    """ProGamerGov/neural-style-pt."""
    copied(checkout, "neural_style.py", folder)
    write_parameters(parameters, folder / "vgg19-d01eb7cb.pth")

    def start(of: Painting) -> Contestant:
        arguments = ["-content_image", of.content, "-style_image", of.style, "-image_size", _long_side(of)]
        arguments += ["-gpu", "0" if of.gpu else "c", "-tv_weight", 0, "-pooling", "avg"]
        arguments += ["-model_file", "vgg19-d01eb7cb.pth", "-optimizer", of.optimizer, "-num_iterations", of.steps]
        arguments += ["-init", "image" if of.start == "content" else "random", "-seed", 0, "-save_iter", 0]
        return _contestant("neural-style-pt", folder, "neural_style.py", arguments, of, imports=("torchvision",))

    return start


def crowsonkb(checkout: Path, parameters: Mapping[str, Tensor], folder: Path, *, own_loss: bool = False) -> Starter:
    """crowsonkb/style-transfer-pytorch; with its own loss, or with its Gram matrices."""
    copied(checkout, "style_transfer/style_transfer.py", folder)
    deviation, mean = (torch.tensor(values) * 255 for values in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
    # fed (x - mean) / deviation of x in [0, 1], which is (255 x - 255 mean) / (255 deviation)
    write_parameters(converted(parameters, scale=deviation, mean=mean), _torch_home(folder))

    def start(of: Painting) -> Contestant:
        side = _long_side(of)
        arguments = [of.content, of.style, "--min-scale", side, "--end-scale", side, "--initial-iterations", of.steps]
        arguments += ["--optimizer", of.optimizer, "--pooling", "average", "--devices", "cuda" if of.gpu else "cpu"]
        arguments += ["--init", "content" if of.start == "content" else "gray", "--save-every", 10**9]
        arguments += [] if own_loss else ["--tv-weight", 0]
        name = "style-transfer-pytorch" + (" with its own loss" if own_loss else "")
        program = "style_transfer.cli"
        return _contestant(name, folder, program, arguments, of, imports=(program,), gram_for_wasserstein=not own_loss)

    return start


def gordicaleksa(checkout: Path, parameters: Mapping[str, Tensor], folder: Path) -> Starter:
    """gordicaleksa/pytorch-neural-style-transfer: max pooling only, L-BFGS with a line search."""
    copied(checkout, "neural_style_transfer.py", folder)
    mean = torch.tensor((123.675, 116.28, 103.53))
    write_parameters(converted(parameters, scale=torch.ones(3), mean=mean), _torch_home(folder))

    def start(of: Painting) -> Contestant:
        arguments = ["--content_img_name", of.content, "--style_img_name", of.style, "--height", _height(of)]
        arguments += ["--tv_weight", 0, "--optimizer", of.optimizer]
        arguments += ["--init_method", "content" if of.start == "content" else "random"]
        imports = ("torchvision", "cv2", "matplotlib.pyplot")
        return _contestant("gordicaleksa", folder, "neural_style_transfer.py", arguments, of, imports=imports)

    return start


PEERS = {
    "neural-style-pt": neural_style_pt,
    "style-transfer-pytorch": crowsonkb,
    "style-transfer-pytorch-own-loss": partial(crowsonkb, own_loss=True),
    "gordicaleksa": gordicaleksa,
}


def seated(given: Sequence[str], parameters: Path, folder: Path) -> list[Starter]:
    """The peers named on the command line as NAME=CHECKOUT, ready to start.

    Raises:
        ValueError: an unknown name, or a folder without the program.
    """
    found, tensors = [], {key: value.float() for key, value in load_file(parameters).items()}
    for each in given:
        name, _, checkout = each.partition("=")
        if name not in PEERS or not checkout:
            raise ValueError(f"--peer: found {each}, expected NAME=CHECKOUT with a name out of {', '.join(PEERS)}")
        found.append(PEERS[name](Path(checkout).expanduser(), tensors, folder / name))
    return found


def _contestant(
    name: str,
    folder: Path,
    program: str,
    arguments: Sequence[object],
    of: Painting,
    *,
    imports: Sequence[str],
    gram_for_wasserstein: bool = False,
) -> Contestant:
    settings = {
        "folder": str(folder),
        "program": program,
        "arguments": [str(argument) for argument in arguments],
        "imports": imports,
        "gpu": of.gpu,
        "gram_for_wasserstein": gram_for_wasserstein,
    }
    return Contestant(
        name=name,
        command=(sys.executable, str(HERE / "peer.py"), json.dumps(settings)),
        environment={"TORCH_HOME": str(folder), **of.environment},
    )


def _torch_home(folder: Path) -> Path:
    """Where torchvision looks for VGG-19's parameters before it fetches them."""
    return folder / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"


def _size(of: Painting) -> tuple[int, int]:
    from PIL import Image

    with Image.open(of.content) as picture:
        return picture.size


def _long_side(of: Painting) -> int:
    return max(_size(of))


def _height(of: Painting) -> int:
    return _size(of)[1]
