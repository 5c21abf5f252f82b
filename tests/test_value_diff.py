"""Differences of values: found part by part, exactly where they are, and in bounded time."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import OrderedDict, namedtuple
from collections.abc import Iterable
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from flujo_nb.diffs.diff_lines import lines_of
from flujo_nb.diffs.value_diff import Comparison, Difference, How, TooLarge
from flujo_nb.engine.values import exactly_equal

LONG = 100.0


class Item(BaseModel):
    model_config = ConfigDict(extra="allow")
    price: float = 0.0
    tags: list[str] = []
    key: str = Field("", repr=False)
    _seen: int = PrivateAttr(default=0)
    _late: int = PrivateAttr()


@dataclasses.dataclass
class Point:
    x: object = 0
    noise: object = dataclasses.field(default=0, compare=False)


class Plain:
    def __init__(self, x: object) -> None:
        self.x = x


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: object) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and self.x == other.x

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Slotted"


Pair = namedtuple("Pair", "left right")


def differences(old: object, new: object) -> list[Difference]:
    return list(Comparison(LONG).differences(old, new))


def told(old: object, new: object) -> list[str]:
    return told_of(differences(old, new))


def told_of(found: Iterable[Difference]) -> list[str]:
    lines = [line for one in found for line in lines_of(one)]
    return [f"{one.mark} {one.where} {one.told}" for one in lines]


DIFFERENCES: dict[str, tuple[object, object, list[str]]] = {
    "numbers": (1, 2, ["~  1 → 2"]),
    "types": (1, True, ["~  1 → True"]),
    "types that are shown alike": (Pair(1, 2), (1, 2), ["~  Pair(left=1, right=2) → (1, 2)"]),
    "signs of zero": ([0.0], [-0.0], ["~ [0] 0.0 → -0.0"]),
    "a field": (Item(price=1), Item(price=2.5), ["~ price 1.0 → 2.5"]),
    "an item in a field": (Item(tags=["a"]), Item(tags=["b"]), ["~ tags[0] 'a' → 'b'"]),
    "an extra": (Item(), Item(more=1), ["+ more 1"]),
    "a dataclass": (Point([1]), Point([2]), ["~ x[0] 1 → 2"]),
    "an object": ({"a": Plain(1)}, {"a": Plain(2)}, ["~ ['a'].x 1 → 2"]),
    "what only says that it differs": (
        Slotted(1),
        Slotted(2),
        ["~  Slotted → another one that is shown alike"],
    ),
    "a named tuple": (Pair(1, 2), Pair(1, 3), ["~ right 2 → 3"]),
    "keys": ({"a": 1, "b": 2}, {"b": 2, 3: 4}, ["- ['a'] 1", "+ [3] 4"]),
    "nested": ({"a": [{"b": (1, 2)}]}, {"a": [{"b": (1, 3)}]}, ["~ ['a'][0]['b'][1] 2 → 3"]),
    "an order that counts": (
        OrderedDict(a=1, b=2),
        OrderedDict(b=2, a=1),
        ["~  {'a': 1, 'b': 2} → {'b': 2, 'a': 1}"],
    ),
    "sets": ({1, 2}, {2, 3}, ["-  1", "+  3"]),
    "types in sets": ({1}, {True}, ["~  {1} → {True}"]),
    "bytes": (b"ab", b"ac", ["~  b'ab' → b'ac'"]),
    "blanks": ("a b", "a  b", ["~  'a b' → 'a  b'"]),
    "lengths": ([1], [1, 2], ["+ [1] 2"]),
    "an item that came": ([1, 2, 3], [9, 1, 2, 3], ["+ [0] 9"]),
    "an item that went": ([1, 2, 3], [1, 3], ["- [1] 2"]),
    "items that moved": ([1, 2, 3, 4], [2, 3, 4, 5], ["- [0] 1", "+ [3] 5"]),
    "an item that moved and changed": (
        [{"id": 1}, {"id": 2, "n": 1}],
        [{"id": 2, "n": 2}],
        ["~ [0]['id'] 1 → 2", "+ [0]['n'] 2", "- [1] {'id': 2, 'n': 1}"],
    ),
    "many items that went": (
        list(range(9)),
        [],
        ["- [0] 0", "- [1] 1", "- [2] 2", "- [3…8] … 6 more items"],
    ),
    "a hidden field": (Item(key="a"), Item(key="b"), ["~ key … → …"]),
    "a nothing": (None, [], ["~  None → []"]),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_a_difference_is_told_where_it_is(case: str) -> None:
    old, new, lines = DIFFERENCES[case]
    assert told(old, new) == lines


SAME = {
    "NaN": (math.nan, float("nan")),
    "NaN in a list": ([math.nan], [float("nan")]),
    "what a dataclass does not compare": (Point(1, noise=1), Point(1, noise=2)),
    "the order of a dict": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "models": (Item(price=1, more=2), Item(price=1, more=2)),
    "objects": (Plain([1]), Plain([1])),
}


@pytest.mark.parametrize("case", SAME)
def test_what_is_the_same_has_no_difference(case: str) -> None:
    assert told(*SAME[case]) == []


def test_a_private_attribute_is_compared_and_not_shown() -> None:
    old, new = Item(), Item()
    new._seen = 7
    assert told(old, new) == ["~ _seen … → …"]
    new._seen, new._late = 0, 1
    assert told(old, new) == told(new, old) == ["~ _late … → …"]


def test_cycles_end() -> None:
    old: list[object] = [1]
    new: list[object] = [2]
    old.append(old)
    new.append(new)
    assert told(old, new) == ["~ [0] 1 → 2"]
    new[0] = 1
    assert told(old, new) == []


def test_values_that_are_nested_deep_are_compared() -> None:
    old: object = 1
    new: object = 2
    for _ in range(900):
        old, new = [old], [new]
    assert len(differences(old, new)) == 1
    assert differences(old, copy.copy(old)) == []


def test_a_secret_is_withheld_wherever_it_stands() -> None:
    secret = "sk-abcdefghijklmnop1234567890"
    pairs: list[tuple[object, object]] = [
        (secret, f"{secret}x"),
        ({secret: 1}, {secret: 2}),
        ({"a": 1}, {"a": secret}),
        ([], [secret]),
        ({secret}, set()),
        (f"a\n{secret}\nb", f"a\n{secret}9\nb"),
        ("x" * 500 + secret, "x" * 500 + f"{secret}9"),
    ]
    for old, new in pairs:
        assert differences(old, new)
        assert all("abcdefgh" not in line for line in told(old, new)), told(old, new)


def test_the_lines_of_a_private_key_are_not_told_one_by_one() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"
    lines = told(key.format("one\nsame\nsame\nold"), key.format("one\nsame\nsame\nnew"))
    assert len(lines) == 1
    assert "withheld" in lines[0] and "old" not in lines[0] and "new" not in lines[0]


def test_a_part_that_is_too_large_leaves_time_for_those_beside_it() -> None:
    old = {"large": [Slotted(n) for n in range(200_000)], "n": 1}
    new = {"large": [Slotted(n) for n in range(200_000)], "n": 2}
    found = list(Comparison(0.1).differences(old, new))
    assert [one.how for one in found] == [How.UNKNOWN, How.CHANGED]
    assert told_of(found) == [
        "~ ['large'] list of 200000: too large to compare all of it",
        "~ ['n'] 1 → 2",
    ]


def test_what_cannot_be_compared_in_time_is_said() -> None:
    old, new = [Slotted(n) for n in range(20_000)], [Slotted(n) for n in range(20_000)]
    with pytest.raises(TooLarge):
        list(Comparison(0.001).differences(old, new))


def large(kind: str, changed: bool) -> object:
    """About 100 MB, with one change near the end."""
    last = "x" if changed else "y"
    match kind:
        case "numbers":
            return [*range(2_500_000), last]
        case "texts":
            return [*("a text of some length " * 4 + str(n) for n in range(600_000)), last]
        case "records":
            rows: list[object] = [{"id": n, "name": f"n{n}", "p": n / 2} for n in range(250_000)]
            return [*rows, {"id": -1, "name": last, "p": 0.0}]
        case "a text":
            return "a line of a long text\n" * 4_500_000 + last
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["numbers", "texts", "records", "a text"])
def test_a_large_value_takes_about_a_second_and_a_few_lines(kind: str) -> None:
    old, new = large(kind, changed=False), large(kind, changed=True)
    start = thread_time()
    found = list(Comparison(0.6).differences(old, new))
    lines = [line for one in found for line in lines_of(one)]
    assert thread_time() - start < 2.5
    assert 1 <= len(lines) <= 4
    assert any(
        "x" in line.told and "y" in one for line in lines for one in map(str, [line, *lines])
    )


# Properties

examples = settings(derandomize=True, database=None, deadline=None, max_examples=300)
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, math.nan]),
    st.text("ab \n", max_size=4),
    st.binary(max_size=2),
)
keys = st.one_of(st.integers(0, 2), st.text("ab", max_size=1), st.booleans())


def containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.frozensets(atoms, max_size=3),
        inner.map(Plain),
        atoms.map(Point),
        st.builds(Item, more=inner),
    )


values = st.recursive(atoms, containers, max_leaves=12)


@examples
@given(values)
def test_nothing_differs_between_a_value_and_its_copy(value: object) -> None:
    assert differences(value, copy.deepcopy(value)) == []


@examples
@given(values, values)
def test_something_differs_exactly_when_values_are_not_the_same(old: object, new: object) -> None:
    found = told(old, new)
    assert bool(found) is not exactly_equal(old, new)
    assert all(isinstance(one, str) and "\n" not in one for one in found)


@examples
@given(st.lists(values, max_size=6), st.data())
def test_one_item_that_changed_is_found(items: list[object], data: st.DataObject) -> None:
    if not items:
        return
    place = data.draw(st.integers(0, len(items) - 1))
    other = copy.deepcopy(items)
    other[place] = data.draw(values)
    found = differences(items, other)
    assert bool(found) is not exactly_equal(items[place], other[place])


@examples
@given(values, values)
def test_looking_changes_nothing(old: object, new: object) -> None:
    before = copy.deepcopy((old, new))
    told(old, new)
    assert exactly_equal((old, new), before)
