"""Where two data frames, series or arrays differ.

Cells are the same when their library or ``==`` says so; a missing one is as another missing one.
Rows stand for each other by the labels of their index, where these are unique, or else by their
places.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import exactly_equal
from flujo_nb.widgets.previews import short

from .tables import Column, Places, Table, pairs_of, table_of

CELLS = 1_000_000
"""How many cells of two tables are looked at one by one, where their library sees a difference."""

ROWS = 6
"""How many of the rows that changed, went or came are told."""

_SLICE = 32_768
_LABELS = 2_000_000
_LABEL = 32
_CELLS = 12


class CellChange(NamedTuple):
    """A cell that is another one; ``row`` is its label or place."""

    row: str
    column: str
    old: object
    new: object


@dataclass(slots=True)
class TableDiff:
    """What differs between two tables.

    ``changed`` counts cells by column, ``cells`` are those of the first rows that changed.
    ``rows_gone`` and ``rows_new`` are the first labels of ``gone`` and ``come`` rows. Of a table
    that was too large, only the beginning was compared: then ``is_whole`` is false.
    """

    old: Table
    new: Table
    columns_gone: list[Column] = field(default_factory=list)
    columns_new: list[Column] = field(default_factory=list)
    retyped: list[tuple[Column, Column]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gone: int = 0
    come: int = 0
    rows_gone: list[str] = field(default_factory=list)
    rows_new: list[str] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    cells: list[CellChange] = field(default_factory=list)
    is_whole: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, as far as it is known."""
        parts = (self.columns_gone, self.columns_new, self.retyped, self.notes, self.changed)
        same_shape = self.old.shape == self.new.shape
        return same_shape and self.is_whole and not any(parts) and not (self.gone or self.come)


def compared(old: Table, new: Table, limit: int = CELLS) -> TableDiff:
    """What differs between two tables; at most ``limit`` cells are looked at one by one."""
    diff = TableDiff(old, new)
    pairs = _pair_columns(diff)
    if not old.is_frame and old.shape[1:] != new.shape[1:]:
        return diff  # places in arrays of such shapes do not stand for each other
    rows = _pair_rows(diff)
    if rows is None:
        return diff
    found: list[tuple[Column, Column, list[int]]] = []
    both = [(one.at(rows.old), other.at(rows.new)) for one, other in pairs]
    both = [(one, two) for one, two in both if one.dtype != two.dtype or not _same(one, two)]
    for number, (left, right) in enumerate(both):
        most = limit // (len(both) - number)  # what one column leaves is for those behind it
        places, count, looked = _unlike(left, right, most)
        limit -= looked
        diff.is_whole = diff.is_whole and looked <= most
        if count:
            diff.changed[left.name] = count
            found.append((left, right, places))
    diff.cells = list(islice(_first_cells(found, rows), _CELLS))
    return diff


def _first_cells(
    found: Sequence[tuple[Column, Column, list[int]]], rows: _Rows
) -> Iterator[CellChange]:
    """The cells that changed in the first rows with some."""
    for place in sorted({place for *_, places in found for place in places})[:ROWS]:
        part = slice(place, place + 1)
        for left, right, _ in found:
            (old,), (new,) = left.at(part).cells(), right.at(part).cells()
            if _differs(old, new):
                yield CellChange(rows.label(place), left.name, old, new)


# Which columns and rows stand for each other


def _pair_columns(diff: TableDiff) -> list[tuple[Column, Column]]:
    """The columns that both tables have; notes those that only one has, and other types."""
    old, new = _named(diff.old.columns), _named(diff.new.columns)
    diff.columns_gone = [one for name, one in old.items() if name not in new]
    diff.columns_new = [one for name, one in new.items() if name not in old]
    pairs = [(one, new[name]) for name, one in old.items() if name in new]
    diff.retyped = [(one, other) for one, other in pairs if one.dtype != other.dtype]
    order = [name for name in old if name in new], [name for name in new if name in old]
    if order[0] != order[1]:
        diff.notes.append("the columns are in another order")
    return pairs


def _named(columns: Sequence[Column]) -> dict[tuple[str, int], Column]:
    """Columns by their names; of several that share one, each has a number."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], Column] = {}
    for one in columns:
        found[one.name, seen[one.name]] = one
        seen[one.name] += 1
    return found


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that both tables have, by their places in each; ``label`` names one of them."""

    old: slice | Places
    new: slice | Places
    label: Callable[[int], str]


def _pair_rows(diff: TableDiff) -> _Rows | None:
    """The rows that stand for each other, if any do; notes those that only one table has."""
    old, new = diff.old, diff.new
    if old.index is not None and new.index is not None:
        if (old.index.name, old.index.dtype) != (new.index.name, new.index.dtype):
            told = [f"{one.name or 'index'} {one.dtype}" for one in (old.index, new.index)]
            diff.notes.append(f"the index is another one: {told[0]} → {told[1]}")
        if old.rows != new.rows or not _same(old.index, new.index):
            return _pair_labels(diff, old.index, new.index)
    return _by_places(diff)


def _by_places(diff: TableDiff) -> _Rows:
    old, new = diff.old, diff.new
    both = slice(0, min(old.rows, new.rows))
    longer = (old.shape or (0,))[0] - (new.shape or (0,))[0]
    diff.gone, diff.come = max(0, longer), max(0, -longer)
    return _Rows(both, both, lambda place: _place_in(old, place))


def _pair_labels(diff: TableDiff, old: Column, new: Column) -> _Rows | None:
    """Rows by their labels, or by places where labels do not tell one row from another."""
    if max(len(old), len(new)) > _LABELS:
        diff.notes.append("the index differs, and is too long to tell which rows are the same")
        return None
    rows = caught_inline(pairs_of, old, new)
    if rows is None or isinstance(rows, Raised):
        diff.notes.append("the index differs; its labels repeat, so rows are compared by places")
        return _by_places(diff)
    diff.gone, diff.come = len(rows.gone), len(rows.come)
    diff.rows_gone = [_label(old, place) for place in rows.gone[:ROWS]]
    diff.rows_new = [_label(new, place) for place in rows.come[:ROWS]]
    left, right = rows.old.tolist(), rows.new.tolist()
    if any(map(operator.gt, right, right[1:])):
        diff.notes.append("the rows are in another order")
    return _Rows(rows.old, rows.new, lambda place: _label(old, left[place]))


def _label(index: Column, place: int) -> str:
    return short(index.at(slice(place, place + 1)).cells()[0], _LABEL)


def _place_in(table: Table, place: int) -> str:
    """What a row, or a cell of an array, is called."""
    if table.index is not None:
        return _label(table.index, place)
    if table.is_frame or len(table.shape) < 2:
        return str(place)
    parts: list[str] = []
    for size in reversed(table.shape):
        place, at = divmod(place, size)
        parts.append(str(at))
    return ", ".join(reversed(parts))


# Cells


def _unlike(old: Column, new: Column, limit: int) -> tuple[list[int], int, int]:
    """The first places at which cells differ, how many do, and how many were looked at.

    That is more than ``limit`` where there would have been more than that to look at.
    """
    places: list[int] = []
    count = looked = 0
    for start in range(0, len(old), _SLICE):
        part = slice(start, start + _SLICE)
        left, right = old.at(part), new.at(part)
        if old.dtype == new.dtype and _same(left, right):
            continue
        if looked and looked + len(left) > limit:
            return places, count, limit + 1
        looked += len(left)
        found = _unlike_in(left.cells(), right.cells())
        places += [start + one for one in found[: ROWS - len(places)]]
        count += len(found)
    return places, count, looked


def _same(old: Column, new: Column) -> bool:
    return len(old) == len(new) and caught_inline(old.same, old.held, new.held) is True


def _unlike_in(old: list[object], new: list[object]) -> Sequence[int]:
    """The places at which cells differ. Most cells can be compared without ado."""
    pairs = list(zip(old, new, strict=True))
    places = caught_inline(
        lambda: [
            place
            for place, (one, two) in enumerate(pairs)
            if one is not two and one != two and not (one != one and two != two)
        ]
    )
    if not isinstance(places, Raised):
        return places
    return [place for place, (one, two) in enumerate(pairs) if _differs(one, two)]


def _differs(old: object, new: object) -> bool:
    """Whether two cells differ, which may hold arrays, or values that are missing."""
    if old is new:
        return False
    unequal = _answer(old, new)
    if unequal is not None:
        return unequal and not (_answer(old, old) and _answer(new, new))
    tables = table_of(old), table_of(new)
    if tables[0] is None or tables[1] is None:
        return not exactly_equal(old, new)
    return not compared(tables[0], tables[1]).is_empty


def _answer(old: object, new: object) -> bool | None:
    """Whether values say that they are unequal; ``None`` when they say neither yes nor no."""
    answer: object = caught_inline(operator.ne, old, new)
    is_one = type(answer).__name__ in ("bool", "bool_")  # numpy has its own
    return bool(answer) if is_one else None
