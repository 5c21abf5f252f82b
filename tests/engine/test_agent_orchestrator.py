"""Attempts: retries, time limits, budgets, and the context that each starts from."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from flujo_nb.engine.agent_orchestrator import Again, GiveUp, decide_retry
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ConfigurationError,
    InfiniteRedirectError,
    NonRetryableError,
    PausedException,
    PipelineAbortSignal,
    PluginFailed,
    ProcessorFailed,
    RateLimited,
    StepInterrupted,
    TemplateResolutionError,
    UsageLimitExceededError,
    ValidationFailed,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import AttemptFailed, Hook
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, Paused, Success
from flujo_nb.engine.step_config import PluginOutcome, StepConfig
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Wait, echo, outcome_of


@pytest.mark.parametrize(
    ("error", "attempt", "max_retries", "decision"),
    [
        (ValueError(), 1, 0, GiveUp()),
        (ValueError(), 1, 1, Again()),
        (ValueError(), 2, 1, GiveUp()),
        (ProcessorFailed(), 1, 1, Again()),
        (PluginFailed(), 1, 1, Again()),
        (ValidationFailed(), 1, 1, Again()),
        (NonRetryableError(), 1, 5, GiveUp()),
        (ConfigurationError(), 1, 5, GiveUp()),
        (TemplateResolutionError(), 1, 5, GiveUp()),
        (InfiniteRedirectError(), 1, 5, GiveUp()),
        (StepInterrupted(), 1, 5, GiveUp()),
        (PausedException(), 1, 5, GiveUp()),
        (PipelineAbortSignal(), 1, 5, GiveUp()),
        (UsageLimitExceededError("full"), 1, 5, GiveUp()),
    ],
)
def test_whether_another_attempt_follows(
    error: BaseException, attempt: int, max_retries: int, decision: Again | GiveUp
) -> None:
    assert decide_retry(error, attempt, max_retries, StepConfig()) == decision


def delays(count: int, seed: str = "", **config: Any) -> list[float]:
    """The seconds before each of the first ``count`` retries."""
    decisions = (
        decide_retry(ValueError(), attempt, count, StepConfig(**config), seed)
        for attempt in range(1, count + 1)
    )
    return [decision.after_s for decision in decisions if isinstance(decision, Again)]


def test_attempts_follow_at_once_or_after_the_delay_of_the_step() -> None:
    assert delays(3) == [0, 0, 0]
    assert delays(3, retry_delay_s=2) == [2, 2, 2]


def test_a_delay_that_backs_off_doubles_and_is_spread_by_up_to_a_half() -> None:
    found = delays(6, "run_1 draft", retry_delay_s=2, backoff=True)
    for number, delay in enumerate(found):
        assert 2 * 2**number <= delay <= 1.5 * 2 * 2**number
    assert len({delay / 2**number for number, delay in enumerate(found)}) == 6


def test_the_spread_follows_from_the_seed_alone() -> None:
    def spread(seed: str) -> list[float]:
        return delays(4, seed, retry_delay_s=1, backoff=True)

    assert spread("run_1 draft") == spread("run_1 draft")
    assert spread("run_1 draft") != spread("run_2 draft")


def test_no_number_of_retries_is_too_many_to_back_off() -> None:
    config = StepConfig(retry_delay_s=1, backoff=True)
    assert isinstance(decide_retry(ValueError(), 10**6, 10**6, config), Again)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("asked", "after"), [(7, 7), (1, 3), (-1, 3), (float("nan"), 3)])
def test_a_provider_is_not_asked_sooner_than_it_says(
    asked: float, after: float, wrapped: bool
) -> None:
    error: BaseException = RateLimited("slow down", asked)
    if wrapped:
        error, cause = ValidationFailed("the judge could not say"), error
        error.__cause__ = cause
    assert decide_retry(error, 1, 1, StepConfig(retry_delay_s=3)) == Again(after)


class Accepting:
    """A plugin that finds nothing wrong."""

    def validate(self, data: dict[str, object]) -> PluginOutcome:
        return PluginOutcome(success=True)


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


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"plugins": [(Accepting(), 0)]},
        {"fallback_step": echo},
        {"plugins": [(Accepting(), 0)], "fallback_step": echo},
    ],
    ids=["alone", "with a plugin", "with a fallback", "with both"],
)
def test_the_number_of_attempts_is_one_more_than_that_of_retries(
    wait: Wait, retries: int, more: dict[str, Any]
) -> None:
    agent = Agent(failures=9)
    config = StepConfig(max_retries=retries)
    outcome = wait(outcome_of(Step(name="agent", agent=agent, config=config, **more), "x"))
    assert (outcome.attempts, len(agent.calls)) == (retries + 1, retries + 1)


def test_a_retry_waits_as_long_as_the_step_says(wait: Wait) -> None:
    starts: list[float] = []

    @step(max_retries=2, retry_delay_s=0.02)
    async def failing(data: object) -> None:
        starts.append(time.monotonic())
        raise ValueError

    wait(outcome_of(failing))
    assert all(later - sooner >= 0.019 for sooner, later in pairwise(starts))


def test_a_cancellation_between_two_attempts_ends_the_step(wait: Wait) -> None:
    @step(max_retries=5, retry_delay_s=60, fallback_step=echo)
    async def failing(data: object) -> None:
        raise ValueError

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(failing))
        await asyncio.sleep(0.005)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert (outcome.reason, outcome.attempts) == (AbortReason.INTERRUPTED, 1)


def test_attempts_start_no_faster_than_the_rate_of_the_step(wait: Wait) -> None:
    """Wherever they start: all frames of a core share the pace of a step."""
    starts: list[float] = []

    @step(rate="2/s")
    async def limited(data: object) -> None:
        starts.append(time.monotonic())

    async def main() -> None:
        core = ExecutorCore()
        plain = make_execution_frame(limited)
        heard = make_execution_frame(limited, hooks=(Hook.of(lambda event: None),))
        other = make_execution_frame(limited)
        await asyncio.gather(*(core.run_root(frame) for frame in (plain, heard, other)))

    wait(main())
    assert starts[1] - starts[0] < 0.5
    assert starts[2] - starts[0] >= 0.99


def test_a_step_that_waits_for_its_turn_can_be_cancelled(wait: Wait) -> None:
    @step(rate="1/h")
    async def limited(data: object) -> None: ...

    async def main() -> Any:
        core = ExecutorCore()
        await core.run_root(make_execution_frame(limited))
        task = asyncio.create_task(core.run_root(make_execution_frame(limited)))
        await asyncio.sleep(0.005)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert (outcome.reason, outcome.attempts) == (AbortReason.INTERRUPTED, 0)


def test_a_pause_is_no_failure(wait: Wait) -> None:
    calls = []

    @step(max_retries=3, fallback_step=echo)
    def asking(data: object) -> None:
        calls.append(data)
        raise PausedException("which one?")

    outcome = wait(outcome_of(asking, 1))
    assert isinstance(outcome, Paused)
    assert (outcome.message, calls) == ("which one?", [1])
