"""The behaviour of a `MapStep`, whoever runs it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import MapStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, Log, echo
from tests.engine.pauses import Calls, asks, broken_at
from tests.slices import loose, third_party
from tests.slices.parts import add, add_async, dear, interrupt, note, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Map, third_party.Map)


def over(body: Any, **options: Any) -> Any:
    return MapStep(name="map", pipeline_to_run=body, **options)


@pytest.mark.parametrize("body", [add, add_async])
@pytest.mark.parametrize("limit", [1, 2])
def test_each_item_gives_a_result_in_its_place(runs: Runs, body: Any, limit: int) -> None:
    result = runs(over(body, max_concurrency=limit), [3, 1, 2])
    assert (result.status, result.output) == (RunStatus.COMPLETED, [4, 2, 3])
    assert only(result).attempts == 3
    assert paths_in(result.step_history) == [
        *("map", f"map/[0]/{body.name}", f"map/[1]/{body.name}", f"map/[2]/{body.name}")
    ]


def test_the_order_is_that_of_the_items_not_of_their_ends(runs: Runs) -> None:
    @step
    async def sleep(data: int) -> int:
        await asyncio.sleep(data / 1000)
        return data

    assert runs(over(sleep, max_concurrency=3), [9, 5, 1]).output == [9, 5, 1]


@pytest.mark.parametrize(
    ("items", "output"), [([], []), ((1, 2), [1, 2]), (range(2), [0, 1]), ([None, 1], [None, 1])]
)
def test_any_iterable_will_do_and_nothing_is_a_result_too(
    runs: Runs, items: Any, output: list[object]
) -> None:
    assert runs(over(echo), items).output == output


def test_the_items_may_stand_in_the_context(runs: Runs) -> None:
    given = {"names": ["a", "b"]}
    result = runs(over(echo >> echo, iterable_input="names"), None, initial_context_data=given)
    assert result.output == ["a", "b"]
    assert paths_in(result.step_history) == [
        "map",
        *("map/[0]/echo", "map/[0]/echo#1"),
        *("map/[1]/echo", "map/[1]/echo#1"),
    ]


@pytest.mark.parametrize("limit", [1, 3])
def test_all_items_start_from_the_maps_context_and_merge_in_their_order(
    runs: Runs, limit: int
) -> None:
    @step
    async def look(data: int, context: Log) -> int:
        await asyncio.sleep(data / 1000)
        context.items.append(data)
        return len(context.items)

    node = over(look, max_concurrency=limit)
    result = runs(node, [5, 1, 3], context_model=Log, initial_context_data={"items": ["x"]})
    assert result.output == [2, 2, 2]
    assert result.final_pipeline_context == Log(items=["x", 5, 1, 3])


@pytest.mark.parametrize("limit", [1, 2])
def test_an_item_that_fails_ends_the_map(runs: Runs, limit: int) -> None:
    body = note >> Step.from_callable(broken_at(2), name="work")
    result = runs(over(body, max_concurrency=limit) >> echo, [1, 2, 3])
    one = only(result)
    assert (result.status, one.success) == (RunStatus.FAILED, False)
    assert one.feedback == "item [1] failed: ValueError: cannot use 2"
    assert result.final_pipeline_context == Counts()


@pytest.mark.parametrize("limit", [1, 3])
def test_a_failure_may_be_kept(runs: Runs, limit: int) -> None:
    work = Step.from_callable(broken_at(2), name="work")
    result = runs(over(work >> note, max_concurrency=limit, on_item_failure="keep"), [1, 2, 3])
    first, bad, last = result.output
    assert (result.success, first, last) == (True, 1, 3)
    assert (bad.success, bad.feedback) == (False, "ValueError: cannot use 2")
    assert result.final_pipeline_context == Counts(names=["1", "3"])


def test_a_breach_of_the_budget_ends_the_run(runs: Runs) -> None:
    partial = runs.breach(over(dear, on_item_failure="keep"), [1, 2, 3], usage_limits=tokens(5))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 4)
    assert [one.token_counts for one in only(partial).step_history] == [2, 2, 0]


def test_items_in_flight_together_keep_the_budget_too(runs: Runs) -> None:
    node = over(dear, max_concurrency=3, on_item_failure="keep")
    partial = runs.breach(node, range(9), usage_limits=tokens(5))
    assert partial.total_tokens <= 4


def test_usage_adds_up(runs: Runs) -> None:
    result = runs(over(dear, max_concurrency=3), [1, 2, 3], usage_limits=tokens(6))
    assert (result.output, result.total_tokens, only(result).token_counts) == ([1, 2, 3], 6, 6)


def test_chunks_come_with_the_number_of_their_item(runs: Runs) -> None:
    runs(over(say), ["x", "y"])
    assert runs.chunks == [
        *(("map/[0]/say", "xa", 1), ("map/[0]/say", "xb", 1)),
        *(("map/[1]/say", "ya", 1), ("map/[1]/say", "yb", 1)),
    ]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(over(add >> add), [1])
    assert runs.events == [
        *("started map", "started map/[0]"),
        *("started map/[0]/add", "completed map/[0]/add"),
        *("started map/[0]/add#1", "completed map/[0]/add#1"),
        *("completed map/[0]", "completed map"),
    ]


def test_one_by_one_a_pause_waits_for_its_answer(runs: Runs) -> None:
    calls = Calls()
    node = over(calls.step("before") >> asks("ask") >> calls.step("after"))
    paused = runs(node, ["x", "y"])
    assert [(str(one.path), one.message) for one in paused.paused] == [("map/[0]/ask", "x before")]
    paused = runs.resume(paused, "1")
    assert [str(one.path) for one in paused.paused] == ["map/[1]/ask"]
    result = runs.resume(paused, "2")
    assert result.output == ["1 after", "2 after"]
    assert calls == {"before": 2, "after": 2}


def test_together_all_questions_are_asked_at_once(runs: Runs) -> None:
    calls = Calls()
    node = over(calls.step("before") >> asks("ask") >> calls.step("after"), max_concurrency=2)
    paused = runs(node, ["x", "y", "z"])
    assert [one.message for one in paused.paused] == ["x before", "y before", "z before"]
    for number in (2, 0):
        paused = runs.resume(paused, str(number), f"map/[{number}]/ask")
    result = runs.resume(paused, "1")
    assert result.output == ["0 after", "1 after", "2 after"]
    assert calls == {"before": 3, "after": 3}


def test_a_failure_that_was_kept_is_not_run_again(runs: Runs) -> None:
    calls = Calls()
    body = calls.step("work", broken_at("x")) >> asks("ask")
    result = runs.resume(runs(over(body, on_item_failure="keep"), ["x", "y"]), "yes")
    assert (result.success, result.output[1], calls) == (True, "yes", {"work": 2})


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(over(interrupt, on_item_failure="keep"), [1, 2])
    assert runs.events[-1] == "interrupted map"
