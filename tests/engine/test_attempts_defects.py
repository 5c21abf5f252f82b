"""Defects of flujo 0.6.11 in the attempts of a step, by their number in the facts about it.

The comment in each test is the assertion that flujo breaks.
"""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import NonRetryableError, PipelineAbortSignal, ProcessorFailed
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import AgentProcessors, StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Meter, Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Wait, outcome_of


def test_defect_9_a_failed_attempt_gives_back_what_it_reserved(wait: Wait) -> None:
    class Failing:
        async def run(self, data: object) -> None:
            raise ConnectionError

    quota = Quota(UsageLimits(total_tokens_limit=100))
    config = StepConfig(max_retries=1, estimate=UsageEstimate(tokens=10))
    outcome = wait(outcome_of(Step(name="it", agent=Failing(), config=config), quota=quota))
    assert isinstance(outcome, Failure)
    assert outcome.attempts == 2
    # After two failed attempts of 10 tokens, 100 of 100 are left.
    assert (quota.reserved, quota.spent) == (FREE, FREE)


def test_defect_15_an_abort_ends_the_run_at_once(wait: Wait) -> None:
    calls = []

    @step(max_retries=3)
    async def aborting(data: object) -> None:
        calls.append(data)
        raise PipelineAbortSignal("enough")

    outcome = wait(outcome_of(aborting, "x"))
    # One call, and the run is aborted: no retry, no failure.
    assert isinstance(outcome, Aborted)
    assert (outcome.reason, calls) == (AbortReason.SIGNAL, ["x"])
    assert wait(Flujo(aborting).run_async("x").result()).status is RunStatus.ABORTED


def test_defect_15_an_error_that_says_so_is_not_retried(wait: Wait) -> None:
    calls = []

    class Failing:
        async def run(self, data: object) -> None:
            calls.append(data)
            raise NonRetryableError("wrong key")

    outcome = wait(outcome_of(Step(name="it", agent=Failing()), "x"))
    # One call, one attempt.
    assert isinstance(outcome, Failure)
    assert (outcome.attempts, calls) == (1, ["x"])


def test_defect_17_every_attempt_leaves_the_resources_it_entered(wait: Wait) -> None:
    entered, left = [], []

    class Resources:
        def __enter__(self) -> None:
            entered.append(1)

        def __exit__(self, *_: object) -> None:
            left.append(1)

    @step(max_retries=1)
    async def work(data: object, resources: object, frame: Any) -> str:
        if frame.attempt == 1:
            raise ValueError
        return "done"

    assert wait(outcome_of(work, resources=Resources())).output == "done"
    # Entered twice, left twice.
    assert (len(entered), len(left)) == (2, 2)


@pytest.mark.parametrize("how", ["with the output", "by the meter"])
def test_defect_24_what_failed_attempts_used_is_in_the_result(wait: Wait, how: str) -> None:
    class Wordy:
        async def run(self, data: object, meter: Meter) -> object:
            if how == "with the output":
                return Metered("no number", Usage(tokens=10))
            meter.used = Usage(tokens=10)
            return "no number"

    wordy = Step(name="it", agent=Wordy(), processors=AgentProcessors(output_processors=[int]))
    quota = Quota()
    outcome = wait(outcome_of(wordy, "x", quota=quota))
    assert isinstance(outcome.error, ProcessorFailed)
    # Both attempts count in the result, as they do in the budget.
    assert outcome.usage == quota.spent == Usage(tokens=20)


def test_defect_24_a_failed_primary_counts_beside_its_fallback(wait: Wait) -> None:
    class Costly:
        async def run(self, data: object) -> Metered:
            return Metered("5" if data == "x" else "?", Usage.of(cost_usd=1, tokens=10))

    primary = Step(
        name="primary",
        agent=Costly(),
        input="not {{ data }}",
        processors=AgentProcessors(output_processors=[int]),
        fallback_step=Step(name="second", agent=Costly()),
    )
    result = wait(Flujo(primary).run_async("x").result())
    # Two attempts of the primary and one of the fallback: 30 tokens, and 3 dollars too.
    assert (result.total_tokens, result.total_cost_usd) == (30, 3.0)
    (own,) = result.step_history
    assert (own.name, own.token_counts, own.cost_usd) == ("primary", 30, 3.0)


def test_defect_26_a_text_of_digits_stays_a_text(wait: Wait) -> None:
    seen = []

    @step(processors=AgentProcessors(prompt_processors=[lambda data: data]))
    async def work(data: object) -> None:
        seen.append(data)

    wait(outcome_of(work, "42"))
    # The text, not the number 42.
    assert seen == ["42"]
