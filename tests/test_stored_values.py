"""Saved values shown as plain data: readable, bounded, without secrets, without looking up."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from typing import NamedTuple

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_core import from_json

from flujo_nb.engine.step_config import JSONValue
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.secrets import SecretBook
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.stored_values import blobs_in, one_line, plain_of, shown

KEY = "sk-" + "a1B2c3D4" * 3


class Item(BaseModel):
    name: str
    price: Decimal


@dataclasses.dataclass
class Order:
    items: list[Item]
    paid: bool = False


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Login(BaseModel):
    password: SecretStr


def codec() -> Codec:
    types = TypeTable()
    for kind in (Item, Order, Colour, Point, Login):
        types.add(kind)
    return Codec(types, SecretBook(b"k" * 16, lambda: ["hush"]))


def tree_of(value: object) -> JSONValue:
    """What the engine's codec makes of a value, as JSON reads it back."""
    tree: JSONValue = from_json(codec().encode(value).body)
    return tree


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ([1, "two", {"three": 3.0}], "[1, 'two', {'three': 3.0}]"),
        (float("inf"), "inf"),
        (Decimal("1.50"), "Decimal('1.50')"),
        ({1: "one"}, "{1: 'one'}"),
        ((1, (2,)), "(1, (2,))"),
        ({3}, "{3}"),
        (b"ab", "b'ab'"),
        pytest.param(b"x" * 5000, "«5,000 bytes»", id="long bytes"),
        (datetime.date(2025, 3, 1), "datetime.date(2025, 3, 1)"),
        (Counter("aab"), "{'a': 2, 'b': 1}"),
        (OrderedDict(a=1), "{'a': 1}"),
        (deque([1], 3), "deque([1])"),
        (Colour.RED, "Colour.RED"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (Item(name="pen", price=Decimal(2)), "Item(name='pen', price=Decimal('2'))"),
        (Order([Item(name="pen", price=Decimal(2))]), "Order(items=[Item(name='pen', price="),
        (Login(password=SecretStr("hush")), "Login(password=«the secret password»)"),
        pytest.param("x" * 100_000, "«value of 100,002 bytes»", id="a long text"),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_what_the_codec_wrote_is_readable(value: object, text: str) -> None:
    assert shown(tree_of(value)).startswith(text)


@pytest.mark.parametrize(
    "tree",
    [
        {"$": "Decimal", "v": "none"},
        {"$": "date", "v": [1]},
        {"$": "set", "v": [{"$": "dict", "v": []}]},
        {"$": "model", "type": 3, "v": 1},
        {"$": "os.system", "v": "rm"},
        {"$": "bytes", "v": "?"},
        {"$": 1},
        {"$": "Fraction", "v": [1, 0]},
        {"$": "Pattern", "v": ["(", 0]},
        {"$": "namedtuple", "type": "P", "fields": [1, None], "v": [1]},
    ],
)
def test_damaged_and_unknown_forms_are_shown_all_the_same(tree: JSONValue) -> None:
    text = shown(tree)
    assert text
    assert "\n" not in text


def test_long_and_deep_values_are_cut() -> None:
    deep: JSONValue = 1
    for _ in range(150):
        deep = [{"$": "tuple", "v": [deep]}]
    for tree in (deep, list(range(100_000)), {str(n): n for n in range(1000)}, "y" * 1000):
        assert len(shown(tree)) <= 72


def test_control_characters_are_dropped() -> None:
    text = shown({"a\x1b[31m": "b\u202e\x9b\nc"}) + one_line("d\x1b]0;t\x07\ne")
    assert all(char.isprintable() for char in text)


@pytest.mark.parametrize(
    "tree",
    [KEY, f"the key is {KEY}", [KEY], {"key": KEY}, {KEY: 1}, {"a": ["x" * 60 + " " + KEY]}],
)
def test_what_looks_like_a_key_is_withheld(tree: JSONValue) -> None:
    text = shown(tree)
    assert "withheld" in text
    assert KEY[:8] not in text


def test_a_line_with_a_key_is_withheld_even_where_the_key_is_cut() -> None:
    line = one_line(f"{'x' * 60} {KEY}")
    assert line == "«withheld: looks like an API key, sk-…»"


def test_plain_data_is_given_as_it_is() -> None:
    tree: JSONValue = {"a": [1, 2.5, None, True, "text"]}
    assert plain_of(tree) == tree


def test_blobs_are_found_wherever_they_stand_and_behind_one_another() -> None:
    large, more = b"x" * 5000, b"y" * 6000
    value = {"all": [large, "z" * 70_000], "more": more}
    encoded = codec().encode(value)
    assert b'"blob"' in encoded.body
    body = b'{"o":%s,"l":1}' % encoded.body
    found = blobs_in([b"no json", body, body], lambda digest: encoded.blobs[digest])
    assert set(found) == set(encoded.blobs)
    assert len(found) == len(encoded.blobs) == 3


def test_data_of_a_user_refers_to_no_blob() -> None:
    for value in ({"$": "blob", "blob": "ab" * 32}, {"blob": "ab" * 32}):
        body = codec().encode(value).body
        assert blobs_in([b'{"o":%s}' % body], _no_blob) == []
    assert blobs_in([json.dumps({"blob": "ab" * 32}).encode()], _no_blob) == []


def _no_blob(digest: bytes) -> bytes:
    raise AssertionError(digest)
