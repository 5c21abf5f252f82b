"""One walk of a run: from what it was asked for with to its `PipelineResult`."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import replace

from pydantic import BaseModel

from .background_task_manager import BackgroundTaskManager
from .context import show
from .ended_run import EndedRun
from .errors import StepInterrupted, StoreError, UsageLimitExceededError
from .executor_core import ExecutorCore
from .frame import AnyFrame, make_execution_frame
from .hooks import Hook
from .journal import Journal
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    FrameOutcome,
    RunStatus,
    Success,
    status_of,
)
from .path import FramePath
from .references import StateProviders
from .results import PipelineResult, RunRequest
from .resuming import open_pauses
from .run import Facility
from .usage import Quota
from .user_code import Raised, caught_inline


class Walker:
    """Walks through pipelines: runs what is not recorded, and gives what came of it all."""

    def __init__(
        self,
        core: ExecutorCore,
        tasks: BackgroundTaskManager,
        resources: object,
        hooks: tuple[Hook, ...],
        providers: StateProviders,
        name: str | None,
        version: str | None,
    ) -> None:
        self.core = core
        self._tasks = tasks
        self._resources = resources
        self._hooks = hooks
        self._providers = providers
        self._name, self._version = name, version

    async def walk(
        self,
        request: RunRequest,
        context: BaseModel,
        quota: Quota,
        journal: Journal | None,
        facilities: Facility,
        hooks: tuple[Hook, ...],
    ) -> PipelineResult:
        """Run ``request`` to its end, on ``context`` and ``quota``.

        Raises `StepInterrupted` (or lets the cancellation travel on), `UsageLimitExceededError`,
        and what keeps the run from going on: the `StoreError`, the `ResumeError`.
        """
        frame = make_execution_frame(
            request.node,
            request.data,
            context=context,
            resources=self._resources,
            quota=quota,
            stream=request.stream,
            on_chunk=request.on_chunk,
            run_id=request.run_id,
            extensions=request.extensions,
            hooks=self._hooks + hooks,
            journal=journal,
            facilities=facilities,
            state_providers=self._providers,
        )
        self.core.plan(frame)
        events = frame.run.events
        if events is not None:
            await events.run_started(frame.path, request.data, self._name, self._version)
        outcome = await self.core.run_root(frame)
        result = self._result_of(frame, outcome, context)
        if events is not None:
            await events.run_finished(frame.path, result)
            if events.abort_message is not None:
                result = replace(result, status=RunStatus.ABORTED)
        if isinstance(outcome, Aborted):
            _raise_if_stopped(outcome, result)
        return result

    def _result_of(
        self, frame: AnyFrame, outcome: FrameOutcome, context: BaseModel
    ) -> PipelineResult:
        used = frame.quota.spent  # this run's own, so the total of every attempt
        events = frame.run.events
        status = status_of(outcome)
        if events is not None and events.abort_message is not None:
            status = RunStatus.ABORTED
        after = context_after(self.core, outcome, context)
        ended = EndedRun(frame.run_id, status, outcome, frame.run.hitl_history)
        tasks = self._tasks.collect(frame.run_id)
        output: object = None
        match outcome:
            case Success():
                output = outcome.output
            case BackgroundLaunched():
                output = frame.data
        return PipelineResult(
            run_id=frame.run_id,
            status=status,
            output=output,
            step_history=self.core.history.history(outcome, context),
            total_cost_usd=used.cost_usd,
            total_tokens=used.tokens,
            final_pipeline_context=show(copy(after), ended),
            paused=(
                *self.core.history.open_pauses(outcome, FramePath()),
                *open_pauses(self.core.history, tasks),
            ),
            background=tasks,
            hook_errors=events.errors if events is not None else (),
        )


def context_after(core: ExecutorCore, outcome: FrameOutcome, before: BaseModel) -> BaseModel:
    """The context that ``outcome`` leaves; a sequence that stopped keeps what its steps merged."""
    if isinstance(outcome, Success):
        return core.contexts.merge(before, outcome.update)
    if outcome.step is not None and outcome.step.is_sequence:
        for child in outcome.children:
            if isinstance(child, Success):
                after = caught_inline(core.contexts.merge, before, child.update)
                before = before if isinstance(after, Raised) else after
    return before


def _raise_if_stopped(outcome: Aborted, result: PipelineResult) -> None:
    """Let an interrupt travel on as what it came as; a breach of the budget as its error."""
    match outcome.reason:
        case AbortReason.INTERRUPTED:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            raise StepInterrupted(outcome.message)
        case AbortReason.QUOTA:
            raise UsageLimitExceededError(outcome.message, result)
        case AbortReason.HELD if outcome.error is not None:
            if isinstance(outcome.error, StoreError):
                outcome.error.result = result
            raise outcome.error
        case _:
            pass
