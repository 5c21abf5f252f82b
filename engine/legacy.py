"""Policies with an argument list, made to take a frame when they are registered.

Such a policy takes some of ``core, step, data, context, resources, limits, stream, on_chunk,
quota, fallback_depth, cache_key, context_setter`` by name, in any order, with or without
``**kwargs``. Its ``core`` is bound to its frame, and its context is a copy of its own, whose
difference becomes the update. This file can be deleted whole when version 1.0 drops the form.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, cast

from pydantic import BaseModel

from .context_view import plain_of
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
    FrameOutcome,
    Outcome,
    Paused,
    StepOutcome,
    Success,
)
from .path import FramePath
from .policy import ExecutorPort
from .results import StepResult
from .step_history_tracker import feedback_in, total_usage
from .steps import Node, name_of
from .usage import FREE, Usage
from .user_code import Raised, caught, caught_inline

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
    "breach_event",
    "context_setter",
)
_MARKS = frozenset({"step", "data"})
_warned: set[type] = set()


class _LoosePolicy(Protocol):
    @property
    def execute(self) -> Callable[..., object]:
        """Takes the argument list."""


def adapted(policy: object, handles: type) -> LegacyPolicyAdapter | None:
    """An older policy as one that takes a frame; ``None`` when it is no older policy either."""
    execute: object = getattr(policy, "execute", None)
    if not callable(execute):
        return None
    parameters = list(inspect.signature(execute).parameters.values())
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    required = [p.name for p in parameters if p.default is p.empty and p.name in names]
    everything = len(names) < len(parameters)
    loose = (
        (everything or set(names) >= _MARKS)
        and set(required) <= set(_KNOWN)
        and not any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters)
    )
    if not loose:
        return None
    _warn_once(type(policy))
    wanted = _KNOWN if everything else tuple(name for name in names if name in _KNOWN)
    return LegacyPolicyAdapter(cast(_LoosePolicy, policy), handles, wanted)


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


class LegacyPolicyAdapter:
    """A policy that takes a frame and gives an older one its argument list."""

    def __init__(self, policy: _LoosePolicy, handles: type, wanted: tuple[str, ...]) -> None:
        self._policy = policy
        self._wanted = wanted
        self.handles = handles

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Call the policy with what it names; its answer as an outcome."""
        context = None if frame.context is None else core.contexts.isolate(frame.context)
        bound = FrameBoundCore(core, frame, context)
        known: dict[str, object] = {
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
            "breach_event": None,
            "context_setter": bound.ignore_context,
        }
        given = {name: known[name] for name in self._wanted}
        answer: object = caught_inline(partial(self._policy.execute, **given))
        if inspect.isawaitable(answer):
            answer = await caught(answer)
        stopped = next((child for child in bound.outcomes if isinstance(child, Aborted)), None)
        if stopped is not None:  # whatever the policy made of it
            outcome: StepOutcome = replace(stopped, children=bound.outcomes)
        elif isinstance(answer, Raised):
            cause = core.failures.cause_of(answer.error)
            return core.failures.build(frame, cause, children=bound.outcomes)
        else:
            outcome = _outcome_of(answer, bound.outcomes)
        if not isinstance(outcome, Success) or outcome.update is not None:
            return outcome
        if context is None or frame.context is None:
            return outcome
        return replace(outcome, update=core.contexts.diff(frame.context, context))


class FrameBoundCore:
    """The core as an older policy knows it: what it makes and runs are children of its frame."""

    def __init__(self, core: ExecutorPort, frame: AnyFrame, context: BaseModel | None) -> None:
        self._core = core
        self._frame = frame
        self._context = context
        self._contexts: dict[int, BaseModel | None] = {}
        self.outcomes: list[FrameOutcome] = []

    def make_execution_frame(
        self, step: Node, data: object = None, context: BaseModel | None = None, **_: object
    ) -> AnyFrame:
        """A frame for a child; everything else is inherited from the policy's own frame.

        Without ``context`` the child works on the policy's.
        """
        own = self._context if context is None else context
        given = None if own is None else plain_of(own)
        frame = self._core.child_frame(self._frame, step, data, context=given)
        self._contexts[id(frame)] = own
        return frame

    async def execute(
        self,
        step: Node | AnyFrame,
        data: object = None,
        context: BaseModel | None = None,
        **_: object,
    ) -> StepResult:
        """Run a child, given as a frame or by its step and input, and return its result.

        What the child changed is merged into its context in place. A pause or abort travels as
        the exception that older policies know.
        """
        frame = (
            step
            if isinstance(step, ExecutionFrame)
            else self.make_execution_frame(step, data, context)
        )
        outcome = await self._core.run(frame)
        if isinstance(outcome, Chunk):
            raise PolicyContractError("a frame cannot end with a Chunk")
        self.outcomes.append(outcome)
        return self._result_of(outcome, frame, self._contexts.pop(id(frame), None))

    def _result_of(
        self, outcome: FrameOutcome, frame: AnyFrame, context: BaseModel | None
    ) -> StepResult:
        match outcome:
            case Paused(message=message):
                raise PausedException(message)
            case Aborted(reason=reason, message=message):
                raise _SIGNALS[reason](message)
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


def _outcome_of(answer: object, children: Sequence[FrameOutcome]) -> StepOutcome:
    """An older policy's answer as an outcome; what is neither is left to the invoker to refuse.

    A raw result's usage includes its children's, an outcome's does not.
    """
    if isinstance(answer, Outcome):
        return cast(FrameOutcome, replace(answer, children=(*answer.children, *children)))
    if not isinstance(answer, StepResult):
        return cast(StepOutcome, answer)
    usage = _own_usage(answer, children) or None
    if answer.success:
        return Success(
            output=answer.output, attempts=answer.attempts, usage=usage, children=children
        )
    feedback = answer.feedback or "the policy gave no reason"
    return Failure(
        error=FlujoError(feedback),
        feedback=feedback,
        attempts=answer.attempts,
        usage=usage,
        children=children,
    )


def _own_usage(answer: StepResult, children: Sequence[FrameOutcome]) -> Usage:
    whole = Usage.of(cost_usd=answer.cost_usd, tokens=answer.token_counts)
    inside = sum(map(total_usage, children), FREE)
    cost, tokens = whole.cost_micros - inside.cost_micros, whole.tokens - inside.tokens
    return Usage(max(cost, 0), max(tokens, 0))


def _result(
    outcome: Success | Failure | BackgroundLaunched, frame: AnyFrame, output: object
) -> StepResult:
    above = FramePath() if frame.parent is None else frame.parent.path
    path = FramePath((*above.segments, *frame.segments))
    used = total_usage(outcome)
    return StepResult(
        name=name_of(frame.step),
        path=path,
        output=output,
        success=not isinstance(outcome, Failure),
        attempts=outcome.attempts,
        latency_s=outcome.latency_s,
        token_counts=used.tokens,
        cost_usd=used.cost_usd,
        feedback=feedback_in(outcome),
    )
