"""The behaviour of a `Pipeline`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import PipelineAbortSignal, StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Counts, broken, echo, names_in
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import (
    add,
    add_async,
    count,
    dear,
    endless,
    fails,
    interrupt,
    say,
    tokens,
)
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Sequential, third_party.Sequential)


def test_each_step_gets_the_output_of_the_one_before(runs: Runs) -> None:
    result = runs(add >> add_async >> echo, 1)
    assert (result.status, result.output) == (RunStatus.COMPLETED, 3)
    assert names_in(result.step_history) == ["add", "add_async", "echo"]
    assert paths_in(result.step_history) == ["add", "add_async", "echo"]


def test_nothing_is_passed_on_as_nothing(runs: Runs) -> None:
    result = runs(Step.from_callable(lambda data: None, name="none") >> echo, 1)
    assert result.success
    assert result.output is None


def test_namesakes_are_numbered(runs: Runs) -> None:
    result = runs(add >> echo >> add >> add, 0)
    assert result.output == 3
    assert paths_in(result.step_history) == ["add", "echo", "add#1", "add#2"]


def test_each_step_sees_what_those_before_it_left_in_the_context(runs: Runs) -> None:
    @step
    def look(data: object, context: Counts) -> tuple[int, list[str]]:
        return context.total, list(context.names)

    result = runs(count >> count >> look, "x")
    assert result.output == (2, ["x", "x"])
    assert result.final_pipeline_context == Counts(total=2, names=["x", "x"])


def test_the_first_failure_ends_it_and_what_was_done_stays(runs: Runs) -> None:
    result = runs(count >> fails() >> add, 1)
    assert (result.status, result.output) == (RunStatus.FAILED, None)
    assert [(one.name, one.success) for one in result.step_history] == [
        ("count", True),
        ("fails", False),
    ]
    assert result.step_history[-1].feedback == "ValueError: no"
    assert result.final_pipeline_context == Counts(total=1, names=["1"])


def test_inside_of_a_container_it_has_no_segment_of_its_own(runs: Runs) -> None:
    node = Step.parallel("both", {"a": add >> add, "b": Pipeline.of(add, broken)})
    result = runs(node, 1)
    one = only(result)
    assert one.feedback == "branch 'b' failed: ValueError: cannot use 2"
    assert sorted(paths_in(one.step_history)) == [
        *("both/:a/add", "both/:a/add#1", "both/:b/add", "both/:b/broken")
    ]


def test_usage_adds_up(runs: Runs) -> None:
    result = runs(dear >> dear, "x", usage_limits=tokens(4))
    assert (result.total_tokens, result.total_cost_usd) == (4, 1.0)
    assert [one.token_counts for one in result.step_history] == [2, 2]


def test_a_breach_of_the_budget_ends_the_run(runs: Runs) -> None:
    partial = runs.breach(dear >> echo >> dear >> echo, "x", usage_limits=tokens(3))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 2)
    assert names_in(partial.step_history) == ["dear", "echo", "dear"]


def test_chunks_come_as_they_arrive(runs: Runs) -> None:
    result = runs(say >> echo >> say, 1)
    assert result.output == "1a1ba1a1bb"
    assert runs.chunks == [
        *(("say", "1a", 1), ("say", "1b", 1)),
        *(("say#1", "1a1ba", 1), ("say#1", "1a1bb", 1)),
    ]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(add >> say >> broken >> add, 1)
    assert runs.events == [
        "started ",
        *("started add", "completed add"),
        *("started say", "chunk say 2a", "chunk say 2b", "completed say"),
        *("started broken", "failed broken"),
        "failed ",
    ]


def test_a_pause_goes_on_where_it_was(runs: Runs) -> None:
    calls = Calls()
    node = calls.step("a") >> asks("one") >> calls.step("b") >> asks("two") >> calls.step("c")
    paused = runs(node, "x")
    assert [(str(one.path), one.message) for one in paused.paused] == [("one", "x a")]
    assert names_in(paused.step_history) == ["a", "one"]
    paused = runs.resume(paused, "y")
    assert [str(one.path) for one in paused.paused] == ["two"]
    assert runs.events[:3] == ["started ", "restored a", "started one"]
    result = runs.resume(paused, "z")
    assert (result.status, result.output) == (RunStatus.COMPLETED, "z c")
    assert calls == {"a": 1, "b": 1, "c": 1}


def test_a_step_may_end_the_run(runs: Runs) -> None:
    @step
    def enough(data: object) -> Any:
        raise PipelineAbortSignal("enough")

    result = runs(add >> enough >> add, 1)
    assert result.status is RunStatus.ABORTED
    assert names_in(result.step_history) == ["add", "enough"]


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(add >> interrupt >> add, 0)
    assert runs.events[-2:] == ["interrupted interrupt", "interrupted "]


def test_a_cancelled_run_is_cancelled(runs: Runs) -> None:
    with pytest.raises(TimeoutError):
        runs(add >> endless, 1, time_limit_s=0.02)
    assert runs.events[-2:] == ["interrupted endless", "interrupted "]
