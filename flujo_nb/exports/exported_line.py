"""What a session's line ran, from its root to HEAD, as one pipeline that can be written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from IPython.core.error import UsageError

from ..head import Entry, line_of
from ..patching import has_patch
from ..session import Session
from .export_module import Part, Wanted


def wanted_line(session: Session) -> Wanted:
    """The pipeline of HEAD's line. Raises `UsageError` when there is none."""
    head = session.head
    if head is None:
        raise UsageError("there is no HEAD: say what is exported, by its name, or  %flujo back f0")
    line = list(reversed(list(line_of(head, session.entries))))
    # What was given an input of its own does not go on with what came before it.
    first = max(n for n, one in enumerate(line) if n == 0 or not _goes_on(one))
    entries = line[first:]
    told = ", ".join(f"{one.id} {one.name}" for one in entries)
    notes = [*_notes(session, entries)]
    root = entries[0]
    if "/" in (root.parent or ""):
        notes.insert(0, f"It begins with {root.id}, which went on from {root.parent}.")
    elif root.parent is not None:
        notes.insert(0, f"It begins with {root.id}: what came before gave it no input.")
    record = root.record
    if record.context is None and record.absent is not None:
        notes.append(f"The context that it began with is not here: {record.absent}.")
    return Wanted(
        parts=[_part_of(one) for one in entries],
        title=f"What {session.run_id} ran: {told}.",
        context=record.context,
        notes=[*notes, *resources_notes(session)],
    )


def resources_notes(session: Session) -> Iterator[str]:
    """That the session's resources are not written down, if it has any."""
    if session.resources is not None:
        kind = type(session.resources).__name__
        yield f"The session's resources ({kind}) are not written down: run(data, resources=…)."


def _goes_on(entry: Entry) -> bool:
    """Whether an entry's input was the output of the one before it on the line."""
    return entry.command.has_parents_data and "/" not in (entry.parent or "")


def _part_of(entry: Entry) -> Part:
    command = entry.command
    if command.target is None:
        raise UsageError(
            f"{entry.id} {entry.name}: it is not known what it ran; export a name instead"
        )
    cell = command.cell
    is_defined_here = cell is not None and cell.command == "pipeline" and cell.execution > 0
    return Part(command.target, cell.execution if cell is not None and is_defined_here else None)


def _notes(session: Session, entries: Sequence[Entry]) -> Iterator[str]:
    for one in entries:
        if has_patch(session, one.command):
            yield f"{one.id} was patched: what was changed there is not repeated here."
        stale = session.staleness.why(one)
        if stale is not None and " is stale: " not in stale:  # that one is told of
            yield f"{one.id} is stale: {stale}. Here is what holds now."
