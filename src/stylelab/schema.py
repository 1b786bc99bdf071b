"""Frozen records out of plain mappings: every key there, none too many, each value of its type, each error by name."""

import difflib
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}


def build(record: type, values: object, *, where: str = "") -> Any:
    """An instance of a keyword-only dataclass, checked against its annotations.

    Args:
        record: its fields are int, float, str, bool, None, Literal, tuple[X, ...], another such dataclass, or a union.
        values: a mapping from field names; lists become tuples, whole numbers become floats where one is wanted.
        where: the key that holds the mapping, "" at the top.

    Raises:
        ValueError: names the key, what was found and what would do.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: found {values!r}, expected the keys {_listed(_names(record))}")
    names = _names(record)
    for key in values:
        if key not in names:
            raise ValueError(f"{_join(where, key)}: there is no such key{suggestion(str(key), names)}")
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"{_join(where, missing[0])}: the value is missing")
    hints = get_type_hints(record)
    return record(**{name: _value(hints[name], values[name], _join(where, name)) for name in names})


def keys_of(record: type, values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The keys that each mapping among a record's values needs: of several records those of the one that it chooses.

    Raises:
        ValueError: a mapping chooses none.
    """
    found = {}
    for name, hint in get_type_hints(record).items():
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        records = [option for option in options if is_dataclass(option)]
        if records and isinstance(values.get(name), Mapping):
            found[name] = tuple(_names(_chosen(records, values[name], name)))
    return found


def suggestion(found: str, known: Sequence[str]) -> str:
    """The end of an error line: the nearest of the known names, or all of them."""
    near = difflib.get_close_matches(found, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there is {_listed(known)}"


def _value(hint: Any, value: object, where: str) -> object:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    records = [option for option in options if is_dataclass(option)]
    if records and isinstance(value, Mapping):
        return build(_chosen(records, value, where), value, where=where)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_value(get_args(option)[0], item, f"{where}[{n}]") for n, item in enumerate(value))
        if get_origin(option) is Literal and value in get_args(option) and not isinstance(value, bool):
            return value
        if option is float and type(value) in (int, float):
            return float(value)
        if isinstance(option, type) and type(value) is option:
            return value
    raise ValueError(f"{where}: found {value!r}, expected {' or '.join(_kind(option) for option in options)}")


def _chosen(records: Sequence[type], value: Mapping, where: str) -> type:
    """Of several records the one whose first field, a Literal, allows what the mapping says."""
    if len(records) == 1:
        return records[0]
    field = _names(records[0])[0]
    known = {choice: record for record in records for choice in get_args(get_type_hints(record)[field])}
    found = value.get(field)
    if not isinstance(found, str) or found not in known:
        raise ValueError(f"{_join(where, field)}: found {found!r}, expected {_listed(list(known))}")
    return known[found]


def _kind(option: Any) -> str:
    if get_origin(option) is tuple:
        (item, *_) = get_args(option)
        each = _kind(item).removeprefix("a ")
        return f"[{each}, ...]" if get_origin(item) is Literal else f"a list of {each}s"
    if get_origin(option) is Literal:
        return _listed([str(choice) for choice in get_args(option)])
    return KINDS.get(option, "a group of keys")


def _names(record: type) -> list[str]:
    return [field.name for field in fields(record)]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def at_least(key: str, value: int, least: int) -> None:
    """Refuse a number below the least one that does."""
    if value < least:
        raise ValueError(f"{key}: found {value}, expected {least} or more")


def seed(key: str, value: int) -> None:
    """Refuse what torch's generators can't be seeded with."""
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{key}: found {value}, expected a whole number from -2^63 to 2^64 - 1")


def positive(key: str, value: float) -> None:
    """Refuse zero, negative and infinite numbers."""
    if not 0 < value < math.inf:
        raise ValueError(f"{key}: found {value}, expected a number above zero")


def part(key: str, value: float) -> None:
    """Refuse what is not in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{key}: found {value}, expected 0 or more and less than 1")


def non_negative_and_not_all_zero(key: str, values: Sequence[float]) -> None:
    """Refuse weights that are negative, infinite or together nothing."""
    if any(not 0 <= value < math.inf for value in values) or not any(values):
        raise ValueError(f"{key}: found {list(values)}, expected numbers of zero or more, not all zero")


def same_length(key: str, values: Sequence, other_key: str, other: Sequence, needed: str) -> None:
    """Refuse a list that does not match another one item by item."""
    if len(values) != len(other):
        raise ValueError(f"{key} has {counted(values, 'item')} but {other_key} has {len(other)}: give one {needed}")


def counted(values: Sequence, noun: str) -> str:
    """`1 level`, `2 levels`."""
    return f"{len(values)} {noun}{'' if len(values) == 1 else 's'}"
