"""Agents of pydantic-ai on a server that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError

from flujo_nb.adapters.pydantic_ai import adapted
from flujo_nb.engine.errors import PricingNotConfiguredError, RateLimited
from flujo_nb.engine.usage import Meter, UsageLimits
from tests.adapters.fakes import BOTH_WAYS, given, run, run_or_streamed, streamed
from tests.adapters.openai_server import (
    ONE_ANSWER_USD,
    PRICED,
    UNPRICED,
    USED,
    Calls,
    Hangs,
    OpenAIServer,
    Refuses,
    Says,
)
from tests.engine.fakes import Wait

COSTLY = UsageLimits(total_cost_usd_limit=1.0)


class City(BaseModel):
    name: str


@BOTH_WAYS
def test_an_answer_is_measured_and_priced(wait: Wait, server: OpenAIServer, how: str) -> None:
    server.script.append(Says(("good ", "morning")))
    metered = wait(run_or_streamed(how, Agent(server.model()), limits=COSTLY))
    assert metered.output == "good morning"
    assert (metered.usage.tokens, metered.usage.requests) == (USED["total_tokens"], 1)
    assert metered.usage.cost_usd == ONE_ANSWER_USD > 0
    assert (metered.metadata["model"], "price" in metered.metadata) == (PRICED, False)
    assert server.requests[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_pieces_arrive_as_the_server_sends_them(wait: Wait, server: OpenAIServer) -> None:
    server.script.append(Says(("good ", "morning")))
    *pieces, metered = wait(streamed(Agent(server.model())))
    assert (pieces, metered.output) == (["good ", "morning"], "good morning")


@BOTH_WAYS
def test_a_tool_is_called_and_its_answer_sent(wait: Wait, server: OpenAIServer, how: str) -> None:
    server.script.extend([Calls("population", {"city": "Bern"}), Says(("134 thousand",))])
    agent = Agent(server.model())

    @agent.tool_plain
    async def population(city: str) -> int:
        return {"Bern": 134_000}[city]

    metered = wait(run_or_streamed(how, agent))
    assert metered.output == "134 thousand"
    assert metered.usage.cost_usd == pytest.approx(2 * ONE_ANSWER_USD)
    assert metered.usage.requests == 2
    told = server.requests[1]["messages"][-1]
    assert (told["role"], told["content"]) == ("tool", "134000")


@BOTH_WAYS
def test_a_structured_output(wait: Wait, server: OpenAIServer, how: str) -> None:
    server.script.append(Calls("final_result", {"name": "Bern"}))
    metered = wait(run_or_streamed(how, Agent(server.model(), output_type=City)))
    assert metered.output == City(name="Bern")


@BOTH_WAYS
def test_an_unknown_price_is_said(wait: Wait, server: OpenAIServer, how: str) -> None:
    server.script.append(Says(("hi",)))
    metered = wait(run_or_streamed(how, Agent(server.model(UNPRICED))))
    assert metered.metadata["price"] == "unknown"
    assert (metered.usage.cost_micros, metered.usage.tokens) == (0, USED["total_tokens"])


@BOTH_WAYS
def test_nothing_is_asked_at_an_unknown_price_under_a_cost_limit(
    wait: Wait, server: OpenAIServer, how: str
) -> None:
    with pytest.raises(PricingNotConfiguredError) as refused:
        wait(run_or_streamed(how, Agent(server.model(UNPRICED)), limits=COSTLY))
    assert (refused.value.provider, refused.value.model) == ("openai", UNPRICED)
    assert server.requests == []


@BOTH_WAYS
def test_how_long_to_wait_is_told(wait: Wait, server: OpenAIServer, how: str) -> None:
    server.script.append(Refuses(429, {"Retry-After": "7"}))
    with pytest.raises(RateLimited, match="429") as refused:
        wait(run_or_streamed(how, Agent(server.model())))
    assert refused.value.retry_after_s == 7.0
    assert isinstance(refused.value.__cause__, ModelHTTPError)


@BOTH_WAYS
@pytest.mark.parametrize("status", [429, 500, 503])
def test_other_errors_are_those_of_pydantic_ai(
    wait: Wait, server: OpenAIServer, how: str, status: int
) -> None:
    server.script.append(Refuses(status))
    with pytest.raises(ModelHTTPError) as refused:
        wait(run_or_streamed(how, Agent(server.model())))
    assert refused.value.status_code == status
    assert len(server.requests) == 1


@BOTH_WAYS
def test_a_failure_in_the_middle_books_what_came_before(
    wait: Wait, server: OpenAIServer, how: str
) -> None:
    meter = Meter()
    server.script.extend([Calls("population", {}), Refuses(500)])
    agent = Agent(server.model())

    @agent.tool_plain
    def population() -> int:
        return 134_000

    with pytest.raises(ModelHTTPError):
        wait(run_or_streamed(how, agent, meter=meter))
    assert (meter.used.tokens, meter.used.requests) == (USED["total_tokens"], 1)
    assert meter.used.cost_usd == ONE_ANSWER_USD


@BOTH_WAYS
def test_an_answer_that_does_not_come_can_be_given_up(
    wait: Wait, server: OpenAIServer, how: str
) -> None:
    meter = Meter()
    server.script.extend([Calls("population", {}), Hangs()])
    agent = Agent(server.model())

    @agent.tool_plain
    def population() -> int:
        return 134_000

    async def main() -> None:
        task = asyncio.create_task(run_or_streamed(how, agent, meter=meter))
        await asyncio.to_thread(server.hanging.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait(main())
    assert (meter.used.requests, meter.used.tokens) == (1, USED["total_tokens"])


def test_a_time_limit_ends_a_slow_stream_after_its_first_piece(
    wait: Wait, server: OpenAIServer
) -> None:
    server.script.append(Hangs("well"))
    pieces = []

    async def main() -> None:
        async with asyncio.timeout(0.3):
            async for piece in adapted(Agent(server.model())).stream("hello", **given()):
                pieces.append(piece)

    with pytest.raises(TimeoutError):
        wait(main())
    assert pieces == ["well"]


def test_feedback_is_sent(wait: Wait, server: OpenAIServer) -> None:
    server.script.append(Says(("short",)))
    wait(run(Agent(server.model()), "Write.", feedback="too long"))
    content = server.requests[0]["messages"][0]["content"]
    assert content == "Write.\n\nThe previous attempt failed: too long"
