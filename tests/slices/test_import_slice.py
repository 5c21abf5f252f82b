"""The behaviour of an `ImportStep`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepInterrupted, UsageLimitExceededError
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import ImportStep, OutputMapping
from tests.engine.fakes import Counts, echo
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import add, add_async, count, dear, fails, interrupt, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Import, third_party.Import)


def import_(pipeline: Any, **options: Any) -> Any:
    return ImportStep(name="imp", pipeline=pipeline, **options)


class Own(BaseModel):
    """A context of an imported pipeline."""

    initial_prompt: str = ""
    names: list[str] = []
    size: int = 0


@step
def look(data: Any, context: Any) -> Any:
    return context.model_dump()


@pytest.mark.parametrize("pipeline", [add, add_async])
def test_the_pipeline_gets_the_input_and_gives_the_output(runs: Runs, pipeline: Any) -> None:
    result = runs(add >> import_(pipeline) >> add, 1)
    assert (result.status, result.output) == (RunStatus.COMPLETED, 4)
    assert paths_in(result.step_history) == ["add", "imp", f"imp/import/{pipeline.name}", "add#1"]


def test_its_steps_stand_below_import(runs: Runs) -> None:
    result = runs(import_(add >> count >> add), 1)
    assert paths_in(result.step_history) == [
        *("imp", "imp/import/add", "imp/import/count", "imp/import/add#1")
    ]


def test_it_has_a_context_of_its_own(runs: Runs) -> None:
    result = runs(count >> import_(count >> look), "x")
    assert result.output == {"total": 1, "names": ["x"], "by_kind": {}}
    assert result.final_pipeline_context == Counts(total=1, names=["x"])


def test_it_may_inherit_a_copy_of_the_context(runs: Runs) -> None:
    result = runs(count >> import_(count >> look, inherit_context=True), "x")
    assert result.output == {"total": 2, "names": ["x", "x"], "by_kind": {}}
    assert result.final_pipeline_context == Counts(total=1, names=["x"])


def test_it_may_hand_back_what_it_changed(runs: Runs) -> None:
    result = runs(count >> import_(count, inherit_context=True, updates_context=True), "x")
    assert result.final_pipeline_context == Counts(total=2, names=["x", "x"])


def test_it_may_have_a_model_of_its_own(runs: Runs) -> None:
    given = {"context_model": Own, "initial_context_data": {"size": 3}}
    assert runs(import_(look, **given), "topic").output == {
        "initial_prompt": "topic",
        "names": [],
        "size": 3,
    }


def test_what_flows_back_may_be_named(runs: Runs) -> None:
    outputs = [OutputMapping("total", "total")]
    result = runs(import_(count >> count, outputs=outputs), "x")
    assert result.final_pipeline_context == Counts(total=2)


def test_its_failure_is_the_steps(runs: Runs) -> None:
    result = runs(import_(count >> fails(), updates_context=True) >> echo, 1)
    one = only(result)
    assert (result.status, one.feedback) == (RunStatus.FAILED, "ValueError: no")
    assert [child.success for child in one.step_history] == [True, False]
    assert result.final_pipeline_context == Counts()


@pytest.mark.parametrize(("way", "output"), [("skip", None), ("continue_with_default", {})])
def test_a_failure_may_be_gone_past(runs: Runs, way: str, output: object) -> None:
    result = runs(import_(fails(), on_failure=way) >> echo, 1)
    assert (result.success, result.output) == (True, output)
    assert result.step_history[0].metadata["import_failed"] == "ValueError: no"


def test_a_failure_that_was_gone_past_is_not_run_again(runs: Runs) -> None:
    calls = Calls()
    node = import_(calls.step("bad", fails().agent), on_failure="skip") >> asks("ask")
    assert runs.resume(runs(node, 1), "yes").output == "yes"
    assert calls == {"bad": 1}


def test_it_draws_on_the_budget_of_the_run(runs: Runs) -> None:
    node = dear >> import_(dear >> dear)
    result = runs(node, "x", usage_limits=tokens(6))
    assert (result.total_tokens, result.step_history[1].token_counts) == (6, 4)
    partial = runs.breach(node, "x", usage_limits=tokens(5))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 4)


def test_it_may_have_a_part_of_the_budget(runs: Runs) -> None:
    node = import_(dear >> dear, usage_limits=tokens(3), on_failure="skip")
    partial = runs.breach(node, "x", usage_limits=tokens(100))
    assert partial.total_tokens == 2
    assert runs(import_(dear, usage_limits=tokens(3)) >> dear >> dear, "x").total_tokens == 6


def test_after_a_pause_there_is_what_was_left_of_its_part(runs: Runs) -> None:
    node = import_(dear >> asks("ask") >> dear, usage_limits=tokens(3))
    paused = runs(node, "x", usage_limits=tokens(100))
    with pytest.raises(UsageLimitExceededError, match="limit of 3"):
        runs.resume(paused, "y")


def test_chunks_come_with_their_paths(runs: Runs) -> None:
    runs(import_(echo >> say), 1)
    assert runs.chunks == [("imp/import/say", "1a", 1), ("imp/import/say", "1b", 1)]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(import_(add >> add), 1)
    assert runs.events == [
        *("started imp", "started imp/import"),
        *("started imp/import/add", "completed imp/import/add"),
        *("started imp/import/add#1", "completed imp/import/add#1"),
        *("completed imp/import", "completed imp"),
    ]


def test_a_pause_inside_goes_on_where_it_was(runs: Runs) -> None:
    calls = Calls()
    inside = calls.step("before") >> asks("one") >> count >> asks("two") >> calls.step("after")
    node = import_(inside, inherit_context=True, updates_context=True)
    paused = runs(count >> node, "x")
    assert [(str(one.path), one.message) for one in paused.paused] == [
        ("imp/import/one", "x before")
    ]
    paused = runs.resume(paused, "y")
    assert [str(one.path) for one in paused.paused] == ["imp/import/two"]
    result = runs.resume(paused, "z")
    assert (result.output, calls) == ("z after", {"before": 1, "after": 1})
    assert result.final_pipeline_context == Counts(total=2, names=["x", "y"])


def test_an_interrupt_inside_ends_the_run(runs: Runs) -> None:
    with pytest.raises(StepInterrupted):
        runs(import_(interrupt, on_failure="skip"), 1)
    assert runs.events[-2:] == ["interrupted imp/import/interrupt", "interrupted imp"]
