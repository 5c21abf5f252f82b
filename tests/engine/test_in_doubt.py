"""Steps that may run once only: what is asked when nobody knows whether one did its work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import AnswerRejected, PausedException, StoreFailed
from flujo_nb.engine.in_doubt import Verdict
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.durable import Mortal, dies, durable
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls, questions, resumed

BEGUN = 2  # appends until the step's row says that it began: the run's own, then that


def pay(calls: Calls, function: Any = None, **options: Any) -> Any:
    return calls.step("pay", function, at_most_once=True, **options)


def paid(calls: Calls) -> Any:
    return pay(calls) >> calls.step("thank")


async def crashed(calls: Calls, left: int = BEGUN) -> tuple[Mortal, Any]:
    """A store in which the process was killed while the step worked, and another's runner."""
    store = await dies(paid(calls), "x", left)
    return store, durable(paid(calls), store)


def test_a_step_says_that_it_began_before_it_does(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()

        async def look(data: object) -> int:
            [row] = [one for one in store.rows("r") if one.path == "pay"]
            assert (row.kind, row.status) == ("started", "at_most_once")
            return 1

        result = await durable(pay(calls, look), store).run_async("x", run_id="r")
        assert result.output == 1

    calls = Calls()
    wait(main())


def test_a_step_whose_beginning_cannot_be_noted_does_not_run(wait: Wait) -> None:
    calls = Calls()
    wait(crashed(calls, BEGUN - 1))
    assert calls == {}


def test_after_a_crash_the_run_asks_and_runs_nothing(wait: Wait) -> None:
    async def main() -> None:
        store, runner = await crashed(calls)
        assert calls == {"pay": 1}
        for _ in range(2):
            result = await runner.run_async("x", run_id="r")
            assert questions(result) == ["pay"]
            assert "may run once only" in result.paused[0].message
            assert result.paused[0].schema == Verdict.model_json_schema()
        assert store.run("r").status == RunStatus.PAUSED
        assert calls == {"pay": 1}

    calls = Calls()
    wait(main())


async def decided(calls: Calls, verdict: object) -> tuple[Any, PipelineResult]:
    _, runner = await crashed(calls)
    await runner.run_async(run_id="r")
    return runner, await resumed(runner, await runner.run_async(run_id="r"), verdict)


def test_it_is_run_again_when_a_human_says_so(wait: Wait) -> None:
    calls = Calls()
    _, result = wait(decided(calls, {"action": "run_again"}))
    assert result.output == "x pay thank"
    assert calls == {"pay": 2, "thank": 1}


def test_a_value_stands_in_for_what_it_gave(wait: Wait) -> None:
    calls = Calls()
    _, result = wait(decided(calls, Verdict(action="take", value=[7])))
    assert result.output == "[7] thank"
    assert calls == {"pay": 1, "thank": 1}


def test_it_fails_and_stays_failed_when_a_human_says_so(wait: Wait) -> None:
    async def main() -> None:
        runner, result = await decided(calls, {"action": "fail"})
        for _ in range(3):
            assert result.status is RunStatus.FAILED
            assert result.step_history[0].feedback.startswith("StepInDoubt: ")
            result = await runner.run_async(run_id="r")
        assert calls == {"pay": 1}

    calls = Calls()
    wait(main())


def test_only_a_verdict_is_an_answer(wait: Wait) -> None:
    async def main() -> None:
        _, runner = await crashed(calls)
        paused = await runner.run_async(run_id="r")
        for answer in ("yes", {"action": "maybe"}, {"action": "fail", "why": 1}):
            with pytest.raises(AnswerRejected):
                await runner.resume_async(paused, answer)
        assert (await resumed(runner, paused, {"action": "take", "value": 1})).success

    calls = Calls()
    wait(main())


def test_run_again_is_said_for_one_time_only(wait: Wait) -> None:
    """A second crash asks a second question."""

    async def main() -> None:
        store, runner = await crashed(calls)
        paused = await runner.run_async(run_id="r")
        store.left = 2  # the run is taken up, the step begins
        with pytest.raises(StoreFailed):
            await runner.resume_async(paused, {"action": "run_again"})
        assert calls == {"pay": 2}
        store.revive()
        runner = durable(paid(calls), store)
        paused = await runner.run_async(run_id="r")
        assert questions(paused) == ["pay"]
        assert calls == {"pay": 2}
        result = await resumed(runner, paused, {"action": "take", "value": 1})
        assert result.output == "1 thank"

    calls = Calls()
    wait(main())


def test_a_committed_success_is_never_asked_about(wait: Wait) -> None:
    async def main() -> Any:
        _, runner = await crashed(calls, BEGUN + 1)
        return await runner.run_async("x", run_id="r")

    calls = Calls()
    assert wait(main()).output == "x pay thank"
    assert calls == {"pay": 1, "thank": 2}


@pytest.mark.parametrize("kept", [True, False], ids=["in a store", "in memory"])
def test_after_a_time_out_it_is_asked_about_at_once(wait: Wait, kept: bool) -> None:
    async def main() -> None:
        @step(name="pay", at_most_once=True, timeout_s=0.01)
        async def sleeps(data: object) -> None:
            calls["pay"] += 1
            await asyncio.sleep(2)

        node = sleeps >> calls.step("thank")
        runner = durable(node, MemoryStore() if kept else None)  # type: ignore[arg-type]
        result = await runner.run_async("x")
        assert questions(result) == ["pay"]
        assert (
            await resumed(runner, result, {"action": "take", "value": "ok"})
        ).output == "ok thank"
        assert calls == {"pay": 1, "thank": 1}

    calls = Calls()
    wait(main())


def test_after_an_interrupt_it_is_asked_about(wait: Wait) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        @step(name="pay", at_most_once=True)
        async def sleeps(data: object) -> None:
            calls["pay"] += 1
            entered.set()
            await asyncio.sleep(2)

        store = MemoryStore()
        runner = durable(sleeps >> calls.step("thank"), store)
        task = asyncio.create_task(runner.run_async("x", run_id="r").result())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.run("r").status == RunStatus.INTERRUPTED
        assert questions(await runner.run_async(run_id="r")) == ["pay"]
        assert calls == {"pay": 1}

    calls = Calls()
    wait(main())


def test_what_it_raises_itself_is_its_failure_and_it_may_run_again(wait: Wait) -> None:
    async def main() -> None:
        def declined(data: object) -> str:
            if calls["pay"] == 1:
                raise ValueError("declined")
            return "paid"

        runner = durable(pay(calls, declined), MemoryStore())
        result = await runner.run_async("x", run_id="r")
        assert result.step_history[0].feedback == "ValueError: declined"
        assert (await runner.run_async(run_id="r")).output == "paid"
        assert calls == {"pay": 2}

    calls = Calls()
    wait(main())


def test_an_output_that_cannot_be_saved_leaves_it_in_doubt(wait: Wait) -> None:
    async def main() -> None:
        runner = durable(pay(calls, lambda data: len), MemoryStore())
        result = await runner.run_async("x", run_id="r")
        assert result.status is RunStatus.FAILED
        assert "cannot be saved" in result.step_history[0].feedback
        result = await runner.run_async(run_id="r")
        assert questions(result) == ["pay"]
        assert calls == {"pay": 1}

    calls = Calls()
    wait(main())


def test_it_has_no_retries_and_no_fallback(wait: Wait) -> None:
    def declined(data: object) -> str:
        raise ValueError("declined")

    calls = Calls()
    node = pay(calls, declined, fallback_step=calls.step("other"))
    result = wait(durable(node, MemoryStore()).run_async("x").result())
    assert result.status is RunStatus.FAILED
    assert calls == {"pay": 1}


def test_an_agent_has_no_retries_either(wait: Wait) -> None:
    class Payer:
        async def run(self, data: object) -> str:
            calls["run"] += 1
            raise ValueError("declined")

    calls = Calls()
    node = Step(name="pay", agent=Payer(), config=StepConfig(at_most_once=True))
    wait(durable(node, MemoryStore()).run_async("x").result())
    assert calls == {"run": 1}
    with pytest.raises(ValueError, match="no retries"):
        StepConfig(at_most_once=True, max_retries=1)


def test_an_agent_that_asks_by_itself_gets_the_answer(wait: Wait) -> None:
    class Payer:
        async def run(self, data: object) -> str:
            calls["run"] += 1
            if data != "yes":
                raise PausedException("really?")
            return "paid"

    async def main() -> None:
        runner = durable(node, MemoryStore())
        paused = await runner.run_async("x", run_id="r")
        assert paused.paused[0].message == "really?"
        assert (await resumed(runner, paused, "yes")).output == "paid"
        assert calls == {"run": 2}

    calls = Calls()
    node = Step(name="pay", agent=Payer(), config=StepConfig(at_most_once=True))
    wait(main())


def test_each_frame_has_a_key_of_its_own_that_a_resume_keeps(wait: Wait) -> None:
    keys: list[str] = []

    async def main() -> None:
        async def work(data: object, frame: Any) -> object:
            keys.append(frame.idempotency_key)
            return data

        node = Step.map_over("each", calls.step("pay", work)) >> calls.step("fails", fails)
        runner = durable(node, MemoryStore())
        await runner.run_async(["a", "b"], run_id="r")
        await runner.fork("r", "each", run_id="f")

    async def fails(data: object) -> None:
        raise ValueError

    calls = Calls()
    wait(main())
    assert keys == [f"{run}:each/[{item}]/pay" for run in "rf" for item in (0, 1)]


def test_what_ran_later_than_a_fork_is_asked_about_there(wait: Wait) -> None:
    async def main() -> None:
        node = calls.step("first") >> paid(calls)
        runner = durable(node, MemoryStore())
        await runner.run_async("x", run_id="r")
        fork = await runner.fork("r", "first", run_id="f")
        assert questions(fork) == ["pay"]
        assert (await resumed(runner, fork, {"action": "run_again"})).success
        kept = await runner.fork("r", "thank")
        assert kept.success
        assert calls == {"first": 2, "pay": 2, "thank": 3}

    calls = Calls()
    wait(main())
