"""The behaviour of a `ParallelStep`, whoever runs it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.step_kinds import BranchFailureStrategy, ParallelStep
from tests.engine.fakes import Counts, echo
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import (
    add,
    add_async,
    dear,
    endless,
    fails,
    interrupt,
    note,
    say,
    tokens,
)
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Parallel, third_party.Parallel)

IGNORE = BranchFailureStrategy.IGNORE


def parallel(branches: dict[str, Any], **options: Any) -> Any:
    return ParallelStep(name="par", branches=branches, **options)


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_every_branch_gets_the_input_and_the_outputs_stand_in_order(
    runs: Runs, limit: int | None
) -> None:
    branches = {"slow": add_async >> add_async, "sync": add, "one": echo}
    result = runs(parallel(branches, max_concurrency=limit), 1)
    assert result.status is RunStatus.COMPLETED
    assert list(result.output.items()) == [("slow", 3), ("sync", 2), ("one", 1)]
    assert only(result).metadata["executed_branches"] == ["slow", "sync", "one"]
    assert paths_in(result.step_history) == [
        *("par", "par/:slow/add_async", "par/:slow/add_async#1", "par/:sync/add", "par/:one/echo")
    ]


def test_branches_are_in_flight_together(runs: Runs) -> None:
    arrived = asyncio.Event()

    @step
    async def wait(data: object) -> str:
        await arrived.wait()
        return "waited"

    @step
    async def come(data: object) -> str:
        arrived.set()
        return "came"

    assert runs(parallel({"a": wait, "b": come})).output == {"a": "waited", "b": "came"}


def test_no_more_than_allowed_are_in_flight(runs: Runs) -> None:
    now, most = 0, 0

    @step
    async def work(data: object) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    assert runs(parallel(dict.fromkeys("abcde", work), max_concurrency=2)).success
    assert most == 2


def test_synchronous_branches_do_not_wait_for_each_other(runs: Runs) -> None:
    meeting = threading.Barrier(2, timeout=2)

    @step
    def meet(data: object) -> bool:
        return meeting.wait() >= 0

    assert runs(parallel({"a": meet, "b": meet})).output == {"a": True, "b": True}


def test_a_reducer_makes_the_output(runs: Runs) -> None:
    def told(results: list[StepResult], context: Counts) -> tuple[Any, ...]:
        return [one.output for one in results], len(context.names)

    node = parallel({"a": note >> add, "b": note}, reduce=told)
    assert runs(node, 1).output == ([2, 1], 2)


def test_branches_do_not_see_what_others_change(runs: Runs) -> None:
    @step
    async def look(data: object, context: Counts) -> list[str]:
        context.names.append("own")
        await asyncio.sleep(0)
        return list(context.names)

    result = runs(note >> parallel({"a": look, "b": look}), "x")
    assert result.output == {"a": ["x", "own"], "b": ["x", "own"]}
    assert result.final_pipeline_context == Counts(names=["x", "own", "own"])


@pytest.mark.parametrize(
    ("strategy", "total"),
    [(MergeStrategy.OVERWRITE, 2), (MergeStrategy.KEEP_FIRST, 1), (MergeStrategy.NO_MERGE, 0)],
)
def test_changes_merge_by_the_strategy(runs: Runs, strategy: MergeStrategy, total: int) -> None:
    @step
    def one(data: object, context: Counts) -> None:
        context.total = 1

    @step
    def two(data: object, context: Counts) -> None:
        context.total = 2

    result = runs(parallel({"a": one, "b": two}, merge_strategy=strategy))
    assert result.final_pipeline_context == Counts(total=total)


def test_a_branch_that_fails_cancels_the_others_and_merges_nothing(runs: Runs) -> None:
    node = parallel({"long": endless, "bad": add_async >> fails(), "done": note})
    result = runs(node, 1)
    one = only(result)
    assert result.status is RunStatus.FAILED
    assert one.feedback == "branch 'bad' failed: ValueError: no"
    assert result.final_pipeline_context == Counts()
    assert runs.events[-1] == "failed par"


def test_a_failure_may_be_ignored(runs: Runs) -> None:
    node = parallel({"bad": fails(), "good": note}, on_branch_failure=IGNORE)
    result = runs(node, 1)
    assert result.success
    assert result.output["good"] == 1
    assert (result.output["bad"].success, result.output["bad"].feedback) == (
        False,
        "ValueError: no",
    )
    assert result.final_pipeline_context == Counts(names=["1"])


def test_one_branch_must_succeed_all_the_same(runs: Runs) -> None:
    result = runs(parallel({"a": fails(), "b": fails()}, on_branch_failure=IGNORE), 1)
    assert result.status is RunStatus.FAILED
    assert "'b' failed" in (only(result).feedback or "")


def test_the_branches_share_the_budget(runs: Runs) -> None:
    node = parallel({"a": dear, "b": dear >> dear, "c": echo})
    result = runs(node, "x", usage_limits=tokens(6))
    assert (result.total_tokens, only(result).token_counts) == (6, 6)


def test_a_breach_of_the_budget_ends_the_run_and_tells_what_is_done(runs: Runs) -> None:
    node = parallel({"a": echo, "b": dear >> dear >> dear, "long": endless})
    partial = runs.breach(node, "x", usage_limits=tokens(5))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 4)
    paths = paths_in(partial.step_history)
    assert paths[:5] == ["par", "par/:a/echo", "par/:b/dear", "par/:b/dear#1", "par/:b/dear#2"]


def test_chunks_of_all_branches_come_as_they_arrive(runs: Runs) -> None:
    runs(parallel({"a": say, "b": say}), 1)
    assert runs.chunks == [
        *(("par/:a/say", "1a", 1), ("par/:b/say", "1a", 1)),
        *(("par/:a/say", "1b", 1), ("par/:b/say", "1b", 1)),
    ]


def test_the_hooks_hear_of_every_frame(runs: Runs) -> None:
    runs(parallel({"a": add, "b": add >> add}, max_concurrency=1), 1)
    assert runs.events == [
        "started par",
        *("started par/:a/add", "completed par/:a/add"),
        "started par/:b",
        *("started par/:b/add", "completed par/:b/add"),
        *("started par/:b/add#1", "completed par/:b/add#1"),
        "completed par/:b",
        "completed par",
    ]


def test_all_questions_are_asked_at_once_and_nothing_runs_twice(runs: Runs) -> None:
    calls = Calls()
    branches = {
        "a": calls.step("before") >> asks("ask") >> calls.step("after"),
        "b": calls.step("alone"),
        "c": asks("other", "and you?"),
    }
    paused = runs(parallel(branches) >> echo, "x")
    assert [(str(one.path), one.message) for one in paused.paused] == [
        *(("par/:a/ask", "x before"), ("par/:c/other", "and you?"))
    ]
    assert calls == {"before": 1, "alone": 1}
    paused = runs.resume(paused, "no", "par/:c/other")
    assert [str(one.path) for one in paused.paused] == ["par/:a/ask"]
    result = runs.resume(paused, "yes")
    assert result.output == {"a": "yes after", "b": "x alone", "c": "no"}
    assert calls == {"before": 1, "alone": 1, "after": 1}


def test_a_failure_that_was_ignored_is_not_run_again(runs: Runs) -> None:
    calls = Calls()
    bad = calls.step("bad", fails().agent)
    node = parallel({"bad": bad, "ask": asks("ask")}, on_branch_failure=IGNORE)
    result = runs.resume(runs(node, "x"), "yes")
    assert (result.success, result.output["ask"], calls) == (True, "yes", {"bad": 1})


def test_a_failure_is_stronger_than_a_pause(runs: Runs) -> None:
    result = runs(parallel({"ask": asks("ask"), "bad": add_async >> fails()}), 1)
    assert (result.status, list(result.paused)) == (RunStatus.FAILED, [])


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(parallel({"long": endless, "a": add_async >> interrupt}), 1)
    assert runs.events[-1] == "interrupted par"


def test_a_cancelled_run_is_cancelled(runs: Runs) -> None:
    with pytest.raises(TimeoutError):
        runs(parallel({"a": endless, "b": endless}), 1, time_limit_s=0.02)
    assert sorted(runs.events[-3:]) == [
        *("interrupted par", "interrupted par/:a/endless", "interrupted par/:b/endless")
    ]
