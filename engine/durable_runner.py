"""Runs of a pipeline that a store keeps: walked until they rest, and given back to the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias, cast

from pydantic import BaseModel

from .background_task_manager import BackgroundTaskManager
from .durable_runs import INPUT_GONE, Asked, DurableRuns
from .errors import (
    ReplayMismatch,
    ResumeError,
    RunExists,
    RunHeld,
    UsageLimitExceededError,
    ValueGone,
)
from .hooks import Hook
from .outcomes import RunStatus
from .patches import checked_patch
from .path import FramePath
from .results import AnswerRecorded, PipelineResult, Resumption, RunRequest
from .resuming import NO_ANSWER, goes_on
from .run import Facility, new_run_id
from .step_config import JSONValue
from .stored_journal import StoredJournal
from .usage import Quota, UsageLimits
from .user_code import Raised, caught
from .walker import Walker

_log = logging.getLogger("flujo_nb")

_Walk: TypeAlias = Callable[[], Awaitable[PipelineResult]]

NewContext: TypeAlias = Callable[[object], BaseModel]
"""Makes the context of a new run, from its input."""


class DurableRunner:
    """Runs the pipeline of ``runs``, each journal being owned by this process while it does."""

    def __init__(
        self,
        runs: DurableRuns,
        walker: Walker,
        tasks: BackgroundTaskManager,
        limits: UsageLimits | None,
        new_context: NewContext,
    ) -> None:
        self._runs = runs
        self._walker = walker
        self._tasks = tasks
        self._limits = limits
        self._new_context = new_context
        self._resting: dict[asyncio.Task[None], str] = {}

    async def run(
        self, request: RunRequest, hooks: tuple[Hook, ...], *, keep: bool, anyway: bool
    ) -> PipelineResult:
        """Begin a run, or go on with the known one of that id; a completed one is only read."""
        run_id = request.run_id or new_run_id()
        request = replace(request, run_id=run_id)
        known = self._runs.known(run_id)
        if known is None:
            asked = Asked(request.data, self._new_context(request.data))
            try:
                journal = await self._runs.begin(run_id, asked, self._limits)
            except RunExists:  # somebody else began it just now
                known = self._runs.store.run(run_id)
            else:
                return await self._walked(journal, request, asked.context, self._limits, hooks)
        looked = self._runs.look(run_id)
        asked = self._asked(looked, request.data)
        request = replace(request, data=asked.data)
        if known.status == RunStatus.COMPLETED and self._runs.stands(looked, request.node, keep):
            result = await self._once(looked, request, asked.context, None, hooks)
            return replace(result, restored=True)
        limits = self._limits or self._runs.limits_of(run_id)
        journal = await self._runs.take(run_id, asked, keep=keep, anyway=anyway)
        return await self._walked(journal, request, asked.context, limits, hooks)

    async def resume(
        self,
        request: RunRequest,
        answer: object,
        pause: FramePath | str | None,
        *,
        keep: bool,
        anyway: bool,
    ) -> PipelineResult | AnswerRecorded:
        """Keep an answer, if one is given, and go on with the run unless another process does."""
        run_id = request.run_id or ""
        if answer is NO_ANSWER:
            return await self.run(request, (), keep=keep, anyway=anyway)
        at = await self._runs.answer(run_id, answer, pause)
        try:
            return await self.run(request, (), keep=keep, anyway=anyway)
        except RunHeld:
            owner = self._runs.store.run(run_id).owner
            return AnswerRecorded(run_id, at, None if owner is None else str(owner))

    async def replay(
        self, request: RunRequest, hooks: tuple[Hook, ...], *, strict: bool
    ) -> PipelineResult:
        """Walk through a recorded run with today's steps; nothing runs.

        Raises `ReplayMismatch` at the first thing that is not as recorded.
        """
        journal = self._runs.look(request.run_id or "")
        journal.replaying, journal.strict = True, strict
        self._runs.check_definitions(journal)
        asked = self._asked(journal, request.data)
        request = replace(request, data=asked.data)
        result = await self._once(journal, request, asked.context, None, hooks)
        left = journal.unvisited()
        if left and result.success:
            raise ReplayMismatch(f"recorded, and not come to any more: {', '.join(left[:5])}")
        return replace(result, restored=True)

    async def fork(
        self,
        request: RunRequest,
        at: FramePath | str,
        source: str,
        patch: Mapping[str, JSONValue] | None,
    ) -> PipelineResult:
        """Begin a run with all that finished in ``source`` before the frame at ``at`` began."""
        checked = None if patch is None else checked_patch(patch)
        run_id = request.run_id or new_run_id()
        asked = self._asked(self._runs.look(source), request.data)
        limits = self._limits or self._runs.limits_of(source)
        journal = await self._runs.fork(source, str(at), run_id, checked)
        request = replace(request, run_id=run_id, data=asked.data)
        return await self._walked(journal, request, asked.context, limits, ())

    def _asked(self, journal: StoredJournal, data: object) -> Asked:
        """What a run was begun with; of what could not be saved, what is given now.

        Raises `RunInputMismatch`.
        """
        noted = self._runs.asked(journal)
        if noted.get("data") is INPUT_GONE:
            data = INPUT_GONE if data is None else data
        elif "data" in noted:
            self._runs.check_input(journal, noted["data"], data)
            data = noted["data"]
        context = cast(BaseModel, noted["context"]) if "context" in noted else None
        return Asked(data, context or self._new_context(data))

    async def aclose(self) -> None:
        """Wait until runs are given back whose work in the background has ended."""
        while ended := [
            task for task, run_id in self._resting.items() if not self._tasks.open_count(run_id)
        ]:
            await asyncio.wait(ended)

    async def _walked(
        self,
        journal: StoredJournal,
        request: RunRequest,
        context: BaseModel,
        limits: UsageLimits | None,
        hooks: tuple[Hook, ...],
    ) -> PipelineResult:
        """Walk until the run rests: again while answers came, or values have to be made anew."""
        again: set[str] = set()
        try:
            while True:
                try:
                    result = await self._once(journal, request, context, limits, hooks)
                except ValueGone as gone:
                    if again.issuperset(gone.paths) or "" in gone.paths:
                        raise
                    again.update(gone.paths)
                else:
                    go_on = partial(self._walked, journal, request, context, limits, hooks)
                    if await self._rests(journal, result, go_on):
                        break
                journal.read()
                for path in again:
                    journal.redo(path)
        except BaseException as error:
            await self._left(journal, error)
            raise
        result = replace(result, unvisited=journal.unvisited(), remade=sorted(again))
        if not goes_on(result):
            return result
        return replace(result, resumption=Resumption(request, context, journal, Quota(limits)))

    async def _left(self, journal: StoredJournal, error: BaseException) -> None:
        """Give back a run that ``error`` ended, as far as the store lets it."""
        status = RunStatus.INTERRUPTED
        if isinstance(error, UsageLimitExceededError):
            status = RunStatus.ABORTED
        elif isinstance(error, ResumeError):
            status = RunStatus.FAILED
        if journal.writer.lease is None:
            return
        if self._tasks.open_count(journal.run_id):
            self._rest_behind(journal, status)
            return
        left = await caught(self._runs.leave(journal, status))
        if isinstance(left, Raised):
            error.add_note(f"and run {journal.run_id} could not be given back: {left.error}")

    async def _rests(self, journal: StoredJournal, result: PipelineResult, go_on: _Walk) -> bool:
        """Give the run back as it stands; with work in the background, when that has ended."""
        if self._tasks.open_count(journal.run_id):
            self._rest_behind(journal, result.status, go_on)
            return True
        return await self._runs.leave(journal, result.status, [one.path for one in result.paused])

    def _rest_behind(
        self, journal: StoredJournal, status: RunStatus, go_on: _Walk | None = None
    ) -> None:
        """Give the run back when its work in the background has ended; ``go_on`` if answered."""

        def ended(task: asyncio.Task[None]) -> None:
            del self._resting[task]
            error = None if task.cancelled() else task.exception()
            if error is not None:  # the run has told its result: nobody waits for this
                _log.warning("run %s, behind its result: %s", journal.run_id, error)

        task = asyncio.create_task(self._rested_behind(journal, status, go_on))
        self._resting[task] = journal.run_id
        task.add_done_callback(ended)

    async def _rested_behind(
        self, journal: StoredJournal, status: RunStatus, go_on: _Walk | None
    ) -> None:
        pauses: list[FramePath] = []
        answered = False
        try:
            await self._tasks.drain(journal.run_id)
            if go_on is not None:
                journal.read()
                pauses = [FramePath.parse(row.path) for row in journal.image.asking()]
                answered = any(path in journal.answers for path in pauses)
        except BaseException:  # also when the loop ends, and the tasks with it
            await self._runs.leave(journal, status)
            raise
        goes_on = answered or not await self._runs.leave(journal, status, pauses)
        if goes_on and go_on is not None:
            await go_on()

    async def _once(
        self,
        journal: StoredJournal,
        request: RunRequest,
        context: BaseModel,
        limits: UsageLimits | None,
        hooks: tuple[Hook, ...],
    ) -> PipelineResult:
        core, image = self._walker.core, journal.image
        journal.gave_unsaved |= request.data is INPUT_GONE
        facilities = core.facilities_of(request.node, context) | Facility.JOURNAL
        if journal.replaying:
            facilities &= ~Facility.REFERENCES  # nothing of others is asked
        uncertain = image.uncertain
        quota = Quota(limits, spent=image.spent + uncertain)
        result = await self._walker.walk(request, context, quota, journal, facilities, hooks)
        if not uncertain:
            return result
        used = quota.spent - uncertain
        return replace(
            result,
            total_cost_usd=used.cost_usd,
            total_tokens=used.tokens,
            uncertain=uncertain,
        )
