"""A tracked run once more: its record found, today's circumstances held against it, the two pictures compared."""

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from stylelab import parameter_files, pictures, provenance, run_folder
from stylelab.addresses import redacted, with_credentials
from stylelab.composition import composed
from stylelab.configuration import CONF, plain, root
from stylelab.job import Job
from stylelab.patience import Unanswered, ask
from stylelab.schema import keys_of
from stylelab.spec import Spec

MEAN_TOLERATED = 1.0  # mean difference of a pixel's channel, of 255: no eye sees it
LOSS_TOLERATED = 0.01  # difference of the final loss, as a part of it


@dataclass(frozen=True)
class Original:
    """What is known of the run to reproduce."""

    record: Mapping[str, Any]  # its run.json, or what its picture tells of it
    picture: Path
    losses: Path | None
    run_id: str | None  # in MLflow


@dataclass(frozen=True)
class Verdict:
    """How near a reproduction came."""

    word: str  # identical, within tolerance or different
    max_pixel: int  # largest difference of a channel, of 255
    mean_pixel: float
    loss: float | None  # relative difference of the final loss, where both are known

    def __str__(self) -> str:
        if self.word == "identical":
            return "identical: pastiche.png has the same bytes"
        loss = "" if self.loss is None else f", final loss by {self.loss:.2g} of it (tolerated {LOSS_TOLERATED})"
        return (
            f"{self.word}: pixels differ by at most {self.max_pixel} of 255, {self.mean_pixel:.3g} in the mean "
            f"(tolerated {MEAN_TOLERATED}){loss}"
        )


def find(name: str, *, uri: str | None, outputs: Path, fetched: Path) -> Original:
    """The run of an MLflow run id, a run's folder or a pastiche.png.

    Args:
        uri, outputs: where runs are tracked, as in the configuration.
        fetched: folder for what the store gives back.

    Raises:
        ValueError: there is no such run, or it never finished.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _of_folder(path, path / "pastiche.png")
    if path.is_file():
        beside = run_folder.read(path.parent)
        if beside.get("files", {}).get("pastiche.png") == parameter_files.sha256_of(path):
            return _of_folder(path.parent, path)
        return _of_picture(path)
    return _of_store(name, uri, outputs, fetched)


def _of_folder(folder: Path, picture: Path) -> Original:
    record = run_folder.read(folder)
    if record.get("status") != "FINISHED" or not picture.is_file():
        raise ValueError(
            f"{folder}: holds no finished run: give the folder of one, its pastiche.png or an MLflow run id"
        )
    return Original(record, picture, folder / "losses.csv", record.get("mlflow_run_id"))


def _of_picture(picture: Path) -> Original:
    """A picture alone tells all that decided it, but neither paths nor circumstances."""
    try:
        texts = pictures.read_texts(picture)
        decisive = json.loads(texts["stylelab.configuration"])
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{picture}: is no pastiche.png of a run: it does not hold its configuration") from error
    record = {"decisive": decisive, "key": texts["stylelab.key"], "configuration": configuration_of(decisive)}
    return Original(record, picture, None, None)


def _of_store(run_id: str, uri: str | None, outputs: Path, fetched: Path) -> Original:
    from stylelab.store import open_store, store_uri  # MLflow takes seconds to import

    address = store_uri(uri, outputs)
    local = Path(address.removeprefix("sqlite:///"))
    if address.startswith("sqlite:///") and not local.is_file():
        raise ValueError(
            f"{run_id}: is no folder or picture, and there is no store {local}: say where by tracking.uri=..."
        )
    try:
        client, _ = ask(lambda talk: open_store(address, outputs=outputs, experiment="stylelab"), address)
    except Unanswered as unanswered:
        raise ValueError(
            f"{run_id}: is no folder or picture, and the store can't be asked: {unanswered}"
        ) from unanswered
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"{run_id}: is no folder or picture, and no run of the store {redacted(address)}") from error
    if run.info.status != "FINISHED":
        raise ValueError(f"{run_id}: is {run.info.status}: only a finished run can be reproduced")
    try:
        found = {
            name: Path(client.download_artifacts(run_id, name, str(fetched)))
            for name in ("run.json", "pastiche.png", "losses.csv")
        }
    except (MlflowException, OSError) as error:
        raise ValueError(f"{run_id}: its run.json, pastiche.png or losses.csv is no longer in the store") from error
    return Original(json.loads(found["run.json"].read_text()), found["pastiche.png"], found["losses.csv"], run_id)


def configuration_of(decisive: Mapping[str, Any]) -> dict[str, Any]:
    """A whole configuration from what decided a picture; what did not decide it comes from conf/."""
    flat = decisive["configuration"]
    source = flat["network.source"]
    network = f"vgg19_{source}" if source in ("caffe", "torchvision") else "embedded"
    found = plain(composed([f"network={network}"]))
    for group in {key.partition(".")[0] for key in flat if "." in key}:
        own = _nested({key.partition(".")[2]: value for key, value in flat.items() if key.startswith(f"{group}.")})
        kept = {key: found[group][key] for key in found[group] if f"{group}.{key}" in provenance.NOT_IN_KEY}
        found[group] = kept | own
    return found | {key: value for key, value in flat.items() if "." not in key}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"style.0": a, "style.1": b} as {"style": [a, b]}."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        name, _, index = key.partition(".")
        if index:
            found.setdefault(name, []).append(value)  # in their order, as `flattened` wrote them
        else:
            found[name] = value
    return found


def as_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that another version of the code wrote, as today's reads it.

    Keys that are gone are left out, those that are new come from conf/; where they decide the picture, `differences`
    names them.

    Raises:
        ValueError: it asks for what is gone, an optimizer for example.
    """
    default = plain(composed([]))
    found = {key: config.get(key, value) for key, value in default.items()}
    for group, keys in keys_of(Spec, found).items():
        if lacking := [key for key in keys if key not in found[group]]:
            known = _option_with(group, keys)
            found[group] = found[group] | {key: known[key] for key in lacking}
        found[group] = {key: found[group][key] for key in keys}
    return found


def _option_with(group: str, keys: Sequence[str]) -> Mapping[str, Any]:
    """The values of the first option of a group that has these keys."""
    for file in sorted((CONF / group).glob("*.yaml")):
        values = plain(composed([f"{group}={file.stem}"]))[group]
        if set(values) == set(keys):
            return values
    raise AssertionError(f"conf/{group} has no option for {', '.join(keys)}")


def configured(original: Original, overrides: Sequence[str], *, outputs: Path, folder: Path) -> dict[str, Any]:
    """The configuration of a reproduction.

    Args:
        overrides: where pictures and parameters lie now: `images.content=...`, `network.path=...`; options of groups:
            `tracking=off`.
        outputs: the original's, whose store is used.
        folder: the fresh outputs folder.
    """
    from stylelab.store import store_uri

    config = as_today(original.record["configuration"])
    config["reference"] = plain(composed([]))["reference"] | {"path": config["reference"]["path"]}
    values = []
    for override in overrides:
        group, _, option = override.partition("=")
        if (CONF / group / f"{option}.yaml").is_file():
            config[group] = plain(composed([override]))[group]
        else:
            values.append(override)
    merged = OmegaConf.merge(config, OmegaConf.from_dotlist(values))
    found = OmegaConf.to_container(merged, resolve=True)
    if found["tracking"]["store"] == "mlflow":
        uri = found["tracking"]["uri"]
        found["tracking"]["uri"] = store_uri(uri and with_credentials(uri), outputs)
    return found | {"outputs": str(folder), "force": False, "retry": "failed", "sweep": None}


def differences(original: Original, job: Job) -> Iterator[str]:
    """Whatever is not as it was when the original was painted, one line each."""
    before, now = original.record["decisive"], job.decisive
    if before["algorithm"] != now["algorithm"]:
        yield f"algorithm: version {before['algorithm']}, now {now['algorithm']}"
    for name, was, here in _inputs(before, now):
        if was != here:
            yield f"{name}: sha256 was {_short(was)}, now {_short(here)}"
    flat_before, flat_now = before["configuration"], now["configuration"]
    for key in sorted(flat_before.keys() | flat_now.keys()):
        if flat_before.get(key, ...) != flat_now.get(key, ...):
            yield f"{key}: was {flat_before.get(key, 'no key')}, now {flat_now.get(key, 'no key')}"
    yield from _circumstances(original.record)


def _inputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str | None, str | None]]:
    yield "images.content", before["content"], now["content"]
    for number in range(max(len(before["styles"]), len(now["styles"]))):
        was, here = (side["styles"][number : number + 1] for side in (before, now))
        yield f"images.style[{number}]", *(side[0] if side else None for side in (was, here))
    for part in sorted(before["parameters"].keys() | now["parameters"].keys()):
        yield f"network's {part}", before["parameters"].get(part), now["parameters"].get(part)


def _circumstances(record: Mapping[str, Any]) -> Iterator[str]:
    """Code, libraries and machine, where the record tells them."""
    commit, dirty = provenance.commit(root())
    if "commit" in record and record["commit"] != commit:
        yield f"code: commit was {_short(record['commit'])}, now {_short(commit)}"
    if record.get("dirty"):
        yield "code: it had changes that were not committed"
    if "commit" in record and dirty:
        yield "code: it has changes that are not committed"
    versions = provenance.versions()
    for name, was in record.get("versions", {}).items():
        if versions.get(name) != was:
            yield f"{name}: version was {was}, now {versions.get(name)}"
    machine, was = provenance.machine(), record.get("machine", {})
    for name in ("processor", "cores", "system"):
        if name in was and was[name] != machine[name]:
            yield f"{name}: was {was[name]}, now {machine[name]}"


def _short(value: str | None) -> str:
    return "none" if value is None else value[:12]


def compared(original: Original, folder: Path) -> Verdict:
    """Hold a reproduction's folder against the original."""
    import numpy as np

    again = folder / "pastiche.png"
    same = again.read_bytes() == original.picture.read_bytes()
    old, new = (pictures.load(path, key="pastiche.png") for path in (original.picture, again))
    loss = None
    if original.losses is not None and original.losses.is_file():
        was, here = _final_loss(original.losses), _final_loss(folder / "losses.csv")
        loss = abs(here - was) / abs(was) if was else abs(here)
    if old.size != new.size:
        return Verdict("different", 255, 255.0, loss)
    apart = np.abs(np.asarray(old, dtype=np.int16) - np.asarray(new, dtype=np.int16))
    near = apart.mean() <= MEAN_TOLERATED and (loss is None or loss <= LOSS_TOLERATED)
    word = "identical" if same else "within tolerance" if near else "different"
    return Verdict(word, int(apart.max()), float(apart.mean()), loss)


def _final_loss(losses: Path) -> float:
    with losses.open(newline="") as file:
        return [float(row["total"]) for row in csv.DictReader(file)][-1]


def fetched_folder() -> tempfile.TemporaryDirectory:
    """A folder for what the store gives back, removed at the end."""
    return tempfile.TemporaryDirectory(prefix="stylelab-")
