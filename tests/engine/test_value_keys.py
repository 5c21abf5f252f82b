"""Values as bytes: what has none, and where that stands."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections import Counter, OrderedDict, namedtuple
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from flujo_nb.engine.context_view import view_of
from flujo_nb.engine.value_keys import MAX_DEPTH, NotKeyable, encoded


class Color(Enum):
    RED = 1
    BLUE = "1"


class Shade(Enum):
    RED = 1


class Mode(Flag):
    READ = 1
    WRITE = 2


Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Data:
    x: Any
    y: Any = None


@dataclasses.dataclass
class Other:
    x: Any
    y: Any = None


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: Any = None
    _hidden: Any = PrivateAttr(default=None)


class Twin(BaseModel):
    x: Any = None


NOON = datetime.datetime(2024, 5, 5, 12)
DIFFERENT: list[Any] = [
    None,
    *(0, False, 0.0, -0.0, 0j, "0", b"0", Decimal(0), Fraction(0)),
    *(1, True, 1.0, "1", b"1", 10**5000, -1),
    *(float("nan"), float("inf"), float("-inf"), Decimal("nan")),
    *("", b"", [], (), {}, set(), frozenset(), OrderedDict(), Counter(), MappingProxyType({})),
    *([None], (None,), {None}, [[]], [(), ()], [[], [None]], [[None], []]),
    *([1, 2], [2, 1], ["1", 2], ["12"], ["1", "2"], [["1"], "2"], ["1", ["2"]]),
    *({"a": 1}, {"a": True}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {1: "a"}, {(1,): "a"}),
    *(OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), Counter("aab")),
    *(Color.RED, Color.BLUE, Shade.RED, Mode.READ, Mode.READ | Mode.WRITE),
    *(Point(1, 2), Point(2, 1), (1, 2), Data(1, 2), Other(1, 2), Data(1), Data(True)),
    *(Model(x=1), Model(x="1"), Model(x=1, y=2), Twin(x=1)),
    *(NOON, NOON.date(), NOON.time(), NOON.replace(fold=1), NOON.replace(microsecond=1)),
    *(NOON.replace(tzinfo=datetime.UTC), NOON.replace(tzinfo=ZoneInfo("Europe/Berlin"))),
    *(datetime.timedelta(1), datetime.timedelta(seconds=1), UUID(int=1)),
    *(PurePosixPath("a"), "a", re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a")),
    *(range(3), range(4), ..., "\ud800", "\0"),
]


def test_values_that_differ_in_type_or_content_have_different_bytes() -> None:
    codes = [encoded(value) for value in DIFFERENT]
    assert len({*codes}) == len(DIFFERENT)
    assert codes == [encoded(value) for value in DIFFERENT]


def test_no_values_bytes_begin_anothers() -> None:
    codes = sorted(map(encoded, DIFFERENT))
    assert not [one for one, after in pairwise(codes) if after.startswith(one)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (float("nan"), -float("nan")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (Counter("ab"), Counter("ba")),
        (Model(x=[1]), Model.model_validate({"x": [1]})),
        (Model(x=[1]), view_of(Model(x=[1]))),
        (Twin(x=[1]), view_of(Twin(x=[1]))),
    ],
)
def test_values_that_hold_the_same_have_the_same_bytes(left: object, right: object) -> None:
    assert encoded(left) == encoded(right)


def test_a_private_attribute_counts() -> None:
    one, two = Model(), Model()
    two._hidden = 1
    assert encoded(one) != encoded(two)


class Conn:
    pass


CYCLE: list[Any] = [1]
CYCLE.append({"again": CYCLE})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (print, "input: builtin_function_or_method"),
        (Conn(), "input: Conn"),
        ([1, {"a": (Conn(),)}], "input[1]['a'][0]: Conn"),
        (Model(x={"rows": [Data(1, Conn())]}), "input.x['rows'][0].y: Conn"),
        ({(1, 2): Conn()}, "input[…]: Conn"),
        ({Conn}, "input{…}: type"),
        (CYCLE, "input[1]['again']: a value that holds itself"),
        (bytearray(b"a"), "input: bytearray"),
        (datetime.datetime.now(ZoneInfo("UTC")).tzinfo, "input: ZoneInfo"),
    ],
)
def test_what_has_no_bytes_is_named_with_its_place(value: object, told: str) -> None:
    with pytest.raises(NotKeyable) as raised:
        encoded(value)
    assert raised.value.at("input") == told


def test_a_time_zone_of_a_users_own_has_no_bytes() -> None:
    class Zone(datetime.tzinfo):
        pass

    with pytest.raises(NotKeyable, match="Zone"):
        encoded(NOON.replace(tzinfo=Zone()))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_is_bounded() -> None:
    assert encoded(nested(MAX_DEPTH))
    with pytest.raises(NotKeyable, match=f"more than {MAX_DEPTH} values in one another"):
        encoded(nested(MAX_DEPTH + 1))


def test_one_value_may_stand_in_several_places() -> None:
    shared = [1]
    assert encoded([shared, shared]) == encoded([[1], [1]])


def test_the_number_of_parts_can_be_bounded() -> None:
    assert encoded([[1], [2]], max_parts=4) == encoded([[1], [2]])
    with pytest.raises(NotKeyable, match="too many parts"):
        encoded([[1], [2]], max_parts=3)
