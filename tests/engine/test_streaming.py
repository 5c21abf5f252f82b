"""Chunks, while a run goes on, and runs that their consumer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ConfigurationError, UsageLimitExceededError
from flujo_nb.engine.outcomes import Chunk, Failure, Success
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import UsageEstimate, UsageLimits
from tests.engine.fakes import Box, Wait, boxed, echo, outcome_of, settled


class Source:
    """A streaming step that notes when it begins, gives a piece, and is closed."""

    def __init__(self, pieces: int = 3) -> None:
        self.pieces = pieces
        self.notes: list[str] = []
        self.step = Step.from_callable(self.stream, name="source")

    async def stream(self, data: object) -> AsyncIterator[str]:
        try:
            for number in range(self.pieces):
                self.notes.append(f"gives {number}")
                yield str(number)
                await asyncio.sleep(0)
        finally:
            self.notes.append("closed")


def test_chunks_arrive_before_the_run_ends(wait: Wait) -> None:
    source = Source()

    async def main() -> list[object]:
        items: list[object] = []
        async for item in Flujo(source.step >> echo).run_async("x"):
            items.append(item)
            if isinstance(item, Chunk):
                source.notes.append(f"seen {item.data}")
        return items

    items = wait(main())
    assert source.notes[:3] == ["gives 0", "seen 0", "gives 1"]
    assert [type(item) for item in items] == [Chunk, Chunk, Chunk, *[Success] * 3, PipelineResult]
    assert [item.step.name for item in items[3:5]] == ["source", "echo"]
    assert items[-1].output == "012"


def test_streaming_gives_the_chunks_and_the_result(wait: Wait) -> None:
    async def main() -> list[object]:
        return [item async for item in Flujo(Source().step).stream_async("x")]

    *chunks, result = wait(main())
    assert [chunk.data for chunk in chunks] == ["0", "1", "2"]
    assert {(str(chunk.path), chunk.attempt) for chunk in chunks} == {("source", 1)}
    assert isinstance(result, PipelineResult)


def test_chunks_of_nested_steps_arrive_with_their_path(wait: Wait) -> None:
    source = Source(1)

    async def nest(core: Any, frame: Any) -> Any:
        return await core.run(core.child_frame(frame, source.step, frame.data))

    async def main() -> list[object]:
        runner = Flujo(Box(name="box"), registry=boxed(nest))
        return [item async for item in runner.stream_async("x")]

    chunk, _ = wait(main())
    assert str(chunk.path) == "box/source"


def test_a_retry_announces_itself_on_its_chunks(wait: Wait) -> None:
    @step(max_retries=1)
    async def stumbling(data: object, frame: Any) -> AsyncIterator[str]:
        yield "half"
        if frame.attempt == 1:
            raise ValueError
        yield " done"

    async def main() -> list[object]:
        return [item async for item in Flujo(stumbling).stream_async()]

    *chunks, result = wait(main())
    assert [(chunk.data, chunk.attempt) for chunk in chunks] == [
        ("half", 1),
        ("half", 2),
        (" done", 2),
    ]
    assert result.output == "half done"


def test_leaving_the_loop_ends_the_run_and_closes_the_generator(wait: Wait) -> None:
    source = Source(100)

    async def main() -> None:
        async for _ in Flujo(source.step).run_async():
            break
        assert await settled() == set()

    wait(main())
    assert source.notes[-1] == "closed"
    assert len(source.notes) < 10


def test_closing_the_iterator_waits_for_the_run_to_end(wait: Wait) -> None:
    source = Source(100)

    async def main() -> None:
        async with aclosing(aiter(Flujo(source.step).run_async())) as items:
            await anext(items)
        assert source.notes[-1] == "closed"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    wait(main())


def test_closing_the_stream_waits_for_the_run_to_end(wait: Wait) -> None:
    source = Source(100)

    async def main() -> None:
        async with aclosing(Flujo(source.step).stream_async()) as items:
            await anext(items)
        assert source.notes[-1] == "closed"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    wait(main())


def test_a_consumer_that_is_cancelled_ends_the_run(wait: Wait) -> None:
    source = Source(10**6)

    async def consume() -> None:
        async for _ in Flujo(source.step).run_async():
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await settled() == set()

    wait(main())
    assert source.notes[-1] == "closed"


def test_a_generator_is_closed_when_the_consumer_of_its_chunks_fails(wait: Wait) -> None:
    source = Source()

    def refuse(chunk: Chunk) -> None:
        raise ValueError("full")

    async def main() -> Any:
        outcome = await outcome_of(source.step, on_chunk=refuse)
        return outcome, list(source.notes)

    outcome, notes = wait(main())
    assert isinstance(outcome, Failure)
    assert notes == ["gives 0", "closed"]


def test_a_generator_is_closed_when_the_run_is_cancelled_between_chunks(wait: Wait) -> None:
    source = Source()

    async def slow(chunk: Chunk) -> None:
        await asyncio.sleep(5)

    async def main() -> None:
        task = asyncio.create_task(outcome_of(source.step, on_chunk=slow))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert source.notes == ["gives 0", "closed"]

    wait(main())


def test_what_ends_a_run_early_reaches_who_iterates(wait: Wait) -> None:
    dear = Step.from_callable(
        lambda data: data, name="dear", config=StepConfig(estimate=UsageEstimate(tokens=9))
    )
    runner = Flujo(dear, usage_limits=UsageLimits(total_tokens_limit=1))

    async def main() -> None:
        with pytest.raises(UsageLimitExceededError):
            async for _ in runner.run_async():
                pass
        with pytest.raises(ConfigurationError):
            async for _ in Flujo(Step(name="empty")).run_async():
                pass

    wait(main())
