"""Steps that run one of their branches: how it is chosen, what it gets, what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import branch_on, human_in_the_loop
from flujo_nb.engine.errors import BranchNotFound
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus, Success
from flujo_nb.engine.policies.conditional import ConditionalStepExecutor
from flujo_nb.engine.step_kinds import ConditionalStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import (
    Counts,
    Wait,
    broken,
    echo,
    echo_async,
    names_in,
    outcome_of,
    runner_of,
)

CONTEXTS = pytest.mark.parametrize("context", [None, Counts()], ids=["no context", "context"])


def of_type(data: object) -> str:
    return type(data).__name__


def giving(key: object) -> Any:
    return lambda data: key


@step
def plus_one(data: int) -> int:
    return data + 1


@step
def noted(data: object, context: Counts) -> object:
    context.names.append(f"noted {data}")
    return data


BRANCHES: dict[Any, Any] = {"int": plus_one, "str": plus_one >> plus_one, "list": broken}


@CONTEXTS
def test_the_condition_chooses_the_branch(wait: Wait, context: Counts | None) -> None:
    outcome = wait(outcome_of(branch_on("route", of_type, BRANCHES), 4, context=context))
    assert isinstance(outcome, Success)
    assert outcome.output == 5
    assert outcome.metadata == {"executed_branch_key": "int"}
    assert len(outcome.children) == 1


def test_the_steps_of_a_branch_are_chained(wait: Wait) -> None:
    node = branch_on("route", giving("str"), BRANCHES)
    result = wait(runner_of(node).run_async(4).result())
    assert result.output == 6
    assert names_in(result.step_history[0].step_history) == ["plus_one", "plus_one"]


def test_a_failure_before_a_branchs_last_step_fails_it(wait: Wait) -> None:
    node = branch_on("route", giving(1), {1: echo >> broken >> noted})
    result = wait(runner_of(node).run_async(4).result())
    assert result.status is RunStatus.FAILED
    assert result.step_history[0].feedback == "Failure in branch 1: ValueError: cannot use 4"
    assert result.step_history[0].metadata == {"executed_branch_key": 1}
    assert result.final_pipeline_context == Counts()


@CONTEXTS
def test_no_branch_and_no_default(wait: Wait, context: Counts | None) -> None:
    outcome = wait(outcome_of(branch_on("route", of_type, BRANCHES), 1.5, context=context))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, BranchNotFound)
    assert "'float' (str)" in outcome.feedback
    assert "'int', 'str', 'list'" in outcome.feedback
    assert outcome.children == ()


def test_the_error_of_a_missing_branch_says_where(wait: Wait) -> None:
    outcome = wait(outcome_of(echo >> branch_on("route", of_type, BRANCHES), 1.5))
    assert "route" in str(outcome.error)


@CONTEXTS
def test_the_default_branch(wait: Wait, context: Counts | None) -> None:
    node = branch_on("route", of_type, BRANCHES, default_branch_pipeline=echo)
    outcome = wait(outcome_of(node, 1.5, context=context))
    assert outcome.output == 1.5
    assert outcome.metadata == {"executed_branch_key": "float"}


TYPED: dict[Any, Any] = {
    1: Step.from_callable(giving("int"), name="int"),
    "1": Step.from_callable(giving("str"), name="str"),
    None: Step.from_callable(giving("none"), name="none"),
    "true": Step.from_callable(giving("yes"), name="yes"),
    False: Step.from_callable(giving("no"), name="no"),
}


@CONTEXTS
@pytest.mark.parametrize(
    ("key", "branch", "output"),
    [
        (1, 1, "int"),
        ("1", "1", "str"),
        (None, None, "none"),
        (True, "true", "yes"),
        (False, False, "no"),
    ],
)
def test_keys_are_found_by_type_and_value(
    wait: Wait, key: object, branch: object, output: str, context: Counts | None
) -> None:
    outcome = wait(outcome_of(branch_on("route", giving(key), TYPED), 0, context=context))
    assert outcome.output == output
    assert outcome.metadata["executed_branch_key"] is branch


def test_paths_tell_keys_apart(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    node = branch_on("route", lambda data: data, TYPED, default_branch_pipeline=echo >> echo)
    runner = runner_of(node, hooks=[hear])
    for key in (1, "1", None, True, "other"):
        wait(runner.run_async(key).result())
    assert [path for path in paths if path != "route"] == [
        "route/:=1/int",
        "route/:1/str",
        "route/:=null/none",
        "route/:true/yes",
        "route/:default",
        "route/:default/echo",
        "route/:default/echo#1",
    ]


def test_what_the_functions_are_offered(wait: Wait) -> None:
    calls: list[tuple[Any, ...]] = []

    def key(data: Any, context: Counts) -> str:
        calls.append(("key", data, context.total))
        return "a"

    def enter(data: Any, context: Counts) -> Any:
        calls.append(("enter", data, context.total))
        return data * 2

    def leave(output: Any, key: object, context: Counts) -> Any:
        calls.append(("leave", output, key, context.total))
        return output * 10

    node = branch_on(
        "route", key, {"a": plus_one}, branch_input_mapper=enter, branch_output_mapper=leave
    )
    assert wait(runner_of(node).run_async(1).result()).output == 30
    assert calls == [("key", 1, 0), ("enter", 1, 0), ("leave", 3, "a", 0)]


@CONTEXTS
@pytest.mark.parametrize("count", [0, 1])
def test_functions_may_take_less_than_they_are_offered(
    wait: Wait, count: int, context: Counts | None
) -> None:
    functions: list[Any] = [
        (lambda: 1, lambda: 4, lambda: 6),
        (lambda data: data, lambda data: data + 3, lambda output: output + 1),
    ][count]
    key, enter, leave = functions
    node = branch_on(
        "route", key, {1: plus_one}, branch_input_mapper=enter, branch_output_mapper=leave
    )
    assert wait(outcome_of(node, 1, context=context)).output == 6


@CONTEXTS
def test_functions_may_be_async(wait: Wait, context: Counts | None) -> None:
    async def later(data: Any, *others: object) -> Any:
        await asyncio.sleep(0)
        return data

    node = branch_on(
        "route", later, {1: plus_one}, branch_input_mapper=later, branch_output_mapper=later
    )
    assert wait(outcome_of(node, 1, context=context)).output == 2


async def waits_and_gives(data: Any) -> Any:
    await asyncio.sleep(0)
    return data


def test_an_async_condition_of_the_data_alone(wait: Wait) -> None:
    assert wait(outcome_of(branch_on("route", waits_and_gives, {1: plus_one}), 1)).output == 2


def test_what_functions_and_branch_change_in_the_context_stays_changed(wait: Wait) -> None:
    def change(name: str, value: object = None) -> Any:
        def decide(given: object, *more: Any) -> object:
            more[-1].names.append(name)
            return given if value is None else value

        return decide

    node = branch_on(
        "route",
        change("key", "a"),
        {"a": noted},
        branch_input_mapper=change("enter"),
        branch_output_mapper=lambda output, key, context: change("leave")(output, context),
    )
    result = wait(runner_of(node).run_async(1).result())
    assert result.final_pipeline_context.names == ["key", "enter", "noted 1", "leave"]


def test_what_a_failed_branch_changed_is_dropped(wait: Wait) -> None:
    def key(data: object, context: Counts) -> int:
        context.total += 1
        return 1

    result = wait(runner_of(branch_on("route", key, {1: noted >> broken})).run_async(1).result())
    assert result.final_pipeline_context == Counts()


def raising(error: BaseException) -> Any:
    def decide(*given: object) -> object:
        raise error

    return decide


@CONTEXTS
@pytest.mark.parametrize("which", ["key", "enter", "leave"])
def test_a_function_that_raises_fails_the_step(
    wait: Wait, which: str, context: Counts | None
) -> None:
    functions = {"key": giving(1), "enter": giving(1), "leave": giving(1)}
    functions[which] = raising(KeyError(which))
    node = branch_on(
        "route",
        functions["key"],
        {1: echo},
        branch_input_mapper=functions["enter"],
        branch_output_mapper=functions["leave"],
    )
    outcome = wait(outcome_of(node, 1, context=context))
    assert isinstance(outcome, Failure)
    assert outcome.feedback == f"KeyError: {which!r}"
    assert len(outcome.children) == (which == "leave")


def test_an_interrupt_in_the_condition(wait: Wait) -> None:
    outcome = wait(outcome_of(branch_on("route", raising(KeyboardInterrupt()), {1: echo}), 1))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED


class Array:
    """Cannot be asked whether it equals another value."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = object.__hash__


def test_data_that_cannot_be_compared(wait: Wait) -> None:
    node = branch_on(
        "route",
        lambda data, context: 1,
        {1: echo},
        branch_input_mapper=lambda data, context: data,
        branch_output_mapper=lambda output, key, context: output,
    )
    array = Array()
    assert wait(runner_of(node).run_async(array).result()).output is array


def test_where_the_output_goes(wait: Wait) -> None:
    node = branch_on("route", giving(1), {1: noted}, sink_to="total")
    result = wait(runner_of(node).run_async(3).result())
    assert result.final_pipeline_context == Counts(total=3, names=["noted 3"])
    node = branch_on("route", giving(1), {1: echo}, updates_context=True)
    result = wait(runner_of(node).run_async({"total": 4}).result())
    assert result.final_pipeline_context == Counts(total=4)


def test_the_choice_is_made_once(wait: Wait) -> None:
    asked: list[object] = []

    def key(data: object) -> str:
        asked.append(data)
        return "first" if len(asked) == 1 else "other"

    ask = human_in_the_loop("ask")
    node = branch_on("route", key, {"first": ask >> noted, "other": broken})
    runner = runner_of(node)

    async def main() -> Any:
        return await runner.resume_async(await runner.run_async("q"), "answer")

    result = wait(main())
    assert result.output == "answer"
    assert asked == ["q"]
    assert result.final_pipeline_context.names == ["noted answer"]


def test_conditionals_in_each_other(wait: Wait) -> None:
    inner = branch_on("inner", lambda data: data % 2 == 0, {True: plus_one, False: echo_async})
    outer = branch_on("outer", lambda data: data > 10, {True: inner, False: echo})
    assert [wait(outcome_of(outer, data)).output for data in (1, 11, 12)] == [1, 11, 13]


def test_a_policy_runs_a_frame_by_itself(wait: Wait) -> None:
    policy = ConditionalStepExecutor()
    assert policy.handles is ConditionalStep
    node = branch_on("route", giving(1), {1: plus_one})
    outcome = wait(policy.execute(ExecutorCore(), make_execution_frame(node, 4)))
    assert outcome.output == 5
