"""Copying and comparing plain values exactly.

Both know the shapes that contexts are made of (atoms, lists, tuples, dicts, sets, pydantic models)
and leave everything else to ``copy.deepcopy`` and to the value's own ``==``.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterable

from pydantic import BaseModel

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose values never change and are shared instead of copied."""


def cloned(value: object) -> object:
    """A deep copy of ``value`` that shares only what cannot change.

    Raises what ``copy.deepcopy`` raises for values that cannot be copied (locks, connections).
    """
    try:
        return _cloned(value)
    except RecursionError:
        return copy.deepcopy(value)  # keeps cycles, which the walk below does not


def _cloned(value: object) -> object:
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is list:
        assert isinstance(value, list)
        return [item if type(item) in ATOMS else _cloned(item) for item in value]
    if kind is dict:
        assert isinstance(value, dict)
        return {key: item if type(item) in ATOMS else _cloned(item) for key, item in value.items()}
    return copy.deepcopy(value)


def exactly_equal(left: object, right: object) -> bool:
    """Whether two values are equal in value *and* type, all the way down.

    ``==`` is not enough to see a change: it holds for ``1`` and ``True``, for ``0.0`` and ``-0.0``.
    NaN equals NaN here. A value whose ``==`` does not answer with a bool counts as different.
    """
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    match left, right:
        case (float(), float()):
            return struct.pack("d", left) == struct.pack("d", right)
        case (list() | tuple(), list() | tuple()):
            return len(left) == len(right) and all_equal(left, right)
        case (dict(), dict()):
            return left.keys() == right.keys() and all(
                exactly_equal(item, right[key]) for key, item in left.items()
            )
        case (set() | frozenset(), set() | frozenset()):
            tagged = [{(type(item), item) for item in side} for side in (left, right)]
            return tagged[0] == tagged[1]
        case (BaseModel(), BaseModel()):
            return exactly_equal(state_of(left), state_of(right))
    equal: object = left == right
    if equal is not True and type(left).__eq__ is object.__eq__ and hasattr(left, "__dict__"):
        return exactly_equal(vars(left), vars(right))
    return equal is True


def all_equal(left: Iterable[object], right: Iterable[object]) -> bool:
    """Whether the items of two iterables are pairwise `exactly_equal`, as far as both go."""
    return all(map(exactly_equal, left, right))


def state_of(model: BaseModel) -> dict[str, object]:
    """All that a pydantic model holds: fields, extras and private attributes, by name."""
    return {
        **vars(model),
        **(model.__pydantic_extra__ or {}),
        **(model.__pydantic_private__ or {}),
    }
