"""Records of a session: from memory, or made again from what is saved.

What was given to a frame is not saved with it: its data are its parent's output, its context is
what the frames of its line made of the first one's. So a record is put together from several.
Where a part cannot be had, the record says why, and everything else is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from flujo_nb.engine.errors import StoreError, ValueNotRead
from flujo_nb.engine.outcome_codec import RecordedError
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    FrameOutcome,
    Paused,
    RunStatus,
    Success,
)
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.unsaved import Unsaved
from flujo_nb.engine.user_code import Raised, caught_inline

from .head import Entry
from .shelf import Shelf

if TYPE_CHECKING:
    from .session import Session

T = TypeVar("T")


_RELEASED = "value released: there was no room for it in Flujo.max_memory"


class _Absent(Exception):
    """A part of a record cannot be had; the message says why."""


class Recaller:
    """Gives the records of ``session``'s entries."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.shelf = Shelf()

    def record_of(self, entry: Entry) -> FrameRecord:
        """The record of an entry. Never fails: what cannot be had is absent."""
        held = self.shelf.get(entry.id)
        if held is None:
            return self._read(entry)
        if held.has_data:
            return held
        gone: list[str] = []
        data = _or_none(lambda: self._data_of(entry), gone)
        return held if gone else replace(held, data=data, has_data=True)

    def how_to_get(self, record: FrameRecord) -> str:
        """What to do about an output that is not here."""
        command = self._session.entry_of(record.id).command
        cell = f"the cell of {command.name}" if command.target is None else f"%{command.target}"
        if command.target is not None and command.cell is not None:
            cell = f"its cell (%%flujo {command.cell.command} {command.name})"
            if command.cell.command == "run":
                cell = f"%flujo run {command.target}"
        return f"{record.id} {record.name}: {record.absent}; run {cell} again to have it"

    def _read(self, entry: Entry) -> FrameRecord:
        """A record made from what is saved."""
        absent: list[str] = []
        outcome = _or_none(lambda: self._outcome_of(entry), absent)
        context = _or_none(lambda: self._context_before(entry), absent)
        after: BaseModel | None = None
        if isinstance(outcome, Success | BackgroundLaunched):
            after = _or_none(lambda: self._context_made(context, outcome), absent)
        no_data: list[str] = []
        data = _or_none(lambda: self._data_of(entry), no_data)
        output = outcome.output if isinstance(outcome, Success) else None
        if isinstance(outcome, BackgroundLaunched):
            output = data
        if isinstance(output, Unsaved):
            is_released = entry.id in self.shelf.released
            absent.append(
                f"{_RELEASED}: {output.part}" if is_released else f"live only: {output.part}"
            )
            output = None
        return FrameRecord(
            id=entry.id,
            name=entry.name,
            path=entry.command.frame,
            run_id=self._session.run_id,
            data=data,
            context=context,
            outcome=_as_ended(entry) if outcome is None else outcome,
            output=output,
            context_after=after,
            parent=entry.parent,
            has_data=not no_data,
            absent=absent[0] if absent else None,
        )

    def _outcome_of(self, entry: Entry) -> FrameOutcome:
        """How an entry's frame ended. Raises `_Absent`, `ValueNotRead`, `StoreError`."""
        held = self.shelf.get(entry.id)
        if held is not None:
            return held.outcome
        later = [one.id for one in self._session.entries if one.command.resumes == entry.id]
        if later:
            return _as_ended(entry)  # what stands at its place is how the later one ended
        session = self._session
        outcome = session.keeper.outcome_of(entry, session.targets.node_of(entry.command.target))
        if outcome is not None:
            return outcome
        if entry.id in self.shelf.released:
            raise _Absent(f"{_RELEASED}, and is not saved")
        if entry.succeeded:
            raise _Absent("nothing of it is recorded")
        return _as_ended(entry)  # it never came to an end

    def _data_of(self, entry: Entry) -> object:
        if not entry.command.has_parents_data:
            return self._session.keeper.data_of(entry)
        parent = entry.parent or ""
        if "/" in parent:
            record = self._session.record(parent)
            if not record.has_output:
                raise _Absent(record.absent or "not kept")
            return record.output
        above = self._session.entry_of(parent)
        match self._outcome_of(above):
            case Success(output=Unsaved(part=part)):
                raise _Absent(f"live only: {part}")
            case Success(output=output):
                return output
            case _:  # it works in the background, and passed on what it was given
                return self._data_of(above)

    def _context_before(self, entry: Entry) -> BaseModel | None:
        """The context that an entry's frame began with: the first of its line, carried forward."""
        chain: list[Entry] = []
        context: BaseModel | None = None
        one = entry
        while True:
            held = self.shelf.get(one.id)
            if held is not None:
                context = held.context if one is entry else held.context_after
                break
            if one is not entry:
                chain.append(one)
            if not one.command.has_parents_context:
                context = self._session.keeper.context_of(one)
                break
            parent = one.parent or ""
            if "/" in parent:
                context = self._session.record(parent).context_after
                break
            one = self._session.entry_of(parent)
        if context is None:
            return None
        for made in reversed(chain):
            context = self._context_made(context, self._outcome_of(made))
        return context

    def _context_made(self, context: BaseModel | None, outcome: FrameOutcome) -> BaseModel | None:
        if context is None or not isinstance(outcome, Success):
            return context
        merged = caught_inline(self._session.contexts.merge, context, outcome.update)
        if isinstance(merged, Raised):
            raise _Absent(f"the context does not fit any more: {merged.error}")
        return merged


def _or_none(read: Callable[[], T], absent: list[str]) -> T | None:
    """What ``read`` gives; or nothing, and the reason goes to ``absent``."""
    try:
        return read()
    except (_Absent, ValueNotRead, StoreError) as error:
        absent.append(" ".join(str(error).split()))
        return None


def _as_ended(entry: Entry) -> FrameOutcome:
    """The outcome of an entry of which only the end is known."""
    ended, said = entry.ended, entry.ended.feedback or ""
    match ended.status:
        case RunStatus.COMPLETED:
            return Success(latency_s=ended.duration_s)
        case RunStatus.FAILED:
            error = RecordedError("", said, "")
            return Failure(error=error, feedback=said, latency_s=ended.duration_s)
        case RunStatus.PAUSED:
            return Paused(message=said, latency_s=ended.duration_s)
        case RunStatus.INTERRUPTED | RunStatus.RUNNING:
            reason = AbortReason.INTERRUPTED
        case RunStatus.ABORTED:
            reason = AbortReason.SIGNAL
    return Aborted(reason=reason, message=said, latency_s=ended.duration_s)
