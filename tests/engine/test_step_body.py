"""How a step's function is called, and what of its answers is an output."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import MissingAgentError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import branch_frame, make_execution_frame
from flujo_nb.engine.outcomes import Chunk, Failure, FailureKind, Success
from flujo_nb.engine.path import step_segment
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_body import body_of
from flujo_nb.engine.step_config import StepConfig
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


def beside_others(one: Step[Any, Any], data: object = None) -> Any:
    """The output of ``one`` in a frame that has others in flight beside it."""
    root = make_execution_frame(echo)
    segments = (step_segment(one.name),)
    frame = branch_frame(root, root, segments, None, one, data, None, 1, None, True)
    return ExecutorCore().run(frame)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_synchronous_function_leaves_the_loop_where_others_are_in_flight(
    wait: Wait, retries: int
) -> None:
    def where(data: object) -> str:
        return threading.current_thread().name

    def thread_of(**options: Any) -> object:
        one = step(**options, max_retries=retries)(where)
        return wait(beside_others(one)).output

    main = threading.main_thread().name
    assert thread_of() != main
    assert thread_of(thread=True) != main
    assert thread_of(thread=False) == main


def test_an_async_function_stays_where_it_is(wait: Wait) -> None:
    @step
    async def where(data: object) -> str:
        return threading.current_thread().name

    assert wait(beside_others(where)).output == threading.main_thread().name


@pytest.mark.parametrize("retries", [0, 1])
def test_an_object_that_is_bound_to_another_thread_gets_a_hint(wait: Wait, retries: int) -> None:
    """An ordinary error of a step in a worker thread gets none."""
    connection = sqlite3.connect(":memory:")

    @step(max_retries=retries)
    def select(data: object) -> object:
        if data == "fail":
            raise ValueError("no rows")
        return connection.execute("select 1").fetchone()

    assert wait(outcome_of(select)).output == (1,)
    refused = wait(beside_others(select)).error
    assert isinstance(refused, sqlite3.ProgrammingError)
    assert "thread=False" in refused.__notes__[0]
    assert not hasattr(wait(beside_others(select, "fail")).error, "__notes__")
    connection.close()


def test_a_step_that_wants_the_loop_in_a_worker_thread_gets_the_hint_too(wait: Wait) -> None:
    @step(thread=True)
    def schedule(data: object) -> None:
        asyncio.get_running_loop()

    error = wait(outcome_of(schedule)).error
    assert isinstance(error, RuntimeError)
    assert "thread=False" in error.__notes__[0]


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (StepConfig(), (None, 0.5, None)),
        (StepConfig(temperature=0.1, top_k=4, top_p=0.9), (0.1, 0.9, 4)),
    ],
)
def test_an_agent_gets_the_options_that_it_names(
    wait: Wait, config: StepConfig, given: tuple[object, ...]
) -> None:
    """One that the step does not set keeps the agent's default, where there is one."""

    class Tuned:
        async def run(
            self,
            data: object,
            temperature: float | None,
            top_p: float = 0.5,
            *,
            top_k: int | None = None,
        ) -> object:
            return temperature, top_p, top_k

    outcome = wait(outcome_of(Step(name="it", agent=Tuned(), config=config)))
    assert outcome.output == given


def test_a_function_may_call_a_parameter_of_its_own_like_an_option(wait: Wait) -> None:
    @step
    def warm(temperature: float) -> float:
        return temperature + 1

    assert wait(outcome_of(warm, 20.0)).output == 21.0


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


class MeteredStream:
    """An agent whose stream ends with its output and what that cost."""

    def __init__(self, *pieces: object) -> None:
        self.pieces = pieces

    async def run(self, data: str) -> str:
        return "whole"

    async def stream(self, data: str) -> AsyncIterator[object]:
        for piece in self.pieces:
            yield piece


def test_a_metered_output_at_the_end_of_a_stream_is_no_chunk(wait: Wait) -> None:
    whole = Metered({"title": "Rain"}, Usage(tokens=3), {"model": "small"})
    agent = Step(name="agent", agent=MeteredStream("ra", "in", whole))
    chunks: list[Chunk] = []
    outcome = wait(outcome_of(agent, "x", stream=True, on_chunk=chunks.append))
    assert isinstance(outcome, Success)
    assert outcome.output == {"title": "Rain"}
    assert (outcome.usage, dict(outcome.metadata)) == (Usage(tokens=3), {"model": "small"})
    assert [chunk.data for chunk in chunks] == ["ra", "in"]


def test_nothing_follows_a_metered_output_in_a_stream(wait: Wait) -> None:
    pieces = (Metered("done", Usage(tokens=3)), "more")
    outcome = wait(outcome_of(Step(name="it", agent=MeteredStream(*pieces)), "x", stream=True))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TYPE
    assert "went on after a Metered" in outcome.feedback
    assert outcome.attempts == 1


def test_an_agent_may_hand_on_the_stream_of_another(wait: Wait) -> None:
    class Passing:
        def __init__(self) -> None:
            self.inner = MeteredStream("a", "b")

        async def run(self, data: str) -> str:
            return "whole"

        def stream(self, data: str) -> AsyncIterator[object]:
            return self.inner.stream(data)

    outcome = wait(outcome_of(Step(name="it", agent=Passing()), "x", stream=True))
    assert outcome.output == "ab"


def test_metadata_outlive_an_output_that_is_awaited(wait: Wait) -> None:
    metered = Metered(five(), Usage(tokens=1), {"model": "small"})
    outcome = wait(outcome_of(Step.from_callable(lambda data: metered, name="it")))
    assert (outcome.output, dict(outcome.metadata)) == (5, {"model": "small"})
