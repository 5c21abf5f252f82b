"""What differs between two values, as lines that can be shown: a mark, a place, and words.

Nothing here keeps a value: lines hold texts, without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from flujo_nb.widgets.previews import clipped, preview, short

from .table_diff import TableDiff
from .tables import Table, table_of
from .text_diff import cut, focused, text_diff
from .value_diff import Difference, How, Item, Key, Where

LINES = 24
"""About how many lines a value is told in."""

VALUE = 48
"""How many characters of a value that changed are shown."""

ALONE = 96
"""How many characters of a value that went or came."""

_COLUMNS = 8
_FOCUSED = 2_000
_NAME = 32
_KEY = "PRIVATE KEY"


class Mark(StrEnum):
    """What became of what a line tells of; a line with nothing before it says more of that."""

    CHANGED = "~"
    GONE = "-"
    NEW = "+"
    NONE = " "


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference: where, and what stands or stood there.

    Of what changed ``text`` is what it was and ``new`` what it is. ``is_code`` says that blanks
    count.
    """

    mark: Mark
    where: str
    text: str
    new: str | None = None
    is_code: bool = False

    @property
    def told(self) -> str:
        """What is said in words."""
        return self.text if self.new is None else f"{self.text} → {self.new}"


def kinds_of(old: object, new: object) -> str:
    """What two values are, in a few words: ``list of 61 → list of 60``."""
    before, after = _kind(old), _kind(new)
    return before if before == after else f"{before} → {after}"


def _kind(value: object) -> str:
    return preview(value).kind or type(value).__name__


def lines_of(difference: Difference) -> Sequence[Line]:
    """What is said of one difference."""
    where, count = where_text(difference.where), difference.parts
    match difference.how:
        case How.GONE:
            return [Line(Mark.GONE, where, short(difference.old, ALONE))]
        case How.NEW:
            return [Line(Mark.NEW, where, short(difference.new, ALONE))]
        case How.MORE_GONE | How.MORE_NEW as how:
            mark = Mark.GONE if how is How.MORE_GONE else Mark.NEW
            return [Line(mark, where, f"… {count:,} more items")]
        case How.HIDDEN:
            return [Line(Mark.CHANGED, where, "…", "…")]
        case How.UNKNOWN:
            told = f"{kinds_of(difference.old, difference.new)}: too large to compare all of it"
            return [Line(Mark.CHANGED, where, told)]
        case How.TABLE if difference.table is not None:
            return list(_of_table(where, difference))
    if isinstance(difference.old, str) and isinstance(difference.new, str):
        return _of_texts(where, difference.old, difference.new)
    return [_change(where, difference.old, difference.new)]


def where_text(where: Where) -> str:
    """The way to a part, as Python would write it; the end of a long one."""
    text = "".join(map(_step_text, where)).removeprefix(".")
    return text if len(text) <= VALUE else f"…{text[1 - VALUE :]}"


def _step_text(step: Item | Key | str) -> str:
    match step:
        case Key(key=key):
            return f"[{short(key, 32)}]"
        case Item(old=first, last=int(last)):
            return f"[{first}…{last}]"
        case Item(old=old, new=new):
            return f"[{old}]" if old == new else f"[{old} → {new}]"
    return f".{_name(str(step))}"


def _change(where: str, old: object, new: object) -> Line:
    told = _kind_or_text(old), _kind_or_text(new)
    if told[0] != told[1] and any(table_of(one) is not None for one in (old, new)):
        return Line(Mark.CHANGED, where, *told)
    before, after = _shown(old), _shown(new)
    left, right = focused(before, after, is_repr=True)
    if before == after:
        kinds = type(old).__name__, type(new).__name__
        left, right = clipped(before, VALUE), "another one that is shown alike"
        if kinds[0] != kinds[1]:
            left, right = f"{left} ({kinds[0]})", f"{clipped(before, VALUE)} ({kinds[1]})"
    return Line(Mark.CHANGED, where, clipped(left, VALUE), clipped(right, VALUE))


def _kind_or_text(value: object) -> str:
    """What a table is, without its first rows; any other value in one line."""
    shown = preview(value)
    return shown.kind if table_of(value) is not None and shown.kind else short(value, VALUE)


def _shown(value: object) -> str:
    """A value in one line; in a text each blank counts."""
    return repr(clipped(value, _FOCUSED)) if type(value) is str else short(value, _FOCUSED)


def _of_texts(where: str, old: str, new: str) -> Sequence[Line]:
    """Two texts: in one line where that is enough, or else the lines that differ."""
    if _KEY in old or _KEY in new:  # its lines by themselves are not known as a secret
        return [_change(where, old, new)]
    if "\n" not in old + new and max(len(old), len(new)) <= VALUE:
        return [_change(where, old, new)]
    part = cut(old, new)
    found = lines_of_texts(part.old, part.new, first=part.before, is_cut=part.has_rest)
    if part.has_rest:
        found.append(Line(Mark.NONE, "…", "it is too long to compare all of it"))
    if "\n" not in old and "\n" not in new:
        return [replace(found[0], where=where), *(replace(one, where="") for one in found[1:])]
    sizes = [f"{one.count(chr(10)) + 1:,}" for one in (old, new)]
    told = f"{' → '.join(dict.fromkeys(sizes))} lines"
    return [Line(Mark.CHANGED, where, told), *found] if where else found


def lines_of_texts(
    old: Sequence[str],
    new: Sequence[str],
    most: int = LINES,
    *,
    first: int = 0,
    is_cut: bool = False,
) -> list[Line]:
    """The lines that differ between two texts, with a few around them.

    ``first`` is the number of the lines before those that are given; ``is_cut`` says that there
    are others behind them.
    """
    lines, more = text_diff(old, new, most, is_cut=is_cut)
    found = [
        Line(
            mark=Mark(one.mark),
            where="" if one.number is None else f"line {first + one.number:,}",
            text=one.text,
            is_code=True,
        )
        for one in lines
    ]
    if more:
        found.append(Line(Mark.NONE, "…", f"{more:,} more {'place' if more == 1 else 'places'}"))
    return found


# Tables


def _of_table(where: str, difference: Difference) -> Iterator[Line]:
    """Columns, rows, how many cells changed, and those of the first rows that did."""
    table = difference.table
    if table is None:
        return
    if where:
        yield Line(Mark.CHANGED, where, kinds_of(difference.old, difference.new))
    found = [*_columns(table), *_rows(table), *_cells(table)]
    if not found and not where:
        yield Line(Mark.CHANGED, "shape", _shape(table.old), _shape(table.new))
    yield from found


def _shape(table: Table) -> str:
    return " x ".join(f"{size:,}" for size in table.shape)


def _columns(table: TableDiff) -> Iterator[Line]:
    for mark, columns in ((Mark.GONE, table.columns_gone), (Mark.NEW, table.columns_new)):
        for column in columns[:_COLUMNS]:
            yield Line(mark, _column(column.name), clipped(column.dtype, VALUE))
        if len(columns) > _COLUMNS:
            yield Line(mark, "columns", f"… {len(columns) - _COLUMNS:,} more")
    for before, after in table.retyped[:_COLUMNS]:
        types = clipped(before.dtype, VALUE), clipped(after.dtype, VALUE)
        yield Line(Mark.CHANGED, _column(before.name) or "cells", *types)
    if len(table.retyped) > _COLUMNS:
        yield Line(Mark.CHANGED, "columns", f"… {len(table.retyped) - _COLUMNS:,} more types")


def _rows(table: TableDiff) -> Iterator[Line]:
    for mark, labels, count in (
        (Mark.GONE, table.rows_gone, table.gone),
        (Mark.NEW, table.rows_new, table.come),
    ):
        if count:
            told = f": {', '.join(labels)}" if labels else " at the end"
            more = f", … {count - len(labels):,} more" if labels and count > len(labels) else ""
            yield Line(mark, "rows", f"{count:,}{told}{more}")
    yield from (Line(Mark.NONE, "", note) for note in table.notes)


def _cells(table: TableDiff) -> Iterator[Line]:
    at_least = "" if table.is_whole else "at least "
    counts = list(table.changed.items())
    for name, count in counts[:_COLUMNS]:
        told = f"{at_least}{count:,} of {table.old.rows:,} cells changed"
        yield Line(Mark.CHANGED, _column(name), told)
    if len(counts) > _COLUMNS:
        yield Line(Mark.CHANGED, "columns", f"… {len(counts) - _COLUMNS:,} more with changed cells")
    shown = {name for name, _ in counts[:_COLUMNS]}
    for cell in table.cells:
        if cell.column in shown:
            place = f"[{cell.row}]{f' {_name(cell.column)}' if cell.column else ''}"
            yield _change(place, cell.old, cell.new)
    if not table.is_whole:
        yield Line(Mark.NONE, "…", "it is too large to compare all of its cells")


def _column(name: str) -> str:
    return f"column {_name(name)}" if name else ""


def _name(name: str) -> str:
    return clipped(" ".join(name.split()), _NAME)
