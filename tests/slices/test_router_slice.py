"""The behaviour of a `DynamicParallelRouterStep`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import BranchFailureStrategy, DynamicParallelRouterStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage
from flujo_nb.testing import StubAgent
from tests.engine.fakes import Counts, echo, names_in
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import add, add_async, dear, fails, interrupt, note, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Router, third_party.Router)

BRANCHES = {"one": add, "two": add_async >> note, "bad": note >> fails()}


def route(answer: Any, branches: Any = BRANCHES, **options: Any) -> Any:
    router = answer
    if not callable(answer) and not isinstance(answer, Step):
        router = StubAgent([answer, answer])
    return DynamicParallelRouterStep(
        name="route", router_agent=router, branches=branches, **options
    )


@pytest.mark.parametrize("names", [["one", "two"], ("one", "two")])
def test_the_branches_that_the_router_names_run(runs: Runs, names: Any) -> None:
    result = runs(route(names), 1)
    assert (result.status, result.output) == (RunStatus.COMPLETED, {"one": 2, "two": 2})
    assert paths_in(result.step_history) == [
        *("route", "route/router", "route/:one/add", "route/:two/add_async", "route/:two/note")
    ]
    assert only(result).metadata["executed_branches"] == ["one", "two"]
    assert result.final_pipeline_context == Counts(names=["2"])


def test_one_name_will_do(runs: Runs) -> None:
    assert runs(route(lambda data: "one"), 1).output == {"one": 2}


def test_no_name_is_no_branch(runs: Runs) -> None:
    result = runs(route([]), 1)
    assert (result.success, result.output) == (True, {})


def test_the_router_gets_the_input_and_the_context(runs: Runs) -> None:
    def choose(data: int, context: Counts) -> list[str]:
        return ["one"] if data == context.total else []

    assert runs(route(choose), 4, initial_context_data={"total": 4}).output == {"one": 5}


def test_what_the_router_changes_in_the_context_is_kept(runs: Runs) -> None:
    def choose(data: int, context: Counts) -> list[str]:
        context.total += 1
        return ["two"]

    result = runs(route(choose), 1)
    assert result.final_pipeline_context == Counts(total=1, names=["2"])


def test_a_name_that_is_none_of_the_branches_is_an_error(runs: Runs) -> None:
    one = only(runs(route(["one", "three"]), 1))
    assert not one.success
    for part in ("three", "one", "two", "bad"):
        assert part in (one.feedback or "")
    assert names_in(one.step_history) == ["route_router"]


def test_a_router_that_fails_has_failed_the_step(runs: Runs) -> None:
    result = runs(route(fails("choose")), 1)
    one = only(result)
    assert (result.status, one.feedback) == (RunStatus.FAILED, "ValueError: no")
    assert names_in(one.step_history) == ["choose"]


def test_a_branch_that_fails_fails_the_step_and_merges_nothing(runs: Runs) -> None:
    result = runs(route(["two", "bad"]), 1)
    assert only(result).feedback == "branch 'bad' failed: ValueError: no"
    assert result.final_pipeline_context == Counts()


def test_a_failure_may_be_ignored(runs: Runs) -> None:
    node = route(["two", "bad"], on_branch_failure=BranchFailureStrategy.IGNORE)
    result = runs(node, 1)
    assert (result.success, result.output["two"]) == (True, 2)
    assert result.output["bad"].feedback == "ValueError: no"
    assert result.final_pipeline_context == Counts(names=["2"])


def test_router_and_branches_share_the_budget(runs: Runs) -> None:
    router = Metered(["a", "b"], Usage(0, 3, 1))
    node = route(router, {"a": dear, "b": dear})
    result = runs(node, 1, usage_limits=tokens(7))
    assert (result.total_tokens, only(result).token_counts) == (7, 7)
    partial = runs.breach(node, 1, usage_limits=tokens(4))
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 3)


def test_chunks_come_with_the_branch(runs: Runs) -> None:
    runs(route(["b"], {"a": echo, "b": echo >> say}), 1)
    assert runs.chunks == [("route/:b/say", "1a", 1), ("route/:b/say", "1b", 1)]


def test_the_hooks_hear_of_every_frame_in_order(runs: Runs) -> None:
    runs(route(["one"]), 1)
    assert runs.events == [
        "started route",
        *("started route/router", "completed route/router"),
        *("started route/:one/add", "completed route/:one/add"),
        "completed route",
    ]


def test_a_pause_inside_goes_on_where_it_was(runs: Runs) -> None:
    calls = Calls()
    router = calls.step("choose", lambda data: ["a", "b"])
    branches = {"a": asks("ask") >> calls.step("after"), "b": calls.step("alone")}
    paused = runs(route(router, branches), "x")
    assert [str(one.path) for one in paused.paused] == ["route/:a/ask"]
    result = runs.resume(paused, "yes")
    assert result.output == {"a": "yes after", "b": "x alone"}
    assert calls == {"choose": 1, "alone": 1, "after": 1}


def test_a_human_may_be_the_router(runs: Runs) -> None:
    paused = runs(route(asks("which")), 1)
    assert [str(one.path) for one in paused.paused] == ["route/router"]
    assert runs.resume(paused, ["one"]).output == {"one": 2}


@pytest.mark.parametrize("router", [interrupt, lambda data: "a"])
def test_an_interrupt_inside_ends_the_run(runs: Runs, router: Any) -> None:
    with pytest.raises(StepInterrupted):
        runs(route(router, {"a": interrupt}), 1)
    assert runs.events[-1] == "interrupted route"
