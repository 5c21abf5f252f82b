"""Lost values, replays, forks, budgets and secrets of durable runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.cache_manager import CacheEntry
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    DefinitionChanged,
    ReplayMismatch,
    ValueGone,
)
from flujo_nb.engine.outcome_codec import MAX_TRACEBACK
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.stores import Row
from flujo_nb.engine.usage import Usage
from tests.engine.durable import KEY, dies, durable
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls, asks, questions, resumed


def live(calls: Calls, name: str) -> Any:
    """A step that gives what cannot be saved."""

    async def work(data: object) -> object:
        calls[name] += 1
        return lambda: name

    return Step.from_callable(work, name=name)


def uses(calls: Calls, name: str, broken: list[bool] | None = None) -> Any:
    """A step that calls what it is given."""

    async def work(data: Any) -> object:
        calls[name] += 1
        if broken and broken[0]:
            raise ValueError(name)
        return data()

    return Step.from_callable(work, name=name)


# Values that were only in memory.


def test_a_container_never_records_the_mark_of_a_lost_value(wait: Wait) -> None:
    async def main(left: int) -> None:
        calls = Calls()
        choice = Step.branch_on("choice", lambda _: "a", branches={"a": live(calls, "make")})
        node = choice >> uses(calls, "use")
        store = await dies(node, "x", left, persist="auto")
        result = await durable(node, store, persist="auto").run_async(run_id="r")
        assert (result.success, result.output) == (True, "make")

    for left in range(1, 6):
        wait(main(left))


def test_a_cache_never_holds_the_mark_of_a_lost_value(wait: Wait) -> None:
    class Backend:
        def __init__(self) -> None:
            self.kept: dict[str, object] = {}

        def get(self, key: str) -> object:
            return self.kept.get(key)

        def set(self, key: str, value: object) -> None:
            assert isinstance(value, CacheEntry)
            assert callable(value.output)
            self.kept[key] = value

    async def main(left: int) -> None:
        calls, backend = Calls(), Backend()
        node = Step.cached(live(calls, "make"), cache_backend=backend) >> uses(calls, "use")
        store = await dies(node, "x", left, persist="auto")
        backend.kept.clear()
        result = await durable(node, store, persist="auto").run_async(run_id="r")
        assert result.output == "make"

    for left in range(1, 6):
        wait(main(left))


def test_values_that_are_gone_are_made_once_in_a_resume(wait: Wait) -> None:
    async def main() -> None:
        broken = [True]
        names = {name: live(calls, name) >> uses(calls, f"use {name}", broken) for name in "abc"}
        node = Step.parallel("all", names, on_branch_failure="ignore")
        store = await dies(node, "x", 3, persist="auto")
        assert {row.path for row in store.rows("r") if row.status == "failure"}
        broken[0] = False
        calls.clear()
        result = await durable(node, store, persist="auto").run_async(run_id="r")
        assert result.remade == [f"all/:{name}/{name}" for name in "abc"]
        assert set(calls.values()) == {1}

    calls = Calls()
    wait(main())


def test_all_that_a_container_lost_is_made_again_in_one_go(wait: Wait) -> None:
    async def main() -> None:
        node = Step.map_over("each", live(calls, "make")) >> Calls().step("count", len)
        store = await dies(node, range(5), 6, persist="auto")
        calls.clear()
        result = await durable(node, store, persist="auto").run_async(run_id="r")
        assert result.output == 5
        assert len(result.remade) == calls["make"] == 5
        assert max(store.rows("r")[-1].seq, 0) < 60

    calls = Calls()
    wait(main())


def test_an_input_that_is_gone_is_never_given_as_none(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = uses(calls, "use") >> asks() >> calls.step("after")
        store = await dies(node, lambda: "x", 1, persist="auto")
        runner = durable(node, store, persist="auto")
        with pytest.raises(ValueGone, match="give it again"):
            await runner.run_async(run_id="r")
        assert calls["use"] == 1  # by the process that died
        paused = await runner.run_async(lambda: "x", run_id="r")
        assert questions(paused) == ["ask"]
        # What needs it is recorded: nobody has to give it again.
        done = await durable(node, store, persist="auto").resume_async("r", "yes")
        assert isinstance(done, PipelineResult)
        assert done.output == "yes after"

    wait(main())


# Replays.


@pytest.mark.parametrize(("patch", "output"), [({"data": 3}, 5), ({"output": 42}, 42)])
def test_a_fork_with_a_patched_container_replays(patch: Any, output: int, wait: Wait) -> None:
    async def main() -> None:
        async def add(data: int) -> int:
            calls["add"] += 1
            return data + 1

        body = Step.from_callable(add, name="add")
        node = calls.step("first", lambda data: data) >> Step.loop_until(
            "loop", body, lambda data: data >= 5
        )
        runner = durable(node, MemoryStore())
        assert (await runner.run_async(1, run_id="r")).output == 5
        assert (await runner.fork("r", "loop", run_id="f", patch=patch)).output == output
        before = dict(calls)
        assert (await runner.replay("f")).output == output
        assert calls == before

    calls = Calls()
    wait(main())


def test_a_replay_asks_no_callable_whose_decision_could_not_be_saved(wait: Wait) -> None:
    class Perhaps:
        def __bool__(self) -> bool:
            return True

    async def main() -> None:
        exits = calls.counted("exit", lambda data: Perhaps())
        node = Step.loop_until("loop", calls.step("body"), exits)
        runner = durable(node, MemoryStore(), persist="auto")
        assert (await runner.run_async("x", run_id="r")).success
        calls.clear()
        with pytest.raises(ReplayMismatch, match="'exit' of loop"):
            await runner.replay("r")
        assert calls == {}

    calls = Calls()
    wait(main())


def test_a_replay_of_a_loop_whose_condition_raised_asks_it_nothing(wait: Wait) -> None:
    async def main() -> None:
        exits = calls.counted("exit", lambda data: 1 / 0)
        runner = durable(Step.loop_until("loop", calls.step("body"), exits), MemoryStore())
        failed = await runner.run_async("x", run_id="r")
        calls.clear()
        again = await runner.replay("r")
        assert (again.status, calls) == (failed.status, {})
        assert again.step_history[0].feedback == failed.step_history[0].feedback

    calls = Calls()
    wait(main())


# Forks.


def test_a_fork_knows_the_answers_to_the_questions_that_it_keeps(wait: Wait) -> None:
    async def main() -> None:
        async def say(data: object) -> object:
            said.append(data)
            return data

        say_it = Step.from_callable(say, name="say", input="{{ resume }}")
        node = asks() >> Calls().step("between") >> say_it
        runner = durable(node, MemoryStore())
        await resumed(runner, await runner.run_async("x", run_id="r"), "yes")
        await runner.fork("r", "say", run_id="f")
        await runner.fork("f", "say")
        assert said == ["yes"] * 3
        again = await runner.fork("r", "ask", run_id="g")
        assert questions(again) == ["ask"]

    said: list[object] = []
    wait(main())


def test_a_fork_that_would_keep_an_edited_step_makes_no_run(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(Calls().step("a") >> Calls().step("b"), store).run_async("x", run_id="r")
        edited = Calls().step("a", max_retries=3) >> Calls().step("b")
        with pytest.raises(DefinitionChanged) as caught:
            await durable(edited, store).fork("r", "b", run_id="f")
        assert caught.value.paths == ("a",)
        assert [run.run_id for run in store.runs()] == ["r"]
        assert (await durable(edited, store).fork("r", "a", run_id="f")).success

    wait(main())


# Budgets.


def spending(calls: Calls, error: str = "no") -> Any:
    """A step with two retries that uses ten tokens in each attempt, and a human as its fallback."""

    class Agent:
        async def run(self, data: object, meter: Any) -> str:
            calls["run"] += 1
            meter.used += Usage(tokens=10)
            raise ValueError(error)

    return Step.from_callable(Agent(), name="agent", max_retries=2, fallback_step=asks())


def test_a_fork_knows_what_all_attempts_of_a_frame_used_that_it_keeps(wait: Wait) -> None:
    class Agent:
        async def run(self, data: object, meter: Any) -> str:
            calls["run"] += 1
            meter.used += Usage(tokens=10)
            if calls["run"] < 3:
                raise ValueError
            return "ok"

    async def main() -> None:
        node = Step.from_callable(Agent(), name="agent", max_retries=2) >> Calls().step("b")
        runner = durable(node, MemoryStore())
        for result in (await runner.run_async("x", run_id="r"), await runner.fork("r", "b")):
            assert (result.total_tokens, result.step_history[0].token_counts) == (30, 30)

    calls = Calls()
    wait(main())


@pytest.mark.parametrize("anew", [True, False])
def test_what_was_used_before_a_fallback_counts_once(anew: bool, wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        runner = durable(spending(calls), store)
        paused = await runner.run_async("x", run_id="r")
        assert paused.total_tokens == store.run("r").tokens == 30
        if anew:
            runner = durable(spending(calls), store)
        result = await resumed(runner, paused, "yes")
        assert result.total_tokens == store.run("r").tokens == 30
        restored = await runner.run_async(run_id="r")
        for one in (result, restored):
            assert (one.step_history[0].token_counts, one.output) == (30, "yes")
        assert calls["run"] == 3

    calls = Calls()
    wait(main())


def test_what_the_last_attempt_used_is_durable_before_the_fallback_starts(wait: Wait) -> None:
    async def main() -> None:
        async def look(data: object) -> int:
            return store.run("r").tokens

        class Agent:
            async def run(self, data: object, meter: Any) -> str:
                meter.used += Usage(tokens=10)
                raise ValueError

        store = MemoryStore()
        other = Step.from_callable(look, name="look")
        node = Step.from_callable(Agent(), name="agent", max_retries=0, fallback_step=other)
        result = await durable(node, store).run_async("x", run_id="r")
        assert (result.output, result.total_tokens, store.run("r").tokens) == (10, 10, 10)

    wait(main())


def test_a_fallback_is_gone_on_with_whatever_the_error_held(wait: Wait) -> None:
    """A text that looks like a key cannot be saved; the decision can."""

    async def main() -> None:
        store = MemoryStore()
        runner = durable(spending(calls, f"refused: {KEY}"), store)
        paused = await runner.run_async("x", run_id="r")
        assert (await resumed(runner, paused, "yes")).success
        assert calls["run"] == 3
        assert not any(KEY.encode() in row.body for row in store.rows("r"))

    calls = Calls()
    wait(main())


# What is written.


def test_no_schema_of_a_question_holds_what_looks_like_a_key(wait: Wait) -> None:
    class Wanted(BaseModel):
        token: str = KEY

    async def main() -> None:
        store = MemoryStore()
        runner = durable(asks(input_schema=Wanted), store)
        paused = await runner.run_async("x", run_id="r")
        assert not any(KEY.encode() in row.body for row in store.rows("r"))
        assert (await resumed(runner, paused, {"token": "t"})).output == Wanted(token="t")

    wait(main())


def test_no_part_of_a_key_is_left_by_the_end_of_a_traceback(wait: Wait) -> None:
    async def main(length: int) -> None:
        async def fail(data: object) -> None:
            raise ValueError(f"{KEY} {'y' * length}")

        store = MemoryStore()
        await durable(step(name="a")(fail), store).run_async("x", run_id="r")
        assert not any(KEY[10:].encode() in row.body for row in store.rows("r"))

    for length in range(MAX_TRACEBACK - 2 * len(KEY), MAX_TRACEBACK, 5):
        wait(main(length))


def test_a_resume_notes_what_is_defined_once(wait: Wait) -> None:
    def definitions(store: MemoryStore) -> list[Row]:
        return [row for row in store.rows("r") if (row.name or "").startswith("definition")]

    async def main() -> None:
        node = Calls().step("a") >> asks() >> Calls().step("b")
        store = MemoryStore()
        paused = await durable(node, store).run_async("x", run_id="r")
        assert len(definitions(store)) == 1
        await resumed(durable(node, store), paused, "yes")
        assert len(definitions(store)) == 1

    wait(main())
