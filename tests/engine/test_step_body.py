"""How a step's function is called, and what of its answers is an output."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import MissingAgentError
from flujo_nb.engine.outcomes import Chunk, Failure, FailureKind, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_body import body_of
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.fakes import Counts, Wait, echo, outcome_of


async def five() -> int:
    return 5


class Awaitable:
    def __await__(self) -> Generator[Any, None, int]:
        return five().__await__()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda data: five(), 5),
        (lambda data: asyncio.ensure_future(five()), 5),
        (lambda data: asyncio.gather(five(), five()), [5, 5]),
        (lambda data: Awaitable(), 5),
        (lambda data: Flujo(echo).run_async(5), 5),
        (lambda data, context: asyncio.gather(five()), [5]),
        (lambda data: Metered(five(), Usage()), 5),
    ],
    ids=["coroutine", "task", "gather", "awaitable", "run", "gather beside a context", "metered"],
)
def test_what_can_be_awaited_is_never_an_output(
    wait: Wait, function: Callable[..., object], expected: object
) -> None:
    outcome = wait(outcome_of(Step.from_callable(function, name="it"), 1, context=Counts()))
    assert isinstance(outcome, Success)
    assert getattr(outcome.output, "output", outcome.output) == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda data: (one for one in "ab"),
        lambda data, context: (one for one in "ab"),
        lambda data: Metered((one for one in "ab"), Usage()),
    ],
    ids=["alone", "beside a context", "metered"],
)
def test_a_generator_is_no_output(wait: Wait, function: Callable[..., object]) -> None:
    outcome = wait(outcome_of(Step.from_callable(function, name="it"), 1, context=Counts()))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TYPE
    assert "generator" in outcome.feedback


def test_an_async_generator_that_a_function_returns_is_no_output(wait: Wait) -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    outcome = wait(outcome_of(Step.from_callable(lambda data: stream(), name="it")))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TYPE


def test_a_step_without_a_function_says_so() -> None:
    with pytest.raises(MissingAgentError, match="'empty' has nothing to run"):
        body_of(Step(name="empty"))


def test_where_a_function_runs(wait: Wait) -> None:
    def where(data: object) -> str:
        return threading.current_thread().name

    def thread_of(**options: Any) -> object:
        return wait(outcome_of(step(**options)(where))).output

    main = threading.main_thread().name
    assert thread_of(max_retries=0) == main
    assert thread_of(thread=False) == main
    assert thread_of(thread=True) != main
    assert thread_of(timeout_s=5) != main


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [(["a", "b"], "ab"), ([b"a", b"b"], b"ab"), ([1, "b"], [1, "b"]), ([], [])],
)
def test_a_stream_comes_to_text_bytes_or_a_list(
    wait: Wait, pieces: list[object], whole: object
) -> None:
    @step
    async def stream(data: object) -> AsyncIterator[object]:
        for piece in pieces:
            yield piece

    chunks: list[Chunk] = []
    outcome = wait(outcome_of(stream, on_chunk=chunks.append))
    assert outcome.output == whole
    assert [chunk.data for chunk in chunks] == pieces
    assert {str(chunk.path) for chunk in chunks} <= {"stream"}


def test_what_a_synchronous_on_chunk_returns_does_not_matter(wait: Wait) -> None:
    @step
    async def stream(data: object) -> AsyncIterator[str]:
        yield "a"

    outcome = wait(outcome_of(stream, on_chunk=lambda chunk: len(chunk.data)))
    assert isinstance(outcome, Success)


def test_an_async_on_chunk_is_awaited(wait: Wait) -> None:
    seen = []

    @step
    async def stream(data: object) -> AsyncIterator[str]:
        yield "a"
        seen.append("after a")

    async def slow(chunk: Chunk) -> None:
        await asyncio.sleep(0)
        seen.append(chunk.data)

    wait(outcome_of(stream, on_chunk=slow))
    assert seen == ["a", "after a"]


class Streaming:
    """An agent that streams, and takes the context only to do that."""

    async def run(self, data: str) -> str:
        return "whole"

    async def stream(self, data: str, context: Counts) -> AsyncIterator[str]:
        context.total += 1
        yield "in "
        yield "pieces"


def test_an_agent_streams_on_request_and_gets_what_its_stream_asks_for(wait: Wait) -> None:
    agent = Step(name="agent", agent=Streaming())
    assert wait(outcome_of(agent, "x", context=Counts())).output == "whole"
    streamed = wait(outcome_of(agent, "x", context=Counts(), stream=True))
    assert isinstance(streamed, Success), streamed.feedback
    assert streamed.output == "in pieces"
    assert streamed.update is not None


def test_an_attribute_called_stream_does_not_make_an_agent_stream(wait: Wait) -> None:
    class Client:
        stream = True

        async def run(self, data: str) -> str:
            return "whole"

    outcome = wait(outcome_of(Step(name="agent", agent=Client()), "x", stream=True))
    assert isinstance(outcome, Success), outcome.feedback
    assert outcome.output == "whole"
