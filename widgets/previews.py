"""Values as short texts, with limits: how they begin, in one line, whatever their size.

What looks like a secret is withheld from every text.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import islice
from typing import cast

from pydantic import BaseModel

from flujo_nb.engine.store.secrets import SIGNS, looks_like
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import state_of

PREVIEW = 96
"""How many characters of a value a card shows."""

SHOWN = 48
"""How many characters of a value a table of frames shows."""

FEEDBACK = 300
"""How many characters of an error it shows."""

_SEARCHED = 20_000
"""How many characters of a text are looked through: more than is ever shown of it."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A value in one line: its kind (``list of 61``) and how it begins."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.kind else self.text


def preview(value: object) -> Preview:
    """``value`` in one line, whatever its size."""
    kind = type(value).__name__
    if type(value) in (list, tuple, dict, set, frozenset):
        return Preview(f"{kind} of {len(cast(Sized, value))}", short(value))
    if isinstance(value, str | bytes) and len(value) > PREVIEW:
        return Preview(f"{kind} of {len(value):,}", short(value))
    shape: object = caught_inline(getattr, value, "shape", None)
    if isinstance(shape, tuple) and shape and all(type(part) is int for part in shape):
        # Asked for with a default: an error's traceback would keep the value alive for a while.
        columns: object = caught_inline(getattr, value, "columns", None)
        named = None if columns is None else caught_inline(_names_of, columns)
        text = clipped(named, PREVIEW) if isinstance(named, str) else short(value)
        return Preview(f"{kind} {' x '.join(map(str, shape))}", text)
    return Preview("", short(value))


def _names_of(columns: object) -> str:
    """The names of a data frame's columns; raises for what is no list of names."""
    return ", ".join(map(str, cast(Iterable[object], columns)))


def short(value: object, limit: int = PREVIEW) -> str:
    """The beginning of ``repr(value)`` in one line, without making all of it."""
    return clipped(" ".join(_shown(value, limit, depth=4).split()), limit)


def clipped(text: str, limit: int) -> str:
    """``text`` without secrets, or its beginning and ``…``."""
    text = veiled(text[:_SEARCHED])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def veiled(text: str) -> str:
    """``text`` without what looks like a secret: without its words or lines, or all of it."""
    if not any(sign in text for sign in SIGNS):
        return text
    kind = looks_like(text)
    if kind is None:
        return text
    told = _WORD.sub(lambda word: _without_secret(word[0]), _KEY_FILE.sub(_withheld_key, text))
    return told if looks_like(told) is None else withheld(kind)


def withheld(kind: str) -> str:
    """What is shown in the place of a secret."""
    return f"«withheld: looks like {kind}»"


_WORD = re.compile(r"\S+")
_KEY_LINE = "-----{} [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
_KEY_FILE = re.compile(
    rf"{_KEY_LINE.format('BEGIN')}.*?(?:{_KEY_LINE.format('END')}|\Z)", re.ASCII | re.DOTALL
)
"""A private key's lines, to its last or to the end of the text."""


def _withheld_key(lines: re.Match[str]) -> str:
    return withheld(looks_like(lines[0]) or "a private key")


def _without_secret(word: str) -> str:
    kind = looks_like(word)
    return word if kind is None else withheld(kind)


def _shown(value: object, limit: int, depth: int) -> str:
    """A ``repr`` that looks into containers and models and stops early in each.

    Containers are known by their exact type; anything else is asked for its own ``repr``.
    """
    match value:
        case str():
            return repr(veiled(value[:_SEARCHED])[:limit])
        case bytes() | bytearray():
            kind = looks_like(value[:_SEARCHED].decode("latin-1"))
            return repr(value[:limit]) if kind is None else withheld(kind)
        case int() if value.bit_length() > _LONG_INT:
            return f"an int of {value.bit_length():,} bits"
        case dict() if type(value) in _DICTS:
            return _joined("{", "}", _pairs(value, limit, depth), len(value), depth)
        case list() if type(value) is list:
            return _joined("[", "]", _items(value, limit, depth), len(value), depth)
        case tuple() if type(value) is tuple:
            closing = ",)" if len(value) == 1 else ")"
            return _joined("(", closing, _items(value, limit, depth), len(value), depth)
        case set() | frozenset() if type(value) in (set, frozenset) and value:
            return _joined("{", "}", _items(value, limit, depth), len(value), depth)
        case deque() if type(value) is deque:
            return _joined("deque([", "])", _items(value, limit, depth), len(value), depth)
    named = _fields_of(value)
    if named is not None:
        parts = (f"{name}={_shown(item, limit, depth - 1)}" for name, item in named[:_ITEMS])
        return _joined(f"{type(value).__name__}(", ")", parts, len(named), depth)
    text = caught_inline(repr, value)
    told = f"<{type(value).__name__} without a repr>" if isinstance(text, Raised) else text
    return veiled(told[:_SEARCHED])


_ITEMS = 6
_LONG_INT = 400
_DICTS = (dict, Counter, OrderedDict, defaultdict)


def _items(values: Iterable[object], limit: int, depth: int) -> Iterator[str]:
    return (_shown(item, limit, depth - 1) for item in islice(values, _ITEMS))


def _pairs(table: Mapping[object, object], limit: int, depth: int) -> Iterator[str]:
    return (
        f"{_shown(key, limit, depth - 1)}: {_shown(item, limit, depth - 1)}"
        for key, item in islice(table.items(), _ITEMS)
    )


def _joined(opening: str, closing: str, parts: Iterable[str], count: int, depth: int) -> str:
    if depth <= 0:
        return f"{opening}…{closing}"
    more = ", ..." if count > _ITEMS else ""
    return f"{opening}{', '.join(parts)}{more}{closing}"


def _fields_of(value: object) -> list[tuple[str, object]] | None:
    """The fields that a model or dataclass shows in its own ``repr``, if it is one."""
    if isinstance(value, BaseModel):
        state, hidden = state_of(value), hidden_fields(value)
        return [(name, item) for name, item in state.items() if name not in hidden]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name, ...)) for f in dataclasses.fields(value) if f.repr]
    return None


def hidden_fields(model: BaseModel) -> set[str]:
    """The fields that a model does not show in its own ``repr``."""
    private = set(model.__pydantic_private__ or {})
    return private | {name for name, field in type(model).model_fields.items() if not field.repr}


def duration_text(seconds: float) -> str:
    """``<0.1 ms``, ``0.4 ms``, ``12 ms``, ``3.1 s``, ``2 min 05 s``."""
    if seconds < 0.0001:
        return "<0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
