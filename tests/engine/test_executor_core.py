"""The composition root: from a root frame to an outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import MissingAgentError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import AnyFrame, make_execution_frame
from flujo_nb.engine.outcomes import Aborted, AbortReason, StepOutcome, Success
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Box, Wait, boxed, echo, echo_async, outcome_of


def test_a_step_that_nothing_can_run_is_an_error_of_the_caller_before_anything_ran(
    wait: Wait,
) -> None:
    calls = []

    @step
    def first(data: object) -> None:
        calls.append(data)

    with pytest.raises(MissingAgentError, match="'empty' has nothing to run"):
        wait(outcome_of(first >> Step(name="empty")))
    assert calls == []


def test_a_real_cancellation_comes_back_as_interrupted_with_its_history(wait: Wait) -> None:
    @step
    async def slow(data: object) -> None:
        await asyncio.sleep(5)

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(echo >> slow >> echo_async, 1))
        await asyncio.sleep(0.001)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert [type(child) for child in outcome.children] == [Success, Aborted]
    assert outcome.children[1].step is slow


def test_a_container_runs_children_through_the_core(wait: Wait) -> None:
    async def twice(core: Any, frame: AnyFrame) -> StepOutcome:
        one = await core.run(core.child_frame(frame, echo, frame.data))
        two = await core.run(core.child_frame(frame, echo_async, one.output))
        return Success(output=two.output, children=[one, two])

    outcome = wait(outcome_of(Box(name="box"), 5, registry=boxed(twice)))
    assert outcome.output == 5
    assert [child.step for child in outcome.children] == [echo, echo_async]


def test_a_child_that_nothing_can_run_is_a_failure_of_its_container(wait: Wait) -> None:
    async def one(core: Any, frame: AnyFrame) -> StepOutcome:
        return await core.run(core.child_frame(frame, Step(name="empty"), frame.data))

    outcome = wait(outcome_of(Box(name="box"), registry=boxed(one)))
    assert isinstance(outcome.error, MissingAgentError)


def test_a_lone_step_stands_under_its_name() -> None:
    frame = make_execution_frame(echo)
    assert str(frame.path) == "echo"
    assert asyncio.run(ExecutorCore().run_root(frame)).step is echo
