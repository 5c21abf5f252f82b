"""Agents of pydantic-ai inside each container, as a notebook's author would put them there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessagesTypeAdapter, ToolCallPart

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import RefinementCheck
from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.outcomes import Chunk
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import AgentProcessors, StepConfig, ValidationResult
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.usage import UsageEstimate, UsageLimits
from tests.adapters.fakes import Answering, Scripted, Verdict
from tests.adapters.openai_server import ONE_ANSWER_USD, USED, OpenAIServer, Says
from tests.engine.fakes import Wait
from tests.engine.pauses import answered

ONE = 10
"""The tokens of one answer of an `Answering` model."""


def upper() -> Answering:
    return Answering(str.upper)


def agent_step(name: str, model: Answering, **declared: Any) -> Step[Any, Any]:
    output = declared.pop("output_type", str)
    return Step(name=name, agent=model.agent(output_type=output), **declared)


async def result_of(node: Any, data: object, **options: Any) -> PipelineResult:
    return await Flujo(node, **options).run_async(data)


def named(results: Any, name: str) -> list[StepResult]:
    """The results of the steps of that name, at any depth, in order."""
    found = []
    for one in results:
        found += [one, *named(one.step_history, name)] if one.name == name else []
        found += [] if one.name == name else named(one.step_history, name)
    return found


def conversation_of(result: StepResult) -> list[str]:
    """The texts of the messages that a step's result keeps."""
    messages = ModelMessagesTypeAdapter.validate_python(result.metadata["messages"])
    parts = [part for message in messages for part in message.parts]
    return [str(part.content) for part in parts if not isinstance(part, ToolCallPart)]


# Loops.


def test_a_critic_has_an_agent_write_again(wait: Wait) -> None:
    writer = Answering(lambda prompt: "short" if "too long" in prompt else "a long answer")
    critic = Answering(
        lambda prompt: {"is_complete": prompt == "short", "feedback": f"{prompt}: too long"}
    )
    loop = Step.refine_until(
        "refine",
        agent_step("write", writer),
        agent_step("judge", critic, output_type=RefinementCheck),
        feedback_mapper=lambda original, check: check.feedback,
    )
    result = wait(result_of(loop, "Write."))
    assert (result.output, result.success) == ("short", True)
    assert writer.prompts[1:] == ["a long answer: too long"]
    assert critic.prompts == ["a long answer", "short"]
    assert result.total_tokens == 4 * ONE
    written = named(result.step_history, "write")
    assert [str(one.path) for one in written] == ["refine/[0]/write", "refine/[1]/write"]
    assert conversation_of(written[1]) == ["a long answer: too long", "short"]


def test_what_a_loop_without_end_had_used_is_counted(wait: Wait) -> None:
    model = Answering(lambda prompt: f"{prompt}!")
    loop = Step.loop_until("loop", agent_step("draft", model), lambda output, context: False, 3)
    result = wait(result_of(loop, "a"))
    assert (result.success, result.total_tokens) == (False, 3 * ONE)
    assert model.prompts == ["a", "a!", "a!!"]


# Branches.


def test_branches_draw_on_one_budget_and_the_one_that_breaks_it_ends_them(wait: Wait) -> None:
    models = {name: upper() for name in ("one", "two", "three")}
    steps = {name: agent_step(name, model) for name, model in models.items()}
    parallel = Step.parallel("all", steps, max_concurrency=1)
    with pytest.raises(UsageLimitExceededError) as exceeded:
        wait(result_of(parallel, "a", usage_limits=UsageLimits(total_tokens_limit=2 * ONE - 1)))
    result = exceeded.value.result
    assert result.total_tokens == 2 * ONE
    assert [len(model.prompts) for model in models.values()] == [1, 1, 0]
    assert named(result.step_history, "one")[0].output == "A"

    within = UsageLimits(total_tokens_limit=3 * ONE)
    result = wait(result_of(parallel, "a", usage_limits=within))
    assert (result.output, result.total_tokens) == (dict.fromkeys(models, "A"), 3 * ONE)


def test_a_request_that_does_not_fit_is_not_made_by_any_branch(wait: Wait) -> None:
    model = upper()
    config = StepConfig(estimate=UsageEstimate(requests=1))
    steps = {name: agent_step(name, model, config=config) for name in ("one", "two", "three")}
    limits = UsageLimits(total_requests_limit=2)
    with pytest.raises(UsageLimitExceededError) as exceeded:
        wait(result_of(Step.parallel("all", steps), "a", usage_limits=limits))
    assert len(model.prompts) <= 2
    assert exceeded.value.result.total_tokens == len(model.prompts) * ONE


def test_an_agent_that_a_breach_ended_has_its_usage(wait: Wait) -> None:
    begun, other = asyncio.Event(), upper()
    slow = Agent(Scripted(ToolCallPart("wait", {})).model)

    @slow.tool_plain(name="wait")
    async def wait_long() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    @step
    async def when_begun(data: str) -> str:
        await begun.wait()
        return data

    greedy = when_begun >> agent_step("once", other) >> agent_step("twice", other)
    branches = {"slow": Step(name="slow", agent=slow), "greedy": greedy}
    limits = UsageLimits(total_tokens_limit=ONE - 1)
    with pytest.raises(UsageLimitExceededError) as exceeded:
        wait(result_of(Step.parallel("all", branches), "a", usage_limits=limits))
    result = exceeded.value.result
    (ended,) = named(result.step_history, "slow")
    assert ended.token_counts > 0
    assert result.total_tokens == ended.token_counts + ONE
    assert other.prompts == ["a"]


def test_one_agent_works_on_many_items_at_once_and_keeps_them_apart(wait: Wait) -> None:
    model = upper()
    mapped = Step.map_over("each", agent_step("shout", model), max_concurrency=4)
    items = [f"item {number}" for number in range(12)]
    result = wait(result_of(mapped, items))
    assert result.output == [item.upper() for item in items]
    assert result.total_tokens == len(items) * ONE
    shouted = named(result.step_history, "shout")
    assert [conversation_of(one) for one in shouted] == [[item, item.upper()] for item in items]


# Choices.


class Route(BaseModel):
    branches: list[str]
    urgent: bool


def test_an_agent_with_a_structured_output_chooses_the_branches(wait: Wait) -> None:
    router = Answering(lambda prompt: {"branches": ["b", "c"], "urgent": True})
    names = Answering(lambda prompt: {"response": ["b", "c"]})
    of_a_model = agent_step(
        "choose",
        router,
        output_type=Route,
        processors=AgentProcessors(output_processors=[lambda route: route.branches]),
    )
    branches = {name: agent_step(name, upper()) for name in "abc"}
    for chooser in (names.agent(output_type=list[str]), of_a_model):
        routed = Step.dynamic_parallel_branch("route", chooser, branches)
        result = wait(result_of(routed, "x"))
        assert (result.output, result.total_tokens) == ({"b": "X", "c": "X"}, 3 * ONE)


def test_a_router_that_names_no_branch_fails_and_its_answer_is_counted(wait: Wait) -> None:
    router = Answering(lambda prompt: "z")
    routed = Step.dynamic_parallel_branch("route", router.agent(), {"a": agent_step("a", upper())})
    result = wait(result_of(routed, "x"))
    assert (result.success, result.total_tokens) == (False, ONE)
    assert "'z'" in result.step_history[0].feedback


def test_a_structured_output_decides_which_agent_goes_on(wait: Wait) -> None:
    judge = Answering(lambda prompt: {"good": "good" in prompt, "reason": prompt})
    praise, complain = Answering(lambda prompt: "well done"), Answering(lambda prompt: "again")
    pipeline = agent_step("judge", judge, output_type=Verdict) >> Step.branch_on(
        "answer",
        lambda verdict, context: verdict.good,
        {True: agent_step("praise", praise), False: agent_step("complain", complain)},
        branch_input_mapper=lambda verdict, context: verdict.reason,
    )
    for data, output in (("good work", "well done"), ("bad work", "again")):
        result = wait(result_of(pipeline, data))
        assert (result.output, result.total_tokens) == (output, 2 * ONE)
    assert (praise.prompts, complain.prompts) == (["good work"], ["bad work"])


# Cached, imported, replaced.


def test_a_cached_agent_is_asked_once(wait: Wait) -> None:
    model = upper()
    runner = Flujo(Step.cached(agent_step("shout", model)))

    async def main() -> list[PipelineResult]:
        return [await runner.run_async(data) for data in ("a", "a", "b")]

    first, hit, other = wait(main())
    assert (first.output, hit.output, other.output) == ("A", "A", "B")
    assert [one.total_tokens for one in (first, hit, other)] == [ONE, 0, ONE]
    assert model.prompts == ["a", "b"]
    assert conversation_of(hit.step_history[0]) == ["a", "A"]


def test_an_imported_agent_draws_on_the_importing_runs_budget(wait: Wait) -> None:
    model = upper()
    inner = Pipeline.from_step(agent_step("shout", model))
    outer = agent_step("first", upper()) >> ImportStep(name="import", pipeline=inner)
    assert wait(result_of(outer, "a")).total_tokens == 2 * ONE
    with pytest.raises(UsageLimitExceededError) as exceeded:
        wait(result_of(outer, "a", usage_limits=UsageLimits(total_tokens_limit=ONE - 1)))
    assert exceeded.value.result.total_tokens == ONE
    assert len(model.prompts) == 1


def test_another_agent_takes_over_with_the_original_input(wait: Wait) -> None:
    bad, good = Answering(lambda prompt: "bad"), upper()
    failing = agent_step("first", bad, validators=[MustBe("GOOD")])
    result = wait(result_of(failing.fallback(agent_step("second", good)), "good"))
    (only,) = result.step_history
    assert (only.name, only.output, only.metadata["fallback_triggered"]) == ("first", "GOOD", True)
    assert (len(bad.prompts), good.prompts) == (2, ["good"])
    assert result.total_tokens == 3 * ONE
    assert [one.name for one in only.step_history] == ["second"]
    assert conversation_of(only.step_history[0]) == ["good", "GOOD"]


class MustBe:
    def __init__(self, wanted: str) -> None:
        self.wanted = wanted

    def validate(self, output: str) -> ValidationResult:
        return ValidationResult(is_valid=output == self.wanted, feedback=f"not {self.wanted}")


# People.


def test_agents_before_a_question_are_not_asked_again(wait: Wait) -> None:
    draft, send = upper(), Answering(lambda prompt: f"sent {prompt}")
    pipeline = (
        agent_step("draft", draft)
        >> Step.human_in_the_loop("approve", "Send {{ data }}?")
        >> agent_step("send", send)
    )
    runner = Flujo(pipeline)

    async def main() -> tuple[PipelineResult, PipelineResult]:
        paused = await runner.run_async("hello")
        return paused, await runner.resume_async(paused, "yes, please")

    paused, result = wait(main())
    assert [pause.message for pause in paused.paused] == ["Send HELLO?"]
    assert (paused.total_tokens, result.total_tokens) == (ONE, 2 * ONE)
    assert (draft.prompts, send.prompts) == (["hello"], ["yes, please"])
    assert result.output == "sent yes, please"
    assert conversation_of(named(result.step_history, "draft")[0]) == ["hello", "HELLO"]


def test_agents_of_the_iterations_before_a_question_are_not_asked_again(wait: Wait) -> None:
    draft = Answering(lambda prompt: f"{prompt}!")
    body = agent_step("draft", draft) >> Step.human_in_the_loop("approve", "{{ data }}")
    loop = Step.loop_until("loop", body, lambda output, context: output == "yes")
    result = wait(answered(Flujo(loop), "hello", "no", "yes"))
    assert (result.output, result.total_tokens) == ("yes", 2 * ONE)
    assert draft.prompts == ["hello", "no"]


# Feedback and totals.


def test_a_validators_words_reach_the_next_request_in_a_container(wait: Wait) -> None:
    model = Answering(lambda prompt: "GOOD" if "not GOOD" in prompt else "bad")
    mapped = Step.map_over("each", agent_step("say", model, validators=[MustBe("GOOD")]))
    result = wait(result_of(mapped, ["a"]))
    assert (result.output, result.total_tokens) == (["GOOD"], 2 * ONE)
    assert model.prompts[0] == "a"
    assert model.prompts[1].startswith("a\n\nThe previous attempt failed: ")
    (said,) = named(result.step_history, "say")
    assert (said.attempts, conversation_of(said)) == (2, [model.prompts[1], "GOOD"])


def test_costs_and_tokens_are_those_of_all_attempts(wait: Wait, server: OpenAIServer) -> None:
    server.script.extend([Says(("bad",)), Says(("worse",)), Says(("GOOD",)), Says(("fine",))])
    agent = Agent(server.model())
    first = Step(
        name="first",
        agent=agent,
        validators=[MustBe("GOOD")],
        config=StepConfig(max_retries=2),
    )
    loop = Step.loop_until(
        "loop", first >> Step(name="second", agent=agent), lambda output, context: True
    )
    result = wait(result_of(loop, "a"))
    assert (result.output, len(server.requests)) == ("fine", 4)
    assert result.total_tokens == 4 * USED["total_tokens"]
    assert result.total_cost_usd == pytest.approx(4 * ONE_ANSWER_USD)
    (once,), (twice,) = named(result.step_history, "second"), named(result.step_history, "first")
    assert once.cost_usd == pytest.approx(ONE_ANSWER_USD)
    assert twice.cost_usd == pytest.approx(3 * ONE_ANSWER_USD)
    assert twice.attempts == 3


def test_tools_of_an_agent_in_a_branch_use_the_runs_resources(wait: Wait) -> None:
    agent = Agent(Scripted(ToolCallPart("find", {}), "found").model, deps_type=dict)

    @agent.tool
    def find(ctx: RunContext[dict[str, int]]) -> int:
        return ctx.deps["x"]

    parallel = Step.parallel("all", {"only": Step(name="ask", agent=agent)})
    result = wait(result_of(parallel, "a", resources={"x": 7}))
    assert result.output == {"only": "found"}
    (asked,) = named(result.step_history, "ask")
    assert conversation_of(asked) == ["a", "7", "found"]


# Streams.


@step
def start(data: object) -> object:
    return data


def looped(inner: Step[Any, Any]) -> Any:
    return Step.loop_until("outer", start >> inner, lambda output, context: True)


CONTAINERS: Mapping[str, Callable[[Step[Any, Any]], Any]] = {
    "outer/[0]/write (loop)": looped,
    "outer/:only/write": lambda inner: Step.parallel("outer", {"only": inner}),
    "outer/[0]/write (map)": lambda inner: Pipeline.of(
        Step.from_callable(lambda data: [data], name="list"), Step.map_over("outer", inner)
    ),
    "outer/:=true/write": lambda inner: Step.branch_on(
        "outer", lambda data, context: True, {True: inner}
    ),
    "outer/import/write": lambda inner: ImportStep(name="outer", pipeline=inner),
    "write/cached": Step.cached,
}


@pytest.mark.parametrize("path", CONTAINERS)
def test_the_text_of_an_agent_in_a_container_arrives_while_it_writes(wait: Wait, path: str) -> None:
    model = Answering(lambda prompt: "one two three")
    runner = Flujo(CONTAINERS[path](agent_step("write", model)))

    async def main() -> tuple[list[Chunk], PipelineResult]:
        model.go_on.clear()
        chunks: list[Chunk] = []
        async with asyncio.timeout(30):
            async for item in runner.run_async("hello"):
                if isinstance(item, Chunk):
                    chunks.append(item)
                    model.go_on.set()
                elif isinstance(item, PipelineResult):
                    return chunks, item
        raise AssertionError("a run without a result")

    chunks, result = wait(main())
    assert [chunk.data for chunk in chunks] == ["one", " two", " three"]
    assert {str(chunk.path) for chunk in chunks} == {path.partition(" ")[0]}
    assert result.success
    written = named(result.step_history, "write")[-1]
    assert written.output == "one two three"
