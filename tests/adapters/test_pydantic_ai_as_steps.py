"""Agents of pydantic-ai as steps of runs."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessagesTypeAdapter, ToolCallPart

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import PricingNotConfiguredError, StepExited, UsageLimitExceededError
from flujo_nb.engine.outcomes import Failure, FailureKind
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig, ValidationResult
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import UsageLimits
from tests.adapters.fakes import Scripted, Verdict, prompts_of
from tests.adapters.openai_server import (
    ONE_ANSWER_USD,
    UNPRICED,
    USED,
    Calls,
    Hangs,
    OpenAIServer,
    Refuses,
    Says,
)
from tests.engine.fakes import Wait, outcome_of, settled
from tests.house.tree import ROOT


def agent_step(agent: Any, **declared: Any) -> Step[Any, Any]:
    return Step(name="agent", agent=agent, **declared)


async def result_of(node: Any, data: object = "hello", **options: Any) -> PipelineResult[Any]:
    return await Flujo(node, **options).run_async(data)


def test_the_result_has_the_output_the_usage_and_the_conversation(wait: Wait) -> None:
    result = wait(result_of(agent_step(Agent(Scripted("good morning").model))))
    only = result.step_history[0]
    assert (result.output, result.success) == ("good morning", True)
    assert result.total_tokens == only.token_counts > 0
    messages = ModelMessagesTypeAdapter.validate_python(only.metadata["messages"])
    assert [message.kind for message in messages] == ["request", "response"]


def test_the_step_shows_the_agent_that_it_was_given() -> None:
    agent = Agent(Scripted().model)
    assert agent_step(agent).agent is agent


def test_steps_with_types_stand_around_an_agent(wait: Wait) -> None:
    scripted = Scripted(ToolCallPart("final_result", {"good": True, "reason": "short"}))

    @step
    def question(data: str) -> str:
        return f"Is {data} good?"

    @step
    def reason(data: Verdict) -> str:
        return data.reason

    judge = agent_step(Agent(scripted.model, output_type=Verdict))
    result = wait(result_of(question >> judge >> reason, "it"))
    assert result.output == "short"
    assert prompts_of(scripted) == ["Is it good?"]


def test_resources_of_the_run_are_the_dependencies(wait: Wait) -> None:
    agent = Agent(Scripted(ToolCallPart("find", {}), "found").model, deps_type=dict)
    found = []

    @agent.tool
    def find(ctx: RunContext[dict[str, int]]) -> str:
        found.append(ctx.deps["x"])
        return "here"

    assert wait(result_of(agent_step(agent), resources={"x": 7})).output == "found"
    assert found == [7]


def test_options_of_the_step_reach_the_model(wait: Wait) -> None:
    scripted = Scripted("ok")
    wait(result_of(agent_step(Agent(scripted.model), config=StepConfig(temperature=0.25))))
    assert scripted.infos[0].model_settings == {"temperature": 0.25}


def test_text_streams_and_the_output_is_whole(wait: Wait) -> None:
    streaming = Flujo(agent_step(Agent(Scripted("one two three").model)))

    async def main() -> list[Any]:
        return [item async for item in streaming.stream_async("hello")]

    *chunks, result = wait(main())
    assert [chunk.data for chunk in chunks] == ["one", " two", " three"]
    assert (result.output, result.total_tokens > 0) == ("one two three", True)
    assert result.step_history[0].metadata["messages"]


def test_a_validators_words_reach_the_next_attempt(wait: Wait) -> None:
    scripted = Scripted("a long answer", "short")

    class Brief:
        def validate(self, output: str) -> ValidationResult:
            return ValidationResult(is_valid=len(output) < 6, feedback="too long")

    result = wait(result_of(agent_step(Agent(scripted.model), validators=[Brief()])))
    assert (result.output, result.step_history[0].attempts) == ("short", 2)
    (again,) = prompts_of(scripted, 1)
    assert again.startswith("hello\n\nThe previous attempt failed: ")
    assert "too long" in again


def test_what_failed_attempts_had_used_is_in_the_total(wait: Wait) -> None:
    def find() -> str:
        raise ValueError("nothing there")

    def failing(retries: int) -> Step[Any, Any]:
        calls = [ToolCallPart("find", {}) for _ in range(1 + retries)]
        agent = Agent(Scripted(*calls).model, tools=[find])
        return agent_step(agent, config=StepConfig(max_retries=retries))

    once, thrice = (wait(result_of(failing(retries))) for retries in (0, 2))
    assert (thrice.success, thrice.step_history[0].attempts) == (False, 3)
    assert "nothing there" in thrice.step_history[0].feedback
    assert thrice.total_tokens >= 3 * once.total_tokens > 0


def test_a_tool_that_exits_fails_the_step(wait: Wait) -> None:
    agent = Agent(Scripted(ToolCallPart("leave", {})).model)
    agent.tool_plain(lambda: sys.exit(3), name="leave")
    outcome = wait(outcome_of(agent_step(agent), "hello"))
    assert isinstance(outcome, Failure)
    assert (type(outcome.error), outcome.kind) == (StepExited, FailureKind.EXIT)


def test_a_cancelled_run_has_its_usage(wait: Wait) -> None:
    agent = Agent(Scripted(ToolCallPart("wait", {})).model)
    begun = asyncio.Event()

    @agent.tool_plain(name="wait")
    async def wait_long() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(agent_step(agent), "hello"))
        await begun.wait()
        task.cancel()
        return await task

    outcome = wait(main())
    assert outcome.usage.requests == 1


# Over HTTP.


def test_costs_add_up_and_a_limit_on_them_holds(wait: Wait, server: OpenAIServer) -> None:
    server.script.extend([Says(("one",)), Says(("two",)), Says(("three",))])
    agent = Agent(server.model())
    both = Step(name="first", agent=agent) >> Step(name="second", agent=agent)
    result = wait(result_of(both))
    assert result.total_cost_usd == pytest.approx(2 * ONE_ANSWER_USD)

    limits = UsageLimits(total_cost_usd_limit=ONE_ANSWER_USD / 2)
    with pytest.raises(UsageLimitExceededError) as exceeded:
        wait(result_of(both, usage_limits=limits))
    assert exceeded.value.result.total_cost_usd == pytest.approx(ONE_ANSWER_USD)
    assert len(server.requests) == 3


def test_an_unknown_price_is_refused_once(wait: Wait, server: OpenAIServer) -> None:
    limits = UsageLimits(total_cost_usd_limit=1.0)
    outcome = wait(outcome_of(agent_step(Agent(server.model(UNPRICED))), "x", limits=limits))
    assert isinstance(outcome, Failure)
    assert (type(outcome.error), outcome.attempts) == (PricingNotConfiguredError, 1)
    assert server.requests == []


def test_a_provider_that_asks_to_wait_is_asked_again(wait: Wait, server: OpenAIServer) -> None:
    server.script.extend([Refuses(429, {"retry-after-ms": "20"}), Says(("good morning",))])
    result = wait(result_of(agent_step(Agent(server.model()))))
    assert (result.output, result.step_history[0].attempts) == ("good morning", 2)


def test_an_answer_that_takes_too_long_is_given_up(wait: Wait, server: OpenAIServer) -> None:
    server.script.extend([Hangs(), Says(("good morning",))])
    slow = agent_step(Agent(server.model()), config=StepConfig(timeout_s=0.3))
    result = wait(result_of(slow))
    assert (result.output, result.step_history[0].attempts) == ("good morning", 2)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_time_limit_books_what_was_used_and_closes_the_connection(
    wait: Wait, server: OpenAIServer, streamed: bool
) -> None:
    server.script.extend([Calls("population", {}), Hangs("well")])
    agent = Agent(server.model(), tools=[population])
    slow = agent_step(agent, config=StepConfig(timeout_s=0.5, max_retries=0))
    runner = Flujo(slow)

    async def main() -> Any:
        if streamed:
            *_, result = [item async for item in runner.stream_async("hello")]
        else:
            result = await runner.run_async("hello")
        assert await asyncio.to_thread(server.left.wait, 30)
        assert await settled() == set()
        return result

    result = wait(main())
    gc.collect()
    (only,) = result.step_history
    assert (result.success, only.attempts) == (False, 1)
    assert "0.5" in only.feedback
    assert result.total_tokens == only.token_counts == USED["total_tokens"]
    assert result.total_cost_usd == pytest.approx(ONE_ANSWER_USD)
    assert server.hanging.is_set()


def population() -> int:
    return 134_000


# The library.


def test_the_library_is_imported_when_its_first_agent_comes() -> None:
    code = (
        "import sys, flujo_nb\n"
        "assert not {'pydantic_ai', 'openai'} & sys.modules.keys()\n"
        "from pydantic_ai import Agent\n"
        "assert 'flujo_nb.adapters.pydantic_ai' not in sys.modules\n"
        "flujo_nb.Step(name='a', agent=Agent('test'))\n"
        "assert 'flujo_nb.adapters.pydantic_ai' in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
