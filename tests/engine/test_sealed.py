"""Constructors by position for frozen dataclasses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest

from flujo_nb.engine.sealed import draft_of


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 5


def test_a_draft_makes_an_ordinary_frozen_instance() -> None:
    point = draft_of(Point)(1, 2)
    assert type(point) is Point
    assert point == Point(1, 2)
    with pytest.raises(FrozenInstanceError):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x


def test_a_draft_fills_no_defaults() -> None:
    with pytest.raises(TypeError, match="y"):
        draft_of(Point)(1)


def test_a_copying_draft_takes_the_other_fields_from_its_source() -> None:
    moved = draft_of(Point, ("x",))
    assert moved(Point(1, 2), 9) == Point(9, 2)


def test_the_class_itself_stays_as_it_was() -> None:
    draft_of(Point)
    assert Point(1).y == 5
    with pytest.raises(FrozenInstanceError):
        Point(1).x = 2  # type: ignore[misc]
