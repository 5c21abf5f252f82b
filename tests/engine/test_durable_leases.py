"""Leases, wake-ups and questions of durable runs: what errors and work behind a run do to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PausedException,
    StepInterrupted,
    StoreError,
    StoreFailed,
    UsageLimitExceededError,
)
from flujo_nb.engine.in_doubt import Verdict
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import AnswerRecorded
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Lease, Row
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.durable import Mortal, durable
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls, asks, questions, resumed, tokens


class Gate:
    """A step that works in the background until it is let go."""

    def __init__(self, **options: Any) -> None:
        self.opened = asyncio.Event()

        async def wait(data: object) -> int:
            await self.opened.wait()
            return 1

        self.step = Step.from_callable(wait, name="gate", execution_mode="background", **options)


# Leases.


def test_a_run_whose_rest_is_cancelled_can_be_taken_up_again(wait: Wait) -> None:
    class Slow(MemoryStore):
        rests = 0

        async def rest(
            self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
        ) -> Mapping[str, bytes]:
            self.rests += 1
            if self.rests == 1:
                resting.set()
                await asyncio.Event().wait()
            return await super().rest(lease, status, pauses, known)

    async def main() -> None:
        started = asyncio.Event()
        hang = [True]

        async def work(data: object) -> int:
            started.set()
            if hang[0]:
                await asyncio.Event().wait()
            return 1

        store = Slow()
        node = Step.from_callable(work, name="work")
        task = asyncio.ensure_future(durable(node, store).run_async("x", run_id="r").result())
        await started.wait()
        task.cancel()
        await resting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hang[0] = False
        assert (await durable(node, store).run_async(run_id="r")).success  # another runner's

    resting = asyncio.Event()
    wait(main())


def test_a_run_that_fails_over_work_in_the_background_is_given_back(wait: Wait) -> None:
    async def main() -> None:
        async def spend(data: object) -> Metered:
            return Metered(data, Usage(tokens=100))

        gate = Gate()
        node = gate.step >> step(name="one")(spend) >> step(name="two")(spend)
        store = MemoryStore()
        runner = durable(node, store, usage_limits=tokens(10))
        with pytest.raises(UsageLimitExceededError):
            await runner.run_async("x", run_id="r")
        assert store.run("r").owner is not None  # its work in the background goes on
        gate.opened.set()
        await runner._tasks.drain()
        await runner.aclose()
        assert (store.run("r").owner, store.run("r").status) == (None, RunStatus.ABORTED)

    wait(main())


def test_a_fork_that_cannot_be_read_is_given_back(wait: Wait) -> None:
    class Blind(MemoryStore):
        def rows(self, run_id: str, upto: int | None = None) -> Sequence[Row]:
            if run_id == "f":
                raise StoreFailed("it cannot be read")
            return super().rows(run_id, upto)

    async def main() -> None:
        store = Blind()
        runner = durable(Calls().step("a"), store)
        await runner.run_async("x", run_id="r")
        with pytest.raises(StoreFailed):
            await runner.fork("r", "a", run_id="f")
        assert store.run("f").owner is None

    wait(main())


def test_a_run_is_given_back_after_a_commit_that_failed(wait: Wait, tmp_path: Path) -> None:
    """So that another process may take it up, as soon as the store works again."""

    async def main() -> None:
        async def big(data: object) -> Metered:
            return Metered(1, Usage(tokens=2**63))  # more than a store can count

        store = SqliteStore(tmp_path / "runs" / "r.db")
        with pytest.raises(StoreError):
            await Flujo(step(name="big")(big), state_backend=store).run_async("x", run_id="r")
        assert (store.run("r").owner, store.run("r").status) == (None, RunStatus.INTERRUPTED)
        await store.aclose()

    wait(main())


def test_closing_does_not_wait_for_what_is_detached(wait: Wait) -> None:
    async def main() -> None:
        gate = Gate(on_close="detach")
        runner = durable(gate.step >> Calls().step("a"), MemoryStore())
        await runner.run_async("x", run_id="r")
        await asyncio.wait_for(runner.aclose(), 1)
        gate.opened.set()
        await runner._tasks.drain()

    wait(main())


# Wake-ups.


def test_an_answer_given_over_work_in_the_background_is_gone_on_with(wait: Wait) -> None:
    async def main() -> None:
        gate, store = Gate(), MemoryStore()
        runner = durable(gate.step >> asks() >> calls.step("after"), store)
        paused = await runner.run_async("x", run_id="r")
        assert isinstance(await runner.resume_async(paused, "yes"), AnswerRecorded)
        gate.opened.set()
        await runner._tasks.drain()
        await runner.aclose()
        assert (store.run("r").status, calls) == (RunStatus.COMPLETED, {"after": 1})

    calls = Calls()
    wait(main())


def test_what_goes_wrong_behind_a_result_is_logged(
    wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        gate, store = Gate(), Mortal()
        runner = durable(gate.step >> Calls().step("a"), store)
        await runner.run_async("x", run_id="r")
        store.left = 0
        gate.opened.set()
        await runner._tasks.drain()
        await runner.aclose()

    with caplog.at_level(logging.WARNING, "flujo_nb"):
        wait(main())
    assert any("run r, behind its result: the disk is gone" in one for one in caplog.messages)


def test_questions_of_one_name_are_answered_by_what_each_asks_for(wait: Wait) -> None:
    async def main() -> None:
        both = {"a": asks(input_schema=bool), "b": asks(input_schema=dict)}
        runner = durable(Step.parallel("both", both), MemoryStore())
        paused = await runner.run_async("x", run_id="r")
        first = await runner.resume_async("r", True, pause="both/:a/ask")
        assert questions(first) == ["both/:b/ask"]
        assert questions(paused) == ["both/:a/ask", "both/:b/ask"]
        assert (await resumed(runner, first, {"k": 1})).success

    wait(main())


# Steps that may run once only.


@pytest.mark.parametrize("stored", [True, False])
def test_an_answer_to_its_own_question_says_not_what_to_do_in_doubt(
    stored: bool, wait: Wait
) -> None:
    async def main() -> None:
        async def pay(data: object) -> str:
            calls["pay"] += 1
            if calls["pay"] == 1:
                raise PausedException("which account?")
            if calls["pay"] == 2:
                raise KeyboardInterrupt
            return f"paid by {data}"

        node = step(name="pay", at_most_once=True)(pay)
        runner = durable(node, MemoryStore()) if stored else Flujo(node)
        paused = await runner.run_async("x", run_id="r")
        with pytest.raises(StepInterrupted):
            await runner.resume_async(paused, "the first")
        doubt = await resumed(runner, paused, "the first")
        assert doubt.paused[0].schema == Verdict.model_json_schema()
        assert calls["pay"] == 2
        done = await resumed(runner, doubt, {"action": "take", "value": "paid"})
        assert done.output == "paid"

    calls = Calls()
    wait(main())
