"""Steps that an agent works on."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.agent_orchestrator import AgentOrchestrator
from flujo_nb.engine.errors import StepSignatureError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Failure, Success
from flujo_nb.engine.policies.agent import AgentStepExecutor
from flujo_nb.engine.steps import AgentStep, Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.fakes import Counts, Wait, outcome_of, runner_of


class Counting:
    """An agent with everything that an agent may ask for."""

    async def run(self, data: str, context: Counts, resources: str, frame: Any) -> object:
        context.total += 1
        return Metered(f"{data} by {resources} at {frame.path}", Usage(tokens=3, requests=1))


def test_an_agent_gets_what_it_asks_for(wait: Wait) -> None:
    runner = runner_of(Step(name="agent", agent=Counting()), resources="gpt")
    result = wait(runner.run_async("a poem").result())
    assert result.output == "a poem by gpt at agent"
    assert result.total_tokens == 3
    assert result.final_pipeline_context == Counts(total=1)


def test_an_agent_may_be_synchronous(wait: Wait) -> None:
    class Sync:
        def run(self, data: str) -> str:
            return data.upper()

    assert wait(outcome_of(Step(name="agent", agent=Sync()), "a")).output == "A"


def test_a_plain_string_costs_nothing(wait: Wait) -> None:
    class Plain:
        async def run(self, data: str) -> str:
            return data

    outcome = wait(outcome_of(Step(name="agent", agent=Plain()), "a"))
    assert isinstance(outcome, Success)
    assert outcome.usage is None


def test_an_agent_that_fails_twice_has_failed(wait: Wait) -> None:
    class Broken:
        async def run(self, data: str) -> str:
            raise ConnectionError("no route")

    outcome = wait(outcome_of(Step(name="agent", agent=Broken()), "a"))
    assert isinstance(outcome, Failure)
    assert (outcome.attempts, outcome.feedback) == (2, "ConnectionError: no route")


def test_an_agent_that_asks_for_more_is_refused() -> None:
    class Asking:
        async def run(self, prompt: str, deps: object) -> None: ...

    with pytest.raises(StepSignatureError, match="asks for 'deps'"):
        Step(name="agent", agent=Asking())


def test_a_frame_can_be_run_by_the_policy_itself(wait: Wait) -> None:
    policy = AgentStepExecutor(AgentOrchestrator())
    assert policy.handles is AgentStep
    frame = make_execution_frame(
        Step(name="agent", agent=Counting()), "x", context=Counts(), resources="gpt"
    )
    assert wait(policy.execute(ExecutorCore(), frame)).output == "x by gpt at agent"
