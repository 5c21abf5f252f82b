"""A session that a store keeps: a run whose decisions at its root are the session's commands.

``frame#3`` notes how the frame ``f3`` came about, ``input#3`` and ``context#3`` what it was given,
where that was nobody's output; ``ended#3`` tells how it ended, and ``head`` where HEAD stands.
``reused#2`` tells of the third cell in which a recorded frame was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import cast

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.context import ContextUpdate
from flujo_nb.engine.errors import ValueNotRead, ValueNotSaved
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.journal import Decision, Journal
from flujo_nb.engine.journal_image import began_at, is_at_or_below, kept_rows
from flujo_nb.engine.outcomes import FrameOutcome, RunStatus, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.recall import edited
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.recorded_run import Persist
from flujo_nb.engine.steps import Node
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.stores import Row, Source, Store
from flujo_nb.engine.usage import UsageLimits
from flujo_nb.widgets.view_model import ChildLine

from .cut_off import STATUS, cut_off, lines_inside
from .head import CellKey, Command, Ended, Entry, Saved
from .kept_frames import moved
from .targets import all_nodes

ROOT = FramePath()
_CUT_OFF = "the kernel ended while it ran"


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted before a frame begins: its command, and what else of it is noted.

    ``context`` numbers the frame whose noted context it has.
    """

    command: Command
    has_input: bool = False
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Reused:
    """What is noted when a recorded frame was given in ``cell``, and nothing ran.

    There were ``after`` frames then.
    """

    frame: str
    cell: CellKey
    after: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What was noted of a session: of each frame, in order, where HEAD stood, and its budget."""

    frames: Sequence[tuple[Command, Ended]]
    reused: Sequence[Reused]
    head: str | None
    limits: UsageLimits | None


class StoredKeeper:
    """Keeps a session in ``store``; ``journal`` holds its lease."""

    is_stored = True

    def __init__(self, store: Store, journal: StoredJournal, types: TypeTable) -> None:
        self.store = store
        self._journal = journal
        self._types = types
        self._noted: dict[str, Noted] = {}
        self._inputs: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._context: tuple[BaseModel, int] | None = None
        self._reused = 0

    @property
    def run_id(self) -> str:
        """The session's run."""
        return self._journal.run_id

    @property
    def place(self) -> str:
        """The file."""
        return self.store.location

    # Frames

    def journal_of(
        self,
        command: Command,
        resumed: Entry | None = None,
        *,
        keep: bool = False,
        redo: Sequence[str] = (),
    ) -> Journal:
        """The session's journal. What is recorded of ``resumed`` is read into it."""
        journal = self._journal
        if resumed is not None:
            self._check_is_free()
            journal.read(resumed.command.path)
            journal.keeps = keep
            for path in redo:
                journal.redo(path)
        return journal

    def _check_is_free(self) -> None:
        if self._journal.image.finished:
            raise UsageError("another frame is being gone on with: wait until that has ended")

    async def again(
        self,
        journal: Journal,
        command: Command,
        resumed: Entry,
        *,
        keep: bool,
        redo: Sequence[str],
    ) -> Journal:
        """What has ended meanwhile is among what is read."""
        await self._journal.writer.commit()
        self.leave(journal)
        return self.journal_of(command, resumed, keep=keep, redo=redo)

    def leave(self, journal: Journal) -> None:
        """Frames that begin now are new ones."""
        self._journal.forget()
        self._journal.keeps = self._journal.gave_unsaved = False

    def check_definitions(self, journal: Journal, node: Node) -> None:
        """See `flujo_nb.engine.recall.edited`."""
        own = self._journal.image.finished
        reader = self.reader()  # all of it: what definitions said stands at the root
        reader.keeps = self._journal.keeps
        reader.image.finished = dict(own)
        edited(reader, all_nodes(node))

    async def grafted(
        self, command: Command, source: Entry, outcome: FrameOutcome, at: FramePath
    ) -> Journal:
        """The session's journal, with the rows before that frame noted anew for this command.

        They are written with what is noted next: that the command has begun.
        """
        self._check_is_free()
        origin, target = source.command.path, command.path
        reader = self.reader(origin)
        rows = [row for row in reader.all_rows() if is_at_or_below(row.path, str(origin))]
        began = began_at(rows, str(at))
        if began is None:
            raise UsageError(f"nothing is recorded at {at}")
        writer, copies = self._journal.writer, list[Row]()
        for row in kept_rows(rows, Source(self.run_id, began)):
            there = moved(FramePath.parse(row.path), origin, target)
            seq = writer.seq + 1
            copy = row._replace(
                seq=seq, path=str(there), started=seq, cost_micros=0, tokens=0, requests=0
            )
            writer.add(copy, {})
            copies.append(copy)
        self._journal.begin_with(copies)
        return self._journal

    async def answered(self, journal: Journal, path: FramePath, answer: object) -> None:
        """Make the answer durable."""
        await self._journal.put_answer(path, answer)

    async def began(self, command: Command, frame: AnyFrame, data: object) -> None:
        """Make durable that the command was given, before its frame begins."""
        self._types.add_node(frame.step)
        self._journal.look_again(all_nodes(frame.step))
        number = _number_of(command.id)
        has_input = not command.has_parents_data and data is not None
        if has_input:
            self._decide("input", data, number)
        context = None
        if not command.has_parents_context and frame.context is not None:
            context = self._note_context(frame.context, number)
        cell = None if command.cell is None else _of_any_kernel(command.cell)
        lasting = replace(command, cell=cell)
        noted = self._noted[command.id] = Noted(lasting, has_input, context)
        self._decide("frame", noted, number)
        begun = self._journal.begin(command.frame, frame.step, frame.data)
        self._inputs[command.id] = begun.input.hex()
        await self._journal.writer.commit()

    def _note_context(self, context: BaseModel, number: int) -> int:
        if self._context is None or self._context[0] is not context:
            self._decide("context", context, number)
            self._context = (context, number)
        return self._context[1]

    def saved(self, command: Command, node: Node, outcome: FrameOutcome) -> Saved:
        """What was live only, and the digests."""
        digest, given = None, self._inputs.pop(command.id, None)
        live: tuple[str, ...] = ()
        if isinstance(outcome, Success):
            begun = self._journal.begin(command.frame, node, outcome.output)
            above = self._digests.get(command.parent or "", "")
            parts = (begun.definition.hex(), given or "", begun.input.hex(), above)
            update = self._digest_of_update(outcome.update)
            digest = blake2b("\n".join((*parts, update)).encode(), digest_size=16).hexdigest()
            self._digests[command.id] = digest
            if self._journal.outcome_at(command.frame) is not None:  # it is held, not only saved
                live = tuple(map(str, self.reader(command.path).live_only(command.frame)))
        return Saved(live, digest, given)

    def _digest_of_update(self, update: ContextUpdate | None) -> str:
        if update is None:
            return ""
        changes = [[type(one).__name__, list(one.path)] for one in update.changes]
        values = [getattr(one, "value", getattr(one, "values", None)) for one in update.changes]
        for told in ([changes, values], changes):
            with suppress(ValueNotSaved):
                return self._journal.codec.encode(told, "context").digest.hex()
        return f"{len(changes)} changes"  # a key in the path of one may be a secret

    async def ended(self, entry: Entry, *, is_head: bool) -> None:
        """Make the end durable."""
        self._decide("ended", entry.ended, _number_of(entry.id))
        if is_head:
            self._decide("head", entry.id)
        if entry.succeeded:
            self.release(entry)
        await self._journal.writer.commit()
        if entry.command.resumes is not None or "/" in (entry.command.forks or ""):
            self.leave(self._journal)

    async def moved(self, head: str) -> None:
        """Make the move durable."""
        self._decide("head", head)
        await self._journal.writer.commit()

    async def reused(
        self, frame_id: str, cell: CellKey | None, after: int, *, is_head: bool
    ) -> None:
        """Make it durable."""
        if cell is not None:
            self._decide("reused", Reused(frame_id, _of_any_kernel(cell), after), self._reused)
            self._reused += 1
        if is_head:
            self._decide("head", frame_id)
        await self._journal.writer.commit()

    async def limited(self, limits: UsageLimits) -> None:
        """Make it durable."""
        self._decide("limits", limits)
        await self._journal.writer.commit()

    def _decide(self, name: str, value: object, number: int | None = None) -> None:
        self._journal.decide(ROOT, name, Decision(value), number)

    # Reading

    def outcome_of(self, entry: Entry, node: Node | None) -> FrameOutcome | None:
        """How the frame ended, from its rows; of one that was cut off, from those inside it."""
        reader, frame = self.reader(entry.command.path), entry.command.frame
        return reader.outcome_at(frame, node) or cut_off(reader, frame, _CUT_OFF)

    def lines_inside(self, record: FrameRecord) -> Sequence[ChildLine]:
        """From its rows."""
        own = str(record.path)
        rows = [row for row in self.reader().all_rows() if is_at_or_below(row.path, own)]
        return lines_inside(rows, record.id, record.path)

    def data_of(self, entry: Entry) -> object:
        """The input that was noted."""
        if not self._noted_of(entry).has_input:
            return None
        return self._decided("input", _number_of(entry.id), "what it was given")

    def context_of(self, entry: Entry) -> BaseModel | None:
        """The context that was noted."""
        number = self._noted_of(entry).context
        if number is None:
            return None
        found = self._decided("context", number, "its context")
        if not isinstance(found, BaseModel):
            raise ValueNotRead(f"its context was saved as a {type(found).__name__}")
        return found

    def _noted_of(self, entry: Entry) -> Noted:
        noted = self._noted.get(entry.id)
        if noted is None:
            raise ValueNotRead("nothing of it is recorded")
        return noted

    def _decided(self, name: str, number: int, what: str) -> object:
        found = self.reader().decision(ROOT, name, number)
        if found is None:
            raise ValueNotRead(f"{what} could not be saved")
        return found.value

    def reader(self, below: FramePath | None = None, *, answered: bool = False) -> StoredJournal:
        """What is recorded at and below a path, or of all, read anew.

        Of all, answers are read only if they are asked for: each may be of a class that is not
        defined yet. Raises `StoreError`, and `ValueNotRead` for an answer.
        """
        own = self._journal
        reader = StoredJournal(
            self.store, own.run_id, own.codec, Persist.AUTO, definitions=own.definitions
        )
        reader.read(below, answered=answered or below is not None)
        return reader

    def is_saved(self, entry: Entry) -> bool:
        """Whether its values are."""
        return not entry.ended.saved.live_only

    def release(self, entry: Entry) -> None:
        """Drop values of it that are not saved: its record has copies."""
        self._journal.release(entry.command.path)

    async def close(self, paused: Sequence[FramePath]) -> None:
        """Give the lease back."""
        status = RunStatus.PAUSED if paused else RunStatus.COMPLETED
        await self._journal.rest(status, ())

    def restored(self) -> Restored:
        """What was noted of the session. Decodes no values."""
        reader = self.reader()
        frames = noted_in(reader)
        self._noted = {noted.command.id: noted for noted, _ in frames}
        self._digests = {noted.command.id: ended.saved.digest or "" for noted, ended in frames}
        head = reader.decision(ROOT, "head")
        reused: list[Reused] = []
        while (one := reader.decision(ROOT, "reused", len(reused))) is not None:
            reused.append(cast(Reused, one.value))
        self._reused = len(reused)
        told = [(noted.command, ended) for noted, ended in frames]
        limits = reader.decision(ROOT, "limits")
        return Restored(
            told,
            reused,
            None if head is None else str(head.value),
            None if limits is None else cast(UsageLimits, limits.value),
        )


def noted_in(journal: StoredJournal) -> Sequence[tuple[Noted, Ended]]:
    """What was noted of each frame in a journal that was read. Raises `ValueNotRead`."""
    found: list[tuple[Noted, Ended]] = []
    while (told := journal.decision(ROOT, "frame", len(found))) is not None:
        noted, end = told.value, journal.decision(ROOT, "ended", len(found))
        if not isinstance(noted, Noted):
            raise ValueNotRead(f"frame f{len(found)} was noted as a {type(noted).__name__}")
        ended = end.value if end is not None else None
        if not isinstance(ended, Ended):
            ended = _end_of(journal.image.finished.get(str(noted.command.frame)))
        found.append((noted, ended))
    return found


def _end_of(row: Row | None) -> Ended:
    """How a frame ended whose session did not come to note it."""
    if row is None or row.status == "aborted":
        return Ended(status=RunStatus.INTERRUPTED, feedback=_CUT_OFF)
    return Ended(status=STATUS.get(row.status or "", RunStatus.FAILED))


def _of_any_kernel(cell: CellKey) -> CellKey:
    """``cell`` without the number of its execution, which means something here only."""
    return replace(cell, execution=-1)


def _number_of(frame_id: str) -> int:
    return int(frame_id.removeprefix("f"))
