"""Where conf/ and the project's own files lie, the values that conf/ asks for, and Hydra's errors in one line."""

import os
import re
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylelab.schema import suggestion

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1] if (PACKAGE.parents[1] / "conf" / "config.yaml").is_file() else None
CONF = CHECKOUT / "conf" if CHECKOUT else PACKAGE / "conf"
PICTURES = CHECKOUT / "images" if CHECKOUT else PACKAGE / "own_pictures"


def root() -> Path:
    """The folder under which outputs/ lies: the repository's, or the working directory of an installed package."""
    return CHECKOUT or Path.cwd()


def register_resolvers() -> None:
    """Give conf/ its `${root:}`, `${pictures:}`, `${network_cache:}` and `${scaled:pixels,factor}`."""
    cache = os.environ.get("STYLELAB_CACHE", "~/.cache/stylelab")
    for name, resolver in {
        "root": lambda: str(root()),
        "pictures": lambda: str(PICTURES),
        "network_cache": lambda: str(Path(cache).expanduser()),
        "scaled": lambda pixels, factor: round(pixels * factor),
    }.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def plain(config: DictConfig) -> dict:
    """A configuration as resolved plain mappings and lists, less Hydra's own part and the experiment's name."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    values.pop("hydra", None)
    return values


CONFIGURATION_ERRORS = (HydraException, OmegaConfBaseException)


def in_one_line(error: Exception) -> str:
    """What Hydra or OmegaConf says in several lines, in one that names the key, what was found and what would do."""
    text = str(error)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(unknown.group(1))
    if isinstance(error, MissingConfigException) and (options := re.search(r"Available options in '([^']+)':", text)):
        group, found = options.group(1), re.search(r"Could not find '([^']+)'", text)
        listed = text[options.end() :].partition("Config search path")[0]
        option = found.group(1).removeprefix(f"{group}/") if found else "that"
        return f"{group}: there is no option {option}{suggestion(option, sorted(listed.split()))}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and "full_key" not in line]
    key = re.search(r"full_key: (\S+)", text)
    where = f"{key.group(1)}: " if key and key.group(1) not in lines[0] else ""
    return where + " ".join(line for line in lines if not line.startswith(("object_type=", "See https", "Set the env")))


def _unknown_key(key: str) -> str:
    parent, _, name = key.rpartition(".")
    siblings = [known.rpartition(".")[2] for known in _keys() if known.rpartition(".")[0] == parent]
    return f"{key}: there is no such key{suggestion(name, siblings or _keys())}"


def _keys() -> list[str]:
    """Every key of conf/ with its group, as a user would write it."""
    found = []
    for file in sorted(CONF.glob("**/*.yaml")):
        group = file.relative_to(CONF).parent.as_posix()
        values = OmegaConf.load(file)
        prefix = "" if group == "." else f"{group}."
        if group != "experiment":
            found += [prefix + key for key in values if key not in ("defaults", "hydra")]
            found += [f"{key}.{name}" for key in values if group == "." for name in _children(values, key)]
    groups = [folder.name for folder in CONF.iterdir() if folder.is_dir()]
    return list(dict.fromkeys(groups + found))


def _children(values: DictConfig, key: str) -> list[str]:
    node = OmegaConf.to_container(values, resolve=False)[key]
    return list(node) if isinstance(node, dict) and key not in ("hydra", "defaults") else []
