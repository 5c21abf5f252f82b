"""Branches: which one a key leads to, what they see of the context, how they come together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.complex_step_router import BranchTable, Chosen, unknown_branches
from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import parallel
from flujo_nb.engine.errors import BranchNotFound, ContextMergeError, ContextUpdateError
from flujo_nb.engine.merging import Merge, MergeStrategy
from flujo_nb.engine.outcomes import Failure, RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import BranchFailureStrategy
from flujo_nb.engine.steps import AnyStep, Node, Step
from tests.engine.fakes import Counts, Wait, broken, echo, echo_async, outcome_of, runner_of


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plain(Enum):
    ONE = 1


KEYS: list[Any] = ["1", 1, 1.0, True, None, "true", "", "a/b", 0, Level.LOW, Colour.RED]


def chosen(table: BranchTable, key: object) -> str:
    found = table.choose(key)
    assert isinstance(found, Chosen), found
    return found.node.name  # type: ignore[union-attr]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_a_key_finds_its_branch_by_type_and_value(key: Any) -> None:
    table = BranchTable({key: echo}, None)
    for other in KEYS:
        found = table.choose(other)
        same = (type(other), other) == (type(key), key)
        as_text = isinstance(other, bool) and key == str(other).lower() and type(key) is str
        assert isinstance(found, Chosen) is (same or as_text), (key, other)


def test_a_bool_finds_its_own_branch_first() -> None:
    table = BranchTable({"true": echo, True: echo_async, "false": echo}, None)
    assert chosen(table, True) == "echo_async"
    assert chosen(table, False) == "echo"
    assert chosen(table, "true") == "echo"


@pytest.mark.parametrize("key", ["True", "TRUE", "tru", 1, 1.0])
def test_nothing_else_stands_for_true(key: object) -> None:
    assert isinstance(BranchTable({"true": echo, True: echo}, None).choose(key), BranchNotFound)


@pytest.mark.parametrize(
    "key", ["other", 2, None, [1], {}, object(), Plain.ONE], ids=lambda key: type(key).__name__
)
def test_the_default_is_for_every_other_key(key: object) -> None:
    found = BranchTable({"a": echo}, echo_async).choose(key)
    assert isinstance(found, Chosen)
    assert found.node is echo_async
    assert found.key is key
    assert found.metadata == {"executed_branch_key": key}
    assert str(FramePath(found.segments)) == ":default/echo_async"


def test_a_key_without_a_branch() -> None:
    found = BranchTable({"a": echo, 1: echo}, None).choose("1")
    assert isinstance(found, BranchNotFound)
    assert str(found).startswith("the condition gave '1' (str)")
    assert "branches for 'a', 1 and no default one" in str(found)


def test_the_segments_of_branches_tell_keys_apart() -> None:
    table = BranchTable(dict.fromkeys(("1", "true"), echo) | {1: echo}, None)
    chosen = [table.choose(key) for key in ("1", 1, "true")]
    paths = [FramePath(one.segments) for one in chosen if isinstance(one, Chosen)]
    assert list(map(str, paths)) == [":1/echo", ":=1/echo", ":true/echo"]


def test_names_that_no_branch_has() -> None:
    branches: dict[str, Node] = {"a": echo, "b": echo}
    assert unknown_branches(["a", "b", "a"], branches) is None
    assert unknown_branches([], branches) is None
    error = unknown_branches(["c", "a", "d"], branches)
    assert str(error) == "the router named 'c', 'd'; there are 'a', 'b'"


class Tally(BaseModel):
    hidden: str = "seen"
    names: list[str] = []
    total: Annotated[int, Merge.add] = 0
    choice: str = ""


def put(name: str, **values: Any) -> AnyStep:
    """A branch that sets these fields."""

    async def work(data: object, context: Tally) -> str:
        for field, value in values.items():
            setattr(context, field, value)
        return name

    return Step.from_callable(work, name=name)


def ran(wait: Wait, node: Node, **initial: Any) -> Any:
    runner = Flujo(node, context_model=Tally, initial_context_data=initial)
    return wait(runner.run_async(1).result())


STRATEGIES: list[tuple[Any, str]] = [
    (MergeStrategy.NO_MERGE, ""),
    (MergeStrategy.OVERWRITE, "b"),
    (MergeStrategy.KEEP_FIRST, "a"),
    (lambda base, branches: setattr(base, "choice", "+".join(branches)), "a+b"),
]


@pytest.mark.parametrize(("strategy", "choice"), STRATEGIES)
def test_a_strategy_decides_what_becomes_of_the_context(
    wait: Wait, strategy: Any, choice: str
) -> None:
    branches: dict[str, Node] = {"a": put("a", choice="a"), "b": put("b", choice="b")}
    result = ran(wait, parallel("both", branches, merge_strategy=strategy))
    assert result.final_pipeline_context == Tally(choice=choice)
    assert result.output == {"a": "a", "b": "b"}


CONFLICTS: list[tuple[Any, Any]] = [
    (MergeStrategy.CONTEXT_UPDATE, "other"),
    (MergeStrategy.ERROR_ON_CONFLICT, "a"),
]


@pytest.mark.parametrize(("strategy", "second"), CONFLICTS)
def test_a_conflict_fails_the_step_and_names_the_branches(
    wait: Wait, strategy: Any, second: str
) -> None:
    branches: dict[str, Node] = {"a": put("a", choice="a"), "b": put("b", choice=second)}
    result = ran(wait, parallel("both", branches, merge_strategy=strategy))
    assert result.status is RunStatus.FAILED
    told = result.step_history[0].feedback
    assert told.startswith(ContextMergeError.__name__)
    assert all(part in told for part in ("choice", "'a'", "'b'"))
    assert [one.success for one in result.step_history[0].step_history] == [True, True]
    assert result.final_pipeline_context == Tally()


def test_a_strategy_that_raises_fails_the_step(wait: Wait) -> None:
    def merge(base: Tally, branches: Mapping[str, Tally]) -> None:
        raise KeyError("merge")

    branches: dict[str, Node] = {"a": put("a", choice="a"), "b": echo}
    result = ran(wait, parallel("both", branches, merge_strategy=merge))
    assert result.status is RunStatus.FAILED
    assert "KeyError: 'merge'" in result.step_history[0].feedback


def test_a_field_mapping_picks_what_a_branch_may_merge(wait: Wait) -> None:
    branches: dict[str, Node] = {
        "a": put("a", choice="a", total=1),
        "b": put("b", choice="b", total=2),
    }
    node = parallel("both", branches, field_mapping={"a": ["choice"], "b": ["total"]})
    assert ran(wait, node).final_pipeline_context == Tally(choice="a", total=2)


def test_branches_see_only_the_fields_that_are_included(wait: Wait) -> None:
    @step
    async def look(data: object, context: Tally) -> tuple[str, list[str], int]:
        seen = context.hidden, [*context.names], context.total
        context.names.append("look")
        context.total += 1
        return seen

    branches: dict[str, Node] = {"look": look, "other": echo_async}
    node = parallel("both", branches, context_include_keys=["total"])
    result = ran(wait, node, hidden="secret", names=["mine"], total=4)
    assert result.output["look"] == ("seen", [], 4)
    assert result.final_pipeline_context == Tally(hidden="secret", names=["mine", "look"], total=5)


def test_a_field_to_include_that_is_not_there(wait: Wait) -> None:
    node = parallel("both", {"a": echo, "b": echo}, context_include_keys=["totl"])
    outcome = wait(outcome_of(node, 1, context=Tally()))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ContextUpdateError)
    assert "'both' names 'totl'; Tally has hidden, names" in outcome.feedback


def test_reduce_makes_the_output(wait: Wait) -> None:
    seen: list[StepResult] = []

    def longest(results: list[StepResult], context: Tally) -> object:
        seen.extend(results)
        context.names.append("reduced")
        return max(str(one.output) for one in results)

    branches: dict[str, Node] = {"b": put("bb", total=1), "a": put("a", total=2)}
    result = ran(wait, parallel("both", branches, reduce=longest))
    assert result.output == "bb"
    assert [(one.name, one.output) for one in seen] == [("both_b", "bb"), ("both_a", "a")]
    assert result.final_pipeline_context == Tally(total=3, names=["reduced"])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_reduce_may_pick_a_result_or_be_async(wait: Wait, asynchronous: bool) -> None:
    def last(results: list[StepResult]) -> object:
        return results[-1]

    async def late_last(results: list[StepResult]) -> object:
        await asyncio.sleep(0)
        return results[-1]

    node = parallel(
        "both",
        {"a": put("first"), "b": put("second")},
        reduce=late_last if asynchronous else last,
    )
    assert ran(wait, node).output == "second"


def test_reduce_sees_what_failed_under_ignore(wait: Wait) -> None:
    def survivors(results: list[StepResult]) -> list[str]:
        return [one.name for one in results if one.success]

    node = parallel(
        "both",
        {"bad": broken, "good": echo},
        reduce=survivors,
        on_branch_failure=BranchFailureStrategy.IGNORE,
    )
    assert ran(wait, node).output == ["both_good"]


def test_a_reduce_that_raises_fails_the_step_and_merges_nothing(wait: Wait) -> None:
    def fail(results: object) -> None:
        raise KeyError("reduce")

    result = ran(wait, parallel("both", {"a": put("a", total=1), "b": echo}, reduce=fail))
    assert result.status is RunStatus.FAILED
    assert result.step_history[0].feedback == "KeyError: 'reduce'"
    assert len(result.step_history[0].step_history) == 2
    assert result.final_pipeline_context == Tally()


def test_where_the_output_goes(wait: Wait) -> None:
    node = parallel("both", {"total": echo, "names": echo}, updates_context=True, reduce=_totals)
    assert ran(wait, node).final_pipeline_context == Tally(total=2)
    sunk = parallel("both", {"a": echo_async, "b": echo_async}, sink_to="by_kind")
    result = wait(runner_of(sunk).run_async(3).result())
    assert result.final_pipeline_context == Counts(by_kind={"a": 3, "b": 3})


def _totals(results: list[StepResult]) -> dict[str, int]:
    return {"total": len(results)}


def test_an_output_that_does_not_fit_fails_the_step(wait: Wait) -> None:
    node = parallel("both", {"a": echo_async, "b": echo_async}, sink_to="total")
    result = wait(runner_of(node).run_async(3).result())
    assert result.status is RunStatus.FAILED
    assert "total" in result.step_history[0].feedback
