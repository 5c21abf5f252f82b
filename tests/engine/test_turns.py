"""Steps that never suspend: containers let the loop turn, and can be stopped where they do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import branch_on, loop_until, map_over, parallel
from flujo_nb.engine.outcomes import Aborted, AbortReason, Success
from flujo_nb.engine.passing import YIELD_EVERY
from flujo_nb.engine.steps import Node, Pipeline
from tests.engine.fakes import Wait, echo, outcome_of

MANY = 40 * YIELD_EVERY
FEW = YIELD_EVERY - 1


@step
async def instant(data: object) -> object:
    return data


def times(number: int, body: Node, name: str = "loop") -> Node:
    """A loop of so many iterations, each time that it is run."""
    asked = count(1)
    return loop_until(name, body, lambda output: next(asked) % number == 0, number)


def all_of(number: int, **options: Any) -> Node:
    return parallel("all", dict.fromkeys(map(str, range(number)), instant), **options)


BUSY: dict[str, tuple[Node, Any]] = {
    "sequence": (Pipeline((instant,) * MANY), 1),
    "loop": (times(MANY, instant), 1),
    "map": (map_over("map", instant), range(MANY)),
    "map, three at once": (map_over("map", instant, max_concurrency=3), range(MANY)),
    "parallel": (all_of(MANY), 1),
    "parallel, one at a time": (all_of(MANY, max_concurrency=1), 1),
    "short loops in a loop": (times(FEW, times(FEW, instant, "inner"), "outer"), 1),
    "short sequences in a loop": (times(FEW, Pipeline((instant,) * FEW)), 1),
    "short maps in a loop": (times(FEW, map_over("map", instant, max_concurrency=2)), range(FEW)),
}


@pytest.mark.parametrize(("node", "data"), BUSY.values(), ids=BUSY)
def test_the_loop_turns(wait: Wait, node: Node, data: Any) -> None:
    """Else neither an interrupt nor a widget would get a word in edgeways."""

    async def main() -> int:
        running = asyncio.create_task(outcome_of(node, data))
        turns = 0
        while not running.done():
            await asyncio.sleep(0)
            turns += 1
        assert isinstance(await running, Success)
        return turns

    assert wait(main()) > 4


def steps_that_ran(outcome: Any) -> Iterator[Any]:
    if not outcome.children:
        yield outcome
    for child in outcome.children:
        yield from steps_that_ran(child)


@pytest.mark.parametrize(("node", "data"), BUSY.values(), ids=BUSY)
def test_what_had_finished_when_they_were_cancelled_stands(
    wait: Wait, node: Node, data: Any
) -> None:
    """A cancellation that comes at a turn finds the container itself, and none of its steps."""
    whole = branch_on("around", lambda _: 1, {1: node})

    async def main() -> Any:
        running = asyncio.create_task(outcome_of(echo >> whole, data))
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        return await running

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert [child.step for child in outcome.children] == [echo, whole]
    around = outcome.children[1]
    assert [child.step for child in around.children] == [node]
    ran = list(steps_that_ran(around))
    assert sum(isinstance(one, Success) for one in ran) >= FEW
    assert all(isinstance(one, Success | Aborted) for one in ran)
