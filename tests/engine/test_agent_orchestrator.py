"""Attempts: retries, time limits, budgets, and the context that each starts from."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from flujo_nb.engine.agent_orchestrator import Again, GiveUp, decide_retry
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ContextMissing,
    NonRetryableError,
    StepInterrupted,
    StepStillRunning,
    StepTimeout,
)
from flujo_nb.engine.hooks import AttemptFailed, Hook
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, FailureKind, Success
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts, Wait, echo, outcome_of


@pytest.mark.parametrize(
    ("error", "attempt", "max_retries", "decision"),
    [
        (ValueError(), 1, 0, GiveUp()),
        (ValueError(), 1, 1, Again()),
        (ValueError(), 2, 1, GiveUp()),
        (NonRetryableError(), 1, 5, GiveUp()),
        (StepInterrupted(), 1, 5, GiveUp()),
    ],
)
def test_whether_another_attempt_follows(
    error: BaseException, attempt: int, max_retries: int, decision: Again | GiveUp
) -> None:
    assert decide_retry(error, attempt, max_retries) == decision


class Agent:
    """Fails a number of times, then answers; keeps what it was called with."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[tuple[object, str | None]] = []

    async def run(self, data: object, feedback: str | None = None) -> object:
        self.calls.append((data, feedback))
        if len(self.calls) <= self.failures:
            raise ValueError(f"no. {len(self.calls)}")
        return data


def test_an_agent_is_tried_again_with_the_feedback_of_the_attempt_before(wait: Wait) -> None:
    agent = Agent(failures=1)
    outcome = wait(outcome_of(Step(name="agent", agent=agent), "x"))
    assert isinstance(outcome, Success)
    assert outcome.attempts == 2
    assert agent.calls == [("x", None), ("x", "ValueError: no. 1")]


def test_the_last_failure_is_the_steps(wait: Wait) -> None:
    outcome = wait(outcome_of(Step(name="agent", agent=Agent(failures=9)), "x"))
    assert isinstance(outcome, Failure)
    assert (outcome.attempts, outcome.feedback) == (2, "ValueError: no. 2")


def test_each_attempt_starts_from_the_context_before_the_step(wait: Wait) -> None:
    seen = []

    @step(max_retries=2)
    def work(data: object, context: Counts, frame: Any) -> None:
        seen.append((frame.attempt, context.total, list(context.names)))
        context.total += 1
        context.names.append("x")
        if frame.attempt < 3:
            raise ValueError

    context = Counts()
    outcome = wait(outcome_of(work, context=context))
    assert seen == [(1, 0, []), (2, 0, []), (3, 0, [])]
    assert context == Counts()
    assert len(outcome.update.changes) == 2


def test_a_failed_attempt_at_the_end_leaves_no_update(wait: Wait) -> None:
    @step(updates_context=True)
    def work(data: object, context: Counts) -> dict[str, object]:
        context.total = 5
        return {"no_such_field": 1}

    outcome = wait(outcome_of(work, context=Counts()))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.CONTEXT
    assert "Counts has no field 'no_such_field'" in outcome.feedback
    assert not hasattr(outcome, "update")


def test_a_step_that_needs_a_context_says_so_where_there_is_none(wait: Wait) -> None:
    @step
    def work(data: object, context: Counts) -> None: ...

    outcome = wait(outcome_of(work))
    assert isinstance(outcome.error, ContextMissing)
    assert "'work' needs a context" in outcome.feedback


@pytest.mark.parametrize(
    ("options", "output", "after"),
    [
        ({"updates_context": True}, {"total": 3}, Counts(total=3)),
        ({"updates_context": True}, Counts(names=["a"]), Counts(names=["a"])),
        ({"sink_to": "total"}, 4, Counts(total=4)),
        ({"sink_to": "by_kind.mit"}, 4, Counts(by_kind={"mit": 4})),
    ],
)
def test_an_output_can_go_into_the_context(
    wait: Wait, options: dict[str, Any], output: object, after: Counts
) -> None:
    outcome = wait(outcome_of(step(**options)(lambda data: output), context=Counts()))
    assert ContextUpdateManager().merge(Counts(), outcome.update) == after


def test_an_attempt_ends_when_its_time_is_over(wait: Wait) -> None:
    calls = []

    @step(timeout_s=0.01, max_retries=1)
    async def slow(data: object, frame: Any) -> str:
        calls.append(frame.attempt)
        await asyncio.sleep(5 if frame.attempt == 1 else 0)
        return "done"

    outcome = wait(outcome_of(slow))
    assert (outcome.output, outcome.attempts, calls) == ("done", 2, [1, 2])


def test_a_step_that_is_too_slow_fails_as_timed_out(wait: Wait) -> None:
    @step(timeout_s=0.01)
    async def slow(data: object) -> None:
        await asyncio.sleep(5)

    outcome = wait(outcome_of(slow))
    assert type(outcome.error) is StepTimeout
    assert outcome.kind is FailureKind.TIMEOUT


def test_a_timeout_of_the_steps_own_is_an_ordinary_error(wait: Wait) -> None:
    @step(timeout_s=5)
    async def impatient(data: object) -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)

    outcome = wait(outcome_of(impatient))
    assert type(outcome.error) is TimeoutError
    assert outcome.kind is FailureKind.ERROR


def test_a_thread_that_still_runs_is_not_tried_again_and_its_result_is_dropped(
    wait: Wait,
) -> None:
    go_on, ended = threading.Event(), threading.Event()
    calls = []

    @step(timeout_s=0.02, max_retries=3)
    def stuck(data: object, context: Counts) -> str:
        calls.append(1)
        go_on.wait(5)
        context.total = 99
        ended.set()
        return "late"

    async def main() -> tuple[Any, Counts]:
        context = Counts()
        started = time.monotonic()
        outcome = await outcome_of(stuck >> echo, context=context)
        assert time.monotonic() - started < 2
        go_on.set()
        await asyncio.to_thread(ended.wait, 5)
        await asyncio.sleep(0)
        return outcome, context

    outcome, context = wait(main())
    assert type(outcome.error) is StepStillRunning
    assert "still running" in outcome.feedback
    assert len(outcome.children) == 1
    assert calls == [1]
    assert context == Counts()


def test_what_a_failed_attempt_used_is_counted(wait: Wait) -> None:
    quota = Quota()
    config = StepConfig(max_retries=1)
    failing = Step.from_callable(
        lambda data: Metered("no update", Usage(tokens=3)),
        name="failing",
        config=config,
        updates_context=True,
    )
    outcome = wait(outcome_of(failing, quota=quota, context=Counts()))
    assert isinstance(outcome, Failure)
    assert outcome.usage == quota.spent == Usage(tokens=3 * outcome.attempts)


def estimated(tokens: int, used: int = 0, **options: Any) -> Step[Any, Any]:
    config = StepConfig(estimate=UsageEstimate(tokens=tokens), **options)
    return Step.from_callable(
        lambda data: Metered(data, Usage(tokens=used)), name="estimated", config=config
    )


def test_an_estimate_that_does_not_fit_ends_the_run_before_the_call(wait: Wait) -> None:
    quota = Quota(UsageLimits(total_tokens_limit=5))
    outcome = wait(outcome_of(echo >> estimated(6, max_retries=3) >> echo, 1, quota=quota))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.QUOTA
    assert "at estimated" in outcome.message
    assert [type(child) for child in outcome.children] == [Success, Aborted]
    assert (quota.reserved, quota.spent) == (FREE, FREE)


def test_after_an_overage_no_further_step_runs_not_even_a_free_one(wait: Wait) -> None:
    quota = Quota(UsageLimits(total_tokens_limit=5))
    outcome = wait(outcome_of(estimated(5, used=8) >> echo, 1, quota=quota))
    assert isinstance(outcome, Aborted)
    assert quota.spent == Usage(tokens=8)
    assert [type(child) for child in outcome.children] == [Success, Aborted]


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is too slow"])
def test_what_was_reserved_comes_back_however_the_attempt_ends(wait: Wait, end: str) -> None:
    quota = Quota(UsageLimits(total_tokens_limit=5))
    reserved = []

    async def work(data: object) -> None:
        reserved.append(quota.reserved.tokens)
        if end == "fails":
            raise ValueError
        await asyncio.sleep(5)

    limit = 0.01 if end == "is too slow" else None
    config = StepConfig(estimate=UsageEstimate(tokens=5), timeout_s=limit)

    async def main() -> None:
        task = asyncio.create_task(outcome_of(Step.from_callable(work, config=config), quota=quota))
        await asyncio.sleep(0.001)
        if end == "is cancelled":
            task.cancel()
        await asyncio.wait([task])

    wait(main())
    assert reserved == [5]
    assert (quota.reserved, quota.spent) == (FREE, FREE)


def test_a_cancellation_while_a_hook_hears_of_a_failure_keeps_the_history(wait: Wait) -> None:
    @step
    def failing(data: object) -> None:
        raise ValueError

    async def slow(event: AttemptFailed) -> None:
        await asyncio.sleep(5)

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(echo >> failing, 1, hooks=(Hook.of(slow),)))
        await asyncio.sleep(0.001)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert [type(child) for child in outcome.children] == [Success, Aborted]
