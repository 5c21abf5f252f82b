"""Where two definitions or two values differ, told in a line or a few.

What counts as different is what `exactly_equal` says: a value's difference is told exactly when
the values are not equal in value and type. Nothing here changes or copies what it compares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set, Sized
from difflib import SequenceMatcher
from itertools import islice, takewhile, zip_longest
from typing import TypeAlias, TypeVar

from pydantic import BaseModel

from .user_code import Raised, caught_inline
from .value_keys import class_name
from .values import exactly_equal, shown, state_of

MAX_SHOWN = 3
"""How many lines of each side a definition's difference shows."""

_MAX_COMPARED = 400
_MAX_DEPTH = 100
_MAX_LINE = 60

Key = TypeVar("Key")
_Open: TypeAlias = frozenset[tuple[int, int]]
"""The pairs of values that are being compared further out, by identity."""


def first_difference(old: Sequence[str], new: Sequence[str]) -> str:
    """The first place at which two definitions differ.

    ``old`` and ``new`` are lines. Returns the line before that place, indented, and what stands
    there: ``- `` before the old lines, ``+ `` before the new; ``""`` when nothing differs.
    """
    start = next(
        (n for n, (one, two) in enumerate(zip(old, new, strict=False)) if one != two),
        min(len(old), len(new)),
    )
    left, right = old[start : start + _MAX_COMPARED], new[start : start + _MAX_COMPARED]
    if not left and not right:
        return ""
    changes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    _, _, gone, _, come = next(change for change in changes if change[0] != "equal")
    before = [f"  {old[start - 1]}"] if start else []
    return "\n".join([*before, *_marked("- ", left[:gone]), *_marked("+ ", right[:come])])


def _marked(mark: str, lines: Sequence[str]) -> list[str]:
    rest = [f"{mark}… {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else []
    return [*(mark + line for line in lines[:MAX_SHOWN]), *rest]


def value_difference(old: object, new: object, root: str = "input") -> str | None:
    """The first part at which two values differ: ``input.items[3].price: 12 → 12.5``.

    ``root`` is what the whole value is called. Returns ``None`` when they are `exactly_equal`.
    """
    return next(filter(None, _differences(old, new, root, frozenset())), None)


def value_differences(
    old: object, new: object, root: str = "input", limit: int = 20
) -> Sequence[str]:
    """As `value_difference`, up to ``limit`` of the parts at which two values differ."""
    return list(islice(filter(None, _differences(old, new, root, frozenset())), limit))


def _differences(old: object, new: object, where: str, around: _Open) -> Iterator[str]:
    """What to tell of two values; ``""`` where it is told further out."""
    pair = (id(old), id(new))
    if pair in around:
        yield ""
    if pair in around or exactly_equal(old, new):
        return
    told = False
    if type(old) is type(new) and len(around) < _MAX_DEPTH:
        for line in _inside(old, new, where, around | {pair}):
            told = True
            yield line
    if not told:  # they differ as a whole, or in what only their own == looks at
        yield f"{where}: {_change(old, new)}"


def _inside(old: object, new: object, where: str, around: _Open) -> Iterator[str]:
    """The differences of the parts of two values of one type."""
    match old, new:
        case (str(), str()):
            yield from _of_texts(old, new, where)
        case (list() | tuple(), list() | tuple()):
            parts = dict(enumerate(old)), dict(enumerate(new))
            yield from _of_parts(*parts, where, _item, around)
        case (dict(), dict()):
            keys = {key: key for key in new}
            for key in old:
                if key in keys and not exactly_equal(key, keys[key]):
                    yield f"{where}, a key: {_change(key, keys[key])}"
            yield from _of_parts(old, new, where, _item, around)
        case (set() | frozenset(), set() | frozenset()):
            yield from _of_sets(old, new, where)
        case _:
            yield from _of_parts(_held_by(old), _held_by(new), where, _attribute, around)


def _of_parts(
    old: Mapping[Key, object],
    new: Mapping[Key, object],
    where: str,
    label: Callable[[Key], str],
    around: _Open,
) -> Iterator[str]:
    for key, item in old.items():
        if key in new:
            yield from _differences(item, new[key], f"{where}{label(key)}", around)
        else:
            yield f"{where}{label(key)} was removed: {_told(item)}"
    for key, item in new.items():
        if key not in old:
            yield f"{where}{label(key)} was added: {_told(item)}"


def _item(key: object) -> str:
    return f"[{shown(key, 40)}]"


def _attribute(name: str) -> str:
    return f".{name}"


def _held_by(value: object) -> Mapping[str, object]:
    """What a model, a dataclass or an object without an ``==`` of its own holds, by name."""
    if isinstance(value, BaseModel):
        return state_of(value)
    if dataclasses.is_dataclass(value) and "__eq__" in vars(type(value)):
        compared = [field.name for field in dataclasses.fields(value) if field.compare]
        return {name: getattr(value, name) for name in compared}
    plain = type(value).__eq__ is object.__eq__ and hasattr(value, "__dict__")
    return vars(value) if plain else {}


def _of_sets(old: Set[object], new: Set[object], where: str) -> Iterator[str]:
    items = {item: item for item in new}
    for item in sorted(old, key=shown):
        if item not in items:
            yield f"{where}: {_told(item)} was removed"
        elif not exactly_equal(item, items[item]):
            yield f"{where}, an item: {_change(item, items[item])}"
    for item in sorted(new - old, key=shown):
        yield f"{where}: {_told(item)} was added"


def _of_texts(old: str, new: str, where: str) -> Iterator[str]:
    """The lines of two texts that differ, unless both are one line that can be shown."""
    if "\n" not in old + new and len(old) <= _MAX_LINE >= len(new):
        return
    left, right = old.split("\n"), new.split("\n")
    for number, (one, two) in enumerate(zip_longest(left, right), 1):
        if one != two:
            place = f"{where}, line {number}" if len(left) + len(right) > 2 else where
            yield f"{place}: {_around(one, two)} → {_around(two, one)}"


def _around(line: str | None, other: str | None) -> str:
    """The part of ``line`` that begins shortly before it differs from ``other``."""
    if line is None:
        return "no such line"
    alike = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(line, other or "", strict=False))
    )
    start = alike - _MAX_LINE // 3
    if len(line) <= _MAX_LINE or start < 0:
        return shown(line)
    return f"…{shown(line[start:])}"


def _change(old: object, new: object) -> str:
    left, right = _told(old), _told(new)
    if left != right:
        return f"{left} → {right}"
    if type(old) is type(new):
        return f"{left} → another one that is shown alike"
    kinds = class_name(type(old)), class_name(type(new))
    if kinds[0] == kinds[1]:
        return f"{left} → the same of another class {kinds[0]}"
    return f"{left} ({kinds[0]}) → {right} ({kinds[1]})"


def _told(value: object) -> str:
    """A value in one line; of what is too large for that, its size too."""
    text = " ".join(shown(value).split())
    if not text.endswith("…") or not isinstance(value, Sized):
        return text
    size = caught_inline(len, value)
    return text if isinstance(size, Raised) else f"{text} ({size} long)"
