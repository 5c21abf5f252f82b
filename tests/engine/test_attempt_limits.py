"""What an attempt may spend, and how long it may take."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PausedException,
    StepStillRunning,
    StepTimeout,
    UnusableOutput,
)
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, FailureKind, Success
from flujo_nb.engine.step_config import (
    StepConfig,
)
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Meter, Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts, Wait, echo, outcome_of


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


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is too slow", "pauses", "succeeds"])
def test_what_an_agent_metered_is_booked_however_the_attempt_ends(wait: Wait, end: str) -> None:
    class Metering:
        async def run(self, data: object, meter: Meter) -> str:
            meter.used = Usage(tokens=3, requests=1)
            match end:
                case "fails":
                    raise ValueError
                case "pauses":
                    raise PausedException("which one?")
                case "is cancelled" | "is too slow":
                    await asyncio.sleep(5)
            return "done"

    quota = Quota(UsageLimits(total_tokens_limit=10))
    limit = 0.01 if end == "is too slow" else None
    config = StepConfig(estimate=UsageEstimate(tokens=5), timeout_s=limit, max_retries=0)
    metering = Step(name="metering", agent=Metering(), config=config)

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(metering, quota=quota))
        await asyncio.sleep(0.001)
        if end == "is cancelled":
            task.cancel()
        return await task

    outcome = wait(main())
    assert (quota.reserved, quota.spent) == (FREE, Usage(tokens=3, requests=1))
    assert outcome.usage == Usage(tokens=3, requests=1)


def test_what_an_output_says_of_its_usage_wins_over_the_meter(wait: Wait) -> None:
    class Metering:
        async def run(self, data: object, meter: Meter) -> Metered:
            meter.used = Usage(tokens=3)
            return Metered("done", Usage(tokens=4), {"model": "small"})

    quota = Quota()
    outcome = wait(outcome_of(Step(name="metering", agent=Metering()), quota=quota))
    assert (outcome.output, outcome.usage) == ("done", Usage(tokens=4))
    assert dict(outcome.metadata) == {"model": "small"}
    assert quota.spent == Usage(tokens=4)


@pytest.mark.parametrize("told", ["by the meter", "with the output"])
def test_usage_that_is_none_is_refused_and_the_reservation_comes_back(
    wait: Wait, told: str
) -> None:
    class Metering:
        async def run(self, data: object, meter: Any) -> object:
            if told == "with the output":
                return Metered("done", {"tokens": 3})  # type: ignore[arg-type]
            meter.used = 3
            return "done"

    quota = Quota(UsageLimits(total_tokens_limit=10))
    config = StepConfig(estimate=UsageEstimate(tokens=5))
    outcome = wait(outcome_of(Step(name="metering", agent=Metering(), config=config), quota=quota))
    assert isinstance(outcome.error, UnusableOutput)
    assert "is told as a Usage" in outcome.feedback
    assert (quota.reserved, quota.spent) == (FREE, FREE)


def test_a_cancellation_is_not_lost_behind_usage_that_is_none(wait: Wait) -> None:
    class Metering:
        async def run(self, data: object, meter: Any) -> None:
            meter.used = 3
            await asyncio.sleep(5)

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(Step(name="metering", agent=Metering())))
        await asyncio.sleep(0.001)
        task.cancel()
        return await task

    assert isinstance(wait(main()), Aborted)
