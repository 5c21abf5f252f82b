"""Runs of a store by their ids: what begins them, what goes on with them, and their budgets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flujo_nb.engine.errors import (
    ConfigurationError,
    RunInputMismatch,
    UsageLimitExceededError,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.usage import Usage, UsageEstimate
from tests.engine.durable import Mortal, dies, durable
from tests.engine.fakes import Wait
from tests.engine.pauses import (
    Calls,
    asks,
    questions,
    resumed,
    spends,
    started,
    tokens,
)

# Ids and inputs.


def test_a_known_run_is_gone_on_with_on_the_same_input(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = calls.step("a") >> calls.step("b", lambda data: 1 / (calls["b"] - 1))
        store = MemoryStore()
        for data in ({"k": [1]}, {"k": [1]}, None):
            result = await durable(node, store).run_async(data, run_id="r")
        assert calls == {"a": 1, "b": 2}
        assert result.restored
        for other in ({"k": [True]}, {"k": [1, 2]}, "x"):
            with pytest.raises(RunInputMismatch, match=r"run r was begun with .*\[1\]"):
                await durable(node, store).run_async(other, run_id="r")

    wait(main())


def test_what_a_run_died_before_noting_is_noted_when_it_is_resumed(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = await dies(calls.step("a"), "x", 0)
        assert calls == {}
        runner = durable(calls.step("a"), store)
        assert (await runner.run_async("x", run_id="r")).output == "x a"
        assert (await durable(calls.step("a"), store).replay("r")).output == "x a"
        with pytest.raises(RunInputMismatch):
            await runner.run_async("y", run_id="r")

    wait(main())


def test_runs_without_an_id_get_one_each(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        runner = durable(Calls().step("a"), store)
        first, second = await asyncio.gather(*(runner.run_async("x").result() for _ in range(2)))
        assert {first.run_id, second.run_id} == {run.run_id for run in store.runs()}
        assert first.run_id != second.run_id

    wait(main())


@pytest.mark.warm("it is about runners without a store")
@pytest.mark.parametrize("call", ["replay", "fork", "resume_async"])
def test_without_a_store_there_is_no_run_to_go_on_with(call: str, wait: Wait) -> None:
    runner = Flujo(Calls().step("a"))
    given = ("r", "a") if call == "fork" else ("r",)
    with pytest.raises(ConfigurationError, match="no store"):
        wait(getattr(runner, call)(*given))


def test_a_run_is_kept_in_a_file(wait: Wait, tmp_path: Path) -> None:
    async def main() -> None:
        calls = Calls()
        path = tmp_path / "runs.db"
        node = calls.step("a") >> asks() >> calls.step("b")
        paused = await Flujo(node, state_backend=path).run_async("x", run_id="r")
        assert questions(paused) == ["ask"]
        result = await Flujo(node, state_backend=str(path)).resume_async("r", "ok")
        assert isinstance(result.output, str)
        assert (result.output, calls) == ("ok b", {"a": 1, "b": 1})
        store = SqliteStore(path)
        assert store.run("r").status == RunStatus.COMPLETED
        await store.aclose()

    wait(main())


# Budgets.


def test_limits_hold_for_all_of_a_run_however_often_it_is_resumed(wait: Wait) -> None:
    async def main() -> None:
        node = spends("a", 3) >> asks() >> spends("b", 3, estimate=3)
        store = MemoryStore()
        paused = await started(durable(node, store, usage_limits=tokens(5)), "x", run_id="r")
        runner = durable(node, store)  # the recorded limit holds
        with pytest.raises(UsageLimitExceededError) as caught:
            await resumed(runner, paused, "ok")
        assert caught.value.result is not None
        assert caught.value.result.total_tokens == 3
        more = durable(node, store, usage_limits=tokens(6))
        result = await more.run_async(run_id="r")
        assert result.success
        assert result.total_tokens == 6

    wait(main())


def test_what_a_step_was_expected_to_use_is_spent_after_a_crash(wait: Wait) -> None:
    async def main() -> None:
        node = spends("a", 1, estimate=7) >> spends("b", 2)
        store = await dies(node, "x", 2)  # the run began, the step began
        result = await durable(node, store).run_async("x", run_id="r")
        assert (result.total_tokens, result.uncertain.tokens) == (1 + 2, 7)
        again = await durable(node, store).run_async(run_id="r")
        assert (again.total_tokens, again.uncertain.tokens) == (1 + 2, 7)
        store = await dies(node, "x", 2)
        with pytest.raises(UsageLimitExceededError):
            await durable(node, store, usage_limits=tokens(12)).run_async("x", run_id="r")

    wait(main())


def test_an_attempt_that_used_something_is_durable_before_the_next(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()

        class Agent:
            def __init__(self) -> None:
                self.attempts = 0

            async def run(self, data: object, meter: Any) -> str:
                self.attempts += 1
                spent = [row.tokens for row in store.rows("r") if row.kind == "attempt"]
                assert spent == [5] * (self.attempts - 1)
                meter.used += Usage(tokens=5)
                if self.attempts < 3:
                    raise ValueError("again")
                return "done"

        step = Step.from_callable(Agent(), name="agent", max_retries=2)
        result = await durable(step, store).run_async("x", run_id="r")
        assert result.success, result.step_history[0].feedback
        assert result.total_tokens == 15
        assert store.run("r").tokens == 15
        restored = await durable(step, store).run_async("x", run_id="r")
        assert restored.step_history[0].token_counts == 15

    wait(main())


def test_an_estimate_that_does_not_fit_ends_the_run_durably(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = calls.step("a") >> calls.step("b", estimate=UsageEstimate(tokens=9))
        store = MemoryStore()
        with pytest.raises(UsageLimitExceededError):
            await durable(node, store, usage_limits=tokens(5)).run_async("x", run_id="r")
        assert store.run("r").owner is None
        result = await durable(node, store, usage_limits=tokens(50)).run_async("x", run_id="r")
        assert result.success
        assert calls == {"a": 1, "b": 1}

    wait(main())
