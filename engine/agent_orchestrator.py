"""The attempts of one step, and what one attempt is.

An attempt: isolate the context → reserve → call (``timeout_s``) → unwrap → reconcile →
``updates_context``, ``sink_to``. Every attempt starts from the context as it was before the step,
so one that fails has changed nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from pydantic import BaseModel

from .context import ContextUpdate
from .errors import ContextMissing, PipelineAbortSignal, StepStillRunning, StepTimeout
from .failure_builder import feedback_of, is_failure, is_retryable
from .frame import AnyFrame, retry_frame
from .outcomes import StepOutcome, make_success
from .policy import Call, ExecutorPort
from .step_body import Body, body_of, check_input, plain_output
from .steps import AnyStep
from .usage import FREE, NO_METADATA, Metered, Usage
from .user_code import Raised, caught


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step has failed."""


RetryDecision: TypeAlias = Again | GiveUp


def decide_retry(error: BaseException, attempt: int, max_retries: int) -> RetryDecision:
    """What follows when attempt number ``attempt`` (from 1) raised ``error``."""
    return Again() if attempt <= max_retries and is_retryable(error) else GiveUp()


async def ended_attempt(
    core: ExecutorPort, frame: AnyFrame, attempt: int, raised: BaseException
) -> BaseException:
    """The error that an attempt ended with, once the hooks have heard of it.

    It is what user code raised, or what a hook put in its place: an abort, an interrupt.
    """
    error = core.failures.cause_of(raised)
    events = frame.run.events
    if events is None or not is_failure(error):
        return error
    told = await caught(events.attempt_failed(frame.path, attempt, error, feedback_of(error)))
    if isinstance(told, Raised):
        return core.failures.cause_of(told.error)
    return error if events.abort_message is None else PipelineAbortSignal(events.abort_message)


@dataclass(frozen=True, slots=True)
class _Attempted:
    output: object
    update: ContextUpdate | None
    metadata: Mapping[str, object]


class AgentOrchestrator:
    """Runs a step's body in attempts, for steps of functions and of agents alike."""

    def bind(self, core: ExecutorPort, step: AnyStep) -> Call:
        """The call of ``step``, for whatever it asks for."""
        attempts = _Attempts(core, step, body_of(step))
        return attempts.run


class _Attempts:
    def __init__(self, core: ExecutorPort, step: AnyStep, body: Body) -> None:
        self.core = core
        self.step = step
        self.body = body
        self.estimate = step.config.estimate.usage() or FREE

    async def run(self, frame: AnyFrame) -> StepOutcome:
        started = perf_counter()
        spent = FREE
        attempt = 1
        feedback: str | None = None
        while True:
            current = frame if attempt == 1 else retry_frame(frame, attempt, feedback)
            meter = _Meter()
            done = await caught(self._attempt(current, meter))
            spent = spent + meter.used if meter.used else spent
            if not isinstance(done, Raised):
                return make_success(
                    self.step,
                    frame.segments,
                    frame.index,
                    attempt,
                    perf_counter() - started,
                    spent or None,
                    (),
                    done.metadata,
                    done.output,
                    done.update,
                )
            error = await ended_attempt(self.core, frame, attempt, done.error)
            feedback = feedback_of(error)
            match decide_retry(error, attempt, self.step.max_retries):
                case Again():
                    attempt += 1
                case GiveUp():
                    return self.core.failures.build(
                        frame,
                        error,
                        attempts=attempt,
                        latency_s=perf_counter() - started,
                        usage=spent or None,
                    )

    async def _attempt(self, frame: AnyFrame, meter: _Meter) -> _Attempted:
        contexts, body = self.core.contexts, self.body
        check_input(self.step, frame)
        base = frame.context
        context: BaseModel | None = None
        if body.takes_context:
            context = contexts.isolate(self._context_of(frame))
        with self.core.quota.attempt(frame, self.estimate) as attempt:
            output = await _within(self.step, body, body.call(frame, context))
            if isinstance(output, Metered):
                meter.used = attempt.used = output.usage
                output = output.output
        update = None
        if context is not None and base is not None:
            update = contexts.diff(base, context)
            output = plain_output(output)
        if self.step.updates_context or self.step.sink_to is not None:
            update = self._with_output(frame, update, output)
        return _Attempted(output, update, NO_METADATA)

    def _with_output(
        self, frame: AnyFrame, update: ContextUpdate | None, output: object
    ) -> ContextUpdate | None:
        """``update`` and what ``updates_context`` and ``sink_to`` make of the output."""
        contexts, base = self.core.contexts, self._context_of(frame)
        merged = contexts.merge(base, update)
        if self.step.updates_context:
            merged = contexts.merge(merged, contexts.update_of_output(merged, output))
        if self.step.sink_to is not None:
            sunk = contexts.update_of_sink(merged, self.step.sink_to, output)
            merged = contexts.merge(merged, sunk)
        return contexts.net(base, merged)

    def _context_of(self, frame: AnyFrame) -> BaseModel:
        if frame.context is None:
            raise ContextMissing(
                f"step {self.step.name!r} needs a context, and this run has none: "
                "declare a pydantic model for it"
            )
        return frame.context


class _Meter:
    """What an attempt used, told even when the attempt failed after it."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used: Usage = FREE


async def _within(step: AnyStep, body: Body, work: Awaitable[object]) -> object:
    """Await ``work`` for at most the step's ``timeout_s`` seconds."""
    limit = step.config.timeout_s
    if limit is None:
        return await work
    try:
        async with asyncio.timeout(limit) as scope:
            return await work
    except TimeoutError as error:
        if not scope.expired():
            raise
        if body.in_thread:
            raise StepStillRunning(
                f"no result after {limit:g} s, and the step's thread is still running; "
                "its late result is dropped"
            ) from error
        raise StepTimeout(f"no result after {limit:g} s (timeout_s)") from error
