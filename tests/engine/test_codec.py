"""What the codec writes comes back the same, or is refused where it stands."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import fractions
import math
import re
import sqlite3
import threading
import types
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from flujo_nb.engine.errors import ValueNotSaved
from flujo_nb.engine.store import codec_tables
from flujo_nb.engine.store.codec_tables import codec
from tests.engine import kinds
from tests.engine.coding import again, plain_codec, told
from tests.engine.kinds import (
    Access,
    Box,
    Checked,
    Color,
    Counted,
    Frozen,
    IntBox,
    Item,
    MyList,
    Names,
    Open,
    Point,
    Size,
)


class Plain:
    pass


BERLIN = ZoneInfo("Europe/Berlin")
NESTED: Any = {"a": [1, {"b": (2, {3: [None, {4.5}]})}]}


def deep(count: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(count):
        value = wrap(value)
    return value


VALUES = [
    *(None, True, False, 0, -1, 2**63, -(2**64), 10**4299, 10**4300, -(3**20_000)),
    *(0.0, -0.0, 1e22, 5e-324, math.nan, math.inf, -math.inf),
    *("", "text", "NaN", "Infinity", "a\0b", "\ud800", "e\u0301 \U0001f600", "$", "sk-"),
    *([], {}, (), [1, "a", None], {"a": 1.5}, {"$": "blob"}, {"a": {"$x": 1}}, {"\ud800": 1}),
    *({1: "a", "1": "b", 2.0: "c"}, {None: 1}, {(1, 2): [3]}, {math.nan: 1}, {"b": 1, "a": 2}),
    *((1, (2, [3])), [math.nan, -0.0], {"x": math.inf}, ["\udfff", 10**5000]),
    *({1, 2.5, "a"}, frozenset({(1, frozenset())}), {math.nan}, {(1, math.nan)}, set()),
    *(complex(-0.0, math.nan), decimal.Decimal("-0E+5"), decimal.Decimal("sNaN12")),
    *(fractions.Fraction(-1, 3), fractions.Fraction(7**2000, 2)),
    *(b"", b"\xff" * 10, b"x" * 5000, bytearray(b"ab"), bytearray(5000)),
    dt.datetime(2024, 10, 27, 2, 30, 0, 5, tzinfo=BERLIN, fold=1),
    *(dt.datetime(1, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.date(2024, 2, 29)),
    dt.time(1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=-1, microseconds=1), "X"), fold=1),
    *(dt.timedelta(-1, 5, 6), dt.UTC, dt.timezone(dt.timedelta(hours=1)), BERLIN),
    *(uuid.UUID(int=5), Path("a/b"), PurePosixPath("/\udc80"), PureWindowsPath("c:\\x")),
    *(range(5, 0, -2), slice(1, None, (2,)), ..., re.compile("a(b)", re.I), re.compile(b"\xff")),
    *(OrderedDict(b=1, a=[2]), Counter("aab"), deque([1, (2,)], 5), deque(), Counter({"a": -1})),
    *(defaultdict(list, {"a": [1]}), defaultdict(None, {(1,): 2})),
    types.MappingProxyType({"a": 1}),
    *(Color.CRIMSON, Color.BLUE, Size.SMALL, Access.READ, Access.READ | Access.WRITE),
    *(Access(0), {Color.RED: Size.SMALL}, Point(1), Point(1, [Point(2)])),
    *(Item(name="A"), Item(name="a", SHOUT="y", tags=["t"]), [Item(name="a")] * 2),
    *(Open(inner=Item(name="i"), more=(1, 2)), Open(), Box(content={1}), IntBox(content=1)),
    *(Names(["a"]), Frozen(1), Frozen(2, [3]), Counted(), Checked(a=1)),
    *(deep(199, lambda v: [v]), deep(100, lambda v: ({1: v},)), deep(60, lambda v: Open(x=v))),
    *("x" * 70_000, [["y" * 100] * 10] * 100, {f"k{i}": i for i in range(9000)}, NESTED),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_comes_back_equal_and_of_the_same_type(value: object) -> None:
    before = told(value)
    assert told(again(value)) == before
    assert told(value) == before


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_that_came_back_is_written_as_the_same_bytes(value: object) -> None:
    first, second = plain_codec().encode(value), plain_codec().encode(again(value))
    assert (first.body, first.digest) == (second.body, second.digest)
    assert first.blobs == second.blobs


def test_values_that_differ_have_different_bytes() -> None:
    bodies = [plain_codec().encode(value).body for value in VALUES]
    assert len(set(bodies)) == len(bodies)


def test_the_order_of_a_set_is_not_seen_in_its_bytes() -> None:
    one, other = {8, 0, "a"}, {"a", 0}
    other.add(8)
    assert plain_codec().encode(one).body == plain_codec().encode(other).body


def test_plain_values_are_plain_json() -> None:
    assert plain_codec().encode({"a": [1, None, "x", 1.5, True]}).body == (
        b'{"a":[1,null,"x",1.5,true]}'
    )


def test_large_parts_are_blobs_that_the_body_names() -> None:
    encoded = plain_codec().encode({"a": b"1" * 2000, "b": b"1" * 2000, "c": b"2" * 1000})
    assert [len(blob) for blob in encoded.blobs.values()] == [2000]
    assert encoded.size == len(encoded.body) + 2000
    text = plain_codec().encode("x" * 100_000)
    assert len(text.body) < 200
    assert [len(blob) for blob in text.blobs.values()] == [100_002]


def test_a_long_list_is_compared_in_samples_and_comes_back_whole() -> None:
    value = [(number, "x" * 20) for number in range(40_000)]
    assert again(value) == value


def test_what_stands_twice_in_a_value_comes_back_as_two() -> None:
    shared = [1, {"a": (2,)}]
    back = again({"x": shared, "y": shared})
    assert back == {"x": shared, "y": shared}
    assert back["x"] is not back["y"]


def ring() -> list[object]:
    items: list[object] = [1]
    items.append({"a": items})
    return items


def local() -> object:
    class Local(BaseModel):
        a: int

    return Local(a=1)


def with_attribute() -> object:
    value = Counted()
    value.more = 1  # type: ignore[attr-defined]
    return value


@dataclasses.dataclass
class Failure(Exception):
    a: int


REFUSED = [
    (Plain(), "output", "Plain", "no codec"),
    ({"items": [1, {"conn": threading.Lock()}]}, "output['items'][1]['conn']", "lock", "no codec"),
    (Open(inner=None, conn=[sqlite3]), "output.conn[0]", "module", "module"),
    (Frozen(1, [1, Plain()]), "output.b[1]", "Plain", "no codec"),  # type: ignore[list-item]
    (Point(1, lambda: 1), "output.y", "function", "code"),
    ({(1, 2): Plain()}, "output[(1, 2)]", "Plain", "no codec"),
    ([ring()], "output[0][1]['a']", "list", "holds itself"),
    (MyList([1]), "output", "MyList", "extends list"),
    ([UserDict()], "output[0]", "UserDict", "no codec"),
    (Item, "output", "ModelMetaclass", "code"),
    (local(), "output", "local.<locals>.Local", "local to a function"),
    (with_attribute(), "output", "Counted", "no fields: more"),
    (Failure(1), "output", "Failure", "built-in"),
    (defaultdict(lambda: 1), "output", "defaultdict", "default_factory"),
    (dt.datetime(2024, 1, 1, tzinfo=type("Own", (dt.tzinfo,), {})()), "output", "datetime", "zone"),
    ({math.nan, float("nan")}, "output", "set", "members of a set"),
]


@pytest.mark.parametrize(("value", "where", "kind", "reason"), REFUSED)
def test_what_cannot_come_back_is_refused_where_it_stands(
    value: object, where: str, kind: str, reason: str
) -> None:
    with pytest.raises(ValueNotSaved) as refused:
        plain_codec().encode(value)
    assert (refused.value.where, refused.value.kind) == (where, kind)
    assert reason in refused.value.reason
    assert refused.value.where in str(refused.value)


def test_values_more_than_200_deep_are_refused() -> None:
    with pytest.raises(ValueNotSaved, match="deeper than 200"):
        plain_codec().encode(deep(201, lambda v: [v]))


def test_a_class_that_was_defined_anew_is_no_more_the_values(monkeypatch: Any) -> None:
    value = Item(name="a")
    other = type("Item", (Item,), {"__module__": kinds.__name__, "__qualname__": "Item"})
    monkeypatch.setattr(kinds, "Item", other)
    with pytest.raises(ValueNotSaved, match="defined anew"):
        plain_codec().encode(value)


def test_what_does_not_come_back_equal_is_refused() -> None:
    class Half(BaseModel):
        a: object = None

    codec(Half, encode=lambda half: [half.a], decode=lambda data: Half(a=None))
    try:
        with pytest.raises(ValueNotSaved) as refused:
            plain_codec().encode([Half(a=1)])
    finally:
        codec_tables._USERS.clear()
    assert refused.value.where == "output[0][0]"
    assert "NoneType" in refused.value.reason
