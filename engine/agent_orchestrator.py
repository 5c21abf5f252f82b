"""The attempts of one step: when another follows, and what stands in when none does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from time import monotonic, perf_counter
from typing import TypeAlias, cast
from weakref import WeakKeyDictionary

from .attempt import Attempted, Attempts
from .attempt_slots import AttemptSlots
from .errors import FallbackFailed, PipelineAbortSignal, RateLimited
from .failure_builder import feedback_of, is_failure, is_retryable, not_noted
from .fallback_handler import FallbackHandler, FellBack, NoFallback
from .frame import AnyFrame, planned_child, retry_frame
from .journal import Decision
from .outcome_codec import withheld
from .outcomes import Aborted, Failure, Paused, StepOutcome, Success, make_success
from .passing import ended, passed_on
from .path import Segment, SegmentKind
from .policy import Call, ExecutorPort
from .rates import Pace, rate_of
from .step_body import Trial
from .step_config import Agent, StepConfig
from .steps import AnyStep
from .usage import FREE, Usage
from .user_code import Raised, caught


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows, ``after_s`` seconds later."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step has failed."""


RetryDecision: TypeAlias = Again | GiveUp

_Attempt: TypeAlias = Callable[[AnyFrame, Trial], Awaitable[Attempted]]

_MOST_DOUBLINGS = 32  # of the delay; some hundreds more are no float any longer
_FALLBACK = "fallback"


def decide_retry(
    error: BaseException, attempt: int, max_retries: int, config: StepConfig, seed: str = ""
) -> RetryDecision:
    """What follows when attempt number ``attempt`` (from 1) raised ``error``.

    ``seed`` alone decides how a delay with ``backoff`` is spread.
    """
    if attempt > max_retries or not is_retryable(error):
        return GiveUp()
    delay_s = config.retry_delay_s
    if config.backoff:
        spread = 1 + Random(f"{seed} {attempt}").random() / 2  # no secret
        delay_s *= 2.0 ** min(attempt - 1, _MOST_DOUBLINGS) * spread
    for one in (error, error.__cause__):
        if isinstance(one, RateLimited):
            delay_s = max(delay_s, one.retry_after_s)
    return Again(delay_s)


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


class AgentOrchestrator:
    """Runs a step's body in attempts, for steps of functions and of agents alike."""

    def __init__(self) -> None:
        self._paces: WeakKeyDictionary[AnyStep, Pace] = WeakKeyDictionary()

    def bind(self, core: ExecutorPort, step: AnyStep, agent: Agent | None = None) -> Call:
        """The call of ``step``, for whatever it asks for; ``agent`` is what works on it."""
        return _Retries(core, step, Attempts(core, step, agent), self._pace_of(step)).run

    def _pace_of(self, step: AnyStep) -> Pace | None:
        """The pace of ``step``, which all that run it have in common."""
        if step.rate is None:
            return None
        return self._paces.setdefault(step, Pace(rate_of(step.rate, f"step {step.name!r}")))


class _Retries:
    """The attempts of one step, and its fallback after them."""

    def __init__(
        self, core: ExecutorPort, step: AnyStep, attempts: Attempts, pace: Pace | None
    ) -> None:
        self.core = core
        self.step = step
        self.attempt: _Attempt = attempts.run
        self.pace = pace
        self.fallbacks = FallbackHandler()
        if core.slots is not None:
            self.attempt, self.pace = _bounded(core.slots, pace, attempts.run), None

    async def run(self, frame: AnyFrame) -> StepOutcome:
        started = perf_counter()
        step, fallback = self.step, self.step.fallback_step
        if fallback is not None and (noted := _noted(frame)) is not None:
            return await self._fall_back(frame, fallback, noted, None, started)
        spent, attempt, wait_s = FREE, 0, 0.0
        feedback: str | None = None
        while True:
            trial = Trial(frame.data, frame.resources)
            waited = await caught(self._wait(wait_s)) if wait_s or self.pace else None
            done: Attempted | Raised
            if isinstance(waited, Raised):
                done = waited
            else:
                attempt += 1
                current = frame if attempt == 1 else retry_frame(frame, attempt, feedback)
                done = await caught(self.attempt(current, trial))
            if trial.spent is not FREE:
                spent += trial.spent
            if not isinstance(done, Raised):
                output, update, metadata = done
                return make_success(
                    step,
                    frame.segments,
                    frame.index,
                    attempt,
                    perf_counter() - started,
                    spent or None,
                    (),
                    metadata,
                    output,
                    update,
                )
            error = await ended_attempt(self.core, frame, attempt, done.error)
            feedback = feedback_of(error)
            seed = f"{frame.run_id} {frame.path}" if step.config.backoff else ""
            decision = decide_retry(error, attempt, step.max_retries, step.config, seed)
            if isinstance(decision, Again):
                wait_s = decision.after_s
                if (unnoted := await self._note(frame, trial)) is not None:
                    return unnoted
                continue
            given_up = self._given_up(frame, error, trial, attempt, spent, started)
            if fallback is None or not isinstance(given_up, Failure):
                return given_up
            fell = self._fallen_back(frame, given_up)
            if isinstance(fell, Failure | Paused | Aborted):
                return fell
            if (unnoted := await self._note(frame, trial)) is not None:
                return unnoted
            return await self._fall_back(frame, fallback, fell, given_up.error, started)

    async def _note(self, frame: AnyFrame, trial: Trial) -> StepOutcome | None:
        """Make durable what a failed attempt used, before anything follows; else the outcome."""
        if trial.spent is FREE or frame.run.journal is None:
            return None
        missed = await caught(frame.run.journal.attempted(frame.path, trial.spent))
        return None if missed is None else not_noted(self.core.failures, frame, missed.error)

    async def _wait(self, wait_s: float) -> None:
        """Wait between two attempts, and for the step's turn under its rate."""
        if wait_s:
            await asyncio.sleep(wait_s)
        if self.pace is not None:
            now = monotonic()
            start = self.pace.next_start(now)
            if start > now:
                await asyncio.sleep(start - now)

    def _given_up(
        self,
        frame: AnyFrame,
        error: BaseException,
        trial: Trial,
        attempt: int,
        spent: Usage,
        started: float,
    ) -> Failure | Paused | Aborted:
        """The outcome after the last attempt, which ``error`` ended."""
        latency, usage = perf_counter() - started, spent or None
        outcome = self.core.failures.build(
            frame, error, attempts=attempt, latency_s=latency, usage=usage
        )
        if isinstance(outcome, Failure) and trial.made is not None:
            return replace(outcome, output=trial.made)
        return outcome

    def _fallen_back(
        self, frame: AnyFrame, failure: Failure
    ) -> FellBack | Failure | Paused | Aborted:
        """What the step had come to, if its fallback follows; else the outcome."""
        decision = self.fallbacks.decide_fallback(frame, self.step, failure)
        if isinstance(decision, NoFallback):
            if decision.error is None:
                return failure
            decision.error.__cause__ = failure.error
            return self.core.failures.build(
                frame,
                decision.error,
                attempts=failure.attempts,
                latency_s=failure.latency_s,
                usage=failure.usage,
            )
        fell = FellBack(decision.depth, failure.feedback, failure.attempts, failure.usage)
        if frame.run.journal is not None:
            noted = replace(fell, feedback=withheld(fell.feedback))  # plain data
            frame.run.journal.decide(frame.path, _FALLBACK, Decision(noted))
        return fell

    async def _fall_back(
        self,
        frame: AnyFrame,
        fallback: AnyStep,
        fell: FellBack,
        error: BaseException | None,
        started: float,
    ) -> StepOutcome:
        """The outcome of a step whose ``fallback`` does its work: on its input, in its context."""
        segments = (Segment(SegmentKind.FALLBACK, fell.depth),)
        data, context = frame.data, frame.context
        child = planned_child(frame, frame, segments, None, fallback, data, context, 1, None)
        outcome = ended(await self.core.calls(frame)[fallback](child))
        latency = perf_counter() - started
        metadata = {"fallback_triggered": True, "original_error": fell.feedback}
        match outcome:
            case Success():
                if self.step.config.preserve_fallback_diagnostics:
                    told = f"failed attempts: {fell.attempts}; the last one: {fell.feedback}"
                    metadata["feedback"] = told
                return make_success(
                    self.step,
                    frame.segments,
                    frame.index,
                    fell.attempts,
                    latency,
                    fell.usage,
                    (outcome,),
                    metadata,
                    outcome.output,
                    outcome.update,
                )
            case Failure():
                both = FallbackFailed(
                    f"Original error: {fell.feedback}; Fallback error: {outcome.feedback}"
                )
                both.__cause__ = error
                failure = self.core.failures.build(
                    frame,
                    both,
                    attempts=fell.attempts,
                    latency_s=latency,
                    usage=fell.usage,
                    children=(outcome,),
                )
                return replace(failure, metadata=metadata)
            case _:
                passed = passed_on(outcome, frame, (outcome,), latency, metadata)
                return replace(passed, attempts=fell.attempts, usage=fell.usage)


def _bounded(slots: AttemptSlots, pace: Pace | None, attempt: _Attempt) -> _Attempt:
    """``attempt`` with a slot while it is in flight, and none while ``pace`` has it wait."""
    if pace is None:
        return slots.around(attempt)

    async def run(frame: AnyFrame, trial: Trial) -> Attempted:
        while True:
            lane = await slots.take()
            try:
                now = monotonic()
                start = pace.free_at(now)
                if start <= now:
                    pace.next_start(now)
                    return await attempt(frame, trial)
            finally:
                slots.give_back(lane)
            await asyncio.sleep(start - now)

    return run


def _noted(frame: AnyFrame) -> FellBack | None:
    """What the run's journal holds of a fallback that this frame had come to before."""
    journal = frame.run.journal
    decision = None if journal is None else journal.decision(frame.path, _FALLBACK)
    if journal is None or decision is None:
        return None
    fell = cast(FellBack, decision.value)
    journal.carry(frame.path, fell.usage or FREE)
    return fell
