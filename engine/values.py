"""Copying and comparing plain values exactly.

Both know the shapes that contexts are made of (atoms, lists, tuples, dicts, sets, pydantic models)
and leave everything else to ``copy.deepcopy`` and to the value's own ``==``.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import cast

from pydantic import BaseModel

from .user_code import Raised, caught_inline

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose values never change and are shared instead of copied."""

_WRITTEN_IN_PYTHON = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set for classes that a ``class`` statement made, not for built-in ones."""


def cloned(value: object) -> object:
    """A deep copy of ``value`` that shares only what cannot change.

    What several places hold is copied once. Raises what ``copy.deepcopy`` raises for values that
    cannot be copied (locks, connections).
    """
    return value if type(value) in ATOMS else _cloned(value, {})


def own_copy(value: object) -> object:
    """``value`` for one of several who get it: plain containers, models and dataclasses as a copy.

    Everything else is shared: arrays and data frames, also those in lists and dicts, and what
    cannot be copied.
    """
    if type(value) in ATOMS:
        return value
    plain = type(value) in (list, dict, set, tuple) or isinstance(value, BaseModel)
    if not plain and (not dataclasses.is_dataclass(value) or isinstance(value, type)):
        return value
    copied = caught_inline(_cloned, value, {}, True)
    return value if isinstance(copied, Raised) else copied


def _cloned(value: object, memo: dict[int, object], shares_arrays: bool = False) -> object:
    """As ``copy.deepcopy`` with ``memo``, without its overhead for plain lists and dicts."""
    kind = type(value)
    if kind is list and id(value) not in memo:
        items: list[object] = []
        memo[id(value)] = items
        for item in cast(list[object], value):
            items.append(item if type(item) in ATOMS else _cloned(item, memo, shares_arrays))
        return items
    if kind is dict and id(value) not in memo:
        table: dict[object, object] = {}
        memo[id(value)] = table
        for key, item in cast(dict[object, object], value).items():
            own = key if type(key) in ATOMS else _cloned(key, memo, shares_arrays)
            table[own] = item if type(item) in ATOMS else _cloned(item, memo, shares_arrays)
        return table
    if shares_arrays and hasattr(kind, "__array__"):
        return value
    return copy.deepcopy(value, memo)


def exactly_equal(left: object, right: object) -> bool:
    """Whether two values are equal in value *and* type, all the way down.

    ``==`` is not enough to see a change: it holds for ``1`` and ``True``, for ``0.0`` and ``-0.0``.
    NaN equals NaN here. A value whose ``==`` raises, or answers with no bool, counts as different.
    """
    return _equal(left, right, set())


def _equal(left: object, right: object, open_pairs: set[tuple[int, int]]) -> bool:
    """``open_pairs`` are those being compared further out: where a cycle closes, it is equal."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if type(left) in ATOMS:
        return left == right
    pair = (id(left), id(right))
    if pair in open_pairs:
        return True
    open_pairs.add(pair)
    try:
        return _equal_inside(left, right, open_pairs)
    finally:
        open_pairs.discard(pair)


def _equal_inside(left: object, right: object, open_pairs: set[tuple[int, int]]) -> bool:
    match left, right:
        case (list() | tuple(), list() | tuple()):
            return len(left) == len(right) and all(
                _equal(a, b, open_pairs) for a, b in zip(left, right, strict=True)
            )
        case (OrderedDict(), OrderedDict()) if list(left) != list(right):
            return False
        case (dict(), dict()):
            keys = {key: key for key in right}
            return len(left) == len(right) and all(
                key in keys
                and _equal(key, keys[key], open_pairs)
                and _equal(item, right[key], open_pairs)
                for key, item in left.items()
            )
        case (set() | frozenset(), set() | frozenset()):
            items = {item: item for item in right}
            return len(left) == len(right) and all(
                item in items and _equal(item, items[item], open_pairs) for item in left
            )
        case (BaseModel(), BaseModel()):
            return _equal(state_of(left), state_of(right), open_pairs)
    if dataclasses.is_dataclass(left) and "__eq__" in vars(type(left)):
        # Generated or not, its own == says nothing of the types of what it holds.
        if not _is_true(caught_inline(operator.eq, left, right)):
            return False
        names = [field.name for field in dataclasses.fields(left) if field.compare]
        return all(_equal(getattr(left, n), getattr(right, n), open_pairs) for n in names)
    if _is_true(caught_inline(operator.eq, left, right)):
        return True
    return _is_all_in_its_dict(left) and _equal(vars(left), vars(right), open_pairs)


def _is_true(answer: object) -> bool:
    """Whether what ``==`` gave means yes; scalars of numpy answer with a bool of numpy's."""
    return answer is True or (type(answer).__name__ in ("bool", "bool_") and bool(answer))


def _is_all_in_its_dict(value: object) -> bool:
    """Whether an object without an ``==`` of its own holds nothing beside its attributes.

    One whose class stands on a built-in one may: an exception its arguments, a function its code.
    """
    kind = type(value)
    own = (one for one in kind.__mro__ if one is not object)
    is_written = all(one.__flags__ & _WRITTEN_IN_PYTHON for one in own)
    return kind.__eq__ is object.__eq__ and is_written and hasattr(value, "__dict__")


def all_equal(left: Iterable[object], right: Iterable[object]) -> bool:
    """Whether the items of two iterables are pairwise `exactly_equal`, as far as both go."""
    return all(map(exactly_equal, left, right))


def state_of(model: BaseModel) -> dict[str, object]:
    """All that a pydantic model holds: fields, extras and private attributes, by name."""
    fields = type(model).model_fields
    return {
        **{name: value for name, value in vars(model).items() if name in fields},
        **(model.__pydantic_extra__ or {}),
        **(model.__pydantic_private__ or {}),
    }


def shown(value: object, limit: int = 80) -> str:
    """The value for an error message: its ``repr``, cut, or its type when that raises."""
    text = caught_inline(repr, value)
    if isinstance(text, Raised):
        return f"<{type(value).__name__}, whose repr raises>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def whole(text: str) -> str:
    """``text`` with halves of characters (lone surrogates) spelled out, as UTF-8 can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()
