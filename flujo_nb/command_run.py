"""One command's frame, from its beginning to the record of how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel

from flujo_nb.engine.cache_manager import CacheManager
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import BackgroundLaunched, FrameOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.run import Facility
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import FREE, Quota, Usage
from flujo_nb.widgets.previews import SHOWN, clipped, preview, veiled

from .border import Copied, Copier, copied, shared_notes
from .earlier_outputs import outputs_named
from .head import Command, Ended, Entry
from .kept_frames import kept
from .ran_inside import MakeAgain, RanInside, gone_in
from .run_options import PLAIN, RunOptions

if TYPE_CHECKING:
    from .session import Session

_inside: ContextVar[str | None] = ContextVar("flujo_inside", default=None)
"""The path of the command whose step is running, if one is."""


def is_inside_a_step() -> bool:
    """Whether it is a step of another command's run that asks."""
    return _inside.get() is not None


class CommandRun:
    """Runs the frame of ``command``, whose step is ``node``, and has ``session`` keep its record.

    ``data`` is the record's own: what the frame gets is a copy. ``spent`` was used before by what
    this run goes on with.
    """

    def __init__(
        self,
        session: Session,
        node: Node,
        command: Command,
        data: object,
        context: BaseModel | None,
        options: RunOptions = PLAIN,
        spent: Usage = FREE,
    ) -> None:
        self.command = command
        self.quota = Quota(command.limits, session.quota, spent)
        if options.on_quota is not None:
            options.on_quota(self.quota)
        self._session = session
        self._node = node
        self._data = data
        self._context = context
        self._options = options

    async def carried_out(
        self, journal: Journal | None = None, make_again: MakeAgain | None = None
    ) -> Entry:
        """Run the frame, and keep the record of how it ended.

        With a ``journal`` what stands in it is not run again; ``make_again`` gives it anew when it
        needs values that are gone. What cannot be planned changes nothing.
        """
        session = self._session
        inside, head = _inside.get(), session.head
        if journal is None:
            journal = session.keeper.journal_of(self.command, None)
        outcome, run_notes = await self._ended(journal, make_again)
        side_line = self._side_line(inside, head)
        record, output = self._record(outcome)
        notes = (*run_notes, *shared_notes("output", output), *side_line)
        return await session.enter(self._entry(outcome, record, notes), record, not side_line)

    async def _ended(
        self, journal: Journal, make_again: MakeAgain | None
    ) -> tuple[FrameOutcome, Sequence[str]]:
        """How the frame ended, and what its card says of how it ran."""
        session, command, options = self._session, self.command, self._options
        goes_on = command.resumes is not None or command.forks is not None
        told = RanInside(command.frame, map(FramePath, journal.patches)) if goes_on else None
        again: list[str] = []
        while True:
            handed = copied(self._data)
            cache = session.cache if options.uses_cache else CacheManager()
            # What a step runs stands in that step's own slot: a second one might never come.
            is_bound = session.slots.most is not None and not is_inside_a_step()
            slots = session.slots if is_bound else None
            core = ExecutorCore(session.registry, session.tasks, cache, slots)
            facilities = core.facilities_of(self._node, self._context)
            frame = make_execution_frame(
                self._node,
                handed.value,
                context=self._context,
                facilities=facilities,
                resources=session.resources,
                quota=self.quota,
                run_id=session.run_id,
                path=command.path,
                hooks=(*options.hooks, *(() if told is None else told.hooks)),
                stream=options.on_chunk is not None,
                on_chunk=options.on_chunk,
                journal=journal,
            )
            if Facility.OUTPUTS in facilities:
                frame.run.outputs.update(outputs_named(session, self._node, command.parent))
            if options.in_background:
                frame = replace(frame, concurrent=True)
            core.plan(frame)
            if not again:
                try:
                    await session.begin(command, frame, self._data)
                except asyncio.CancelledError as error:  # nothing has run
                    return core.failures.build(frame, error), ()
            token = _inside.set(str(frame.path))
            try:
                outcome = await core.run_root(frame)
            finally:
                _inside.reset(token)
            gone = [one for one in gone_in(outcome) if one not in again]
            if make_again is None or not gone:
                break
            again += gone
            journal = await make_again(again)
        notes = [f"{one} ran again: its value was only in memory" for one in again]
        if told is not None and told.note is not None:
            notes.insert(0, told.note)
        return outcome, (*notes, *shared_notes("input", handed))

    def _side_line(self, inside: str | None, head: Entry | None) -> tuple[str, ...]:
        """Why the frame that ended is not on HEAD's line, which it began from."""
        if self._options.in_background:
            return ("it ran in the background: HEAD stays where it is",)
        if inside is not None:
            return (f"ran inside {inside}: HEAD stays where it is",)
        if self._session.head is not head:
            return ("another run moved HEAD meanwhile: this one stands on a side line",)
        return ()

    def _entry(self, outcome: FrameOutcome, record: FrameRecord, notes: tuple[str, ...]) -> Entry:
        session = self._session
        saved = session.keeper.saved(self.command, self._node, outcome)
        is_whole = isinstance(outcome, Success) and not saved.live_only
        ended = Ended(
            status=record.status,
            duration_s=record.duration_s,
            feedback=None if record.feedback is None else veiled(record.feedback),
            notes=notes,
            saved=saved,
            shown=clipped(str(preview(record.output)), SHOWN) if is_whole else None,
        )
        return Entry(self.command, ended, session.recaller.record_of)

    def _record(self, outcome: FrameOutcome) -> tuple[FrameRecord, Copied]:
        command, context = self.command, self._context
        copier, output, after = Copier(), Copied(None), None
        if isinstance(outcome, Success):
            output = copier.copied(outcome.output)  # before its children's: the notes are its own
            if context is not None:
                after = self._session.contexts.merge(context, outcome.update)
        elif isinstance(outcome, BackgroundLaunched):
            output, after = Copied(self._data), context
        record = FrameRecord(
            id=command.id,
            name=command.name,
            path=command.frame,
            run_id=self._session.run_id,
            data=self._data,
            context=context,
            outcome=kept(outcome, copier),
            output=output.value,
            context_after=after,
            parent=command.parent,
        )
        return record, output
