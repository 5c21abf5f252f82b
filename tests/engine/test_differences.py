"""Differences of definitions and values: the first place, told in a line or a few."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr

from flujo_nb.engine.differences import first_difference, value_difference, value_differences
from flujo_nb.engine.values import cloned, exactly_equal


class Item(BaseModel):
    model_config = ConfigDict(extra="allow")
    price: float = 0.0
    tags: list[str] = []
    _seen: int = PrivateAttr(default=0)


@dataclasses.dataclass
class Point:
    x: object = 0
    noise: object = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(eq=False)
class Place:
    x: object = 0


class Own:
    """Equal by what its own ``==`` says."""

    def __init__(self, content: object, shown: str = "Own") -> None:
        self.content = content
        self.shown = shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.content == other.content

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return self.shown


class WithoutBool(Own):
    def __eq__(self, other: object) -> list[bool]:  # type: ignore[override]
        return [True]

    __hash__ = None  # type: ignore[assignment]


class Raising(Own):
    def __repr__(self) -> str:
        raise ValueError("no repr")


LINES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (LINES, ""),
        (["a", "b", "x", "d", "e"], "  b\n- c\n+ x"),
        (["a", "b", "x", "c", "d", "e"], "  b\n+ x"),
        (["a", "c", "d", "e"], "  a\n- b"),
        (["x", "b", "c", "d", "e"], "- a\n+ x"),
        (["x", *LINES], "+ x"),
        (["a", "b", "c"], "  c\n- d\n- e"),
        ([*LINES, "f"], "  e\n+ f"),
        (["x", "b", "y", "d", "e"], "- a\n+ x"),
        ([], "- a\n- b\n- c\n- … 2 more"),
        (["a", *"1234567", "e"], "  a\n- b\n- c\n- d\n+ 1\n+ 2\n+ 3\n+ … 4 more"),
    ],
)
def test_the_first_place_at_which_two_definitions_differ(new: list[str], told: str) -> None:
    assert first_difference(LINES, new) == told


def test_a_definition_where_nothing_was() -> None:
    assert first_difference([], ["a"]) == "+ a"
    assert first_difference([], []) == ""


LONG = "x" * 100

DIFFERENT: list[tuple[object, object, str]] = [
    (1, 2, "1 → 2"),
    (1, True, "1 → True"),
    (1, 1.0, "1 → 1.0"),
    (0.0, -0.0, "0.0 → -0.0"),
    (None, "None", "None → 'None'"),
    ("a", "b", "'a' → 'b'"),
    ("a\nb", "a\nc", ", line 2: 'b' → 'c'"),
    ("a\nb", "a\r\nb", ", line 1: 'a' → 'a\\r'"),
    ("a", "a\nb", ", line 2: no such line → 'b'"),
    (LONG + "a", LONG + "b", f"…{'x' * 20 + 'a'!r} → …{'x' * 20 + 'b'!r}"),
    (b"a", b"b", "b'a' → b'b'"),
    ([1, 2, 3], [1, 5, 3], "[1]: 2 → 5"),
    ([1, 2], [1, 2, 3], "[2] was added: 3"),
    ([1, 2], [1], "[1] was removed: 2"),
    ([1], (1,), "[1] → (1,)"),
    ([True], [1], "[0]: True → 1"),
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "['a']['b']: 1 → 2"),
    ({"a": 1}, {}, "['a'] was removed: 1"),
    ({}, {"a": 1}, "['a'] was added: 1"),
    ({1: "x"}, {True: "x"}, ", a key: 1 → True"),
    ({1, 2}, {1}, ": 2 was removed"),
    ({1}, {1, 2}, ": 2 was added"),
    ({1}, {True}, ", an item: 1 → True"),
    (Item(price=1), Item(price=2), ".price: 1.0 → 2.0"),
    (Item(tags=["a"]), Item(tags=["b"]), ".tags[0]: 'a' → 'b'"),
    (Item(), Item.model_validate({"more": 1}), ".more was added: 1"),
    (Point([1]), Point([2]), ".x[0]: 1 → 2"),
    (Point(1), Point(True), ".x: 1 → True"),
    (Place(1), Place(2), ".x: 1 → 2"),
    (Own(1, "one"), Own(2, "two"), "one → two"),
    (Own(1), Own(2), "Own → another one that is shown alike"),
    (Own(1, "1"), 1, f"1 ({Own.__module__}.Own) → 1 (builtins.int)"),
    (WithoutBool(1), WithoutBool(1), "Own → another one that is shown alike"),
    (Raising(1), 1, "<Raising, whose repr raises> → 1"),
]


@pytest.mark.parametrize(("old", "new", "told"), DIFFERENT, ids=[one[2] for one in DIFFERENT])
def test_the_first_part_at_which_two_values_differ(old: object, new: object, told: str) -> None:
    found = value_difference(old, new, "")
    assert found is not None
    assert found.removeprefix(": ") == told.removeprefix(": ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (float("nan"), float("nan")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Point(1, noise=1), Point(1, noise=2)),
        (Own([1], "one"), Own([1], "two")),
        (Item(price=1, tags=["a"]), Item(price=1, tags=["a"])),
    ],
)
def test_nothing_is_told_of_equal_values(old: object, new: object) -> None:
    assert value_difference(old, new) is None
    assert value_differences(old, new) == []


def test_a_part_stands_under_the_name_of_the_whole() -> None:
    old, new = [{"items": [Item(), Item(price=price)]} for price in (12, 12.5)]
    assert value_difference(old, new, "output") == "output['items'][1].price: 12.0 → 12.5"
    assert value_difference(1, 2) == "input: 1 → 2"


def test_private_attributes_count() -> None:
    old, new = Item(), Item()
    new._seen = 3
    assert value_difference(old, new) == "input._seen: 0 → 3"


def test_the_order_counts_where_the_values_say_so() -> None:
    old, new = OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)
    assert value_difference(old, new) == f"input: {old!r} → {new!r}"


def test_a_class_that_was_defined_again_is_another() -> None:
    def make() -> Any:
        class Made(BaseModel):
            n: int = 1

        return Made()

    found = value_difference(make(), make())
    assert found is not None
    assert found.startswith("input: Made(n=1) → the same of another class ")


def test_values_that_hold_themselves_end() -> None:
    def ring(last: int) -> list[object]:
        made: list[object] = []
        made += [made, {"ring": made}, last]
        return made

    assert value_difference(ring(1), ring(1)) is None
    assert value_difference(ring(1), ring(2)) == "input[2]: 1 → 2"


def test_very_deep_values_end() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(200):
        old, new = [old], [new]
    found = value_difference(old, new)
    assert found is not None
    assert found.startswith("input[0][0]")


def test_of_what_is_too_large_for_a_line_the_size_is_told() -> None:
    found = value_difference(list(range(90)), None)
    assert found is not None
    assert found.startswith("input: [0, 1, 2, ")
    assert found.endswith("… (90 long) → None")
    assert len(found) < 120


def test_a_table_is_told_in_one_line() -> None:
    assert value_difference(Own(1, "a  b\n1  2"), 0) == "input: a b 1 2 → 0"


def test_all_differences_up_to_a_limit() -> None:
    old: dict[str, object] = {"a": 1, "b": [1, 2], "c": "x\ny", "d": 0}
    new: dict[str, object] = {"a": 2, "b": [3, 2, 1], "c": "X\nY", "e": 0}
    told = [
        "input['a']: 1 → 2",
        "input['b'][0]: 1 → 3",
        "input['b'][2] was added: 1",
        "input['c'], line 1: 'x' → 'X'",
        "input['c'], line 2: 'y' → 'Y'",
        "input['d'] was removed: 0",
        "input['e'] was added: 0",
    ]
    assert value_differences(old, new) == told
    assert value_differences(old, new, limit=2) == told[:2]


plain = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, -0.0, 1.0])
atoms = plain | st.text("ab\n", max_size=3) | st.binary(max_size=1)
keys = st.booleans() | st.integers(0, 1) | st.text("ab", max_size=1)
values: st.SearchStrategy[object] = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.frozensets(plain, max_size=2)
        | st.builds(Point, inner, plain)
        | st.builds(Place, inner)
        | st.builds(Own, plain)
        | st.builds(Item, price=st.sampled_from([0.0, -0.0]), more=inner)
    ),
    max_leaves=8,
)
examples = settings(derandomize=True, database=None, deadline=None, max_examples=400)


@examples
@given(values, values)
def test_a_difference_is_told_exactly_when_there_is_one(old: object, new: object) -> None:
    for one, two in [(old, new), (old, cloned(old))]:
        equal = exactly_equal(one, two)
        assert (value_difference(one, two) is None) is equal
        assert (value_differences(one, two) == []) is equal


@examples
@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_what_is_told_of_definitions_stands_in_them(old: list[str], new: list[str]) -> None:
    told = first_difference(old, new)
    assert (told == "") is (old == new)
    for line in told.splitlines():
        side = new if line.startswith("+") else old
        assert line[2:] in side or "more" in line
