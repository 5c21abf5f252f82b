"""Where a session's commands are recorded: in memory here, in a store in `stored_keeper`.

A session notes each command before its frame begins, and how it ended. The frames in between
record themselves in the journal that their run is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.errors import ValueNotRead
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Failure, FrameOutcome, RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import UsageLimits
from flujo_nb.widgets.view_model import ChildLine

from .border import Copier
from .head import NOT_SAVED, CellKey, Command, Entry, Saved
from .kept_frames import kept, kept_before, moved

_GONE = "nothing of it is recorded"


class Keeper(Protocol):
    """Records the commands of one session."""

    @property
    def place(self) -> str:
        """Where, for humans."""

    @property
    def is_stored(self) -> bool:
        """Whether what is recorded outlives the kernel."""

    def journal_of(
        self,
        command: Command,
        resumed: Entry | None = None,
        *,
        keep: bool = False,
        redo: Sequence[str] = (),
    ) -> Journal:
        """The journal of a command's frames, with what is recorded of ``resumed``, if given.

        With ``keep`` that stands although steps were edited; the frames at the paths ``redo`` run
        again all the same. `leave` is to be called when they do not run after all.
        """

    async def again(
        self,
        journal: Journal,
        command: Command,
        resumed: Entry,
        *,
        keep: bool,
        redo: Sequence[str],
    ) -> Journal:
        """The journal of a command that has begun, read anew; as `journal_of`."""

    def leave(self, journal: Journal) -> None:
        """Drop what was read for going on with a frame."""

    def check_definitions(self, journal: Journal, node: Node) -> None:
        """Raise `DefinitionChanged` when steps in ``node`` were edited that are recorded."""

    async def grafted(
        self, command: Command, source: Entry, outcome: FrameOutcome, at: FramePath
    ) -> Journal:
        """The journal of a command that begins with what ``source`` had before the frame at ``at``.

        ``outcome`` is how ``source`` ended. Raises `StoreError`.
        """

    async def answered(self, journal: Journal, path: FramePath, answer: object) -> None:
        """Note the answer to the pause at ``path``, in the journal of the frame that asked."""

    async def began(self, command: Command, frame: AnyFrame, data: object) -> None:
        """Note a command before its frame begins, with what that is given.

        ``data`` is the record's own. Raises `StoreError`: then the frame may not begin.
        """

    def saved(self, command: Command, node: Node, outcome: FrameOutcome) -> Saved:
        """What saving the frame that ended came to."""

    async def ended(self, entry: Entry, *, is_head: bool) -> None:
        """Note how it ended, and whether HEAD moved to it. Raises `StoreError`."""

    async def moved(self, head: str) -> None:
        """Note that HEAD was moved by hand. Raises `StoreError`."""

    async def reused(
        self, frame_id: str, cell: CellKey | None, after: int, *, is_head: bool
    ) -> None:
        """Note that a frame stood for ``cell`` when there were ``after``. Raises `StoreError`."""

    async def limited(self, limits: UsageLimits) -> None:
        """Note what the session may use. Raises `StoreError`."""

    def outcome_of(self, entry: Entry, node: Node | None) -> FrameOutcome | None:
        """How the frame of ``node`` ended, read back; ``None`` when that is not recorded.

        Raises `ValueNotRead` and `StoreError`.
        """

    def lines_inside(self, record: FrameRecord) -> Sequence[ChildLine]:
        """What is recorded of the frames directly inside one. Reads no value."""

    def data_of(self, entry: Entry) -> object:
        """What the frame was given, when that was not its parent's output.

        Raises `ValueNotRead`, which says so too when that was not saved, and `StoreError`.
        """

    def context_of(self, entry: Entry) -> BaseModel | None:
        """The context that it began with, when that was not its parent's. Raises as above."""

    def is_saved(self, entry: Entry) -> bool:
        """Whether its record can be read back."""

    def release(self, entry: Entry) -> None:
        """Drop what is held in memory for going on with a frame."""

    async def close(self, paused: Sequence[FramePath]) -> None:
        """Let go of the session; ``paused`` are its open questions."""


class MemoryKeeper:
    """Keeps what is needed to go on with frames that did not succeed, as long as the kernel lives.

    ``why`` says why there is no store, when there could be one. ``before`` kept the session until
    then, and what it recorded can still be read.
    """

    is_stored = False

    def __init__(self, why: str | None = None, before: Keeper | None = None) -> None:
        self.why = why
        self._before = before
        self._journals: dict[str, Journal] = {}

    @property
    def place(self) -> str:
        """Where the session is kept."""
        because = "" if self.why is None else f" ({self.why})"
        return f"in memory only: a restart of the kernel ends the session{because}"

    def journal_of(
        self,
        command: Command,
        resumed: Entry | None = None,
        *,
        keep: bool = False,
        redo: Sequence[str] = (),
    ) -> Journal:
        """A journal of its own, or that of ``resumed``."""
        if resumed is None:
            return Journal()
        journal = self._journals.get(resumed.id)
        if journal is None:
            raise UsageError(
                f"nothing is left of {resumed.id} to go on with: run its cell again, or "
                f"%flujo fork {resumed.id}"
            )
        return journal

    async def again(
        self,
        journal: Journal,
        command: Command,
        resumed: Entry,
        *,
        keep: bool,
        redo: Sequence[str],
    ) -> Journal:
        """Values are here as long as the journal is."""
        return journal

    def leave(self, journal: Journal) -> None:
        """Nothing was read."""

    def check_definitions(self, journal: Journal, node: Node) -> None:
        """Definitions are not kept."""

    async def grafted(
        self, command: Command, source: Entry, outcome: FrameOutcome, at: FramePath
    ) -> Journal:
        """A journal that holds copies; what was decided is decided anew."""
        journal, copier = Journal(), Copier()
        for path, ended in kept_before(outcome, FramePath(), at):
            there = moved(path, source.command.path, command.path)
            journal.finish(there, kept(ended, copier))
            if isinstance(ended, Failure):
                journal.go_past(there)
        return journal

    async def answered(self, journal: Journal, path: FramePath, answer: object) -> None:
        """The first answer holds."""
        journal.answer(path, answer)

    async def began(self, command: Command, frame: AnyFrame, data: object) -> None:
        """The record will hold all else."""
        if frame.run.journal is not None:
            self._journals[command.id] = frame.run.journal

    def saved(self, command: Command, node: Node, outcome: FrameOutcome) -> Saved:
        """Nothing is, and that is said once, of the session."""
        return NOT_SAVED

    async def ended(self, entry: Entry, *, is_head: bool) -> None:
        """After a success nothing is left to go on with."""
        if entry.status is RunStatus.COMPLETED:
            self.release(entry)
        if entry.command.resumes is not None:
            self._journals.pop(entry.command.resumes, None)

    async def moved(self, head: str) -> None:
        """HEAD lives in the session."""

    async def reused(
        self, frame_id: str, cell: CellKey | None, after: int, *, is_head: bool
    ) -> None:
        """The session knows."""

    async def limited(self, limits: UsageLimits) -> None:
        """The session knows."""

    def outcome_of(self, entry: Entry, node: Node | None) -> FrameOutcome | None:
        """What was recorded before."""
        return None if self._before is None else self._before.outcome_of(entry, node)

    def lines_inside(self, record: FrameRecord) -> Sequence[ChildLine]:
        """What was recorded before."""
        return () if self._before is None else self._before.lines_inside(record)

    def data_of(self, entry: Entry) -> object:
        """What was recorded before."""
        if self._before is None:
            raise ValueNotRead(_GONE)
        return self._before.data_of(entry)

    def context_of(self, entry: Entry) -> BaseModel | None:
        """What was recorded before."""
        if self._before is None:
            raise ValueNotRead(_GONE)
        return self._before.context_of(entry)

    def is_saved(self, entry: Entry) -> bool:
        """Nothing is."""
        return False

    def release(self, entry: Entry) -> None:
        """Drop the frame's journal."""
        self._journals.pop(entry.id, None)

    async def close(self, paused: Sequence[FramePath]) -> None:
        """Only what recorded before can have something to let go of."""
        self._journals.clear()
        if self._before is not None:
            await self._before.close(paused)
