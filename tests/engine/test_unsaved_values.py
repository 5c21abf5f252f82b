"""Values that cannot be saved: what fails, what stays in memory, and what is made again."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine import outcome_codec
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.durable import Mortal, dies, durable, works
from tests.engine.fakes import Counts, Wait
from tests.engine.pauses import (
    Calls,
    questions,
    resumed,
)


def make_function(calls: Calls) -> Any:
    return calls.step("make", lambda data: len)


def use_function(calls: Calls) -> Any:
    return calls.step("use", lambda function: function("abc"))


def test_what_cannot_be_saved_fails_its_step_before_anything_follows(wait: Wait) -> None:
    calls = Calls()
    node = calls.step("make", lambda data: {"k": [len]}) >> calls.step("use")
    result = wait(durable(node, MemoryStore()).run_async("x").result())
    assert result.status is RunStatus.FAILED
    assert "output['k'][0] (builtin_function_or_method) cannot" in result.step_history[0].feedback
    assert calls == {"make": 1}


def test_what_need_not_be_saved_is_used_while_it_is_there(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = make_function(calls) >> use_function(calls)
        runner = durable(node, MemoryStore(), persist="auto")
        assert (await runner.run_async("x")).output == 3
        assert calls == {"make": 1, "use": 1}

    wait(main())


def test_a_value_that_is_gone_and_needed_is_made_again_once(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = make_function(calls) >> use_function(calls)
        store = await dies(node, "x", 2, persist="auto")
        assert calls == {"make": 1, "use": 1}
        result = await durable(node, store, persist="auto").run_async("x", run_id="r")
        assert result.output == 3
        assert calls == {"make": 2, "use": 2}

    wait(main())


def test_a_value_that_may_be_made_once_only_is_asked_for(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = calls.step("make", lambda data: len, at_most_once=True) >> use_function(calls)
        store = await dies(node, "x", 3, persist="auto")
        assert calls == {"make": 1, "use": 1}
        runner = durable(node, store, persist="auto")
        paused = await runner.run_async("x", run_id="r")
        assert questions(paused) == ["make"]
        assert (await resumed(runner, paused, {"action": "run_again"})).output == 3
        assert calls == {"make": 2, "use": 2}

    wait(main())


def test_what_a_step_did_to_the_context_is_done_again_when_it_is_gone(wait: Wait) -> None:
    class Loose(Counts):
        tool: Any = None

    async def main() -> None:
        calls = Calls()

        async def sets(data: object, context: Loose) -> str:
            calls["sets"] += 1
            context.tool = len
            return "set"

        async def uses(data: object, context: Loose) -> int:
            calls["uses"] += 1
            return int(context.tool("abc"))

        node = Step.from_callable(sets, name="sets") >> Step.from_callable(uses, name="uses")
        options: Any = {"persist": "auto", "context_model": Loose}
        store = await dies(node, "x", 2, **options)
        assert calls == {"sets": 1, "uses": 1}
        result = await durable(node, store, **options).run_async("x", run_id="r")
        assert result.output == 3
        assert calls == {"sets": 2, "uses": 2}

    wait(main())


def test_a_large_value_is_live_only_unless_it_has_to_be_saved(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_codec, "MAX_AUTO_BYTES", 1_000)

    async def main(persist: str) -> tuple[Any, Calls]:
        calls = Calls()
        node = calls.step("make", lambda data: "x" * 2_000) >> calls.step("use", len)
        store = await dies(node, "x", 2, persist=persist)
        result = await durable(node, store, persist=persist).run_async("x", run_id="r")
        return result.output, calls

    assert wait(main("auto")) == (2_000, {"make": 2, "use": 2})
    assert wait(main("require")) == (2_000, {"make": 1, "use": 2})


def test_with_never_nothing_is_kept(wait: Wait) -> None:
    store = MemoryStore()
    result = wait(durable(Calls().step("a"), store, persist="never").run_async("x").result())
    assert (result.output, store.runs()) == ("x a", [])


# Functions that containers ask.


def looped(calls: Calls) -> Any:
    body = calls.step("make", lambda data: len)
    exits = calls.counted("asked", lambda function: function("abc") == 3)
    return works(calls, "first") >> Step.loop_until("loop", body, exits) >> use_function(calls)


def reduced(calls: Calls) -> Any:
    inside = {"a": calls.step("make", lambda data: len), "b": works(calls, "b")}
    reduce = calls.counted("asked", lambda results: results[0].output)
    return (
        works(calls, "first") >> Step.parallel("both", inside, reduce=reduce) >> use_function(calls)
    )


@pytest.mark.parametrize("make", [looped, reduced])
def test_what_is_gone_is_made_again_for_a_function_that_is_asked(make: Any, wait: Wait) -> None:
    """Killed at every commit: no function is ever given what only stands for a value."""

    async def main() -> None:
        whole = Mortal()
        await durable(make(Calls()), whole, persist="auto").run_async("x")
        for left in range(len(whole.batches) + 1):
            calls = Calls()
            store = await dies(make(calls), "x", left, persist="auto")
            result = await durable(make(calls), store, persist="auto").run_async("x", run_id="r")
            assert result.output == 3, left
            assert max(calls.values()) <= 2, left

    wait(main())
