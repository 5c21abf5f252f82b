"""Replays: nothing runs, and whatever is not as it was recorded is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.errors import (
    NoSuchRun,
    ReplayMismatch,
    ResumeError,
)
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.durable import durable
from tests.engine.fakes import Wait
from tests.engine.pauses import (
    Calls,
    asks,
    broken_at,
    questions,
    told,
)

Make = Callable[[Calls], Any]


def asked_at_once() -> Any:
    inside = {"a": asks("x"), "b": asks("y", input_schema=int)}
    return Step.parallel("both", inside) >> Step.from_callable(lambda data: str(data), name="end")


def test_a_replay_runs_nothing_but_what_is_pure_when_it_is_strict(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = calls.step("a") >> calls.step("pure", len, pure=True) >> calls.step("c")
        runner = durable(node, MemoryStore())
        first = told([await runner.run_async("x", run_id="r")])
        calls.clear()
        assert told([await runner.replay("r")]) == first
        assert calls == {}
        assert told([await runner.replay("r", strict=True)]) == first
        assert calls == {"pure": 1}

    wait(main())


def test_a_pure_step_that_gives_something_else_is_a_mismatch(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = calls.step("pure", lambda data: calls["pure"], pure=True)
        runner = durable(node, MemoryStore())
        await runner.run_async("x", run_id="r")
        await runner.replay("r")
        with pytest.raises(ResumeError, match="pure gives another output: output: 1 → 2"):
            await runner.replay("r", strict=True)

    wait(main())


def failing(calls: Calls) -> Any:
    async def slow(data: object) -> None:
        calls["slow"] += 1
        await asyncio.sleep(0.02)

    async def fails(data: object) -> None:
        calls["fails"] += 1
        await asyncio.sleep(0)
        raise ValueError("no")

    inside = {"a": Step.from_callable(slow, name="slow"), "b": Step.from_callable(fails, name="f")}
    return calls.step("first") >> Step.parallel("both", inside)


@pytest.mark.parametrize(
    "make",
    [
        failing,
        lambda calls: calls.step("a") >> asks(),
        lambda calls: Step.map_over("each", calls.step("a", broken_at("x"))),
        lambda calls: calls.step("a") >> asked_at_once(),
        lambda calls: (
            calls.step("a", max_retries=1)
            >> Step.loop_until("loop", calls.step("b"), lambda data: False, max_loops=2)
        ),
    ],
    ids=["cancelled siblings", "a question", "an item", "two questions", "max_loops"],
)
def test_a_run_that_did_not_complete_replays_to_the_same_end(make: Make, wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        runner = durable(make(calls), MemoryStore())
        first = await runner.run_async("x", run_id="r")
        assert not first.success
        counted = dict(calls)
        replayed = await runner.replay("r")
        assert calls == counted
        assert replayed.status is first.status
        assert questions(replayed) == questions(first)
        names = [(one.name, one.feedback) for one in first.step_history]
        assert [(one.name, one.feedback) for one in replayed.step_history] == names

    wait(main())


def test_a_replay_checks_the_input_that_it_is_given(wait: Wait) -> None:
    async def main() -> None:
        runner = durable(Calls().step("a"), MemoryStore())
        await runner.run_async("x", run_id="r")
        assert (await runner.replay("r", "x")).restored
        with pytest.raises(ReplayMismatch, match="another input"):
            await runner.replay("r", "y")
        with pytest.raises(NoSuchRun):
            await runner.replay("other")

    wait(main())
