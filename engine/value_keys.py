"""Values as bytes that are equal only for values that are equal in type and content.

``1``, ``True``, ``1.0`` and ``"1"`` differ, ``0.0`` and ``-0.0`` too; NaN equals itself. The order
of dicts and sets does not count. The bytes are the same in every process, and no value's bytes
begin another's, so that joined ones stay unambiguous.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import operator
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import EllipsisType, MappingProxyType
from typing import NamedTuple, TypeAlias, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from .errors import FlujoError
from .values import state_of

MAX_DEPTH = 200
"""How deep values may stand in one another."""


class NotKeyable(FlujoError):
    """A value that cannot be told from others by what it holds: a function, an open file.

    ``parts`` lead to it from the value that was to be encoded, the innermost first.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.parts: list[str] = []

    def at(self, root: str) -> str:
        """Where it stands and what it is: ``input.items[3].conn: Connection``."""
        return f"{root}{''.join(reversed(self.parts))}: {self}"


def encoded(value: object, max_parts: float = math.inf) -> bytes:
    """The bytes of ``value``; `NotKeyable` when it has none, or more parts than ``max_parts``."""
    plain = _PLAIN.get(type(value))
    return _encoded(value, _Walk(max_parts)) if plain is None else plain(value)


def is_plain(value: object) -> bool:
    """Whether ``value`` never changes and holds no other value."""
    return type(value) in _PLAIN or isinstance(value, PurePath)


def class_name(kind: type) -> str:
    """By what a class is known in every process."""
    return f"{kind.__module__}.{kind.__qualname__}"


class _Walk:
    """Where an encoding stands: the values around by id, and how many parts it may still meet."""

    __slots__ = ("around", "parts_left")

    def __init__(self, parts_left: float) -> None:
        self.around: set[int] = set()
        self.parts_left = parts_left


def _encoded(value: object, walk: _Walk) -> bytes:
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    around = walk.around
    if id(value) in around:
        raise NotKeyable("a value that holds itself")
    if len(around) >= MAX_DEPTH:
        raise NotKeyable(f"more than {MAX_DEPTH} values in one another")
    tag, parts, group, label = _taken_apart(value)
    walk.parts_left -= len(parts)
    if walk.parts_left < 0:
        raise NotKeyable(f"a value of too many parts ({type(value).__qualname__})")
    codes: list[bytes] = []
    around.add(id(value))
    try:
        for part in parts:
            plain = _PLAIN.get(type(part))
            codes.append(_encoded(part, walk) if plain is None else plain(part))
    except NotKeyable as found:
        found.parts.append(label(parts, len(codes)))
        raise
    finally:
        around.discard(id(value))
    if group == 1:
        codes.sort()
    elif group == 2:
        codes = sorted(map(operator.add, codes[::2], codes[1::2]))
    return b"%s%d:%s" % (tag, len(codes), b"".join(codes))


_Label: TypeAlias = Callable[[Sequence[object], int], str]


class _Parts(NamedTuple):
    """What a value is made of: its type's tag, and its parts.

    ``group`` says how many parts belong together when the order of those groups does not count
    (0: it does); ``label`` tells where a part stands.
    """

    tag: bytes
    parts: Sequence[object]
    group: int
    label: _Label


def _taken_apart(value: object) -> _Parts:
    kind = type(value)
    known = _CONTAINERS.get(kind)
    if known is not None:
        return known(value)
    tag = b"o" + _text(class_name(kind))
    if isinstance(value, BaseModel):
        return _Parts(tag, _flat(state_of(value)), 2, _of_field)
    if isinstance(value, Enum):
        return _Parts(tag, ("name", value.name, "value", value.value), 0, _of_field)
    if isinstance(value, PurePath):
        return _Parts(tag, (str(value),), 0, _of_item)
    if isinstance(value, tuple) and kind.__bases__ == (tuple,) and "_fields" in vars(kind):
        return _Parts(tag, value, 0, _of_item)
    if dataclasses.is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return _Parts(tag, _flat(held), 2, _of_field)
    raise NotKeyable(kind.__qualname__)


def _flat(held: Mapping[object, object] | Mapping[str, object]) -> list[object]:
    return [part for pair in held.items() for part in pair]


def _of_item(parts: Sequence[object], index: int) -> str:
    return f"[{index}]"


def _of_member(parts: Sequence[object], index: int) -> str:
    return "{…}"


def _of_field(parts: Sequence[object], index: int) -> str:
    return f".{parts[index - index % 2]}"


def _of_key(parts: Sequence[object], index: int) -> str:
    key = parts[index - index % 2]
    return f"[{key!r:.40}]" if is_plain(key) else "[…]"


_CONTAINERS: dict[type, Callable[..., _Parts]] = {
    list: lambda value: _Parts(b"l", value, 0, _of_item),
    tuple: lambda value: _Parts(b"t", value, 0, _of_item),
    set: lambda value: _Parts(b"s", list(value), 1, _of_member),
    frozenset: lambda value: _Parts(b"z", list(value), 1, _of_member),
    dict: lambda value: _Parts(b"d", _flat(value), 2, _of_key),
    MappingProxyType: lambda value: _Parts(b"p", _flat(value), 2, _of_key),
    Counter: lambda value: _Parts(b"c", _flat(value), 2, _of_key),
    OrderedDict: lambda value: _Parts(b"O", _flat(value), 0, _of_key),
}


def _text(value: str) -> bytes:
    code = value.encode("utf-8", "surrogatepass")
    return b"u%d:%s" % (len(code), code)


def _float(value: float) -> bytes:
    return b"f" + struct.pack(">d", value) if value == value else b"f" + _NAN


_NAN = struct.pack(">d", float("nan"))


def _zone(zone: datetime.tzinfo | None) -> bytes:
    if zone is None or isinstance(zone, datetime.timezone):
        return _text(repr(zone))
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return _text(zone.key)
    raise NotKeyable(type(zone).__qualname__)


def _moment(value: datetime.datetime | datetime.time) -> bytes:
    return b"m%d%s%s" % (value.fold, _text(repr(value.replace(tzinfo=None))), _zone(value.tzinfo))


def _written(tag: str, write: Callable[..., str] = str) -> Callable[..., bytes]:
    """How a type is encoded whose values are told apart by a text."""
    code = tag.encode()
    return lambda value: code + _text(write(value))


_PLAIN: dict[type, Callable[..., bytes]] = {
    type(None): lambda value: b"N",
    EllipsisType: lambda value: b"E",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    float: _float,
    complex: lambda value: b"j" + _float(value.real) + _float(value.imag),
    str: _text,
    bytes: lambda value: b"b%d:%s" % (len(value), value),
    Decimal: _written("D"),
    Fraction: _written("Q"),
    range: _written("r", repr),
    UUID: _written("U"),
    datetime.date: _written("a", repr),
    datetime.timedelta: _written("v", repr),
    datetime.datetime: _moment,
    datetime.time: lambda value: b"h" + _moment(value),
    re.Pattern: lambda value: b"R%d;%s" % (value.flags, encoded(cast(object, value.pattern))),
}
