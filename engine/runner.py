"""`Flujo`: run a pipeline from Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from .answers import answer_of
from .context import PipelineContext, show
from .ended_run import EndedRun
from .errors import (
    ConfigurationError,
    ContextTypeError,
    PipelineContextInitializationError,
    ResumeError,
    StepInterrupted,
    UsageLimitExceededError,
)
from .executor_core import ExecutorCore
from .frame import AnyFrame, Extensions, Facility, make_execution_frame
from .hooks import Hook, Listener
from .journal import Journal
from .outcomes import (
    Aborted,
    AbortReason,
    Chunk,
    FrameOutcome,
    OnChunk,
    Paused,
    RunStatus,
    Success,
    status_of,
)
from .path import FramePath
from .policy_registry import PolicyRegistry
from .results import AnswerRecorded, Pause, PipelineResult, Resumption, RunRequest
from .run_handle import RunHandle
from .step_history_tracker import StepHistoryTracker
from .step_kinds import HumanInTheLoopStep, ImportStep
from .steps import Node, Pipeline, Step, steps_of
from .usage import FREE, Quota, Usage, UsageLimits
from .user_code import Raised, caught_inline
from .values import cloned


class Flujo:
    """A runner: a pipeline with what its runs share.

    ``context_model`` (a pydantic model, default `PipelineContext`) is made for each run from
    ``initial_context_data``; ``resources`` reach the steps that ask for them; ``usage_limits``
    bound each run; ``hooks`` listen to its events (see `flujo_nb.engine.hooks`).

    A runner that is closed (`aclose`, or ``async with``) waits for steps in the background, or
    cancels them, as each declares.
    """

    def __init__(
        self,
        pipeline: Node,
        *,
        context_model: type[BaseModel] | None = None,
        initial_context_data: Mapping[str, object] | None = None,
        resources: object = None,
        usage_limits: UsageLimits | None = None,
        hooks: Sequence[Listener] = (),
        registry: PolicyRegistry | None = None,
    ) -> None:
        if not isinstance(pipeline, Step | Pipeline):
            raise ConfigurationError(
                f"Flujo runs a step or a pipeline of steps; found {pipeline!r:.60}"
            )
        if context_model is not None and not _is_model(context_model):
            raise ContextTypeError(
                f"context_model is a pydantic model (a class); found {context_model!r:.60}"
            )
        self._pipeline = pipeline
        self._context_model = context_model
        self._initial_context_data = _own_copy(initial_context_data or {})
        self._resources = resources
        self._limits = usage_limits
        self._hooks = tuple(map(Hook.of, hooks))
        self._core = ExecutorCore(registry)
        self._history = StepHistoryTracker()

    def run_async(
        self,
        data: object = None,
        *,
        run_id: str | None = None,
        until: str | None = None,
        only: str | None = None,
        on_chunk: OnChunk | None = None,
        extensions: Extensions | None = None,
    ) -> RunHandle:
        """A run, not yet started: await it for its `PipelineResult`, or iterate over it.

        Iterating gives every outcome and chunk as it happens, and the `PipelineResult` last.
        ``until`` names the step after which the run ends, ``only`` the one that it consists of.
        ``extensions`` are further parameters for policies, read as ``frame.extensions``.
        """
        node = _slice(self._pipeline, until, only)

        def start(hooks: tuple[Hook, ...], stream: bool) -> Coroutine[None, None, PipelineResult]:
            request = RunRequest(node, data, run_id, stream, on_chunk, extensions or {})
            return self._run(request, hooks)

        return RunHandle(start, on_chunk is not None)

    async def run_outcomes_async(
        self, data: object = None, *, run_id: str | None = None
    ) -> AsyncGenerator[FrameOutcome | Chunk, None]:
        """Every outcome and chunk of a run, as it happens."""
        async with aclosing(self.run_async(data, run_id=run_id).__aiter__()) as items:
            async for item in items:
                if not isinstance(item, PipelineResult):
                    yield item

    async def stream_async(
        self, data: object = None, *, run_id: str | None = None
    ) -> AsyncGenerator[Chunk | PipelineResult, None]:
        """The chunks of all streaming steps as they arrive, and the `PipelineResult` last."""
        async with aclosing(self.run_async(data, run_id=run_id).__aiter__()) as items:
            async for item in items:
                if isinstance(item, Chunk | PipelineResult):
                    yield item

    def run(self, data: object = None, *, run_id: str | None = None) -> PipelineResult:
        """Run to the end, where no event loop runs.

        Raises `ConfigurationError` inside a running loop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.run_async(data, run_id=run_id).result())
        raise ConfigurationError(
            "an event loop is already running here: use `await runner.run_async(data)`, or in a "
            "notebook `%flujo run NAME`"
        )

    async def resume_async(
        self, paused: PipelineResult, answer: object, *, pause: FramePath | str | None = None
    ) -> PipelineResult | AnswerRecorded:
        """Answer a question of a paused run, and go on from there.

        ``pause`` is the path of the question, needed only when there are several. What had
        finished is not run again. When the run is going on already, because another question of
        it was answered, it takes this answer too, and `AnswerRecorded` is returned.

        Raises `ResumeError` when there is no such question, `AnswerRejected` when the answer is
        not of the kind that it asks for (it stays open), and `AlreadyAnswered`.
        """
        state = paused.resumption
        if state is None:
            raise ResumeError(
                f"run {paused.run_id} is {paused.status.value}, and only a paused run that has a "
                "journal goes on with an answer"
            )
        asked = choose_pause(paused, pause)
        wanted = asked.step.input_schema if isinstance(asked.step, HumanInTheLoopStep) else None
        answer_of(answer, wanted, str(asked.path))
        state.journal.answer(asked.path, answer)
        if state.journal.running:
            return AnswerRecorded(paused.run_id, asked.path)
        return await self._run(replace(state.request, run_id=paused.run_id), (), state)

    def as_step(self, name: str, *, inherit_context: bool = True) -> ImportStep[object, object]:
        """This runner's pipeline as one step of another; its output is a `PipelineResult`.

        Its context model and limits count inside it; journal, budget, events and resources are
        those of the run around it.
        """
        return ImportStep(
            name=name,
            pipeline=self._pipeline,
            inherit_context=inherit_context,
            updates_context=inherit_context,
            context_model=self._context_model,
            initial_context_data=self._initial_context_data,
            usage_limits=self._limits,
            gives_result=True,
        )

    async def _run(
        self, request: RunRequest, hooks: tuple[Hook, ...], state: Resumption | None = None
    ) -> PipelineResult:
        """Run, or go on from ``state``; again while questions were answered meanwhile."""
        context = self._new_context(request.data) if state is None else state.context
        facilities = self._core.facilities_of(request.node, context)
        journal = Journal() if state is None else state.journal
        if Facility.JOURNAL not in facilities:
            return await self._once(request, context, None, facilities, hooks)
        journal.running = True
        try:
            while True:
                result = await self._once(request, context, journal, facilities, hooks)
                if not any(pause.path in journal.answers for pause in result.paused):
                    return result
        finally:
            journal.running = False

    async def _once(
        self,
        request: RunRequest,
        context: BaseModel,
        journal: Journal | None,
        facilities: Facility,
        hooks: tuple[Hook, ...],
    ) -> PipelineResult:
        frame = make_execution_frame(
            request.node,
            request.data,
            context=context,
            resources=self._resources,
            quota=Quota(self._limits, spent=_spent_in(journal)),
            stream=request.stream,
            on_chunk=request.on_chunk,
            run_id=request.run_id,
            extensions=request.extensions,
            hooks=self._hooks + hooks,
            journal=journal,
            facilities=facilities,
        )
        self._core.plan(frame)
        events = frame.run.events
        if events is not None:
            await events.run_started(frame.path, request.data)
        outcome = await self._core.run_root(frame)
        if journal is not None:
            journal.spend(FramePath(), frame.quota.spent)
        result = self._result_of(frame, outcome, context, request)
        if events is not None:
            await events.run_finished(frame.path, result)
        if isinstance(outcome, Aborted):
            _raise_if_stopped(outcome, result)
        return result

    def _new_context(self, data: object) -> BaseModel:
        model = self._context_model or PipelineContext
        given = _own_copy(self._initial_context_data)
        if self._context_model is None and isinstance(data, str):
            given.setdefault("initial_prompt", data)
        try:
            return model.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or model.__name__
            raise PipelineContextInitializationError(
                f"the initial context does not fit {model.__name__}: {where}: {first['msg']}"
            ) from error

    def _result_of(
        self, frame: AnyFrame, outcome: FrameOutcome, context: BaseModel, request: RunRequest
    ) -> PipelineResult:
        used = frame.quota.spent  # this run's own, so the total of every attempt
        events = frame.run.events
        status = status_of(outcome)
        if events is not None and events.abort_message is not None:
            status = RunStatus.ABORTED
        after = context_after(self._core, outcome, context)
        ended = EndedRun(frame.run_id, status, outcome, frame.run.hitl_history)
        return PipelineResult(
            run_id=frame.run_id,
            status=status,
            output=outcome.output if isinstance(outcome, Success) else None,
            step_history=self._history.history(outcome),
            total_cost_usd=used.cost_usd,
            total_tokens=used.tokens,
            final_pipeline_context=show(copy(after), ended),
            paused=self._history.open_pauses(outcome, FramePath()),
            hook_errors=events.errors if events is not None else (),
            resumption=_resumption_of(frame, outcome, context, request),
        )


def _spent_in(journal: Journal | None) -> Usage:
    return FREE if journal is None else journal.spent_at(FramePath())


def _slice(pipeline: Node, until: str | None, only: str | None) -> Node:
    """The part of ``pipeline`` that is to be run."""
    if until is None and only is None:
        return pipeline
    steps = list(steps_of(pipeline))
    names = [one.name for one in steps]
    name = until if only is None else only
    if name not in names or (until is not None and only is not None):
        raise ConfigurationError(
            f"give `until` or `only`, the name of one of {', '.join(names)}; found "
            f"until={until!r}, only={only!r}"
        )
    at = names.index(name)
    return Pipeline(tuple(steps[: at + 1] if only is None else steps[at : at + 1]))


def choose_pause(paused: PipelineResult, wanted: FramePath | str | None) -> Pause:
    """The open question at ``wanted``, or the only one.

    Raises `ResumeError`, with the questions, when there is none or no telling which.
    """
    state = paused.resumption
    answered = () if state is None else state.journal.answers
    listed = "; ".join(f"{one.path}: {one.message}" for one in paused.paused)
    if wanted is not None:
        for one in paused.paused:
            if str(one.path) == str(wanted):
                return one
        raise ResumeError(f"nothing asks at {wanted}; there are {listed or 'no questions'}")
    waiting = [one for one in paused.paused if one.path not in answered] or paused.paused
    if len(waiting) == 1:
        return waiting[0]
    raise ResumeError(f"say which question is answered, as pause=PATH: {listed}")


def _resumption_of(
    frame: AnyFrame, outcome: FrameOutcome, context: BaseModel, request: RunRequest
) -> Resumption | None:
    journal = frame.run.journal
    if journal is None or not isinstance(outcome, Paused):
        return None
    return Resumption(request, context, journal)


def _own_copy(data: Mapping[str, object]) -> dict[str, object]:
    """``data`` copied; what cannot be copied may stand in a context until a step reads it."""
    own: dict[str, object] = {}
    for name, value in data.items():
        copy = caught_inline(cloned, value)
        own[name] = value if isinstance(copy, Raised) else copy
    return own


def _is_model(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseModel)


def context_after(core: ExecutorCore, outcome: FrameOutcome, before: BaseModel) -> BaseModel:
    """The context that ``outcome`` leaves; a sequence that stopped keeps what its steps merged."""
    if isinstance(outcome, Success):
        return core.contexts.merge(before, outcome.update)
    if outcome.step is not None and outcome.step.is_sequence:
        for child in outcome.children:
            if isinstance(child, Success):
                before = core.contexts.merge(before, child.update)
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
        case AbortReason.SIGNAL:
            pass
