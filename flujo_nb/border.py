"""Copies of values that cross a cell's border, so that records never change.

Plain data (containers, models, dataclasses, arrays, data frames) is copied. Anything else, such as
a client, a queue or a fitted model, has an identity that a copy would lose: it is handed over as it
is, and whoever asked is told its type.
"""

from __future__ import annotations

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel

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
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
)
_FRAMES = {("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series"), ("pandas", "Index")}
_UNCHANGING_FRAMES = {("polars", "DataFrame"), ("polars", "Series"), ("polars", "LazyFrame")}


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy, and the names of the types inside it that were handed over instead."""

    value: object
    shared: tuple[str, ...]


def copied(value: object) -> Copied:
    """A copy of ``value`` as far as it is data. Never fails: what cannot be copied is shared."""
    copier = _Copier()
    try:
        result = copier.copy(value)
    except RecursionError:
        return Copied(value, (type(value).__name__,))
    return Copied(result, tuple(sorted(copier.shared)))


class _Copier:
    """One walk. ``_done`` keeps aliases and cycles as they are."""

    def __init__(self) -> None:
        self.shared: set[str] = set()
        self._done: dict[int, object] = {}

    def copy(self, value: object) -> object:
        if isinstance(value, _UNCHANGING) or _name(value) in _UNCHANGING_FRAMES:
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        match value:
            case list() if type(value) is list:
                listed: list[object] = []
                self._done[id(value)] = listed
                listed.extend(map(self.copy, value))
                return listed
            case dict() if type(value) is dict:
                table: dict[object, object] = {}
                self._done[id(value)] = table
                table.update((self.copy(key), self.copy(item)) for key, item in value.items())
                return table
            case set() | frozenset() | tuple() if type(value) in (set, frozenset, tuple):
                items = [self.copy(item) for item in cast(Iterable[object], value)]
                return self._keep(value, type(value)(items))
            case tuple() if hasattr(value, "_fields"):
                make = cast(Callable[..., object], type(value))
                return self._keep(value, make(*map(self.copy, value)))
            case bytearray():
                return self._keep(value, bytearray(value))
            case BaseModel():
                return self._fill(value, value.model_copy())
        if dataclasses.is_dataclass(value):
            return self._fill(value, copy.copy(value))
        if _name(value) in _FRAMES:
            return self._keep(value, copy.copy(value) if _is_lazy(value) else copy.deepcopy(value))
        self.shared.add(type(value).__name__)
        return value

    def _keep(self, value: object, result: object) -> object:
        self._done[id(value)] = result
        return result

    def _fill(self, value: object, result: object) -> object:
        """Copy what ``result``, a shallow copy, holds."""
        self._done[id(value)] = result
        if isinstance(result, BaseModel):
            private = result.__pydantic_private__
            for held in (vars(result), result.__pydantic_extra__, private):
                if held is not None:
                    held.update({name: self.copy(item) for name, item in held.items()})
        elif dataclasses.is_dataclass(result):
            for field in dataclasses.fields(result):
                if hasattr(result, field.name):
                    item = self.copy(getattr(result, field.name))
                    object.__setattr__(result, field.name, item)
        return result


def _name(value: object) -> tuple[str, str]:
    kind = type(value)
    return kind.__module__.partition(".")[0], kind.__name__


def _is_lazy(value: object) -> bool:
    """Whether a shallow copy of a pandas object is one on write: always, from pandas 3 on."""
    root, _ = _name(value)
    version = cast(str, vars(__import__(root)).get("__version__", "0"))
    return root == "pandas" and int(version.partition(".")[0]) >= 3
