"""Policies with an argument list, made to take a frame when they are registered.

Such a policy takes some of ``core, step, data, context, resources, limits, stream, on_chunk,
quota, fallback_depth, cache_key, context_setter`` by name, in any order, with or without
``**kwargs``. Its ``core`` is bound to its frame, and its context is a copy of its own, whose
difference becomes the update. This file can be deleted whole when version 1.0 drops the form.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, cast

from pydantic import BaseModel

from .errors import (
    FlujoDeprecationWarning,
    FlujoError,
    PausedException,
    PipelineAbortSignal,
    PolicyContractError,
    StepInterrupted,
    UsageLimitExceededError,
)
from .frame import AnyFrame, ExecutionFrame
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from .path import FramePath
from .policy import ExecutorPort, StepPolicy
from .results import StepResult
from .step_history_tracker import feedback_in
from .steps import Node, name_of
from .usage import Usage

_REMOVED_IN = "1.0"
_KNOWN = (
    "core",
    "step",
    "data",
    "context",
    "resources",
    "limits",
    "stream",
    "on_chunk",
    "quota",
    "fallback_depth",
    "_fallback_depth",
    "cache_key",
    "context_setter",
)
_MARKS = frozenset({"step", "data"})
_warned: set[type] = set()


class _LoosePolicy(Protocol):
    @property
    def execute(self) -> Callable[..., Awaitable[object]]:
        """Takes the argument list."""


def adapted(policy: object, handles: type | None) -> StepPolicy:
    """``policy`` as one that takes a frame; itself when it does already.

    Raises `TypeError` when its ``execute`` is neither form, or no step type is known for it.
    """
    kind = handles if handles is not None else getattr(policy, "handles", None)
    if not isinstance(kind, type):
        raise TypeError(
            f"{type(policy).__name__} says no step type: give it a `handles`, or register it with "
            "handles=StepType"
        )
    parameters = _parameters_of(policy)
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if "frame" in names:
        taken = cast(StepPolicy, policy)
        return taken if handles is None else _Rehandled(taken, handles)
    required = [p.name for p in parameters if p.default is p.empty and p.name in names]
    loose = (
        set(names) >= _MARKS
        and set(required) <= set(_KNOWN)
        and not any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters)
    )
    if not loose:
        raise TypeError(
            f"{type(policy).__name__}.execute{inspect.signature(_execute_of(policy))} is no "
            "policy's: write `async def execute(self, core, frame: ExecutionFrame) -> StepOutcome`"
        )
    _warn_once(type(policy))
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    wanted = _KNOWN if everything else tuple(names)
    return LegacyPolicyAdapter(cast(_LoosePolicy, policy), kind, wanted)


def _execute_of(policy: object) -> Callable[..., Awaitable[object]]:
    execute: object = getattr(policy, "execute", None)
    if not callable(execute):
        raise TypeError(f"{type(policy).__name__} has no `execute`, so it is no policy")
    return cast(Callable[..., Awaitable[object]], execute)


def _parameters_of(policy: object) -> list[inspect.Parameter]:
    return list(inspect.signature(_execute_of(policy)).parameters.values())


def _warn_once(policy_type: type) -> None:
    if policy_type in _warned:
        return
    _warned.add(policy_type)
    warnings.warn(
        f"{policy_type.__name__}.execute takes an argument list; take (core, frame) instead. "
        f"Version {_REMOVED_IN} of flujo-nb no longer adapts it",
        FlujoDeprecationWarning,
        stacklevel=4,
    )


class _Rehandled:
    """A frame policy registered for another type than its own."""

    def __init__(self, policy: StepPolicy, handles: type) -> None:
        self._policy = policy
        self.handles = handles

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        return await self._policy.execute(core, frame)


class LegacyPolicyAdapter:
    """A policy that takes a frame and gives an older one its argument list."""

    def __init__(self, policy: _LoosePolicy, handles: type, wanted: tuple[str, ...]) -> None:
        self._policy = policy
        self._wanted = wanted
        self.handles = handles

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Call the policy with what it names; its answer as an outcome."""
        context = None if frame.context is None else core.contexts.isolate(frame.context)
        bound = FrameBoundCore(core, frame)
        given: dict[str, object] = {
            "core": bound,
            "step": frame.step,
            "data": frame.data,
            "context": context,
            "resources": frame.resources,
            "limits": frame.limits,
            "stream": frame.stream,
            "on_chunk": frame.on_chunk,
            "quota": frame.quota,
            "fallback_depth": 0,
            "_fallback_depth": 0,
            "cache_key": None,
            "context_setter": bound.ignore_context,
        }
        answer = await self._policy.execute(**{name: given[name] for name in self._wanted})
        outcome = cast(StepOutcome, _outcome_of(answer, frame))
        if not isinstance(outcome, Success):
            return outcome
        update = outcome.update
        if update is None and context is not None and frame.context is not None:
            update = core.contexts.diff(frame.context, context)
        return replace(outcome, update=update, children=(*outcome.children, *bound.outcomes))


class FrameBoundCore:
    """The core as an older policy knows it: what it makes and runs are children of its frame."""

    def __init__(self, core: ExecutorPort, frame: AnyFrame) -> None:
        self._core = core
        self._frame = frame
        self.outcomes: list[StepOutcome] = []

    def make_execution_frame(
        self, step: Node, data: object = None, context: BaseModel | None = None, **_: object
    ) -> AnyFrame:
        """A frame for a child; everything else is inherited from the policy's own frame."""
        return self._core.child_frame(self._frame, step, data, context=context)

    async def execute(
        self,
        step: Node | AnyFrame,
        data: object = None,
        context: BaseModel | None = None,
        **_: object,
    ) -> StepResult:
        """Run a child, given as a frame or by its step and input, and return its result.

        What the child changed is merged into ``context`` in place. A pause or abort travels as
        the exception that older policies know.
        """
        frame = (
            step
            if isinstance(step, ExecutionFrame)
            else self.make_execution_frame(step, data, context)
        )
        outcome = await self._core.run(frame)
        self.outcomes.append(outcome)
        return self._result_of(outcome, frame, context)

    def _result_of(
        self, outcome: StepOutcome, frame: AnyFrame, context: BaseModel | None
    ) -> StepResult:
        match outcome:
            case Paused(message=message):
                raise PausedException(message)
            case Aborted(reason=reason, message=message):
                raise _SIGNALS[reason](message)
            case Chunk():
                raise PolicyContractError("a frame cannot end with a Chunk")
            case Success(output=output, update=update):
                if update is not None and context is not None:
                    self._core.contexts.merge_into(context, update)
                return _result(outcome, frame, output)
            case Failure() | BackgroundLaunched():
                return _result(outcome, frame, None)

    def ignore_context(self, *_: object) -> None:
        """The ``context_setter`` of an older policy; its context's difference is taken anyway."""


_SIGNALS: dict[AbortReason, type[FlujoError]] = {
    AbortReason.INTERRUPTED: StepInterrupted,
    AbortReason.QUOTA: UsageLimitExceededError,
    AbortReason.SIGNAL: PipelineAbortSignal,
}


def _outcome_of(answer: object, frame: AnyFrame) -> object:
    """An older policy's answer as an outcome; what is neither is left to the invoker to refuse."""
    if not isinstance(answer, StepResult):
        return answer
    usage = Usage.of(cost_usd=answer.cost_usd, tokens=answer.token_counts) or None
    if answer.success:
        return Success(output=answer.output, attempts=answer.attempts, usage=usage)
    feedback = answer.feedback or "the policy gave no reason"
    error = FlujoError(feedback)
    return Failure(error=error, feedback=feedback, attempts=answer.attempts, usage=usage)


def _result(
    outcome: Success | Failure | BackgroundLaunched, frame: AnyFrame, output: object
) -> StepResult:
    above = FramePath() if frame.parent is None else frame.parent.path
    path = FramePath((*above.segments, *frame.segments))
    return StepResult(
        name=name_of(frame.step),
        path=path,
        output=output,
        success=not isinstance(outcome, Failure),
        attempts=outcome.attempts,
        latency_s=outcome.latency_s,
        feedback=feedback_in(outcome),
    )
