"""The behaviour of a `ConditionalStep`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import ConditionalStep
from tests.engine.fakes import Counts, echo
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import add, add_async, count, dear, fails, interrupt, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Conditional, third_party.Conditional)


def on(branches: dict[Any, Any], key: Any = None, **options: Any) -> Any:
    """A step that chooses by its input, or always by ``key``."""
    condition = (lambda data, context: data) if key is None else (lambda data, context: key)
    return ConditionalStep(name="if", condition_callable=condition, branches=branches, **options)


@pytest.mark.parametrize(
    ("key", "place"), [("a", ":a"), (1, ":=1"), ("1", ":1"), (False, ":=false"), (2.5, ":=2.5")]
)
def test_the_key_chooses_the_branch_by_value_and_type(runs: Runs, key: Any, place: str) -> None:
    branches = {"a": add, "1": add, 1: add_async, False: add, 2.5: add}
    result = runs(on(branches, key), 1)
    assert (result.status, result.output) == (RunStatus.COMPLETED, 2)
    assert only(result).metadata["executed_branch_key"] == key
    assert paths_in(result.step_history) == ["if", f"if/{place}/{branches[key].name}"]


def test_a_branch_of_several_steps_is_a_sequence(runs: Runs) -> None:
    result = runs(on({"a": add >> add_async >> count}, "a"), 1)
    assert result.output == 3
    assert paths_in(result.step_history) == ["if", "if/:a/add", "if/:a/add_async", "if/:a/count"]
    assert result.final_pipeline_context == Counts(total=1, names=["3"])


def test_the_condition_gets_the_input_and_the_context(runs: Runs) -> None:
    async def choose(data: int, context: Counts) -> str:
        return "same" if data == context.total else "other"

    node = ConditionalStep(
        name="if", condition_callable=choose, branches={"same": add, "other": fails()}
    )
    assert runs(node, 3, initial_context_data={"total": 3}).output == 4


def test_any_other_key_leads_to_the_default(runs: Runs) -> None:
    result = runs(on({"a": add}, default_branch_pipeline=echo), "b")
    assert result.output == "b"
    assert paths_in(result.step_history) == ["if", "if/:default/echo"]


def test_without_a_default_it_is_an_error(runs: Runs) -> None:
    result = runs(on({"a": add}), "b")
    assert result.status is RunStatus.FAILED
    assert "'b'" in (only(result).feedback or "")
    assert paths_in(result.step_history) == ["if"]


def test_mappers_make_the_input_and_the_output(runs: Runs) -> None:
    node = on(
        {"a": add},
        "a",
        branch_input_mapper=lambda data, context: data * 10,
        branch_output_mapper=lambda output, key, context: (output, key),
    )
    assert runs(node, 1).output == (11, "a")


def test_a_branch_that_fails_fails_the_step_and_changes_nothing(runs: Runs) -> None:
    result = runs(on({"a": count >> fails()}, "a") >> add, 1)
    one = only(result)
    assert (result.status, one.feedback) == (
        RunStatus.FAILED,
        "Failure in branch 'a': ValueError: no",
    )
    assert [(str(child.path), child.success) for child in one.step_history] == [
        *(("if/:a/count", True), ("if/:a/fails", False))
    ]
    assert result.final_pipeline_context == Counts()


def test_usage_adds_up(runs: Runs) -> None:
    result = runs(on({"a": dear >> dear}, "a"), "x", usage_limits=tokens(4))
    assert (result.total_tokens, only(result).token_counts) == (4, 4)


def test_a_breach_of_the_budget_ends_the_run(runs: Runs) -> None:
    partial = runs.breach(on({"a": dear >> dear}, "a"), "x", usage_limits=tokens(3))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 2)
    assert paths_in(partial.step_history) == ["if", "if/:a/dear", "if/:a/dear#1"]


def test_chunks_come_with_the_branch(runs: Runs) -> None:
    assert runs(on({"a": say}, "a"), 1).output == "1a1b"
    assert runs.chunks == [("if/:a/say", "1a", 1), ("if/:a/say", "1b", 1)]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(on({"a": add >> add}, "a"), 1)
    assert runs.events == [
        *("started if", "started if/:a"),
        *("started if/:a/add", "completed if/:a/add"),
        *("started if/:a/add#1", "completed if/:a/add#1"),
        *("completed if/:a", "completed if"),
    ]


def test_a_pause_inside_goes_on_where_it_was(runs: Runs) -> None:
    calls = Calls()
    branch = calls.step("before") >> asks("one") >> calls.step("between") >> asks("two")
    paused = runs(on({"a": branch, "b": echo}, "a") >> calls.step("after"), "x")
    assert [(str(one.path), one.message) for one in paused.paused] == [("if/:a/one", "x before")]
    paused = runs.resume(paused, "y")
    assert [(str(one.path), one.message) for one in paused.paused] == [("if/:a/two", "y between")]
    assert runs.resume(paused, "z").output == "z after"
    assert calls == {"before": 1, "between": 1, "after": 1}


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(on({"a": interrupt}, "a"), 1)
    assert runs.events[-2:] == ["interrupted if/:a/interrupt", "interrupted if"]
