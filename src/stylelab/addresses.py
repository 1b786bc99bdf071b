"""Addresses of tracking stores: which can be one, and what of them may be shown."""

import os
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

HARMLESS = {  # parameters of an address that hold no secret; the values of all others are hidden
    "application_name", "charset", "client_encoding", "connect_timeout", "dbname", "host", "mode", "port", "sslmode",
    "target_session_attrs", "timeout",
}  # fmt: skip
FILES = ("sqlite", "file")  # whose addresses are paths: an @ in one is part of a name
EXAMPLES = ("USER:PASSWORD@HOST/", "HOST:PORT")  # how our own errors begin what stands after the scheme
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks", "databricks-uc", "uc")

# Hydra hands a sweep's overrides on with colons and equals signs escaped: http\\://someone\\:secret@host.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(\\*://)(\S+)")
# All up to the last @ before the path; or, where a password has a slash, up to the last @ of all.
_USER = re.compile(r"[^/?#]*@|[^/?#@:]*:\S*@")
# A port that is no number may be the password of an address whose @ was forgotten.
_NO_PORT = re.compile(r"^(\[[^\]]*\]|[^/?#:\\[]+)(\\*:)(?!\d+(?:\W|$))[^/?#]+")
_PARAMETER = re.compile(r"([?&;])([\w.-]+)(\\*=)([^&;\s]*)")
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET")
_VARIABLE = re.compile(rf"(\w*(?:{_SECRET_NAME.pattern})\w*\\*=)[^\s,]+")  # MLFLOW_TRACKING_PASSWORD=...


def redacted(text: str) -> str:
    """A text as it may be shown: addresses in it without user, password and what their parameters hold."""
    return _VARIABLE.sub(r"\1***", _ADDRESS.sub(_without_secrets, text))


def _without_secrets(address: re.Match) -> str:
    scheme, colon, rest = address.groups()
    if scheme.partition("+")[0] in FILES or rest.startswith(EXAMPLES):
        return address.group()
    return f"{scheme}{colon}{_PARAMETER.sub(_hidden, _without_user(rest))}"


def _without_user(rest: str) -> str:
    found = _USER.match(rest)
    return _NO_PORT.sub(r"\1\2***", rest[found.end() :] if found else rest)


def _hidden(parameter: re.Match) -> str:
    before, name, equals, value = parameter.groups()
    return f"{before}{name}{equals}{value if name in HARMLESS else '***'}"


def redacted_values(values: Any) -> Any:
    """Nested mappings and lists with every text in them redacted."""
    if isinstance(values, Mapping):
        return {
            key: "***" if value and _SECRET_NAME.search(str(key)) else redacted_values(value)
            for key, value in values.items()
        }
    if isinstance(values, list | tuple):
        return [redacted_values(value) for value in values]
    return redacted(values) if isinstance(values, str) else values


def with_credentials(address: str) -> str:
    """What to use for an address that was recorded without credentials: MLFLOW_TRACKING_URI where it is the same."""
    of_environment = os.environ.get("MLFLOW_TRACKING_URI", "")
    return of_environment if of_environment and redacted(of_environment) == redacted(address) else address


def check(address: str, *, key: str) -> None:
    """Refuse what can be no store's address.

    Args:
        key: where it was given, for the error.

    Raises:
        ValueError: says what is wrong, without the address's secrets.
    """
    scheme, separator, rest = address.partition("://")
    base = scheme.partition("+")[0]
    example = "write one as sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or http://HOST:PORT"
    if address in ("databricks", "uc", "databricks-uc"):
        return
    if base == "file" or not separator:
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1") and address:
            return
        raise ValueError(f"{key}: {redacted(address)!r} is no store that MLflow still writes to: {example}")
    plugins = {entry.name for entry in metadata.entry_points(group="mlflow.tracking_store")}
    if base not in plugins and base not in SCHEMES:
        raise ValueError(f"{key}: MLflow knows no store of the kind {scheme}: {example}")
    if base in FILES:
        return
    at_in_path = "@" in rest.partition("/")[2] or rest.count("@") > 1
    if re.search(r"[\s'\"<>\\]", address) or at_in_path or not _without_user(rest).strip("/"):
        raise ValueError(
            f"{key}: the address can't be taken apart: {example}, and in user, password and parameters %40 for @, %2F "
            "for /, %3A for :, %20 for a space"
        )
    try:
        found = urlsplit(address)
        host, _ = found.hostname, found.port
    except ValueError:
        raise ValueError(f"{key}: the port of {redacted(address)} is no number: {example}") from None
    if base in ("http", "https") and not host:
        raise ValueError(f"{key}: {redacted(address)} names no host: {example}")
