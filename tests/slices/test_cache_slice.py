"""The behaviour of a `CacheStep`, whoever runs it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.cache_manager import MemoryCache
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, echo
from tests.engine.pauses import Calls, asks, broken_at
from tests.slices import loose, third_party
from tests.slices.parts import add, count, dear, fails, interrupt, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Cache, third_party.Cache)


def cached(wrapped: Any, **options: Any) -> Any:
    return CacheStep(
        name=wrapped.name, wrapped_step=wrapped, cache_backend=MemoryCache(), **options
    )


def test_the_step_runs_once_on_one_input(runs: Runs) -> None:
    calls = Calls()
    node = cached(calls.step("work"))
    first, second, other = (runs(node, data) for data in ("x", "x", "y"))
    assert (first.output, second.output, other.output) == ("x work", "x work", "y work")
    assert calls == {"work": 2}
    assert paths_in(first.step_history) == ["work", "work/cached"]
    assert paths_in(second.step_history) == ["work"]
    assert only(second).metadata["cache_hit"] is True
    assert "cache_hit" not in only(other).metadata


def test_inputs_of_different_types_are_different(runs: Runs) -> None:
    calls = Calls()
    node = cached(calls.step("work", repr))
    assert [runs(node, data).output for data in (1, True, 1.0, "1")] == ["1", "True", "1.0", "'1'"]
    assert calls == {"work": 4}


def test_fields_of_the_context_may_count_as_input(runs: Runs) -> None:
    calls = Calls()
    node = cached(calls.step("work"), context_keys=("total",))
    for total in (1, 1, 2):
        runs(node, "x", initial_context_data={"total": total})
    assert calls == {"work": 2}


def test_a_hit_changes_the_context_as_the_step_would(runs: Runs) -> None:
    node = cached(count)
    for _ in range(2):
        result = runs(node, "x", initial_context_data={"total": 4})
        assert result.final_pipeline_context == Counts(total=5, names=["x"])


def test_a_hit_costs_nothing(runs: Runs) -> None:
    node = cached(dear)
    assert runs(node, "x", usage_limits=tokens(2)).total_tokens == 2
    assert runs(node, "x", usage_limits=tokens(0)).total_tokens == 0


def test_a_failure_is_not_kept(runs: Runs) -> None:
    bad = ["x"]
    calls = Calls()
    node = cached(calls.step("work", lambda data: broken_at(*bad)(data)))
    result = runs(node, "x")
    assert (result.status, only(result).feedback) == (
        RunStatus.FAILED,
        "ValueError: cannot use 'x'",
    )
    bad.clear()
    assert runs(node, "x").output == "x"
    assert calls == {"work": 2}


def test_what_is_asked_for_twice_at_once_runs_once(runs: Runs) -> None:
    calls = Calls()

    async def work(data: object) -> str:
        await asyncio.sleep(0.001)
        return "done"

    node = cached(calls.step("work", work))
    both = Step.parallel("both", {"a": node, "b": node, "c": node})
    assert runs(both, "x").output == {"a": "done", "b": "done", "c": "done"}
    assert calls == {"work": 1}


def test_when_the_first_fails_the_next_one_tries(runs: Runs) -> None:
    calls = Calls()

    async def work(data: object) -> str:
        await asyncio.sleep(0.001)
        if calls["work"] == 1:
            raise ValueError("first")
        return "done"

    node = cached(calls.step("work", work))
    result = runs(Step.map_over("map", node, max_concurrency=3, on_item_failure="keep"), ["x"] * 3)
    assert [getattr(one, "success", one) for one in result.output] == [False, "done", "done"]
    assert calls == {"work": 2}


def test_a_breach_of_the_budget_ends_the_run(runs: Runs) -> None:
    partial = runs.breach(cached(dear) >> echo, "x", usage_limits=tokens(1))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 0)
    assert paths_in(partial.step_history) == ["dear", "dear/cached"]


def test_chunks_come_when_the_step_runs(runs: Runs) -> None:
    node = cached(say)
    assert runs(node, 1).output == "1a1b"
    assert runs.chunks == [("say/cached", "1a", 1), ("say/cached", "1b", 1)]
    assert runs(node, 1).output == "1a1b"
    assert runs.chunks == []


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    node = cached(add)
    runs(node, 1)
    assert runs.events == [
        *("started add", "started add/cached", "completed add/cached", "completed add")
    ]
    runs(node, 1)
    assert runs.events == ["started add", "completed add"]


def test_a_pause_inside_goes_on_and_what_it_led_to_is_kept(runs: Runs) -> None:
    calls = Calls()
    inside = Step.branch_on(
        "inside",
        lambda data: "a",
        {"a": calls.step("before") >> asks("ask") >> calls.step("after")},
    )
    node = cached(inside)
    paused = runs(node, "x")
    assert [str(one.path) for one in paused.paused] == ["inside/cached/:a/ask"]
    assert runs.resume(paused, "yes").output == "yes after"
    assert runs(node, "x").output == "yes after"
    assert calls == {"before": 1, "after": 1}


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    node = cached(interrupt)
    for _ in range(2):
        with pytest.raises(StepInterrupted):
            runs(node, 1)
        assert runs.events[-2:] == ["interrupted interrupt/cached", "interrupted interrupt"]


def test_a_step_that_fails_changes_nothing(runs: Runs) -> None:
    assert runs(cached(fails()), 1).final_pipeline_context == Counts()


def test_the_wrapped_step_may_write_to_the_context(runs: Runs) -> None:
    @step(updates_context=True)
    def write(data: int) -> dict[str, int]:
        return {"total": data}

    node = cached(write)
    for _ in range(2):
        assert runs(node, 3).final_pipeline_context == Counts(total=3)
