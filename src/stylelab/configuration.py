"""Where conf/ and the project's own files lie, the values that conf/ asks for, and Hydra's errors in one line."""

import os
import re
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylelab.addresses import redacted, redacted_values
from stylelab.schema import suggestion

PACKAGE = Path(__file__).resolve().parent
CONF = (PACKAGE / "conf").resolve()  # in a checkout a link to the top level's conf/
PICTURES = (PACKAGE / "own_pictures").resolve()  # and to images/
CHECKOUT = PACKAGE.parents[1] if (PACKAGE.parents[1] / "pyproject.toml").is_file() else None


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


def ours(config: DictConfig) -> DictConfig:
    """A configuration without Hydra's own part."""
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]) if "hydra" in config else config


def plain(config: DictConfig) -> dict:
    """A configuration as resolved plain mappings and lists, without Hydra's own part."""
    return OmegaConf.to_container(ours(config), resolve=True, throw_on_missing=True)


def as_yaml(config: DictConfig | ListConfig) -> str:
    """A configuration as a file may hold it: not resolved, less credentials."""
    return OmegaConf.to_yaml(OmegaConf.create(redacted_values(OmegaConf.to_container(config))))


CONFIGURATION_ERRORS = (HydraException, OmegaConfBaseException)


def in_one_line(error: Exception) -> str:
    """An error's message in one line, less credentials; what Hydra or OmegaConf say in several names key and cure."""
    return redacted(_line(error))


def _line(error: Exception) -> str:
    if not isinstance(error, CONFIGURATION_ERRORS):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OverrideParseException):
        reason = " ".join(error.message.split())
        return f"{error.override}: can't be read ({reason}): quote it from the shell, as '{error.override}'"
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
    if key in _keys():
        group = key.partition(".")[0]
        cure = ": put each network's file into the cache (STYLELAB_CACHE) instead" if key == "network.path" else ""
        return f"{key}: the option of {group} chosen here, or one of those swept over, has no such key{cure}"
    siblings = [known.rpartition(".")[2] for known in _keys() if known.rpartition(".")[0] == parent]
    hint = suggestion(name, siblings) if siblings else suggestion(key, _keys())
    if hint.startswith("; did you mean") and parent and siblings:
        hint = hint.replace("did you mean ", f"did you mean {parent}.")
    return f"{key}: there is no such key{hint}"


NOT_KEYS = ("defaults", "hydra", "_target_", "_convert_")  # of a file of conf/; Hydra reads them


def _keys() -> list[str]:
    """Every key of conf/ with its group, as a user would write it."""
    found = []
    for file in sorted(CONF.glob("**/*.yaml")):
        group = ".".join(file.relative_to(CONF).parent.parts) or "."
        values = OmegaConf.load(file)
        prefix = "" if group == "." else f"{group}."
        if group != "experiment":
            found += [prefix + key for key in values if key not in NOT_KEYS]
            found += [f"{key}.{name}" for key in values if group == "." for name in _children(values, key)]
    groups = [folder.name for folder in CONF.iterdir() if folder.is_dir()]
    return list(dict.fromkeys(groups + found))


def _children(values: DictConfig, key: str) -> list[str]:
    node = OmegaConf.to_container(values, resolve=False)[key]
    return list(node) if isinstance(node, dict) and key not in ("hydra", "defaults") else []
