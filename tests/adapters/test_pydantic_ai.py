"""Agents of pydantic-ai, driven as the engine drives them, on pydantic-ai's own test models."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    BinaryContent,
    DeferredToolRequests,
    ImageUrl,
    ModelRetry,
    PromptedOutput,
    RunContext,
    UnexpectedModelBehavior,
)
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel

from flujo_nb.adapters.pydantic_ai import adapted
from flujo_nb.engine.errors import StepExited, StepInterrupted, TypeMismatchError
from flujo_nb.engine.usage import Meter, Metered, UsageLimits
from tests.adapters.fakes import (
    BOTH_WAYS,
    Scripted,
    Verdict,
    given,
    prompts_of,
    run,
    run_or_streamed,
    streamed,
)
from tests.engine.fakes import Wait, settled

PICTURE = ImageUrl("https://example.org/cat.png")
BYTES = BinaryContent(b"\x89PNG", media_type="image/png")


def parts_of(metered: Metered) -> list[tuple[Any, Any]]:
    """The kinds of the parts of a kept conversation, and what they hold."""
    return [
        (part["part_kind"], part.get("content", part.get("args")))
        for message in metered.metadata["messages"]
        for part in message["parts"]
    ]


@BOTH_WAYS
def test_a_text_comes_with_its_usage_its_messages_and_its_model(wait: Wait, how: str) -> None:
    meter = Meter()
    agent = Agent(Scripted("good morning").model)
    metered = wait(run_or_streamed(how, agent, meter=meter))
    assert metered.output == "good morning"
    assert (metered.usage.requests, metered.usage.cost_micros) == (1, 0)
    assert metered.usage.tokens > 0
    assert meter.used == metered.usage
    assert parts_of(metered) == [("user-prompt", "hello"), ("text", "good morning")]
    assert metered.metadata["model"].startswith("function:")
    assert "price" not in metered.metadata


def test_the_kept_messages_can_be_read_back(wait: Wait) -> None:
    metered = wait(run(Agent(Scripted("hi").model)))
    again = ModelMessagesTypeAdapter.validate_python(metered.metadata["messages"])
    assert [message.kind for message in again] == ["request", "response"]


@BOTH_WAYS
def test_a_structured_output_is_an_instance(wait: Wait, how: str) -> None:
    model = TestModel(custom_output_args={"good": True, "reason": "short"})
    metered = wait(run_or_streamed(how, Agent(model, output_type=Verdict)))
    assert metered.output == Verdict(good=True, reason="short")


@BOTH_WAYS
def test_tools_run_and_stand_in_the_messages(wait: Wait, how: str) -> None:
    scripted = Scripted(ToolCallPart("double", {"number": 21}), "it is 42")
    agent = Agent(scripted.model)
    called = []

    @agent.tool_plain
    def double(number: int) -> int:
        called.append(number)
        return 2 * number

    metered = wait(run_or_streamed(how, agent))
    assert called == [21]
    assert (metered.output, metered.usage.requests) == ("it is 42", 2)
    kinds = [kind for kind, _ in parts_of(metered)]
    assert kinds == ["user-prompt", "tool-call", "tool-return", "text"]
    assert ("tool-return", 42) in parts_of(metered)


@BOTH_WAYS
def test_resources_are_the_dependencies(wait: Wait, how: str) -> None:
    agent = Agent(Scripted(ToolCallPart("look_up", {"name": "x"}), "done").model, deps_type=dict)

    @agent.tool
    def look_up(ctx: RunContext[dict[str, int]], name: str) -> int:
        return ctx.deps[name]

    metered = wait(run_or_streamed(how, agent, resources={"x": 7}))
    assert ("tool-return", 7) in parts_of(metered)


def test_an_agent_without_dependencies_gets_none(wait: Wait) -> None:
    agent = Agent(Scripted("done").model, deps_type=type(None))
    seen = []

    @agent.instructions
    def look(ctx: RunContext[None]) -> str:
        seen.append(ctx.deps)
        return "Be brief."

    wait(run(agent, resources={"x": 7}))
    assert seen == [None]


@pytest.mark.parametrize(
    ("data", "prompts"),
    [
        ("tell me", ["tell me"]),
        (None, []),
        (Verdict(good=False, reason="é"), ['{"good":false,"reason":"é"}']),
        ({"a": [1, None]}, ['{"a":[1,null]}']),
        (["one", "two"], ['["one","two"]']),
        ([], ["[]"]),
        (3, ["3"]),
        (PICTURE, [[PICTURE]]),
        (["what is this?", BYTES], [["what is this?", BYTES]]),
    ],
)
def test_what_becomes_of_the_input(wait: Wait, data: object, prompts: list[object]) -> None:
    scripted = Scripted("ok")
    wait(run(Agent(scripted.model, instructions="Be brief."), data))
    assert prompts_of(scripted) == prompts


def test_an_input_that_json_cannot_hold_is_refused(wait: Wait) -> None:
    with pytest.raises(TypeMismatchError, match=r"what JSON can hold, and its input is object"):
        wait(run(Agent(Scripted().model), object()))


@pytest.mark.parametrize(
    ("data", "prompts"),
    [
        ("tell me", ["tell me\n\nThe previous attempt failed: too long"]),
        (None, ["The previous attempt failed: too long"]),
        (PICTURE, [[PICTURE, "The previous attempt failed: too long"]]),
    ],
)
def test_feedback_reaches_the_model(wait: Wait, data: object, prompts: list[object]) -> None:
    scripted = Scripted("ok")
    wait(run(Agent(scripted.model), data, feedback="too long"))
    assert prompts_of(scripted) == prompts


def test_options_of_the_step_win_over_the_agents(wait: Wait) -> None:
    scripted = Scripted("ok", "ok")
    agent = adapted(Agent(scripted.model, model_settings={"temperature": 1.0, "seed": 3}))
    wait(agent.run("x", **given(), temperature=0.0, top_k=5, top_p=0.5))
    wait(agent.run("x", **given()))
    settings = [info.model_settings for info in scripted.infos]
    assert settings == [
        {"temperature": 0.0, "seed": 3, "top_k": 5, "top_p": 0.5},
        {"temperature": 1.0, "seed": 3},
    ]


@BOTH_WAYS
def test_retries_of_pydantic_ai_stay_inside_one_attempt(wait: Wait, how: str) -> None:
    agent = Agent(Scripted("a long answer", "short").model, retries=1)

    @agent.output_validator
    def check(output: str) -> str:
        if len(output) > 6:
            raise ModelRetry("too long")
        return output

    metered = wait(run_or_streamed(how, agent))
    assert (metered.output, metered.usage.requests) == ("short", 2)


@BOTH_WAYS
@pytest.mark.parametrize("error", [ValueError("no such city"), UnexpectedModelBehavior("odd")])
def test_what_a_failed_run_had_used_is_booked(wait: Wait, how: str, error: Exception) -> None:
    meter = Meter()
    agent = Agent(Scripted(ToolCallPart("find", {})).model)

    @agent.tool_plain
    def find() -> str:
        raise error

    with pytest.raises(type(error), match=str(error)) as raised:
        wait(run_or_streamed(how, agent, meter=meter))
    assert raised.value is error
    assert meter.used.requests == 1
    assert meter.used.tokens > 0


@BOTH_WAYS
def test_what_a_run_had_used_is_booked_when_its_own_retries_are_exhausted(
    wait: Wait, how: str
) -> None:
    meter = Meter()
    agent = Agent(Scripted("a", "b").model, output_type=Verdict, retries=1)
    with pytest.raises(UnexpectedModelBehavior):
        wait(run_or_streamed(how, agent, meter=meter))
    assert meter.used.requests == 2


@BOTH_WAYS
def test_what_a_cancelled_run_had_used_is_booked(wait: Wait, how: str) -> None:
    meter = Meter()
    agent = Agent(Scripted(ToolCallPart("wait", {})).model)
    begun = asyncio.Event()

    @agent.tool_plain(name="wait")
    async def wait_long() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    async def main() -> None:
        task = asyncio.create_task(run_or_streamed(how, agent, meter=meter))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait(main())
    assert meter.used.requests == 1
    assert meter.used.tokens > 0


@BOTH_WAYS
@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize(
    ("leave", "error"),
    [(lambda: sys.exit(3), StepExited), (lambda: raise_(KeyboardInterrupt()), StepInterrupted)],
)
def test_a_tool_cannot_end_the_event_loop(
    wait: Wait, how: str, synchronous: bool, leave: Callable[[], str], error: type[Exception]
) -> None:
    agent = Agent(Scripted(ToolCallPart("leave", {})).model)

    async def leave_later() -> str:
        return leave()

    agent.tool_plain(leave if synchronous else leave_later, name="leave")
    with pytest.raises(error):
        wait(run_or_streamed(how, agent))


def raise_(error: BaseException) -> str:
    raise error


@BOTH_WAYS
def test_tools_that_wait_for_approval_are_the_output(wait: Wait, how: str) -> None:
    scripted = Scripted(ToolCallPart("delete", {"name": "x"}))
    agent = Agent(scripted.model, output_type=[str, DeferredToolRequests])

    @agent.tool_plain
    def delete(name: str) -> str:
        raise ApprovalRequired

    metered = wait(run_or_streamed(how, agent))
    assert isinstance(metered.output, DeferredToolRequests)
    assert [call.tool_name for call in metered.output.approvals] == ["delete"]


def test_runs_of_one_agent_at_once_do_not_mix(wait: Wait) -> None:
    agent = adapted(Agent(TestModel(call_tools=[])))
    meters = [Meter() for _ in range(8)]

    async def main() -> list[Metered]:
        runs = (agent.run("a " * (1 + n), **given(meter=meter)) for n, meter in enumerate(meters))
        return list(await asyncio.gather(*runs))

    for n, (metered, meter) in enumerate(zip(wait(main()), meters, strict=True)):
        assert parts_of(metered)[0] == ("user-prompt", "a " * (1 + n))
        assert meter.used == metered.usage
        assert metered.usage.requests == 1


@BOTH_WAYS
def test_a_test_model_is_free_under_any_limit(wait: Wait, how: str) -> None:
    limits = UsageLimits(total_cost_usd_limit=0.0)
    metered = wait(run_or_streamed(how, Agent(Scripted("ok").model), limits=limits))
    assert metered.output == "ok"


def test_what_overrides_a_model_for_a_test_does_so_here(wait: Wait) -> None:
    agent = Agent("openai:gpt-4o", defer_model_check=True)
    with agent.override(model=Scripted("ok").model):
        metered = wait(run(agent, limits=UsageLimits(total_cost_usd_limit=0.0)))
    assert metered.output == "ok"


def test_a_wrapped_agent_is_an_agent(wait: Wait) -> None:
    metered = wait(run(WrapperAgent(Agent(Scripted("ok").model))))
    assert metered.output == "ok"


def test_running_an_agent_leaves_it_as_it_was(wait: Wait) -> None:
    agent = Agent(Scripted("ok").model)
    wait(run(agent))
    assert agent.name is None


# Streams.


def test_text_arrives_in_pieces_and_the_output_comes_last(wait: Wait) -> None:
    *pieces, metered = wait(streamed(Agent(Scripted("one two three").model)))
    assert pieces == ["one", " two", " three"]
    assert metered.output == "one two three"


def test_what_the_model_says_between_calls_arrives_too(wait: Wait) -> None:
    agent = Agent(Scripted(ToolCallPart("find", {}), "found it").model)

    @agent.tool_plain
    def find() -> str:
        return "here"

    *pieces, metered = wait(streamed(agent))
    assert pieces == ["found", " it"]
    assert metered.output == "found it"


@pytest.mark.parametrize("output_type", [Verdict, PromptedOutput(Verdict)])
def test_what_is_not_text_is_given_when_it_is_whole(wait: Wait, output_type: Any) -> None:
    answer = Verdict(good=True, reason="short and clear")
    reply: Any = answer.model_dump_json()
    if output_type is Verdict:
        reply = ToolCallPart("final_result", reply)
    (metered,) = wait(streamed(Agent(Scripted(reply).model, output_type=output_type)))
    assert metered.output == answer


def test_text_that_may_be_the_output_arrives_in_pieces(wait: Wait) -> None:
    agent = Agent(Scripted("just text").model, output_type=[Verdict, str])
    *pieces, metered = wait(streamed(agent))
    assert (pieces, metered.output) == (["just", " text"], "just text")


def test_a_stream_that_is_left_ends_the_run_and_books_it(wait: Wait) -> None:
    meter = Meter()
    stream = adapted(Agent(Scripted("one two three").model)).stream("x", **given(meter=meter))

    async def main() -> str:
        async with aclosing(stream) as pieces:
            first = await anext(pieces)
        assert await settled() == set()
        return first

    assert wait(main()) == "one"
    assert meter.used.tokens > 0


def test_a_model_that_cannot_stream_gives_its_whole_answer(wait: Wait) -> None:
    async def only(messages: Any, info: Any) -> ModelResponse:
        return ModelResponse(parts=[TextPart("whole")])

    model = FunctionModel(only)
    for one in (model, WrapperModel(model), FallbackModel(TestModel(), model)):
        (metered,) = wait(streamed(Agent(one)))
        assert metered.output in ("whole", "success (no tool calls)")
    assert len(wait(streamed(Agent(WrapperModel(TestModel()))))) > 1


@BOTH_WAYS
def test_what_each_answer_used_is_told_while_the_run_goes_on(wait: Wait, how: str) -> None:
    meter, told = Meter(), []
    agent = Agent(Scripted(ToolCallPart("look", {}), "done").model)

    @agent.tool_plain
    def look() -> str:
        told.append(meter.used)
        return "here"

    metered = wait(run_or_streamed(how, agent, meter=meter))
    (after_one,) = told
    assert 0 < after_one.tokens < metered.usage.tokens
