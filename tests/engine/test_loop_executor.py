"""Iterations: the decision after each, the order in which functions are asked, what they get."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import loop_until
from flujo_nb.engine.errors import MaxLoopsReached, StepExited
from flujo_nb.engine.loop_executor import Continue, Fail, LoopDecision, Stop, decide_loop
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, Success
from flujo_nb.engine.steps import AnyStep
from tests.engine.fakes import Counts, Wait, broken, echo, outcome_of, runner_of


@pytest.mark.parametrize(
    ("exits", "iterations", "decision"),
    [
        (True, 1, Stop()),
        (True, 3, Stop()),
        (True, 4, Stop()),
        (False, 1, Continue()),
        (False, 2, Continue()),
        (False, 3, Fail("max_loops")),
        (False, 4, Fail("max_loops")),
    ],
)
def test_what_follows_an_iteration_of_a_loop_of_three(
    exits: bool, iterations: int, decision: LoopDecision
) -> None:
    assert decide_loop(exits, iterations, max_loops=3) == decision


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(1, 20))
def test_a_loop_ends_where_its_condition_first_holds_or_at_its_bound(
    answers: list[bool], max_loops: int
) -> None:
    ended = 0
    for number in range(1, max_loops + 1):
        exits = number <= len(answers) and answers[number - 1]
        ended = number
        if not isinstance(decide_loop(exits, number, max_loops), Continue):
            break
    first = answers.index(True) + 1 if True in answers else max_loops
    assert ended == min(first, max_loops)


@step
def plus_one(data: int) -> int:
    return data + 1


@step
def count(data: int, context: Counts) -> int:
    context.total += 1
    context.names.append(f"body {data}")
    return data + 1


def test_merge_then_exit_condition_then_mapper(wait: Wait) -> None:
    def done(output: int, context: Counts) -> bool:
        context.names.append(f"exit {output} with {context.total}")
        return output >= 12

    def again(output: int, context: Counts, number: int, data: object) -> int:
        context.names.append(f"map {output} after {number} of {data}")
        return output * 10

    loop = loop_until("loop", count, done, iteration_input_mapper=again)
    result = wait(runner_of(loop).run_async(0).result())
    assert result.output == 111
    assert result.final_pipeline_context.names == [
        "body 0",
        "exit 1 with 1",
        "map 1 after 1 of 0",
        "body 10",
        "exit 11 with 2",
        "map 11 after 2 of 0",
        "body 110",
        "exit 111 with 3",
    ]


def taking(*results: object) -> tuple[list[tuple[object, ...]], Callable[..., object]]:
    """A function of any number of arguments, which are noted, that gives these results."""
    calls: list[tuple[object, ...]] = []
    left = list(results)

    def decide(*given: object) -> object:
        calls.append(tuple(type(one).__name__ if isinstance(one, Counts) else one for one in given))
        return left.pop(0) if len(left) > 1 else left[0]

    return calls, decide


def test_what_each_function_of_a_loop_is_offered(wait: Wait) -> None:
    first_calls, first = taking(1)
    exit_calls, done = taking(False, True)
    next_calls, again = taking(5)
    last_calls, last = taking("made")
    loop = loop_until(
        "loop",
        plus_one,
        done,
        initial_input_to_loop_body_mapper=first,
        iteration_input_mapper=again,
        loop_output_mapper=last,
    )
    result = wait(runner_of(loop).run_async(0).result())
    assert result.output == "made"
    assert first_calls == [(0, "Counts")]
    assert exit_calls == [(2, "Counts"), (6, "Counts")]
    assert next_calls == [(2, "Counts", 1, 0)]
    assert last_calls == [(6, "Counts")]


FEWER: dict[str, dict[str, Any]] = {
    "none": {
        "exit_condition_callable": lambda: True,
        "initial_input_to_loop_body_mapper": lambda: 4,
        "loop_output_mapper": lambda: 6,
    },
    "the data": {
        "exit_condition_callable": lambda output: output == 5,
        "initial_input_to_loop_body_mapper": lambda data: data + 4,
        "iteration_input_mapper": lambda output: output,
        "loop_output_mapper": lambda output: output + 1,
    },
    "both": {
        "exit_condition_callable": lambda output, context: output == 5,
        "initial_input_to_loop_body_mapper": lambda data, context: data + 4,
        "iteration_input_mapper": lambda output, context: output,
        "loop_output_mapper": lambda output, context: output + 1,
    },
}


@pytest.mark.parametrize("context", [None, Counts()], ids=["no context", "context"])
@pytest.mark.parametrize("functions", FEWER.values(), ids=FEWER)
def test_functions_may_take_less_than_they_are_offered(
    wait: Wait, functions: dict[str, Any], context: Counts | None
) -> None:
    loop = loop_until("loop", plus_one, **functions)
    outcome = wait(outcome_of(loop, 0, context=context))
    assert isinstance(outcome, Success), outcome
    assert outcome.output == 6


def test_functions_may_be_async(wait: Wait) -> None:
    async def done(output: int) -> bool:
        await asyncio.sleep(0)
        return output >= 3

    async def again(output: int, context: Counts) -> int:
        await asyncio.sleep(0)
        context.names.append("again")
        return output

    async def doubled(output: int) -> int:
        return output * 2

    loop = loop_until(
        "loop",
        plus_one,
        done,
        initial_input_to_loop_body_mapper=doubled,
        iteration_input_mapper=again,
        loop_output_mapper=doubled,
    )
    result = wait(runner_of(loop).run_async(1).result())
    assert result.output == 6
    assert result.final_pipeline_context.names == []
    result = wait(runner_of(loop).run_async(0).result())
    assert result.output == 6
    assert result.final_pipeline_context.names == ["again", "again"]


def test_what_functions_change_in_the_context_stays_changed(wait: Wait) -> None:
    def noted(name: str, value: object = None) -> Callable[..., object]:
        def decide(given: object, context: Counts) -> object:
            context.names.append(name)
            return given if value is None else value

        return decide

    loop = loop_until(
        "loop",
        echo,
        noted("exit", True),
        initial_input_to_loop_body_mapper=noted("first"),
        loop_output_mapper=noted("last"),
    )
    result = wait(runner_of(loop).run_async(1).result())
    assert result.final_pipeline_context.names == ["first", "exit", "last"]


def test_a_condition_may_give_anything_that_is_true_or_false(wait: Wait) -> None:
    for holds in (1, "yes", [0], object()):
        assert wait(outcome_of(loop_until("loop", echo, lambda _, h=holds: h), 1)).output == 1
    for fails in (0, "", [], None):
        outcome = wait(outcome_of(loop_until("loop", echo, lambda _, f=fails: f, 1), 1))
        assert isinstance(outcome, Failure)


class Stubborn:
    """A value that, like an array, cannot be asked whether it equals another, or is true."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


def test_data_that_cannot_be_compared_reach_every_function(wait: Wait) -> None:
    def same(given: object, context: Counts) -> object:
        return given

    loop = loop_until(
        "loop",
        echo,
        lambda output, context: True,
        initial_input_to_loop_body_mapper=same,
        loop_output_mapper=same,
    )
    data = Stubborn()
    result = wait(runner_of(loop).run_async(data).result())
    assert result.output is data


def raising(error: BaseException) -> Callable[..., object]:
    def decide(*given: object) -> object:
        raise error

    return decide


RAISING: dict[str, dict[str, Any]] = {
    "exit_condition_error": {"exit_condition_callable": raising(KeyError("x"))},
    "initial_input_mapper_error": {"initial_input_to_loop_body_mapper": raising(KeyError("x"))},
    "iteration_input_mapper_error": {
        "exit_condition_callable": lambda _: False,
        "iteration_input_mapper": raising(KeyError("x")),
    },
    "loop_output_mapper_error": {"loop_output_mapper": raising(KeyError("x"))},
}


@pytest.mark.parametrize("context", [None, Counts()], ids=["no context", "context"])
@pytest.mark.parametrize("reason", RAISING)
def test_a_function_that_raises_ends_the_loop(
    wait: Wait, reason: str, context: Counts | None
) -> None:
    functions = {"exit_condition_callable": lambda _: True, **RAISING[reason]}
    outcome = wait(outcome_of(loop_until("loop", echo, **functions), 1, context=context))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, KeyError)
    assert outcome.metadata["exit_reason"] == reason
    assert len(outcome.children) == (0 if reason.startswith("initial") else 1)


def test_a_condition_whose_answer_is_neither_true_nor_false(wait: Wait) -> None:
    outcome = wait(outcome_of(loop_until("loop", echo, lambda _: Stubborn()), 1))
    assert isinstance(outcome, Failure)
    assert outcome.metadata["exit_reason"] == "exit_condition_error"


def test_the_ends_that_are_no_ordinary_errors(wait: Wait) -> None:
    outcome = wait(outcome_of(loop_until("loop", echo, raising(KeyboardInterrupt())), 1))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    outcome = wait(outcome_of(loop_until("loop", echo, raising(SystemExit(3))), 1))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, StepExited)


def test_reaching_the_bound_fails_and_keeps_what_was_made(wait: Wait) -> None:
    calls, last = taking("mapped")
    loop = loop_until("loop", plus_one, lambda _: False, 3, loop_output_mapper=last)
    result = wait(runner_of(loop).run_async(0).result())
    assert not result.success
    (loop_result,) = result.step_history
    assert loop_result.output == 3
    assert loop_result.metadata == {"exit_reason": "max_loops", "iterations": 3}
    assert "reached max_loops" in (loop_result.feedback or "")
    assert calls == []
    assert result.final_pipeline_context == Counts()


def test_the_error_of_the_bound_says_where(wait: Wait) -> None:
    outcome = wait(outcome_of(echo >> loop_until("polish", echo, lambda _: False, 2), 1))
    assert isinstance(outcome.error, MaxLoopsReached)
    assert "after 2 iterations" in outcome.feedback
    assert "polish" in str(outcome.error)


@pytest.mark.parametrize("body", [broken, echo >> broken], ids=["one step", "two steps"])
def test_a_body_that_fails_ends_the_loop_at_once(wait: Wait, body: AnyStep) -> None:
    outcome = wait(outcome_of(loop_until("loop", body, lambda _: True), 1))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ValueError)
    assert outcome.feedback == "Loop body failed: ValueError: cannot use 1"
    assert outcome.metadata == {"exit_reason": "body_step_error", "iterations": 1}


def test_a_failed_iteration_leaves_no_change_and_nor_does_its_loop(wait: Wait) -> None:
    @step
    def fails_at_two(data: int, context: Counts) -> int:
        context.total += 1
        if data == 2:
            raise ValueError("two")
        return data + 1

    result = wait(
        runner_of(loop_until("loop", fails_at_two, lambda _: False)).run_async(0).result()
    )
    assert [one.success for one in result.step_history[0].step_history] == [True, True, False]
    assert result.final_pipeline_context == Counts()
