"""Defects of flujo 0.6.11 in background tasks that this engine does not have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import LoopStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.behind import behind, ended, run
from tests.engine.fakes import Wait, broken, echo

HUNDRED = UsageLimits(total_tokens_limit=100)


def using(tokens: int) -> Step[Any, Any]:
    """A step that is expected to use so many tokens, and does."""

    async def use(data: object) -> Metered:
        await asyncio.sleep(0)
        return Metered(data, Usage(tokens=tokens))

    config = StepConfig(estimate=UsageEstimate(tokens=tokens))
    return Step.from_callable(use, name=f"use {tokens}", config=config)


def working(body: Step[Any, Any], share: int | None, times: int = 1) -> Step[Any, Any]:
    """A step in the background that runs ``body`` so often, perhaps with a share of the budget."""
    return LoopStep(
        name="job",
        loop_body_pipeline=body >> Step.from_callable(lambda data: data + 1, name="more"),
        exit_condition_callable=lambda data, context: data == times,
        config=StepConfig(
            execution_mode="background",
            share=None if share is None else UsageEstimate(tokens=share),
        ),
    )


# flujo breaks the status: the task takes all that the run has left.
def test_defect_10_a_task_leaves_the_run_its_budget(wait: Wait) -> None:
    async def nothing(data: object) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        result = await Flujo(behind(nothing) >> using(10), usage_limits=HUNDRED).run_async(0)
        assert (result.status, result.total_tokens) == (RunStatus.COMPLETED, 10)

    wait(main())


# flujo breaks the last line: what the task did not use is never given back.
@pytest.mark.parametrize("body", [using(20), using(20) >> broken], ids=["done", "failed"])
def test_defect_10_a_task_has_the_share_that_it_declares_and_gives_the_rest_back(
    wait: Wait, body: Any
) -> None:
    async def main() -> None:
        core, quota = ExecutorCore(), Quota(HUNDRED)
        outcome = await run(core, working(body, share=60) >> using(40), 0, quota=quota)
        assert isinstance(outcome, Success)
        assert (await ended(core)).status in (RunStatus.COMPLETED, RunStatus.FAILED)
        assert (quota.reserved, quota.spent) == (FREE, Usage(tokens=60))

    wait(main())


def test_what_is_set_aside_for_a_task_is_not_the_runs(wait: Wait) -> None:
    async def main() -> None:
        core, quota = ExecutorCore(), Quota(HUNDRED)
        outcome = await run(core, working(using(20), share=60) >> using(41), 0, quota=quota)
        assert isinstance(outcome, Aborted)
        assert outcome.reason is AbortReason.QUOTA
        await core.tasks.drain()
        assert (quota.reserved, quota.spent) == (FREE, Usage(tokens=20))

    wait(main())


def test_a_task_is_limited_to_its_share_and_the_run_is_not(wait: Wait) -> None:
    async def main() -> None:
        core, quota = ExecutorCore(), Quota(HUNDRED)
        work = working(using(20), share=30, times=2)
        assert isinstance(await run(core, work >> echo, 0, quota=quota), Success)
        outcome = (await ended(core)).outcome
        assert isinstance(outcome, Aborted)
        assert "Token limit of 30" in outcome.message
        assert (quota.reserved, quota.spent, quota.overdrawn) == (FREE, Usage(tokens=20), False)

    wait(main())


def test_without_a_share_a_task_draws_on_the_runs_budget_as_it_goes(wait: Wait) -> None:
    async def main() -> None:
        core, quota = ExecutorCore(), Quota(HUNDRED)
        work = working(using(30), share=None, times=9)
        assert isinstance(await run(core, work >> using(40), 0, quota=quota), Success)
        outcome = (await ended(core)).outcome
        assert isinstance(outcome, Aborted)
        assert "Token limit of 100" in outcome.message
        assert quota.spent == Usage(tokens=100)

    wait(main())


def test_a_share_that_does_not_fit_ends_the_run_before_the_launch(wait: Wait) -> None:
    async def main() -> None:
        runner = Flujo(using(50) >> working(using(1), share=60), usage_limits=HUNDRED)
        with pytest.raises(UsageLimitExceededError, match=r"the share of job/background\)"):
            await runner.run_async(0)

    wait(main())


# flujo breaks the record: after a run without a store the failure is nowhere to be read.
def test_a_failure_is_in_the_record_without_any_store(wait: Wait) -> None:
    async def main() -> None:
        core = ExecutorCore()
        await run(core, working(broken, share=None) >> echo, 0)
        assert isinstance((await ended(core)).outcome, Failure)

    wait(main())
