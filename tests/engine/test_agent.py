"""Steps that an agent works on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from flujo_nb.engine import agents
from flujo_nb.engine.agent_orchestrator import AgentOrchestrator
from flujo_nb.engine.errors import StepSignatureError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Failure, Success
from flujo_nb.engine.policies.agent import AgentStepExecutor
from flujo_nb.engine.policies.simple import SimpleStepExecutor
from flujo_nb.engine.run import Facility
from flujo_nb.engine.step_config import AgentProcessors, ValidationResult
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


class Named:
    async def run(self, data: object, context: Counts) -> int:
        return context.total


class Streamed:
    async def run(self, data: object) -> int:
        return 1

    async def stream(self, data: object, context: Counts) -> AsyncIterator[str]:
        yield "a"


class Checking:
    def validate(self, output: object, context: object) -> ValidationResult:
        return ValidationResult(is_valid=True)


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ({}, Facility.NONE),
        ({"agent": Named()}, Facility.CONTEXT),
        ({"agent": Streamed()}, Facility.CONTEXT),
        ({"input": "{{ data }}"}, Facility.NONE),
        ({"input": "{{ steps.first }}"}, Facility.OUTPUTS),
        ({"processors": AgentProcessors([str])}, Facility.NONE),
        ({"processors": AgentProcessors([lambda data, context: data])}, Facility.CONTEXT),
        ({"processors": AgentProcessors((), [lambda data, context: data])}, Facility.CONTEXT),
        ({"validators": [Checking()]}, Facility.CONTEXT),
        ({"plugins": [(Checking(), 0)]}, Facility.CONTEXT),
    ],
)
def test_what_a_run_of_an_agent_needs(asked: dict[str, Any], needs: Facility) -> None:
    class Plain:
        async def run(self, data: object) -> object:
            return data

    agent = Step(**{"name": "agent", "agent": Plain(), **asked})
    attempts = AgentOrchestrator()
    assert AgentStepExecutor(attempts).needs(agent) == needs | Facility.JOURNAL
    function = Step(**{**asked, "name": "function", "agent": agent.runner.run})
    if not isinstance(asked.get("agent"), Streamed):  # whose function does not stream
        assert SimpleStepExecutor(attempts).needs(function) == needs


def adapted(agent: object) -> Streamed:
    """Makes this module an adapter for another library."""
    return Streamed()


def test_an_agent_of_another_library_streams_through_its_adapter(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is the adapted agent, its stream included."""

    class Foreign:
        async def run(self, prompt: str, deps: object) -> None: ...

    monkeypatch.setattr(Foreign, "__module__", "foreign.agents")
    monkeypatch.setitem(agents.ADAPTERS, "foreign", __name__)
    agent = Step(name="agent", agent=Foreign())
    assert wait(outcome_of(agent, "x", context=Counts())).output == 1
    assert wait(outcome_of(agent, "x", context=Counts(), stream=True)).output == "a"
