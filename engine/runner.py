"""`Flujo`: run a pipeline from Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from .answers import answer_of
from .background_task_manager import BackgroundTaskManager
from .context import PipelineContext
from .durable_runner import DurableRunner
from .durable_runs import DurableRuns
from .errors import (
    ConfigurationError,
    ContextTypeError,
    PipelineContextInitializationError,
    ResumeError,
)
from .executor_core import ExecutorCore
from .hooks import Hook, Listener
from .journal import Journal
from .outcomes import (
    Chunk,
    FrameOutcome,
    OnChunk,
)
from .path import FramePath
from .policy_registry import PolicyRegistry
from .recorded_run import Persist
from .references import StateProviders
from .results import AnswerRecorded, BackgroundTask, PipelineResult, Resumption, RunRequest
from .resuming import (
    NO_ANSWER,
    choose_pause,
    goes_on,
    listed,
    open_pauses,
    slice_of,
    wanted_by,
    why_not,
)
from .run import Extensions, Facility, new_run_id
from .run_handle import RunHandle
from .step_config import JSONValue
from .step_kinds import ImportStep
from .steps import Node, Pipeline, Step, name_of
from .store.sqlite import SqliteStore
from .stores import Store
from .usage import UNLIMITED, Quota, UsageLimits
from .user_code import Raised, caught_inline
from .values import cloned
from .walker import Walker


class Flujo:
    """A runner: a pipeline with what its runs share.

    ``context_model`` (a pydantic model, default `PipelineContext`) is made for each run from
    ``initial_context_data``; ``resources`` reach the steps that ask for them; ``usage_limits``
    bound each run; ``hooks`` listen to its events (see `flujo_nb.engine.hooks`);
    ``state_providers`` load and save what the context refers to (`flujo_nb.engine.references`).

    ``state_backend`` is the store that keeps the runs, or the path of its file: then every frame
    is durable before anything depends on it, and a run goes on after the death of its process.
    ``persist`` says what becomes of values that cannot be saved (`Persist`).

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
        state_providers: StateProviders | None = None,
        state_backend: Store | str | Path | None = None,
        persist: Persist | str = Persist.REQUIRE,
        pipeline_name: str | None = None,
        pipeline_version: str | None = None,
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
        self._slices: dict[tuple[str | None, str | None], Node] = {}
        self._tasks = BackgroundTaskManager()
        self._core = ExecutorCore(registry, self._tasks)
        self._history = self._core.history
        self._walker = Walker(
            self._core,
            self._tasks,
            resources,
            tuple(map(Hook.of, hooks)),
            dict(state_providers or {}),
            pipeline_name,
            pipeline_version,
        )
        about = {"pipeline": pipeline_name or name_of(pipeline), "version": pipeline_version}
        self._durable = self._durable_on(state_backend, Persist(persist), about)

    def run_async(
        self,
        data: object = None,
        *,
        run_id: str | None = None,
        until: str | None = None,
        only: str | None = None,
        on_chunk: OnChunk | None = None,
        extensions: Extensions | None = None,
        keep: bool = False,
        anyway: bool = False,
    ) -> RunHandle:
        """A run, not yet started: await it for its `PipelineResult`, or iterate over it.

        Iterating gives every outcome and chunk as it happens, and the `PipelineResult` last.
        ``until`` names the step after which the run ends, ``only`` the one that it consists of.
        ``extensions`` are further parameters for policies, read as ``frame.extensions``.

        With a store, a ``run_id`` that it knows is gone on with (a completed run is only read):
        with the same input, or none. ``keep`` lets what is recorded stand although steps were
        edited; ``anyway`` goes on with a run that was set aside.

        Awaiting raises `UsageLimitExceededError`, `StepInterrupted`, and with a store `StoreError`
        and `ResumeError`: `RunInputMismatch`, `DefinitionChanged`, `InputChanged`, `RunSetAside`.
        """
        node = self._slices.get((until, only))
        if node is None:
            node = self._slices[until, only] = slice_of(self._pipeline, until, only)

        def start(hooks: tuple[Hook, ...], stream: bool) -> Coroutine[None, None, PipelineResult]:
            request = RunRequest(node, data, run_id, stream, on_chunk, extensions or {})
            if self._durable is not None:
                return self._durable.run(request, hooks, keep=keep, anyway=anyway)
            if run_id and self._tasks.open_count(run_id):
                raise ConfigurationError(
                    f"run {run_id} is at work in the background: give another run_id, or resume "
                    "its result"
                )
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
            return asyncio.run(self._whole(data, run_id))
        raise ConfigurationError(
            "an event loop is already running here: use `await runner.run_async(data)`, or in a "
            "notebook `%flujo run NAME`"
        )

    async def _whole(self, data: object, run_id: str | None) -> PipelineResult:
        """A run with all that goes on behind it, which ends with its event loop."""
        try:
            result = await self.run_async(data, run_id=run_id)
        finally:
            await self._tasks.settle()
            if self._durable is not None:
                await self._durable.aclose()
        late = {task.path: task for task in self._tasks.collect(result.run_id)}
        asked = open_pauses(self._history, tuple(late.values()))
        tasks = {task.path: task for task in result.background} | late
        paused = (*result.paused, *asked)
        return replace(result, background=tuple(tasks.values()), paused=paused)

    def background_tasks(self, run_id: str) -> Sequence[BackgroundTask]:
        """How those steps of a run stand that were still at work when it ended."""
        return self._tasks.tasks_of(run_id)

    async def aclose(self) -> None:
        """End what is at work in the background, as each step's ``on_close`` says."""
        await self._tasks.close()
        if self._durable is not None:
            await self._durable.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def resume_async(
        self,
        stopped: PipelineResult | str,
        answer: object = NO_ANSWER,
        *,
        pause: FramePath | str | None = None,
        keep: bool = False,
        anyway: bool = False,
    ) -> PipelineResult | AnswerRecorded:
        """Go on with a run that paused, failed, or left something open in the background.

        With a store any run of it, by its result or its id, with ``keep`` and ``anyway`` as in
        `run_async`.

        ``answer`` goes to the question at the path ``pause``, which is needed only when there are
        several. What had finished is not run again; without an answer, what has failed in the
        background is. When the run is going on already, because another question of it was
        answered, it takes this answer too, and `AnswerRecorded` is returned.

        Raises `ResumeError` when there is nothing to go on with or no such question,
        `AnswerRejected` when the answer is not of the kind that it asks for (it stays open), and
        `AlreadyAnswered`.
        """
        if self._durable is not None:
            request = self._request_of(stopped)
            return await self._durable.resume(request, answer, pause, keep=keep, anyway=anyway)
        if isinstance(stopped, str):
            raise ConfigurationError(f"this runner has no store that could hold run {stopped}")
        state = stopped.resumption
        if state is None:
            raise ResumeError(why_not(stopped))
        if answer is not NO_ANSWER:
            late = self._tasks.tasks_of(stopped.run_id)
            asked = choose_pause(
                stopped.run_id,
                stopped.status.value,
                (*stopped.paused, *open_pauses(self._history, late)),
                state.journal.answers,
                pause,
            )
            answer_of(answer, wanted_by(asked), str(asked.path))
            state.journal.answer(asked.path, answer)
            if state.journal.running:
                return AnswerRecorded(stopped.run_id, asked.path)
        elif state.journal.running or (stopped.paused and not stopped.open_background):
            raise ResumeError(f"run {stopped.run_id} waits for answers: {listed(stopped.paused)}")
        return await self._run(state.request, (), state)

    async def replay(
        self, run_id: str, data: object = None, *, strict: bool = False
    ) -> PipelineResult:
        """Give what a recorded run gave, through today's steps and without running any.

        No agent, tool, cache or provider is asked. ``data``, when given, has to be the recorded
        input. With ``strict`` the steps that are declared ``pure`` run, and must give the same.
        Raises `ReplayMismatch` at the first step, definition or input that differs.
        """
        request = replace(self._request_of(run_id), data=data)
        return await self._stored().replay(request, (), strict=strict)

    async def fork(
        self,
        source: str,
        at: FramePath | str,
        *,
        run_id: str | None = None,
        patch: Mapping[str, JSONValue] | None = None,
    ) -> PipelineResult:
        """Run again from the frame at ``at`` of a recorded run, as a run of its own.

        What finished before that frame began is kept. ``patch`` changes the frame's input,
        context or output: ``{"data": …}``, ``{"context": …}`` or ``{"output": …}``, a JSON merge
        patch. Raises `ResumeError` when nothing is recorded there, and `RunExists`.
        """
        request = replace(self._request_of(""), run_id=run_id)
        return await self._stored().fork(request, at, source, patch)

    def _request_of(self, run: PipelineResult | str) -> RunRequest:
        """What to ask for when a run is to go on: what its result knows of, or all of it."""
        if isinstance(run, PipelineResult) and run.resumption is not None:
            return run.resumption.request
        run_id = run if isinstance(run, str) else run.run_id
        return RunRequest(self._pipeline, None, run_id, False, None, {})

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
        walk, quota = self._walker.walk, Quota(self._limits)
        if Facility.JOURNAL not in facilities:
            return await walk(request, context, quota, None, facilities, hooks)
        if state is None:
            request = replace(request, run_id=request.run_id or new_run_id())
            state = Resumption(request, context, Journal(), quota)
        elif state.quota.limits != (self._limits or UNLIMITED):
            state = replace(state, quota=Quota(self._limits, spent=state.quota.spent))
        journal = state.journal
        journal.running = True
        try:
            while True:
                result = await walk(request, context, state.quota, journal, facilities, hooks)
                if not any(pause.path in journal.answers for pause in result.paused):
                    return replace(result, resumption=state) if goes_on(result) else result
        finally:
            journal.running = False

    def _durable_on(
        self,
        backend: Store | str | Path | None,
        persist: Persist,
        about: Mapping[str, str | None],
    ) -> DurableRunner | None:
        if backend is None or persist is Persist.NEVER:
            return None
        store = SqliteStore(backend) if isinstance(backend, str | Path) else backend
        model = self._context_model or PipelineContext
        nodes = self._core.nodes_of(self._pipeline)
        runs = DurableRuns(store, nodes, persist, model, self._resources, about)
        return DurableRunner(runs, self._walker, self._tasks, self._limits, self._new_context)

    def _stored(self) -> DurableRunner:
        if self._durable is None:
            raise ConfigurationError(
                'this runner has no store: give Flujo(…, state_backend="runs.db")'
            )
        return self._durable

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


def _own_copy(data: Mapping[str, object]) -> dict[str, object]:
    """``data`` copied; what cannot be copied may stand in a context until a step reads it."""
    own: dict[str, object] = {}
    for name, value in data.items():
        copy = caught_inline(cloned, value)
        own[name] = value if isinstance(copy, Raised) else copy
    return own


def _is_model(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseModel)
