"""Copies of values that cross a cell's border, so that records never change.

Plain data (containers, models, dataclasses, arrays, data frames) is copied. Anything else, such as
a client, a queue or a fitted model, has an identity that a copy would lose: it is handed over as it
is, and whoever asked is told its type.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import re
import types
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeGuard, cast

from pydantic import BaseModel

from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import ATOMS

_UNCHANGING: tuple[type, ...] = (
    *ATOMS,
    range,
    enum.Enum,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    pathlib.PurePath,
    re.Pattern,
    slice,
    type,
    type(...),
    type(NotImplemented),
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
)
_ARRAYS = {("numpy", "ndarray")}
_TABLES = {*_ARRAYS, ("pandas", "DataFrame"), ("pandas", "Series"), ("pandas", "Index")}
_UNCHANGING_NAMES = {
    ("numpy", "generic"),
    ("pandas", "Interval"),
    ("pandas", "NAType"),
    ("pandas", "Period"),
    ("polars", "DataFrame"),
    ("polars", "LazyFrame"),
    ("polars", "Series"),
}
_SHALLOW_FIRST = (collections.Counter, collections.OrderedDict, collections.defaultdict)


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy, and the names of the types inside it that were handed over instead."""

    value: object
    shared: tuple[str, ...] = ()


def copied(value: object) -> Copied:
    """A copy of ``value`` as far as it is data. Never fails: what cannot be copied is shared."""
    return Copier().copied(value)


class Copier:
    """Copies values; an object that several of them hold is copied once."""

    def __init__(self) -> None:
        self._shared: set[str] = set()
        self._done: dict[int, object] = {}
        self._originals: list[object] = []

    def copied(self, value: object) -> Copied:
        """A copy of ``value``, and what was shared by this copier so far."""
        result = caught_inline(self._copy, value)
        if isinstance(result, Raised):  # its own copying code raises, or it is nested too deep
            return Copied(value, (type(value).__name__,))
        return Copied(result, tuple(sorted(self._shared)))

    def _copy(self, value: object) -> object:
        kind = type(value)
        if kind in ATOMS or isinstance(value, _UNCHANGING) or _is_one_of(kind, _UNCHANGING_NAMES):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        self._originals.append(value)  # ids stay theirs as long as they live
        if kind is list:
            return self._list(cast(list[object], value))
        if kind is dict:
            return self._dict(value, {})
        if kind in _SHALLOW_FIRST:
            return self._dict(value, copy.copy(value))
        if kind is collections.deque:
            items = cast(collections.deque[object], value)
            return self._keep(value, collections.deque(map(self._copy, items), items.maxlen))
        if kind in (set, frozenset, tuple) or (
            isinstance(value, tuple) and hasattr(kind, "_fields")
        ):
            return self._collection(value)
        if kind is bytearray:
            return self._keep(value, bytearray(cast(bytearray, value)))
        return self._record_or_table(value)

    def _list(self, value: list[object]) -> object:
        items: list[object] = []
        self._done[id(value)] = items
        items.extend(item if type(item) in ATOMS else self._copy(item) for item in value)
        return items

    def _dict(self, value: object, result: object) -> object:
        table = cast(dict[object, object], result)
        self._done[id(value)] = table
        for key, item in cast(dict[object, object], value).items():
            table[self._copy(key)] = item if type(item) in ATOMS else self._copy(item)
        return table

    def _collection(self, value: object) -> object:
        items = [self._copy(item) for item in cast(Iterable[object], value)]
        if id(value) in self._done:  # made on the way, by a cycle that leads back here
            return self._done[id(value)]
        if isinstance(value, tuple):
            return self._keep(value, tuple.__new__(type(value), items))
        return self._keep(value, frozenset(items) if type(value) is frozenset else set(items))

    def _record_or_table(self, value: object) -> object:
        """Models, dataclasses, arrays and data frames; anything else is shared."""
        if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
            made: object = caught_inline(copy.copy, cast(object, value))
            if not isinstance(made, Raised):
                return self._fill(value, made)
        elif _is_one_of(type(value), _TABLES):
            made = caught_inline(copy.deepcopy, value)
            if not isinstance(made, Raised):
                if not _is_one_of(type(value), _ARRAYS) and _holds_objects(value):
                    self._shared.add(f"objects inside a {type(value).__name__}")
                return self._keep(value, made)
        self._shared.add(type(value).__name__)
        return self._keep(value, value)

    def _keep(self, value: object, result: object) -> object:
        self._done[id(value)] = result
        return result

    def _fill(self, value: object, result: object) -> object:
        """Copy what ``result``, a shallow copy of a model or dataclass, holds."""
        self._done[id(value)] = result
        if isinstance(result, BaseModel):
            for held in (result.__pydantic_extra__, result.__pydantic_private__):
                if held is not None:
                    held.update({name: self._copy(item) for name, item in held.items()})
        if hasattr(result, "__dict__"):
            own = vars(result)
            own.update({name: self._copy(item) for name, item in own.items()})
        elif dataclasses.is_dataclass(result):
            for field in dataclasses.fields(result):
                item = self._copy(getattr(result, field.name))
                object.__setattr__(result, field.name, item)
        return result


def _is_one_of(kind: type, names: set[tuple[str, str]]) -> bool:
    """Whether ``kind`` or a base of it has one of these names; so that no library is imported."""
    return any((one.__module__.partition(".")[0], one.__name__) in names for one in kind.__mro__)


def _holds_objects(table: object) -> bool:
    """Whether cells of a pandas object hold values that its own copying leaves shared."""
    columns = [column for _, column in table.items()] if _is_frame(table) else [table]
    return any(
        not set(map(type, cast(Iterable[object], column))) <= _CELL_TYPES
        for column in columns
        if str(cast(_Column, column).dtype) == "object"
    )


_CELL_TYPES = ATOMS | {datetime.date, datetime.datetime, decimal.Decimal}


class _Column(Protocol):
    @property
    def dtype(self) -> object:
        """What its cells are."""


class _Columns(Protocol):
    def items(self) -> Iterable[tuple[object, object]]:
        """Each column's name and the column."""


def _is_frame(table: object) -> TypeGuard[_Columns]:
    return type(table).__name__ == "DataFrame"


def shared_notes(what: str, value: Copied) -> tuple[str, ...]:
    """What a card says of parts that are shared with the frame."""
    if not value.shared:
        return ()
    names = ", ".join(value.shared)
    return (f"{what} shared, not copied: {names}; changing it changes the frame",)
