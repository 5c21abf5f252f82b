"""Exceptions to outcomes, in one place and by one table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .errors import (
    ConfigurationError,
    ContextError,
    FlujoError,
    NonRetryableError,
    PausedException,
    PipelineAbortSignal,
    StepCancelledItself,
    StepExited,
    StepInterrupted,
    StepStillRunning,
    StepTimeout,
    StoreError,
    TemplateResolutionError,
    TypeMismatchError,
    UnusableOutput,
    UsageLimitExceededError,
    ValueGone,
)
from .frame import AnyFrame
from .outcomes import (
    Aborted,
    AbortReason,
    Failure,
    FailureKind,
    OutcomeFacts,
    Paused,
    StepOutcome,
)
from .usage import NO_METADATA, Usage
from .user_code import is_cancelled, message_of


@dataclass(frozen=True, slots=True)
class _Failed:
    kind: FailureKind
    retryable: bool


@dataclass(frozen=True, slots=True)
class _Stopped:
    reason: AbortReason


_Row: TypeAlias = _Failed | _Stopped | type[Paused]

# The first class along an exception's MRO that stands here decides.
_TABLE: dict[type[BaseException], _Row] = {
    BaseException: _Failed(FailureKind.ERROR, retryable=True),
    NonRetryableError: _Failed(FailureKind.ERROR, retryable=False),
    GeneratorExit: _Failed(FailureKind.ERROR, retryable=False),
    StepTimeout: _Failed(FailureKind.TIMEOUT, retryable=True),
    StepStillRunning: _Failed(FailureKind.TIMEOUT, retryable=False),
    StepExited: _Failed(FailureKind.EXIT, retryable=False),
    StepCancelledItself: _Failed(FailureKind.ERROR, retryable=True),
    UnusableOutput: _Failed(FailureKind.TYPE, retryable=False),
    # The same template finds the same things in every attempt.
    TemplateResolutionError: _Failed(FailureKind.TYPE, retryable=False),
    TypeMismatchError: _Failed(FailureKind.TYPE, retryable=False),
    ContextError: _Failed(FailureKind.CONTEXT, retryable=False),
    ConfigurationError: _Failed(FailureKind.CONFIGURATION, retryable=False),
    PausedException: Paused,
    UsageLimitExceededError: _Stopped(AbortReason.QUOTA),
    PipelineAbortSignal: _Stopped(AbortReason.SIGNAL),
    StepInterrupted: _Stopped(AbortReason.INTERRUPTED),
    asyncio.CancelledError: _Stopped(AbortReason.INTERRUPTED),
    ValueGone: _Stopped(AbortReason.HELD),
}


class FailureBuilder:
    """Makes the outcome that an exception means."""

    def build(
        self,
        frame: AnyFrame,
        error: BaseException,
        *,
        attempts: int = 1,
        latency_s: float = 0.0,
        usage: Usage | None = None,
        children: Sequence[StepOutcome] = (),
    ) -> Failure | Paused | Aborted:
        """The outcome of ``frame`` when ``error`` (or its `cause_of`) ended it."""
        error = self.cause_of(error)
        facts: OutcomeFacts = {
            "step": frame.step,
            "segments": frame.segments,
            "index": frame.index,
            "attempts": attempts,
            "latency_s": latency_s,
            "usage": usage,
            "children": children,
            "metadata": NO_METADATA,
        }
        match _row_of(error):
            case _Failed(kind=kind):
                return Failure(error=error, feedback=feedback_of(error), kind=kind, **facts)
            case _Stopped(reason=reason):
                message = message_of(error) or reason.value
                cause = error if reason is AbortReason.HELD else None
                return Aborted(reason=reason, message=message, error=cause, **facts)
            case _:
                return Paused(message=message_of(error), **facts)

    def cause_of(self, error: BaseException) -> BaseException:
        """The exception that stands for what user code raised.

        ``CancelledError`` means an interrupt only when somebody cancelled the task. Of a group
        what ends or pauses the run stands for the whole.
        """
        if isinstance(error, BaseExceptionGroup):
            leaves = map(self.cause_of, error.exceptions)
            return next((leaf for leaf in leaves if not is_failure(leaf)), error)
        if isinstance(error, asyncio.CancelledError) and not is_cancelled(error):
            own = StepCancelledItself(
                "the step raised CancelledError, and nobody cancelled the run"
            )
            own.__cause__ = error
            return own
        if isinstance(error, SystemExit):
            exited = StepExited(error.code)
            exited.__cause__ = error
            return exited
        return StepInterrupted() if isinstance(error, KeyboardInterrupt) else error


def held(frame: AnyFrame, error: FlujoError) -> Aborted:
    """The end of ``frame`` when its run must not go on, because of what is recorded or cannot be.

    No row of the table: in a step's own code the same error is that step's failure.
    """
    return Aborted(
        reason=AbortReason.HELD,
        message=message_of(error),
        error=error,
        step=frame.step,
        segments=frame.segments,
        index=frame.index,
    )


def not_noted(
    failures: FailureBuilder, frame: AnyFrame, error: BaseException
) -> Failure | Paused | Aborted:
    """The end of ``frame`` when ``error`` kept something of it from becoming durable."""
    return held(frame, error) if isinstance(error, StoreError) else failures.build(frame, error)


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may follow ``error``; after a group, if it may after each of it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_retryable, error.exceptions))
    row = _row_of(error)
    return isinstance(row, _Failed) and row.retryable


def is_failure(error: BaseException) -> bool:
    """Whether ``error`` means that the step failed, and was not stopped or paused."""
    return isinstance(_row_of(error), _Failed)


def feedback_of(error: BaseException) -> str:
    """The error in one line, as a retry and a reader get it: ``KeyError: 'rows'``."""
    text = " ".join(message_of(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _row_of(error: BaseException) -> _Row:
    return next(_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE)
