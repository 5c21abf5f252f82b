"""The behaviour of a `LoopStep`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import LoopStep
from tests.engine.fakes import Counts, names_in
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import add, add_async, count, dear, interrupt, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Loop, third_party.Loop)


def until(limit: int) -> Any:
    return lambda data, context: data >= limit


def loop(body: Any, exits: Any, **options: Any) -> Any:
    given = {"loop_body_pipeline": body, "exit_condition_callable": exits}
    return LoopStep(name="loop", **given, **options)


@pytest.mark.parametrize("body", [add, add_async])
def test_the_body_runs_until_the_condition_holds(runs: Runs, body: Any) -> None:
    result = runs(loop(body, until(3)), 0)
    assert (result.status, result.output) == (RunStatus.COMPLETED, 3)
    one = only(result)
    assert (one.name, one.attempts, one.metadata["exit_reason"]) == ("loop", 3, "condition")
    assert paths_in(result.step_history) == [
        "loop",
        f"loop/[0]/{body.name}",
        f"loop/[1]/{body.name}",
        f"loop/[2]/{body.name}",
    ]


def test_a_body_of_several_steps_stands_without_a_segment_of_its_own(runs: Runs) -> None:
    result = runs(loop(add >> count >> add, until(3)), 0)
    assert result.output == 4
    assert paths_in(result.step_history) == [
        "loop",
        *("loop/[0]/add", "loop/[0]/count", "loop/[0]/add#1"),
        *("loop/[1]/add", "loop/[1]/count", "loop/[1]/add#1"),
    ]


def test_it_runs_at_least_once(runs: Runs) -> None:
    assert runs(loop(add, until(0)), 5).output == 6


def test_mappers_make_the_inputs_and_the_output(runs: Runs) -> None:
    node = loop(
        add,
        lambda data, context: data >= 100,
        initial_input_to_loop_body_mapper=lambda data, context: data * 10,
        iteration_input_mapper=lambda data, context, number, given: data * 10 + number + given,
        loop_output_mapper=lambda data, context: f"<{data}>",
    )
    assert runs(node, 1).output == "<113>"


def test_each_iteration_sees_what_those_before_it_left_in_the_context(runs: Runs) -> None:
    node = loop(add >> count, lambda data, context: context.total == 3)
    result = runs(node >> add, 0)
    assert result.output == 4
    assert result.final_pipeline_context == Counts(total=3, names=["1", "2", "3"])


def test_a_loop_that_does_not_end_fails_and_keeps_its_output(runs: Runs) -> None:
    result = runs(loop(add, until(9), max_loops=2) >> add, 0)
    assert (result.status, result.output) == (RunStatus.FAILED, None)
    one = only(result)
    assert "reached max_loops" in (one.feedback or "")
    assert (one.output, one.attempts, one.metadata["exit_reason"]) == (2, 2, "max_loops")


def test_a_body_that_fails_ends_the_loop_and_changes_nothing(runs: Runs) -> None:
    @step
    def stumble(data: int, context: Counts) -> int:
        context.total += 1
        if data == 2:
            raise ValueError("two")
        return data

    result = runs(loop(add >> stumble, until(9)), 0)
    one = only(result)
    assert (one.success, one.attempts, one.output) == (False, 2, None)
    assert one.feedback == "Loop body failed: ValueError: two"
    assert one.metadata["exit_reason"] == "body_step_error"
    assert [child.success for child in one.step_history] == [True, True, True, False]
    assert result.final_pipeline_context == Counts()


def test_usage_is_counted_for_each_iteration(runs: Runs) -> None:
    result = runs(loop(dear >> add, until(3)), 0, usage_limits=tokens(6))
    assert (result.total_tokens, only(result).token_counts) == (6, 6)
    assert [one.token_counts for one in only(result).step_history] == [2, 0] * 3


def test_a_breach_of_the_budget_ends_the_run(runs: Runs) -> None:
    partial = runs.breach(loop(dear, until(9)), 0, usage_limits=tokens(5))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 4)
    assert names_in(only(partial).step_history) == ["dear"] * 3


def test_chunks_of_the_body_come_with_their_paths(runs: Runs) -> None:
    runs(loop(say, lambda data, context: len(data) > 6), 0)
    assert runs.chunks == [
        ("loop/[0]/say", "0a", 1),
        ("loop/[0]/say", "0b", 1),
        ("loop/[1]/say", "0a0ba", 1),
        ("loop/[1]/say", "0a0bb", 1),
    ]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(loop(add >> say, lambda data, context: True), 0)
    assert runs.events == [
        "started loop",
        "started loop/[0]",
        "started loop/[0]/add",
        "completed loop/[0]/add",
        "started loop/[0]/say",
        "chunk loop/[0]/say 1a",
        "chunk loop/[0]/say 1b",
        "completed loop/[0]/say",
        "completed loop/[0]",
        "completed loop",
    ]


def test_a_pause_inside_goes_on_where_it_was(runs: Runs) -> None:
    calls = Calls()
    body = calls.step("work") >> asks("ask") >> calls.step("use")
    node = calls.step("first") >> loop(body, lambda data, context: "stop" in data)
    paused = runs(node, "x")
    assert paused.status is RunStatus.PAUSED
    assert [(str(one.path), one.message) for one in paused.paused] == [
        ("loop/[0]/ask", "x first work")
    ]
    paused = runs.resume(paused, "go")
    assert [str(one.path) for one in paused.paused] == ["loop/[1]/ask"]
    result = runs.resume(paused, "stop")
    assert (result.output, calls) == ("stop use", {"first": 1, "work": 2, "use": 2})
    assert "restored loop/[0]" in runs.events


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(loop(interrupt, until(1)), 0)
    assert runs.events[-2:] == ["interrupted loop/[0]/interrupt", "interrupted loop"]
