"""Copying and comparing exactly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from flujo_nb.engine.values import cloned, exactly_equal


class Item(BaseModel):
    name: str
    tags: list[str] = []


class Node:
    """An object of a graph: every node knows the list that it stands in."""

    def __init__(self, graph: list[Node]) -> None:
        self.graph = graph


class WithoutBool:
    """Like an array: comparing gives no bool."""

    def __eq__(self, other: object) -> list[bool]:  # type: ignore[override]
        return [True, True]

    __hash__ = None  # type: ignore[assignment]


def test_a_clone_shares_nothing_that_can_change() -> None:
    value = {"a": [1, {"b": [2]}], "c": (3, [4]), "d": {5}, "e": Item(name="x", tags=["y"])}
    copy: Any = cloned(value)
    assert exactly_equal(copy, value)
    copy["a"][1]["b"].append(0)
    copy["c"][1].append(0)
    copy["d"].add(0)
    copy["e"].tags.append("0")
    assert value["a"] == [1, {"b": [2]}]
    assert value["c"] == (3, [4])
    assert value["d"] == {5}
    assert value["e"] == Item(name="x", tags=["y"])


def test_a_clone_keeps_a_cycle() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    copy: Any = cloned(ring)
    assert copy is not ring
    assert copy[1] is copy


def test_a_clone_copies_an_object_that_several_hold_once() -> None:
    graph: list[Node] = []
    graph.extend(Node(graph) for _ in range(3))
    copy: Any = cloned(graph)
    assert copy[0].graph is not graph
    assert copy[0].graph is copy[1].graph


def test_what_cannot_be_copied_says_so() -> None:
    with pytest.raises(TypeError, match="lock"):
        cloned({"a": [threading.Lock()]})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], [True]),
        ([1], (1,)),
        ({"a": 1}, {"a": 1.0}),
        ({1: "a"}, {True: "a"}),
        ({1}, {True}),
        ({(1,)}, {(True,)}),
        ({1: "a"}, {1: "a", 2: "b"}),
        ([1, 2], [2, 1]),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (Item(name="a"), Item(name="b")),
        (Item(name="a", tags=["x"]), Item(name="a")),
        (WithoutBool(), WithoutBool()),
        (ValueError("a"), ValueError("b")),
        (lambda: 1, lambda: 2),
        (np.int64(1), np.int64(2)),
        (None, 0),
    ],
)
def test_different_values_differ(left: object, right: object) -> None:
    assert not exactly_equal(left, right)
    assert not exactly_equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (float("nan"), float("nan")),
        ([1, [2.5, None]], [1, [2.5, None]]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2}, {2, 1}),
        (Item(name="a", tags=["x"]), Item(name="a", tags=["x"])),
        (Node([]), Node([])),
        (np.int64(1), np.int64(1)),
        (np.datetime64("2026-01-01"), np.datetime64("2026-01-01")),
    ],
)
def test_equal_values_are_equal(left: object, right: object) -> None:
    assert exactly_equal(left, right)


def test_cyclic_values_can_be_compared() -> None:
    rings = []
    for _ in range(2):
        ring: list[Any] = [1]
        ring.append(ring)
        rings.append(ring)
    assert exactly_equal(*rings)
