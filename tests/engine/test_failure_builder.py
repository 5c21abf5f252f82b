"""Exceptions to outcomes: one row for each kind of cause."""

from __future__ import annotations

import asyncio

import pytest

from flujo_nb.engine.errors import (
    ContextMissing,
    MissingAgentError,
    NonRetryableError,
    PausedException,
    PipelineAbortSignal,
    StepCancelledItself,
    StepExited,
    StepInterrupted,
    StepStillRunning,
    StepTimeout,
    TypeMismatchError,
    UnusableOutput,
    UsageLimitExceededError,
)
from flujo_nb.engine.failure_builder import FailureBuilder, feedback_of, is_retryable
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, FailureKind, Paused
from flujo_nb.engine.usage import Usage
from tests.engine.fakes import Wait, echo

FAILURES = [
    (ValueError("x"), FailureKind.ERROR, True),
    (TimeoutError(), FailureKind.ERROR, True),
    (MemoryError(), FailureKind.ERROR, True),
    (ExceptionGroup("several", [ValueError()]), FailureKind.ERROR, True),
    (NonRetryableError("x"), FailureKind.ERROR, False),
    (StepCancelledItself("x"), FailureKind.ERROR, True),
    (StepTimeout("x"), FailureKind.TIMEOUT, True),
    (StepStillRunning("x"), FailureKind.TIMEOUT, False),
    (StepExited(3), FailureKind.EXIT, False),
    (UnusableOutput("x"), FailureKind.TYPE, False),
    (TypeMismatchError("x"), FailureKind.TYPE, False),
    (ContextMissing("x"), FailureKind.CONTEXT, False),
    (MissingAgentError("x"), FailureKind.CONFIGURATION, False),
]
STOPS = [
    (StepInterrupted(), AbortReason.INTERRUPTED),
    (UsageLimitExceededError("over"), AbortReason.QUOTA),
    (PipelineAbortSignal("enough"), AbortReason.SIGNAL),
]


@pytest.mark.parametrize(("error", "kind", "retryable"), FAILURES)
def test_an_error_is_a_failure_of_its_kind(
    error: Exception, kind: FailureKind, retryable: bool
) -> None:
    frame = make_execution_frame(echo)
    children = [Paused(message="a")]
    failure = FailureBuilder().build(
        frame, error, attempts=3, latency_s=0.5, usage=Usage(tokens=1), children=children
    )
    assert isinstance(failure, Failure)
    assert (failure.error, failure.kind) == (error, kind)
    assert (failure.step, failure.segments) == (echo, frame.segments)
    assert (failure.attempts, failure.latency_s, failure.usage) == (3, 0.5, Usage(tokens=1))
    assert failure.children == children
    assert is_retryable(error) is retryable


@pytest.mark.parametrize(("error", "reason"), STOPS)
def test_what_ends_a_run_is_no_failure(error: BaseException, reason: AbortReason) -> None:
    aborted = FailureBuilder().build(make_execution_frame(echo), error)
    assert isinstance(aborted, Aborted)
    assert aborted.reason is reason
    assert aborted.message == (str(error) or reason.value)
    assert not is_retryable(error)


def test_a_pause_is_no_failure() -> None:
    error = PausedException("may I?")
    paused = FailureBuilder().build(make_execution_frame(echo), error)
    assert isinstance(paused, Paused)
    assert paused.message == "may I?"
    assert not is_retryable(error)


def test_a_subclass_follows_its_nearest_row() -> None:
    class OutOfMoney(UsageLimitExceededError):
        pass

    assert isinstance(FailureBuilder().build(make_execution_frame(echo), OutOfMoney("x")), Aborted)


@pytest.mark.parametrize(
    ("error", "feedback"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError("rows"), "KeyError: 'rows'"),
        (ValueError(), "ValueError"),
    ],
)
def test_feedback_is_one_line(error: Exception, feedback: str) -> None:
    assert feedback_of(error) == feedback


def test_an_error_that_cannot_say_what_it_is_still_has_feedback() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise AttributeError("response")

    assert feedback_of(Mute()).startswith("Mute")


def test_the_cause_of_what_user_code_raised(wait: Wait) -> None:
    async def causes() -> list[BaseException]:
        errors = (ValueError("x"), KeyboardInterrupt(), SystemExit(2), asyncio.CancelledError())
        return [FailureBuilder().cause_of(error) for error in errors]

    plain, interrupt, exited, cancelled = wait(causes())
    assert str(plain) == "x"
    assert isinstance(interrupt, StepInterrupted)
    assert isinstance(exited, StepExited)
    assert exited.code == 2
    assert isinstance(cancelled, StepCancelledItself)


def test_a_cancellation_that_somebody_asked_for_stays_one(wait: Wait) -> None:
    async def cause() -> BaseException:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            found = FailureBuilder().cause_of(error)
            task.uncancel()
            return found
        raise AssertionError("not cancelled")

    assert isinstance(wait(cause()), asyncio.CancelledError)
