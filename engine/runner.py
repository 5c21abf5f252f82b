"""`Flujo`: run a pipeline from Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from typing import TypeAlias

from pydantic import BaseModel, ValidationError

from .context import PipelineContext
from .errors import (
    ConfigurationError,
    ContextTypeError,
    PipelineContextInitializationError,
    StepInterrupted,
    UsageLimitExceededError,
)
from .executor_core import ExecutorCore
from .frame import AnyFrame, Extensions, OnChunk, make_execution_frame
from .hooks import AnyEvent, ChunkArrived, FrameFinished, Hook, Listener
from .outcomes import Aborted, AbortReason, Chunk, FrameOutcome, RunStatus, Success, status_of
from .policy_registry import PolicyRegistry
from .results import PipelineResult
from .step_history_tracker import StepHistoryTracker
from .steps import Node, Pipeline, Step
from .usage import UsageLimits
from .user_code import Raised, caught_inline
from .values import cloned

RunItem: TypeAlias = FrameOutcome | Chunk | PipelineResult
_Start: TypeAlias = Callable[[tuple[Hook, ...], bool], Coroutine[None, None, PipelineResult]]


class Flujo:
    """A runner: a pipeline with what its runs share.

    ``context_model`` (a pydantic model, default `PipelineContext`) is made for each run from
    ``initial_context_data``; ``resources`` reach the steps that ask for them; ``usage_limits``
    bound each run; ``hooks`` listen to its events (see `flujo_nb.engine.hooks`).
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
        on_chunk: OnChunk | None = None,
        extensions: Extensions | None = None,
    ) -> RunHandle:
        """A run, not yet started: await it for its `PipelineResult`, or iterate over it.

        Iterating gives every outcome and chunk as it happens, and the `PipelineResult` last.
        ``extensions`` are further parameters for policies, read as ``frame.extensions``.
        """

        def start(hooks: tuple[Hook, ...], stream: bool) -> Coroutine[None, None, PipelineResult]:
            return self._run(data, run_id, stream, on_chunk, extensions or {}, hooks)

        return RunHandle(start, on_chunk is not None)

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

    async def _run(
        self,
        data: object,
        run_id: str | None,
        stream: bool,
        on_chunk: OnChunk | None,
        extensions: Extensions,
        hooks: tuple[Hook, ...],
    ) -> PipelineResult:
        context = self._new_context(data)
        frame = make_execution_frame(
            self._pipeline,
            data,
            context=context,
            resources=self._resources,
            limits=self._limits,
            stream=stream,
            on_chunk=on_chunk,
            run_id=run_id,
            extensions=extensions,
            hooks=self._hooks + hooks,
        )
        self._core.plan(frame)
        events = frame.run.events
        if events is not None:
            await events.run_started(frame.path, data)
        outcome = await self._core.run_root(frame)
        result = self._result_of(frame, outcome, context)
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
        self, frame: AnyFrame, outcome: FrameOutcome, context: BaseModel
    ) -> PipelineResult:
        used = frame.quota.spent  # this run's own, so the total of every attempt
        events = frame.run.events
        status = status_of(outcome)
        if events is not None and events.abort_message is not None:
            status = RunStatus.ABORTED
        return PipelineResult(
            run_id=frame.run_id,
            status=status,
            output=outcome.output if isinstance(outcome, Success) else None,
            step_history=self._history.history(outcome),
            total_cost_usd=used.cost_usd,
            total_tokens=used.tokens,
            final_pipeline_context=context_after(self._core, outcome, context),
            hook_errors=events.errors if events is not None else (),
        )


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


class RunHandle:
    """A run that starts when it is first awaited or iterated over."""

    def __init__(self, start: _Start, stream: bool) -> None:
        self._start = start
        self._stream = stream
        self._started = False

    def __await__(self) -> Generator[None, None, PipelineResult]:
        return self.result().__await__()

    async def result(self) -> PipelineResult:
        """Run to the end and return how it ended."""
        self._begin()
        return await self._start((), self._stream)

    async def __aiter__(self) -> AsyncGenerator[RunItem, None]:
        self._begin()
        queue: asyncio.Queue[FrameOutcome | Chunk | None] = asyncio.Queue()

        def listen(event: AnyEvent) -> None:
            match event:
                case ChunkArrived(chunk=chunk):
                    queue.put_nowait(chunk)
                case FrameFinished(outcome=outcome):
                    queue.put_nowait(outcome)

        hook = Hook(listen, (ChunkArrived, FrameFinished))
        task = asyncio.create_task(self._start((hook,), True))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _begin(self) -> None:
        if self._started:
            raise ConfigurationError("this run was started before; call run_async again")
        self._started = True
