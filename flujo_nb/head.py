"""Where a run starts: which record it continues from, and what it says about that.

HEAD is the record that the next command continues from. The rules:

* ``-i`` starts a new line: no parent, the session's initial context. With ``--from fN`` the
  context is fN's.
* A cell that is run again while HEAD's line holds a record of it runs from that record's parent.
* Otherwise a run continues from HEAD, or, when there is none, from nothing: input ``None``, the
  initial context.
* A failed run does not move HEAD, so what follows it continues from before it, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from flujo_nb.engine.record import FrameRecord


@dataclass(frozen=True, slots=True)
class CellKey:
    """Which command of which cell made a record.

    ``cell_id`` is ``None`` when the front end sends none; then the ``command`` and the ``name`` of
    its target stand for the cell. ``execution`` counts the kernel's cells; ``ordinal`` counts the
    commands in one execution, so that a loop in a cell is not taken for a cell that runs again.
    """

    command: str
    name: str
    cell_id: str | None
    execution: int
    ordinal: int

    def is_again(self, earlier: CellKey) -> bool:
        """Whether this is a later execution of the command that ``earlier`` was."""
        if self.execution == earlier.execution:
            return False
        if self.cell_id is not None and earlier.cell_id is not None:
            return (self.cell_id, self.ordinal) == (earlier.cell_id, earlier.ordinal)
        own, other = (self.command, self.name), (earlier.command, earlier.name)
        return own == other and self.ordinal == earlier.ordinal


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the user gave as the input (``-i``)."""

    value: object


@dataclass(frozen=True, slots=True)
class Request:
    """What a command says about where it starts."""

    cell: CellKey | None = None
    given: Given | None = None
    source: FrameRecord | None = None
    on_head: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts. ``origin`` is the first line of its card; ``notes`` follow it.

    ``behind`` is the failed record after HEAD that the run goes on in spite of.
    """

    parent: FrameRecord | None
    data: object
    context: BaseModel | None
    origin: str
    notes: tuple[str, ...] = ()
    behind: FrameRecord | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a session with the command that made it."""

    record: FrameRecord
    cell: CellKey | None
    origin: str
    notes: tuple[str, ...] = ()


def decide_start(
    request: Request,
    head: FrameRecord | None,
    entries: Sequence[Entry],
    initial_context: BaseModel | None,
) -> Start:
    """Where the run of ``request`` starts; ``entries`` are the session's, oldest first."""
    earlier = None if request.on_head else _record_of_cell(request.cell, head, entries)
    if request.given is not None:
        older = _older_note(earlier, head)
        notes = () if earlier is None else (f"ran again; {older}" if older else "ran again",)
        value = request.given.value
        if request.source is not None:
            context, origin = request.source.context_after, f"-i, context of {request.source.id}"
            return Start(request.source, value, context, origin, notes)
        return Start(None, value, initial_context, "-i", notes)
    if request.source is not None:
        return _from_record(request.source, ())
    if earlier is not None:
        parent, older = earlier.parent, _older_note(earlier, head)
        note = f"ran again from {'the beginning' if parent is None else parent.id}"
        again = (f"{note}; {older}" if older else note,)
        if parent is None:
            return _from_nothing(initial_context, again)
        return _from_record(parent, again)
    if head is None:
        return _from_nothing(initial_context, ())
    failed = failed_after(head, entries)
    start = _from_record(head, ())
    if failed is None:
        return start
    origin = f"{start.origin} ({failed.name} {failed.status.value} after it)"
    return Start(head, start.data, start.context, origin, behind=failed)


def failed_after(head: FrameRecord | None, entries: Sequence[Entry]) -> FrameRecord | None:
    """The newest record when it continued from ``head`` and did not succeed."""
    if not entries:
        return None
    newest = entries[-1].record
    return newest if not newest.succeeded and newest.parent is head else None


def _record_of_cell(
    cell: CellKey | None, head: FrameRecord | None, entries: Sequence[Entry]
) -> FrameRecord | None:
    """The record on HEAD's line that an earlier execution of ``cell`` made."""
    if cell is None or head is None:
        return None
    cells = {entry.record.id: entry.cell for entry in entries}
    for record in head.line():
        made_by = cells.get(record.id)
        if made_by is not None and cell.is_again(made_by):
            return record
    return None


def _older_note(earlier: FrameRecord | None, head: FrameRecord | None) -> str:
    """Which records of HEAD's line stand on the one that is being made again."""
    if earlier is None or head is None:
        return ""
    line = list(head.line())
    later = [record.id for record in reversed(line[: line.index(earlier)])]
    verb = "stands" if len(later) == 1 else "stand"
    return f"{', '.join(later)} {verb} on an older {earlier.id}" if later else ""


def _from_record(record: FrameRecord, notes: tuple[str, ...]) -> Start:
    return Start(record, record.output, record.context_after, f"{record.id}.output", notes)


def _from_nothing(context: BaseModel | None, notes: tuple[str, ...]) -> Start:
    return Start(None, None, context, "nothing (input None)", notes)
