"""One run, checked and identified before anything heavy is imported: spec, pictures, parameter files, key, folder."""

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from stylelab import parameter_files, pictures, provenance, run_folder
from stylelab.addresses import redacted
from stylelab.pyramid import Level, levels
from stylelab.spec import Spec, Vgg19
from stylelab.store import store_uri

DATA = Path(__file__).parent / "data"
CAFFE_MEANS = DATA / "vgg19_caffe_mean_activations.json"
EMBEDDED = DATA / "embedded.safetensors"


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a run needs, found good."""

    spec: Spec
    config: Mapping[str, Any]  # the resolved configuration that the spec was built from, less credentials
    levels: tuple[Level, ...]
    files: Mapping[str, Path]  # the files that the network is built from: parameters, means
    ruler: Path | None  # Caffe parameters for the reference evaluator, where they are at hand
    decisive: Mapping[str, Any]  # all that decides the picture
    key: str
    folder: Path

    @cached_property
    def content(self) -> Image.Image:
        """The content picture, decoded when it is first wanted: a sweep checks hundreds of jobs and keeps none."""
        return _decoded(self.spec.images.content, self.decisive["content"], key="images.content")

    @cached_property
    def styles(self) -> tuple[Image.Image, ...]:
        """The style pictures."""
        named = enumerate(zip(self.spec.images.style, self.decisive["styles"], strict=True))
        return tuple(_decoded(path, sha256, key=f"images.style[{n}]") for n, (path, sha256) in named)

    @property
    def company(self) -> Hashable:
        """What runs that are painted together have in common: size, network, precision and where they are painted."""
        spec = self.spec
        sizes = tuple(level.canvas for level in self.levels)
        parameters = tuple(sorted(self.decisive["parameters"].items()))
        place = spec.device, spec.threads, spec.determinism
        return sizes, spec.network, parameters, spec.pooling, spec.all_layers, spec.precision, place

    def located(self) -> "Job":
        """The job with the folder that its key has now: another process may have made one under another name."""
        found = run_folder.find(Path(self.spec.outputs).resolve(), self.key, likely=self.folder)
        return replace(self, folder=found or self.folder)


def _decoded(path: str, sha256: str, *, key: str) -> Image.Image:
    picture = pictures.load(path, key=key)
    if parameter_files.sha256_of(Path(path)) != sha256:
        raise ValueError(f"{key}: {path} was changed after the run had been checked: start it again")
    return picture


_sizes: dict[str, pictures.Size] = {}  # of the pictures checked by this process, by sha256


def _size_of(path: str, *, key: str) -> pictures.Size:
    """A picture's size, after decoding it whole; once for the same bytes."""
    if not Path(path).is_file():
        return pictures.load(path, key=key).size  # says what is wrong
    try:
        sha256 = parameter_files.sha256_of(Path(path))
    except OSError:
        return pictures.load(path, key=key).size
    if sha256 not in _sizes:
        _sizes[sha256] = pictures.load(path, key=key).size
    return _sizes[sha256]


def prepare(config: Mapping[str, Any], *, gpus: float | None = None) -> Job:
    """Check a resolved configuration and everything that it names.

    Args:
        gpus: that the run gets on the machine where it will be painted; None: it is painted here.

    Raises:
        ValueError: one line that says where, what was found and what would do; nothing was written or painted.
    """
    spec = Spec.from_config(config)
    content = _size_of(spec.images.content, key="images.content")
    styles = [_size_of(path, key=f"images.style[{n}]") for n, path in enumerate(spec.images.style)]
    sizes = levels(spec, content=content, styles=styles)
    if spec.tracking.store == "mlflow":
        store_uri(spec.tracking.uri, Path(spec.outputs))  # refuses what can be no store's address
    check_writable(Path(spec.outputs))
    ruler = _ruler(spec)
    files = network_files(spec)
    spec = replace(spec, device=_device(spec.device) if gpus is None else _device_elsewhere(spec.device, gpus))
    decisive = provenance.canonical(
        asdict(spec) | {"device": spec.device.split(":")[0]},
        content=parameter_files.sha256_of(Path(spec.images.content)),
        styles=[parameter_files.sha256_of(Path(path)) for path in spec.images.style],
        parameters={part: parameter_files.sha256_of(path) for part, path in files.items()},
    )
    key = provenance.key_of(decisive)
    outputs = Path(spec.outputs).resolve()
    named = outputs / "runs" / folder_name(spec.images.content, spec.images.style, key)
    return Job(
        spec=spec,
        config=_without_credentials(config),
        levels=sizes,
        files=files,
        ruler=ruler,
        decisive=decisive,
        key=key,
        folder=run_folder.find(outputs, key, likely=named) or named,
    )


def _without_credentials(config: Mapping[str, Any]) -> Mapping[str, Any]:
    tracking = config["tracking"]
    return config | {"tracking": tracking | {"uri": redacted(tracking["uri"])}} if tracking.get("uri") else config


def folder_name(content: str, styles: Sequence[str], key: str) -> str:
    """`town-waves-0123456789ab`: the pictures' names, safe and short, and the start of the key."""
    style = "+".join(_safe(path)[:40] for path in styles[:3]) or "none"
    return f"{_safe(content)[:40]}-{style}-{key[:12]}"


def _safe(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", Path(path).stem).strip(".") or "picture"


def check_writable(outputs: Path) -> None:
    """Refuse an outputs folder that can't be made or written to."""
    try:
        (outputs / "runs").mkdir(parents=True, exist_ok=True)
        probe = outputs / "runs" / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"outputs: can't write to {outputs} ({error.strerror}): choose another by outputs=..."
        ) from error


def network_files(spec: Spec) -> dict[str, Path]:
    """The files that the network is built from, fetched into the cache where they are not at hand.

    Raises:
        ValueError: a file is missing, is another one than it says, or can't be fetched.
    """
    if not isinstance(spec.network, Vgg19):
        return {"parameters": EMBEDDED} if spec.network.source == "embedded" else {}
    found = {"parameters": network_file(spec.network)}
    if spec.network.normalised:
        found["means"] = _means_file(spec.network)
    return found


def network_file(network: Vgg19) -> Path:
    """The parameter file of a network, verified, fetched into the cache where it is not at hand.

    Raises:
        ValueError: it is missing, damaged, of another source, or can't be fetched.
    """
    cache = Path(network.cache).expanduser()
    fetched = Path(network.url).name
    if network.path is None:
        _check_source(network.source, f"network.url: {fetched}", parameter_files.hash_in_name(fetched) or "")
    file = parameter_files.at_hand(path=network.path, url=network.url, cache=cache)
    if file is None:
        return _fetched(network, cache)
    if not file.is_file():
        raise ValueError(
            f"network.path: there is no file {file}: give the path of {fetched} or another parameter "
            "file of VGG-19, or use network=embedded, which needs none"
        )
    is_original = network.path is not None or file.name == fetched  # an extract has another sha256
    sha256 = parameter_files.verify(file, sha256=network.sha256 if is_original else None)
    _check_source(network.source, f"network.path: {file}", sha256)
    return file


def _fetched(network: Vgg19, cache: Path) -> Path:
    """Fetch the file, keep its convolutions, drop the rest."""
    kept = parameter_files.features_file(network.url, cache)
    with parameter_files.one_at_a_time(kept):
        if not kept.is_file():  # else another process was quicker
            original = parameter_files.fetch(network.url, sha256=network.sha256, cache=cache)
            from stylelab.parameters import extract  # imports torch, which only a fresh download needs here

            extract(original, kept)
            original.unlink()
    return kept


KNOWN = {  # first digits of the sha256 of files whose training is known -> their source
    "d01eb7cb": "caffe",  # neural-style's vgg19-d01eb7cb.pth
    "dcbb9e9d": "torchvision",  # VGG19_Weights.IMAGENET1K_V1
}


def _check_source(source: str, file: str, sha256: str) -> None:
    """Refuse a known file under the wrong preprocessing; `file` is the key that names it, and its name."""
    true_source = KNOWN.get(sha256[:8], source)
    if true_source != source:
        raise ValueError(
            f"{file} holds {true_source}'s parameters, but is to be read as {source}'s: "
            f"use network=vgg19_{true_source}, or another file"
        )


def _means_file(network: Vgg19) -> Path:
    if network.means is not None:
        file = Path(network.means).expanduser()
        if not file.is_file():
            raise ValueError(f"network.means: there is no file {file}: measure one by stylelab-parameters")
        return file
    if network.source == "caffe":
        return CAFFE_MEANS
    raise ValueError(
        f"network.means: none are shipped for {network.source}: measure them by "
        f"stylelab-parameters --mean-activation PHOTOGRAPHS network=vgg19_{network.source}"
    )


def _ruler(spec: Spec) -> Path | None:
    if spec.reference.path is not None:
        file = Path(spec.reference.path).expanduser()
        if not file.is_file():
            raise ValueError(f"reference.path: there is no file {file}: give Caffe parameters of VGG-19, or null")
        _check_source("caffe", f"reference.path: {file}", parameter_files.sha256_of(file))
        return file
    if isinstance(spec.network, Vgg19) and spec.network.source == "caffe" and spec.network.path is not None:
        return Path(spec.network.path).expanduser()
    cache = Path(spec.reference.cache).expanduser()
    return parameter_files.at_hand(path=None, url=spec.reference.url, cache=cache)


def _device(name: str) -> str:
    """`auto` decided: a GPU where there is one. Torch is asked only where the system may have one."""
    if name == "cpu" or (name == "auto" and os.name == "posix" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(name.partition(":")[2] or 0) >= count:
        raise ValueError(f"device: found {name}, but this machine offers {count} CUDA devices: use device=cpu")
    return name


def _device_elsewhere(name: str, gpus: float) -> str:
    if name.startswith("cuda") and not gpus:
        raise ValueError(f"device: found {name}, but hydra.launcher.gpus=0 gives a run none: use hydra.launcher.gpus=1")
    return ("cuda" if gpus else "cpu") if name == "auto" else name
