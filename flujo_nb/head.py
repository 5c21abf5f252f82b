"""Where a run starts: which record it continues from, and what it says about that.

HEAD is the frame that the next command continues from. The rules:

* ``-i`` starts a new line: no parent, the session's initial context. With ``--from fN`` the
  context is fN's.
* A cell that is run again while HEAD's line holds a record of it runs from that record's parent.
* Otherwise a run continues from HEAD, or, when there is none, from nothing: input ``None``, the
  initial context.
* A failed run does not move HEAD, so what follows it continues from before it, and says so.
* Behind a question that nobody has answered, no other step continues from HEAD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import UsageLimits
from flujo_nb.widgets.previews import clipped


@dataclass(frozen=True, slots=True)
class CellKey:
    """Which command of which cell made a record.

    ``cell_id`` is ``None`` when the front end sends none; then the ``command`` and the ``name`` of
    its target stand for the cell. ``execution`` counts the kernel's cells (one of another kernel
    has a negative number); ``ordinal`` counts the commands in one execution, so that a loop in a
    cell is not taken for a cell that runs again.
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
    """What a command says about where it starts.

    ``target`` is the text of what it runs, for running it again.
    """

    cell: CellKey | None = None
    given: Given | None = None
    source: FrameRecord | None = None
    on_head: bool = False
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a session notes of a command before its frame begins.

    ``path`` is that of the command, ``frame`` that of its frame, below it. ``has_parents_data``
    says that its input is its parent's output, ``has_parents_context`` the same of the context;
    ``resumes`` is the frame that it went on with, and ``forks`` the one whose finished frames it
    kept. ``target`` is the text of what it runs, and ``definitions`` are the names and digests of
    the steps in that; none when they could not be taken. ``limits`` are those of its own budget.
    ``patch`` is what was changed of the frame that it forks, as JSON; ``answered`` the digest of
    the answer with which it went on. ``head`` is where HEAD stood when it began.
    """

    id: str
    name: str
    path: FramePath
    frame: FramePath
    origin: str
    parent: str | None = None
    cell: CellKey | None = None
    notes: tuple[str, ...] = ()
    target: str | None = None
    has_parents_data: bool = False
    has_parents_context: bool = False
    resumes: str | None = None
    forks: str | None = None
    definitions: tuple[tuple[str, str], ...] = ()
    limits: UsageLimits | None = None
    patch: str | None = None
    answered: str | None = None
    head: str | None = None
    in_background: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving a frame came to.

    ``live_only`` are the parts of its values that are not saved, each with its reason. The
    digests, of all that the frame came to and of its input, are in hexadecimal digits.
    """

    live_only: tuple[str, ...] = ()
    digest: str | None = None
    input_digest: str | None = None


NOT_SAVED = Saved()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a session notes of a command's frame when that has ended.

    ``shown`` is how the output begins, as cards show it; none of one that is not saved.
    """

    status: RunStatus
    duration_s: float = 0.0
    feedback: str | None = None
    notes: tuple[str, ...] = ()
    saved: Saved = NOT_SAVED
    shown: str | None = None


Recall = Callable[["Entry"], FrameRecord]
"""Gives an entry's record, from memory or from where it is saved."""


class Entry:
    """A frame that a command left: what of it is always in memory, and the way to its record."""

    def __init__(self, command: Command, ended: Ended, recall: Recall) -> None:
        self.command = command
        self.ended = ended
        self.cells = [] if command.cell is None else [command.cell]
        """The cells that it stands for: the one that made it, and those that it was reused in."""
        self._recall = recall

    @property
    def id(self) -> str:
        """``f`` and a number."""
        return self.command.id

    @property
    def name(self) -> str:
        """What was run."""
        return self.command.name

    @property
    def parent(self) -> str | None:
        """The id of the frame that it continued from."""
        return self.command.parent

    @property
    def status(self) -> RunStatus:
        """How it ended."""
        return self.ended.status

    @property
    def succeeded(self) -> bool:
        """Whether there is, or was, an output to go on from."""
        return self.status is RunStatus.COMPLETED

    @property
    def origin(self) -> str:
        """Where its input came from."""
        return self.command.origin

    @property
    def notes(self) -> tuple[str, ...]:
        """What its card says besides."""
        return (*self.command.notes, *self.ended.notes)

    @property
    def record(self) -> FrameRecord:
        """Its record; each asking may read it back anew."""
        return self._recall(self)

    def __repr__(self) -> str:
        return f"<Entry {self.id} {self.name} {self.status.value}>"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts. ``origin`` is the first line of its card; ``notes`` follow it.

    ``parent`` is the id of the frame that it continues from. ``behind`` is the failed frame, and
    ``question`` the paused one, that stands behind HEAD.
    """

    parent: str | None
    data: object
    context: BaseModel | None
    origin: str
    notes: tuple[str, ...] = ()
    behind: Entry | None = None
    question: Entry | None = None
    has_parents_data: bool = False


def decide_start(
    request: Request,
    head: Entry | None,
    entries: Sequence[Entry],
    initial_context: BaseModel | None,
    record: Callable[[str], FrameRecord],
) -> Start:
    """Where the run of ``request`` starts; ``entries`` are the session's, oldest first.

    ``record`` gives the record of a frame that is to be gone on from, by its id.
    """
    earlier = None if request.on_head else _entry_of_cell(request.cell, head, entries)
    if request.given is not None:
        older = _older_note(earlier, head, entries)
        notes = () if earlier is None else (f"ran again; {older}" if older else "ran again",)
        value = request.given.value
        if request.source is not None:
            context, origin = request.source.context_after, f"-i, context of {request.source.id}"
            return Start(request.source.id, value, context, origin, notes)
        return Start(None, value, initial_context, "-i", notes)
    if request.source is not None:
        return _from_record(request.source, ())
    if earlier is not None:
        parent, older = earlier.parent, _older_note(earlier, head, entries)
        note = f"ran again from {'the beginning' if parent is None else parent}"
        again = (f"{note}; {older}" if older else note,)
        if parent is None:
            return _from_nothing(initial_context, again)
        return _from_record(record(parent), again)
    question = open_question(head, entries)
    if head is None:
        return _from_nothing(initial_context, (), question)
    failed = failed_after(head, entries)
    origin = f"{head.id}.output"
    if failed is not None:
        origin = f"{origin} ({failed.name} {failed.status.value} after it)"
    if question is not None:  # it will be refused: nothing needs the value
        return Start(head.id, None, None, origin, (), failed, question)
    start = _from_record(record(head.id), ())
    return Start(head.id, start.data, start.context, origin, behind=failed, has_parents_data=True)


def refuse(start: Start, name: str, refuse_after_failure: bool) -> None:
    """Raise `UsageError` when ``name`` may not run behind what stands there. As `Session.run`."""
    behind, question = start.behind, start.question
    if question is not None and question.name != name:
        asked = clipped(" ".join((question.ended.feedback or "a question").split()), 120)
        raise UsageError(
            f"{question.id} {question.name} waits for an answer: {asked}; answer it with "
            f"%flujo resume {question.id} --with EXPR, or say --from FRAME"
        )
    if refuse_after_failure and behind is not None and behind.name != name:
        raise UsageError(
            f"{behind.id} {behind.name} {behind.status.value}, and "
            "Flujo.after_failure is 'refuse': run it again, or say --from"
        )


def failed_after(head: Entry | None, entries: Sequence[Entry]) -> Entry | None:
    """The newest frame when it stands behind ``head`` and did not succeed."""
    newest = next((one for one in reversed(entries) if not one.command.in_background), None)
    if newest is None or newest.succeeded or not _stands_behind(newest, head):
        return None
    return newest


def open_question(head: Entry | None, entries: Sequence[Entry]) -> Entry | None:
    """The newest frame behind ``head`` that paused, and was not gone on with."""
    gone_on = {one.command.resumes for one in entries}
    for one in reversed(entries):
        is_asked = one.status is RunStatus.PAUSED and one.id not in gone_on
        if is_asked and not one.command.in_background and _stands_behind(one, head):
            return one
    return None


def _stands_behind(entry: Entry, head: Entry | None) -> bool:
    """Whether a frame continued from ``head``, or began another line while HEAD stood there."""
    stands = None if head is None else head.id
    return stands == (entry.parent or entry.command.head)


def last_of(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """The last of those that went on with ``entry``, one with the other; or itself."""
    for one in entries:  # oldest first
        if one.command.resumes == entry.id:
            entry = one
    return entry


def line_of(entry: Entry, entries: Sequence[Entry]) -> Iterator[Entry]:
    """``entry`` and the frames that it continued from, newest first.

    What continued from a frame inside another stands on that one's line.
    """
    by_id = {one.id: one for one in entries}
    one: Entry | None = entry
    while one is not None:
        yield one
        number, _, inner = (one.parent or "").partition("/")
        one = by_id.get(number)
        while one is not None and inner:
            number, _, inner = (one.parent or "").partition("/")
            one = by_id.get(number)


def _entry_of_cell(
    cell: CellKey | None, head: Entry | None, entries: Sequence[Entry]
) -> Entry | None:
    """The frame on HEAD's line that an earlier execution of ``cell`` made."""
    if cell is None or head is None:
        return None
    for entry in line_of(head, entries):
        if any(map(cell.is_again, entry.cells)):
            return entry
    return None


def _older_note(earlier: Entry | None, head: Entry | None, entries: Sequence[Entry]) -> str:
    """Which frames of HEAD's line stand on the one that is being made again."""
    if earlier is None or head is None:
        return ""
    line = list(line_of(head, entries))
    later = [one.id for one in reversed(line[: line.index(earlier)])]
    verb = "stands" if len(later) == 1 else "stand"
    return f"{', '.join(later)} {verb} on an older {earlier.id}" if later else ""


def _from_record(record: FrameRecord, notes: tuple[str, ...]) -> Start:
    origin = f"{record.id}.output"
    return Start(
        record.id, record.output, record.context_after, origin, notes, has_parents_data=True
    )


def _from_nothing(
    context: BaseModel | None, notes: tuple[str, ...], question: Entry | None = None
) -> Start:
    return Start(None, None, context, "nothing (input None)", notes, question=question)
