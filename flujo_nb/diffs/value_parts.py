"""What values hold, and a quick look whether runs of them are the same.

Both serve `flujo_nb.diffs.value_diff`, and say of two values what `exactly_equal` would.
"""

from __future__ import annotations

import dataclasses
import operator
from array import array
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Protocol, TypeAlias, cast, runtime_checkable
from uuid import UUID

from pydantic import BaseModel

from flujo_nb.engine.definition_parts import is_simple_object
from flujo_nb.engine.values import ATOMS, state_of

_PLAIN = (ATOMS - {complex}) | {date, datetime, time, timedelta, Decimal, UUID}
"""Types of which two values of one are the same when they are equal; of floats their bits are."""

_CONTAINERS = frozenset({dict, list, tuple})
_NESTED = 6
_FLAT = 100_000
_Run: TypeAlias = Sequence[object]
_Containers: TypeAlias = Sequence[_Run]


@runtime_checkable
class NamedTuple(Protocol):
    """A tuple whose items have names."""

    _fields: tuple[str, ...]


def held_by(value: object) -> Mapping[object, object] | None:
    """The parts of a dict, a model, a dataclass, or an object without an ``==`` of its own."""
    found: Mapping[str, object]
    if isinstance(value, dict):
        return cast(Mapping[object, object], value)
    if isinstance(value, BaseModel):
        found = state_of(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.compare]
        found = {name: getattr(value, name, ...) for name in names}
    elif isinstance(value, tuple) and isinstance(value, NamedTuple):
        found = dict(zip(value._fields, value, strict=True))
    elif type(value).__eq__ is object.__eq__ and is_simple_object(value):
        found = vars(value)
    else:
        return None
    return cast(Mapping[object, object], found)


def hidden_in(value: object) -> Set[object]:
    """The names of what a model or a dataclass does not show in its own ``repr``."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        private = value.__pydantic_private__ or {}
        return {*private, *(name for name, one in fields.items() if not one.repr)}
    if dataclasses.is_dataclass(value):
        return {one.name for one in dataclasses.fields(value) if not one.repr}
    return frozenset()


def surely_equal(old: _Run, new: _Run, deep: int = _NESTED) -> bool:
    """Whether two runs of values are the same, where that can be told of all of them at once.

    ``False`` says nothing: they may be the same all the same.
    """
    if len(old) == len(new) and all(map(operator.is_, old, new)):
        return True
    types = [*map(type, old)]
    kinds = set(types)
    if types != [*map(type, new)] or (not deep and not kinds <= _PLAIN):
        return False
    for kind in kinds - _PLAIN:
        if not _inside_surely_equal(kind, _of(kind, old), _of(kind, new), deep - 1):
            return False
    if not kinds <= _PLAIN:
        old = [one for one in old if type(one) in _PLAIN]
        new = [one for one in new if type(one) in _PLAIN]
    if float in kinds and _bits(old) != _bits(new):
        return False
    return kinds == {float} or old == new


def _inside_surely_equal(kind: type, old: _Run, new: _Run, deep: int) -> bool:
    """As `surely_equal`, for values of one kind that hold others."""
    if kind in _CONTAINERS:
        left, right = cast(_Containers, old), cast(_Containers, new)
        sizes = [*map(len, left)]
        if sum(sizes) > _FLAT or sizes != [*map(len, right)]:
            return False
        if not surely_equal([*chain(*left)], [*chain(*right)], deep):
            return False
        return kind is not dict or surely_equal(_values(old), _values(new), deep)
    if issubclass(kind, BaseModel):
        one, two = cast(Sequence[BaseModel], old), cast(Sequence[BaseModel], new)
        beside = surely_equal(_beside(one), _beside(two), deep)
        return beside and surely_equal([*map(vars, one)], [*map(vars, two)], deep)
    is_own = kind.__new__ is object.__new__ and kind.__eq__ is object.__eq__
    if not (is_own or dataclasses.is_dataclass(kind)) or not _has_dict_only(kind):
        return False
    return surely_equal([*map(vars, old)], [*map(vars, new)], deep)


def _of(kind: type, values: _Run) -> _Run:
    return [one for one in values if type(one) is kind]


def _values(tables: _Run) -> _Run:
    of_each = map(dict.values, cast(Sequence[dict[object, object]], tables))
    return [*chain.from_iterable(of_each)]


def _beside(models: Sequence[BaseModel]) -> _Run:
    """What models hold beside their ``__dict__``."""
    private = [one.__pydantic_private__ for one in models]
    return [*private, *(one.__pydantic_extra__ for one in models)]


def _has_dict_only(kind: type) -> bool:
    slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    return not slots and bool(kind.__dictoffset__)


def _bits(values: _Run) -> bytes:
    return array("d", [one for one in values if type(one) is float]).tobytes()
