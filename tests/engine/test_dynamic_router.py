"""Steps that ask a router which branches to run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import dynamic_parallel_branch, human_in_the_loop
from flujo_nb.engine.errors import BranchNotFound
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus, Success
from flujo_nb.engine.policies.dynamic_router import DynamicRouterStepExecutor, names_of
from flujo_nb.engine.step_kinds import BranchFailureStrategy, DynamicParallelRouterStep
from flujo_nb.engine.steps import AnyStep
from flujo_nb.engine.usage import Metered, Usage
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


@step
async def noted(data: object, context: Counts) -> object:
    context.names.append(f"noted with {context.total}")
    return data


def giving(names: object) -> Any:
    return lambda data: names


def routed(names: object, **options: Any) -> Any:
    """A router that gives these names, and has the branches a, b and 1."""
    branches: dict[str, AnyStep] = {"a": echo, "b": echo_async, "1": noted}
    return dynamic_parallel_branch("route", giving(names), branches, **options)


class Name(StrEnum):
    A = "a"


NAMED: list[tuple[Any, list[str]]] = [
    ("a", ["a"]),
    (["b"], ["b"]),
    (["b", "a"], ["a", "b"]),
    (("b", "a", "b"), ["a", "b"]),
    ({"b", "1"}, ["b", "1"]),
    (frozenset({"b"}), ["b"]),
    ([], []),
    (Name.A, ["a"]),
    ([Name.A, "b"], ["a", "b"]),
]


@pytest.mark.parametrize(("given", "names"), NAMED)
def test_what_names_branches(given: object, names: list[str]) -> None:
    assert names_of(given, routed("a")) == names


@pytest.mark.parametrize("given", [None, 5, {"a": 1}, b"a", object(), lambda: "a"])
def test_what_names_none(given: object) -> None:
    error = names_of(given, routed("a"))
    assert isinstance(error, BranchNotFound)
    assert "'route_router' gave" in str(error)
    assert type(given).__name__ in str(error)


@pytest.mark.parametrize("given", ["c", ["a", "c"], {"c"}, [1], ["a", None], [["a"]], [{}], [b"a"]])
def test_names_that_no_branch_has(given: object) -> None:
    error = names_of(given, routed("a"))
    assert isinstance(error, BranchNotFound)
    assert "there are 'a', 'b', '1'" in str(error)


def test_the_named_branches_run_and_no_others(wait: Wait) -> None:
    result = wait(runner_of(routed(["b", "a"])).run_async(3).result())
    assert result.output == {"a": 3, "b": 3}
    assert list(result.output) == ["a", "b"]
    (route,) = result.step_history
    assert route.metadata == {"executed_branches": ["a", "b"]}
    assert names_in(route.step_history) == ["route_router", "echo", "echo_async"]


def test_paths(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    wait(runner_of(routed(["a", "1"]), hooks=[hear]).run_async(3).result())
    assert sorted(paths) == ["route", "route/:1/noted", "route/:a/echo", "route/router"]


def test_no_names_run_nothing(wait: Wait) -> None:
    outcome = wait(outcome_of(routed([]), 3))
    assert isinstance(outcome, Success)
    assert outcome.output == {}
    assert len(outcome.children) == 1


def test_an_unknown_name_fails_before_any_branch_runs(wait: Wait) -> None:
    result = wait(runner_of(routed(["1", "c"])).run_async(3).result())
    assert result.status is RunStatus.FAILED
    (route,) = result.step_history
    assert "named 'c'; there are 'a', 'b', '1'" in (route.feedback or "")
    assert names_in(route.step_history) == ["route_router"]
    assert result.final_pipeline_context == Counts()


def test_the_error_of_an_unknown_name_says_where(wait: Wait) -> None:
    outcome = wait(outcome_of(echo >> routed(["c"]), 3))
    assert "route" in str(outcome.error)


@step
async def routing(data: object, context: Counts) -> list[str]:
    context.total += 1
    context.names.append("routed")
    return ["1"]


class Routing:
    async def run(self, data: object) -> Metered:
        return Metered(["1"], Usage(tokens=7))


def with_router(router: Any, **options: Any) -> Any:
    return dynamic_parallel_branch("route", router, {"1": noted, "b": echo_async}, **options)


def test_what_a_router_may_be(wait: Wait) -> None:
    async def waits(data: object) -> str:
        return "1"

    for router in (routing, Routing(), waits):
        assert wait(runner_of(with_router(router)).run_async(3).result()).output == {"1": 3}


def test_what_a_router_used_counts(wait: Wait) -> None:
    result = wait(runner_of(with_router(Routing())).run_async(3).result())
    assert result.total_tokens == 7
    assert result.step_history[0].token_counts == 7


def test_what_a_router_changed_in_the_context_stays_changed(wait: Wait) -> None:
    result = wait(runner_of(with_router(routing)).run_async(3).result())
    assert result.final_pipeline_context == Counts(total=1, names=["routed", "noted with 1"])


def test_a_router_that_fails_fails_the_step(wait: Wait) -> None:
    result = wait(runner_of(with_router(broken)).run_async(3).result())
    assert result.status is RunStatus.FAILED
    (route,) = result.step_history
    assert "ValueError: cannot use 3" in (route.feedback or "")
    assert names_in(route.step_history) == ["broken"]


def test_a_router_that_is_interrupted_ends_the_run(wait: Wait) -> None:
    def pressed(data: object) -> str:
        raise KeyboardInterrupt

    outcome = wait(outcome_of(with_router(pressed), 3, context=Counts()))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED


def test_failures_of_branches_count_as_in_a_parallel_step(wait: Wait) -> None:
    branches: dict[str, Any] = {"bad": broken, "good": echo}
    names = giving(["bad", "good"])
    failing = dynamic_parallel_branch("route", names, branches)
    outcome = wait(outcome_of(failing, 3))
    assert isinstance(outcome, Failure)
    assert outcome.feedback == "branch 'bad' failed: ValueError: cannot use 3"
    ignoring = dynamic_parallel_branch(
        "route", names, branches, on_branch_failure=BranchFailureStrategy.IGNORE
    )
    assert wait(outcome_of(ignoring, 3)).output["good"] == 3


def test_a_router_may_ask_a_human(wait: Wait) -> None:
    runner = runner_of(with_router(human_in_the_loop("which", "which branch?")))

    async def main() -> Any:
        paused = await runner.run_async(3)
        assert [str(pause.path) for pause in paused.paused] == ["route/router"]
        return await runner.resume_async(paused, ["b"])

    assert wait(main()).output == {"b": 3}


def test_the_router_is_asked_once(wait: Wait) -> None:
    asked: list[object] = []

    def router(data: object) -> list[str]:
        asked.append(data)
        return ["ask", "1"]

    branches: dict[str, AnyStep] = {"ask": human_in_the_loop("ask"), "1": noted}
    runner = runner_of(dynamic_parallel_branch("route", router, branches))

    async def main() -> Any:
        return await runner.resume_async(await runner.run_async(3), "yes")

    result = wait(main())
    assert result.output == {"ask": "yes", "1": 3}
    assert asked == [3]
    assert result.final_pipeline_context.names == ["noted with 0"]


def test_a_policy_runs_a_frame_by_itself(wait: Wait) -> None:
    policy = DynamicRouterStepExecutor()
    assert policy.handles is DynamicParallelRouterStep
    outcome = wait(policy.execute(ExecutorCore(), make_execution_frame(routed("a"), 4)))
    assert outcome.output == {"a": 4}
