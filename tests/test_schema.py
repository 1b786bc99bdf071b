"""Frozen records out of plain mappings: unknown, missing and mistyped values, each by its key."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Literal

import pytest

from stylelab import schema


@dataclass(frozen=True, kw_only=True)
class Brush:
    kind: Literal["round", "flat"]
    width: int
    pressure: float
    hairs: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Knife:
    kind: Literal["knife"]
    name: str
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Studio:
    tool: Brush | Knife
    names: tuple[str, ...]
    limit: int | None
    paint: Literal["oil", "ink"]


BRUSH = {"kind": "round", "width": 3, "pressure": 0.5, "hairs": [1, 2.5]}
STUDIO = {"tool": BRUSH, "names": ["a", "b"], "limit": None, "paint": "oil"}


def with_values(**changes: object) -> dict:
    return STUDIO | changes


def test_a_whole_mapping_becomes_a_frozen_record_with_tuples_and_floats():
    found = schema.build(Studio, STUDIO)
    assert found.tool == Brush(kind="round", width=3, pressure=0.5, hairs=(1.0, 2.5))
    assert type(found.tool.hairs[0]) is float
    assert found.names == ("a", "b")
    with pytest.raises(FrozenInstanceError):
        found.paint = "ink"


def test_a_whole_number_does_where_a_number_is_wanted():
    found = schema.build(Brush, BRUSH | {"pressure": 2})
    assert found.pressure == 2.0 and type(found.pressure) is float


@pytest.mark.parametrize(
    ("tool", "record"),
    [
        (BRUSH | {"kind": "round"}, Brush),
        (BRUSH | {"kind": "flat"}, Brush),  # the second choice of the same record
        ({"kind": "knife", "name": "n", "clean": True}, Knife),
    ],
)
def test_of_several_records_the_first_field_chooses(tool, record):
    assert type(schema.build(Studio, with_values(tool=tool)).tool) is record


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_values(tool=BRUSH | {"widht": 3}), r"^tool.widht: there is no such key; did you mean width\?$"),
        (with_values(nmaes=[]), r"^nmaes: there is no such key; did you mean names\?$"),
        (with_values(extra=1), r"^extra: there is no such key; there is tool, names, limit or paint$"),
        ({"tool": BRUSH, "names": [], "limit": 1}, r"^paint: the value is missing$"),
        (with_values(tool={"kind": "flat", "width": 1, "pressure": 1.0}), r"^tool.hairs: the value is missing$"),
        (with_values(tool=3), r"^tool: found 3, expected a group of keys or a group of keys$"),
        (with_values(tool=BRUSH | {"kind": "sponge"}), r"^tool.kind: found 'sponge', expected round, flat or knife$"),
        (with_values(tool={"width": 3}), r"^tool.kind: found None, expected round, flat or knife$"),
        (
            with_values(tool=BRUSH | {"kind": ["round"]}),
            r"^tool.kind: found \['round'\], expected round, flat or knife$",
        ),
        (with_values(tool=BRUSH | {"width": 3.5}), r"^tool.width: found 3.5, expected a whole number$"),
        (with_values(tool=BRUSH | {"width": "3"}), r"^tool.width: found '3', expected a whole number$"),
        (with_values(tool=BRUSH | {"width": True}), r"^tool.width: found True, expected a whole number$"),
        (with_values(tool=BRUSH | {"width": None}), r"^tool.width: found None, expected a whole number$"),
        (with_values(tool=BRUSH | {"pressure": "1e-3"}), r"^tool.pressure: found '1e-3', expected a number$"),
        (with_values(tool=BRUSH | {"pressure": False}), r"^tool.pressure: found False, expected a number$"),
        (with_values(tool=BRUSH | {"hairs": [1, "x"]}), r"^tool.hairs\[1\]: found 'x', expected a number$"),
        (with_values(tool=BRUSH | {"hairs": 1.0}), r"^tool.hairs: found 1.0, expected a list of numbers or null$"),
        (with_values(names="ab"), r"^names: found 'ab', expected a list of texts$"),
        (with_values(names=[1]), r"^names\[0\]: found 1, expected a text$"),
        (with_values(limit="none"), r"^limit: found 'none', expected a whole number or null$"),
        (with_values(limit={"a": 1}), r"^limit: found \{'a': 1\}, expected a whole number or null$"),
        (with_values(paint="wax"), r"^paint: found 'wax', expected oil or ink$"),
        (with_values(paint=["oil"]), r"^paint: found \['oil'\], expected oil or ink$"),
        (
            with_values(tool={"kind": "knife", "name": "n", "clean": 1}),
            r"^tool.clean: found 1, expected true or false$",
        ),
    ],
)
def test_each_mistake_is_named_by_its_key_with_what_was_found_and_what_would_do(values, message):
    with pytest.raises(ValueError, match=message):
        schema.build(Studio, values)


def test_a_list_in_place_of_a_mapping_is_refused():
    with pytest.raises(ValueError, match=r"^tool: found \[\], expected the keys kind, name or clean$"):
        schema.build(Knife, [], where="tool")


@pytest.mark.parametrize(
    ("check", "refused", "allowed", "message"),
    [
        (lambda v: schema.at_least("a.b", v, 1), (0, -3), (1, 2), "a.b: found .*, expected 1 or more"),
        (
            lambda v: schema.seed("a.b", v),
            (-(2**63) - 1, 2**64),
            (-(2**63), 2**64 - 1),
            "a.b: found .*, expected a whole",
        ),
        (
            lambda v: schema.positive("a.b", v),
            (0.0, -1.0, float("inf"), float("nan")),
            (1e-300, 5.0),
            "a.b: found .*, expected a number above zero",
        ),
        (
            lambda v: schema.part("a.b", v),
            (-0.1, 1.0, float("nan")),
            (0.0, 0.999),
            "a.b: found .*, expected 0 or more and less than 1",
        ),
        (
            lambda v: schema.non_negative_and_not_all_zero("a.b", v),
            ([0.0, 0.0], [1.0, -1.0], [float("nan"), 1.0], [float("inf")], []),
            ([0.0, 1.0], [2.0]),
            "a.b: found .*, expected numbers of zero or more, not all zero",
        ),
        (
            lambda v: schema.same_length("a.b", v, "c.d", [1, 2], "item per c"),
            ([], [1], [1, 2, 3]),
            ([3, 4],),
            r"a.b has \d items? but c.d has 2: give one item per c",
        ),
    ],
)
def test_the_checks_refuse_what_they_name_and_let_the_rest_through(check, refused, allowed, message):
    for value in refused:
        with pytest.raises(ValueError, match=message):
            check(value)
    for value in allowed:
        check(value)


def test_counted_says_one_level_and_two_levels():
    assert [schema.counted(values, "level") for values in ([], [1], [1, 2])] == ["0 levels", "1 level", "2 levels"]
