"""One body for each item: where items come from, what becomes of each, how results stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import human_in_the_loop, loop_until, map_over
from flujo_nb.engine.errors import FlujoError
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.merging import Merge
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus, Success
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Node
from tests.engine.fakes import (
    Counts,
    Log,
    Wait,
    broken,
    echo,
    echo_async,
    names_in,
    outcome_of,
    runner_of,
)

WAYS = pytest.mark.parametrize("limit", [1, 2, 9])


class Tally(BaseModel):
    rows: Any = None
    total: Annotated[int, Merge.add] = 0
    names: list[Any] = []
    last: str = ""


@step
async def doubled(data: Any) -> Any:
    await asyncio.sleep(0)
    return None if data is None else data * 2


@step
async def fails_at_two(data: int) -> int:
    await asyncio.sleep(0)
    if data == 2:
        raise ValueError("two")
    return data


@WAYS
def test_results_stand_in_the_order_of_the_items(wait: Wait, limit: int) -> None:
    result = wait(
        runner_of(map_over("map", doubled, max_concurrency=limit)).run_async([1, 2, 3]).result()
    )
    assert result.output == [2, 4, 6]
    (map_result,) = result.step_history
    assert map_result.metadata == {"items": 3}
    assert names_in(map_result.step_history) == ["doubled"] * 3
    assert [str(one.path) for one in map_result.step_history] == [
        f"map/[{number}]/doubled" for number in range(3)
    ]


@WAYS
def test_none_is_an_item_and_a_result(wait: Wait, limit: int) -> None:
    node = map_over("map", doubled, max_concurrency=limit)
    assert wait(outcome_of(node, [None, 1, None])).output == [None, 2, None]


@WAYS
def test_no_items(wait: Wait, limit: int) -> None:
    outcome = wait(outcome_of(map_over("map", doubled, max_concurrency=limit), []))
    assert isinstance(outcome, Success)
    assert outcome.output == []
    assert outcome.update is None
    assert list(outcome.children) == []


def numbers() -> Iterator[int]:
    yield from (3, 1, 2)


ITERABLES: dict[str, tuple[Any, list[Any]]] = {
    "list": ([3, 1, 2], [3, 1, 2]),
    "tuple": ((3, 1, 2), [3, 1, 2]),
    "generator": (numbers, [3, 1, 2]),
    "range": (range(3), [0, 1, 2]),
    "dict": ({"b": 1, "a": 2}, ["b", "a"]),
    "values": ({"b": 1, "a": 2}.values(), [1, 2]),
    "set": ({"c", "a", "b"}, ["a", "b", "c"]),
    "frozenset": (frozenset({(2, "x"), (1, "y")}), [(1, "y"), (2, "x")]),
    "set of different types": ({1, "1", 2.0, None}, [None, 2.0, 1, "1"]),
}


@pytest.mark.parametrize(("given", "items"), ITERABLES.values(), ids=ITERABLES)
def test_what_a_map_goes_over(wait: Wait, given: Any, items: list[Any]) -> None:
    for _ in range(2):
        data = given() if callable(given) else given
        output = wait(outcome_of(map_over("map", echo_async), data)).output
        assert [repr(one) for one in output] == [repr(one) for one in items]


@pytest.mark.parametrize("given", ["abc", b"abc", 5, None, 1.5])
def test_what_no_map_goes_over(wait: Wait, given: object) -> None:
    outcome = wait(outcome_of(echo >> map_over("letters", echo), given))
    assert isinstance(outcome, Failure)
    assert type(given).__name__ in outcome.feedback
    assert "its input is" in outcome.feedback


def test_the_error_of_what_no_map_goes_over_is_ours_and_says_where(wait: Wait) -> None:
    outcome = wait(outcome_of(echo >> map_over("letters", echo), "abc"))
    assert isinstance(outcome.error, FlujoError)
    assert "letters" in str(outcome.error)


def test_an_iterable_that_raises(wait: Wait) -> None:
    def spoilt() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    calls: list[int] = []

    @step
    def noted(data: int) -> None:
        calls.append(data)

    outcome = wait(outcome_of(map_over("map", noted), spoilt()))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, OSError)
    assert calls == []


class Rows(BaseModel):
    rows: list[Any] = [{"n": 1}, {"n": 2}]
    total: int = 0


def test_a_field_of_the_context(wait: Wait) -> None:
    @step
    def spoil(data: dict[str, int]) -> int:
        return data.pop("n")

    node = map_over("map", spoil, iterable_input="rows")
    result = wait(Flujo(node, context_model=Rows).run_async("unused").result())
    assert result.output == [1, 2]
    assert result.final_pipeline_context == Rows()


@pytest.mark.parametrize("context", [None, Counts()])
def test_a_field_that_is_not_there(wait: Wait, context: Counts | None) -> None:
    outcome = wait(outcome_of(map_over("map", echo, "rows"), context=context))
    assert isinstance(outcome, Failure)
    assert "'rows'" in outcome.feedback


def test_a_field_that_a_step_before_filled(wait: Wait) -> None:
    @step
    def fill(data: int, context: Log) -> None:
        context.items = [*range(data)]

    runner = Flujo(fill >> map_over("map", echo, "items"), context_model=Log)
    assert wait(runner.run_async(3).result()).output == [0, 1, 2]


@WAYS
def test_all_items_start_alike_and_merge_in_their_order(wait: Wait, limit: int) -> None:
    @step
    async def work(data: int, context: Tally) -> tuple[int, int]:
        seen = context.total, len(context.names)
        for _ in range(3 - data):
            await asyncio.sleep(0)
        context.total += data
        context.names.append(data)
        return seen

    node = map_over("map", work, max_concurrency=limit)
    result = wait(Flujo(node, context_model=Tally).run_async([1, 2, 3]).result())
    assert result.output == [(0, 0)] * 3
    assert result.final_pipeline_context == Tally(total=6, names=[1, 2, 3])


@WAYS
def test_what_cannot_be_merged_fails_and_names_the_items(wait: Wait, limit: int) -> None:
    @step
    async def work(data: str, context: Tally) -> None:
        context.last = data

    node = map_over("map", work, max_concurrency=limit)
    result = wait(Flujo(node, context_model=Tally).run_async(["a", "b"]).result())
    assert result.status is RunStatus.FAILED
    feedback = result.step_history[0].feedback
    assert all(part in feedback for part in ("last", "[0]", "[1]"))
    assert result.final_pipeline_context == Tally()


@WAYS
def test_a_failed_item_fails_the_map(wait: Wait, limit: int) -> None:
    outcome = wait(outcome_of(map_over("map", fails_at_two, max_concurrency=limit), [1, 2, 3]))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ValueError)
    assert outcome.feedback == "item [1] failed: ValueError: two"


def test_one_by_one_nothing_follows_a_failure(wait: Wait) -> None:
    outcome = wait(outcome_of(map_over("map", fails_at_two), [1, 2, 3]))
    assert [type(child) for child in outcome.children] == [Success, Failure]


@WAYS
def test_a_kept_failure_is_its_result(wait: Wait, limit: int) -> None:
    node = map_over("map", fails_at_two, max_concurrency=limit, on_item_failure="keep")
    result = wait(runner_of(node).run_async([1, 2, 3]).result())
    assert result.success
    one, kept, three = result.output
    assert (one, three) == (1, 3)
    assert isinstance(kept, StepResult)
    assert (kept.success, kept.name, str(kept.path)) == (
        False,
        "fails_at_two",
        "map/[1]/fails_at_two",
    )
    assert kept.feedback == "ValueError: two"


@WAYS
def test_when_all_fail_and_are_kept_the_map_has_succeeded(wait: Wait, limit: int) -> None:
    node = map_over("map", broken, max_concurrency=limit, on_item_failure="keep")
    result = wait(runner_of(node).run_async([1, 2]).result())
    assert result.success
    assert [one.success for one in result.output] == [False, False]


def test_what_a_kept_failure_did_to_the_context_is_dropped(wait: Wait) -> None:
    @step
    async def work(data: int, context: Tally) -> int:
        context.total += data
        if data == 2:
            raise ValueError("two")
        return data

    node = map_over("map", work, on_item_failure="keep")
    result = wait(Flujo(node, context_model=Tally).run_async([1, 2, 3]).result())
    assert result.final_pipeline_context == Tally(total=4)


BODIES: dict[str, tuple[Node, list[Any]]] = {
    "pipeline": (doubled >> doubled, [4, 8]),
    "map": (map_over("inner", doubled), [[2], [4]]),
    "loop": (loop_until("inner", doubled, lambda output: output > 10), [16, 16]),
}


@WAYS
@pytest.mark.parametrize("name", BODIES)
def test_a_body_may_be_a_pipeline_or_a_container(wait: Wait, name: str, limit: int) -> None:
    body, output = BODIES[name]
    data = [[1], [2]] if name == "map" else [1, 2]
    assert wait(outcome_of(map_over("map", body, max_concurrency=limit), data)).output == output


def test_paths_are_the_items_numbers_whatever_comes_first(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    runner = Flujo(map_over("map", echo >> doubled, max_concurrency=2), hooks=[hear])
    wait(runner.run_async([1, 2]).result())
    assert sorted(paths) == [
        "map",
        "map/[0]",
        "map/[0]/doubled",
        "map/[0]/echo",
        "map/[1]",
        "map/[1]/doubled",
        "map/[1]/echo",
    ]


def test_where_the_output_goes(wait: Wait) -> None:
    node = map_over("map", doubled, sink_to="names")
    result = wait(Flujo(node, context_model=Tally).run_async([1, 2]).result())
    assert result.final_pipeline_context.names == [2, 4]


@WAYS
def test_an_interrupt_in_an_item_ends_the_map(wait: Wait, limit: int) -> None:
    @step
    async def pressed(data: int) -> None:
        if data == 2:
            raise KeyboardInterrupt

    outcome = wait(outcome_of(map_over("map", pressed, max_concurrency=limit), [1, 2, 3]))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert isinstance(outcome.children[0], Success)


ASK = human_in_the_loop("ask", "{{ data }}?")


@pytest.mark.parametrize(("limit", "asked"), [(1, ["a?"]), (2, ["a?", "b?", "c?"])])
def test_items_ask_all_at_once_unless_they_go_one_by_one(
    wait: Wait, limit: int, asked: list[str]
) -> None:
    runner = runner_of(map_over("map", echo_async >> ASK, max_concurrency=limit))

    async def main() -> Any:
        result = await runner.run_async(["a", "b", "c"])
        assert [pause.message for pause in result.paused] == asked
        while result.status is RunStatus.PAUSED:
            first = result.paused[0]
            result = await runner.resume_async(result, first.message.upper(), pause=first.path)
        return result.output

    assert wait(main()) == ["A?", "B?", "C?"]


def test_the_items_are_those_of_the_first_run(wait: Wait) -> None:
    """A generator is read once, and what stood in the list counts, not what stands there now."""
    runner = runner_of(map_over("map", ASK))

    async def main() -> Any:
        result = await runner.run_async(letter for letter in "ab")
        while result.status is RunStatus.PAUSED:
            result = await runner.resume_async(result, result.paused[0].message)
        return result.output

    assert wait(main()) == ["a?", "b?"]
