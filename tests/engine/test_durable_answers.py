"""Answers to runs of a store: from any process, in any order; and work behind such runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import (
    AlreadyAnswered,
    AnswerRejected,
    ResumeError,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import AnswerRecorded
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.behind import behind
from tests.engine.durable import durable
from tests.engine.fakes import Wait
from tests.engine.pauses import (
    Calls,
    asks,
    questions,
    started,
)


def asked_at_once() -> Any:
    inside = {"a": asks("x"), "b": asks("y", input_schema=int)}
    return Step.parallel("both", inside) >> Step.from_callable(lambda data: str(data), name="end")


def test_answers_come_from_any_process_in_any_order(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        await started(durable(asked_at_once(), store), "x", run_id="r")
        with pytest.raises(ResumeError, match=r"both/:a/x.*both/:b/y"):
            await durable(asked_at_once(), store).resume_async("r", 1)
        with pytest.raises(ResumeError, match="nothing asks at elsewhere"):
            await durable(asked_at_once(), store).resume_async("r", 1, pause="elsewhere")
        with pytest.raises(AnswerRejected):
            await durable(asked_at_once(), store).resume_async("r", "one", pause="both/:b/y")
        paused: Any = await durable(asked_at_once(), store).resume_async("r", 1, pause="both/:b/y")
        assert questions(paused) == ["both/:a/x"]
        result: Any = await durable(asked_at_once(), store).resume_async("r", "ok")
        assert result.output == "{'a': 'ok', 'b': 1}"

    wait(main())


def test_the_first_answer_holds(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        await started(durable(asked_at_once(), store), "x", run_id="r")
        runner = durable(asked_at_once(), store)
        await runner.resume_async("r", 1, pause="both/:b/y")
        await runner.resume_async("r", 1, pause="both/:b/y")
        for other in (2, True):
            with pytest.raises((AlreadyAnswered, AnswerRejected)):
                await runner.resume_async("r", other, pause="both/:b/y")

    wait(main())


def test_an_answer_that_the_context_refuses_opens_the_question_again(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        node = asks(sink_to="total") >> Step.from_callable(lambda data: data, name="end")
        await started(durable(node, store), "x", run_id="r")
        for answer in ("many", "more"):
            paused: Any = await durable(node, store).resume_async("r", answer)
            assert questions(paused) == ["ask"]
        result: Any = await durable(node, store).resume_async("r", 5)
        assert result.output == 5
        assert result.final_pipeline_context.total == 5

    wait(main())


def test_an_answer_to_a_run_at_work_is_taken_up_by_it(wait: Wait) -> None:
    """The run rests only when it has seen all answers."""

    async def main() -> None:
        store = MemoryStore()
        entered, go = asyncio.Event(), asyncio.Event()

        async def works(data: object) -> object:
            entered.set()
            await go.wait()
            return data

        branch = asks("x") >> Step.from_callable(works, name="works")
        node = Step.parallel("both", {"a": branch, "b": asks("y")})
        await started(durable(node, store), "x", run_id="r")
        first = asyncio.create_task(durable(node, store).resume_async("r", 1, pause="both/:a/x"))
        await entered.wait()
        other = durable(node, store)
        recorded = await other.resume_async("r", 2, pause="both/:b/y")
        assert isinstance(recorded, AnswerRecorded)
        assert (recorded.run_id, str(recorded.path)) == ("r", "both/:b/y")
        assert "process" in str(recorded.owner)
        go.set()
        result: Any = await first
        assert result.output == {"a": 1, "b": 2}

    wait(main())


# Work behind the run.


def test_work_behind_the_run_is_recorded_and_not_launched_again(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = MemoryStore()

        async def job(data: object) -> object:
            calls["job"] += 1
            await asyncio.sleep(0.01)
            return data

        node = behind(job) >> calls.step("last")
        runner = durable(node, store)
        result = await runner.run_async("x", run_id="r")
        assert result.output == "x last"
        assert store.run("r").status == RunStatus.RUNNING
        await runner.aclose()
        assert store.run("r").status == RunStatus.COMPLETED
        again = await durable(node, store).run_async("x", run_id="r")
        assert again.output == "x last"
        assert calls == {"job": 1, "last": 1}

    wait(main())


def test_what_failed_behind_the_run_is_launched_again(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = MemoryStore()

        async def job(data: object) -> object:
            calls["job"] += 1
            if calls["job"] == 1:
                raise ValueError("once")
            return data

        node = behind(job) >> calls.step("last")
        for _ in range(3):
            runner = durable(node, store)
            await runner.run_async("x", run_id="r")
            await runner.aclose()
        assert calls == {"job": 2, "last": 1}

    wait(main())
