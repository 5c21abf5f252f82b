"""Steps that run all their branches, as a user meets them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import human_in_the_loop, map_over, parallel
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.policies.parallel import ParallelStepExecutor
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.step_kinds import BranchFailureStrategy, ParallelStep
from flujo_nb.engine.steps import Node, Step
from tests.engine.containers import failing_late
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

IGNORE = BranchFailureStrategy.IGNORE


@step
async def slowly(data: Any, context: Counts) -> Any:
    await asyncio.sleep(0.002)
    context.names.append("slowly")
    return data


@step
async def quickly(data: Any, context: Counts) -> Any:
    context.names.append("quickly")
    return data


def test_outputs_and_changes_stand_in_declared_order(wait: Wait) -> None:
    node = parallel("both", {"slow": slowly, "quick": quickly})
    result = wait(runner_of(node).run_async(1).result())
    assert list(result.output.items()) == [("slow", 1), ("quick", 1)]
    assert result.final_pipeline_context.names == ["slowly", "quickly"]
    (both,) = result.step_history
    assert both.metadata == {"executed_branches": ["slow", "quick"]}
    assert names_in(both.step_history) == ["slowly", "quickly"]


def test_paths(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    node = parallel("both", {"a b": echo_async, "pipe": echo_async >> echo_async})
    wait(runner_of(node, hooks=[hear]).run_async(1).result())
    assert sorted(paths) == [
        "both",
        "both/:a%20b/echo_async",
        "both/:pipe",
        "both/:pipe/echo_async",
        "both/:pipe/echo_async#1",
    ]


def test_one_branch(wait: Wait) -> None:
    assert wait(outcome_of(parallel("one", {"only": echo}), 1)).output == {"only": 1}


def test_branches_may_be_the_same_step(wait: Wait) -> None:
    node = parallel("both", {"a": echo_async, "b": echo_async})
    assert wait(outcome_of(node, 1)).output == {"a": 1, "b": 1}


def test_a_branch_is_a_pipeline_whose_steps_are_chained(wait: Wait) -> None:
    @step
    async def plus_one(data: int) -> int:
        return data + 1

    node = parallel("both", {"a": plus_one >> plus_one, "b": plus_one})
    assert wait(outcome_of(node, 1)).output == {"a": 3, "b": 2}


def test_a_failed_step_merges_nothing(wait: Wait) -> None:
    node = parallel("both", {"quick": quickly, "fails": failing_late})
    result = wait(runner_of(node).run_async(1).result())
    assert result.status is RunStatus.FAILED
    assert result.output is None
    assert result.final_pipeline_context == Counts()
    assert result.step_history[0].feedback == "branch 'fails' failed: ValueError: late"


def test_an_ignored_failure_stands_among_the_outputs_and_merges_nothing(wait: Wait) -> None:
    @step
    async def changes_and_fails(data: object, context: Counts) -> None:
        context.names.append("lost")
        raise ValueError("no")

    node = parallel("both", {"bad": changes_and_fails, "good": quickly}, on_branch_failure=IGNORE)
    result = wait(runner_of(node).run_async(1).result())
    assert result.success
    assert result.output["bad"].feedback == "ValueError: no"
    assert result.output["bad"].name == "both_bad"
    assert result.final_pipeline_context.names == ["quickly"]


def test_ignore_needs_one_success(wait: Wait) -> None:
    async def fail(data: object) -> None:
        raise ValueError("no")

    failing = {f"f{number}": Step.from_callable(fail, name=f"f{number}") for number in range(2)}
    one_good = parallel("outer", {**failing, "good": echo_async}, on_branch_failure=IGNORE)
    none_good = parallel("outer", failing, on_branch_failure=IGNORE)
    result = wait(runner_of(one_good).run_async(1).result())
    assert result.success
    assert result.output["good"] == 1
    assert [result.output[name].success for name in failing] == [False, False]
    outcome = wait(outcome_of(none_good, 1))
    assert isinstance(outcome, Failure)
    assert outcome.feedback == (
        "2 branches failed: branch 'f0' failed: ValueError: no; branch 'f1' failed: ValueError: no"
    )


def test_under_ignore_a_failure_stops_nobody(wait: Wait) -> None:
    @step
    async def slow(data: object) -> str:
        await asyncio.sleep(0.005)
        return "done"

    node = parallel("outer", {"fails": broken, "slow": slow}, on_branch_failure=IGNORE)
    assert wait(runner_of(node).run_async(1).result()).output["slow"] == "done"


def test_one_at_a_time_goes_on_after_an_ignored_failure_and_not_after_another(wait: Wait) -> None:
    branches: dict[str, Node] = {"bad": broken, "good": echo}
    ignoring = parallel("both", branches, max_concurrency=1, on_branch_failure=IGNORE)
    assert wait(outcome_of(ignoring, 1)).output["good"] == 1
    outcome = wait(outcome_of(parallel("both", branches, max_concurrency=1), 1))
    assert isinstance(outcome, Failure)
    assert len(outcome.children) == 1


def test_a_policy_runs_a_frame_by_itself(wait: Wait) -> None:
    policy = ParallelStepExecutor()
    assert policy.handles is ParallelStep
    node = parallel("both", {"a": echo, "b": echo_async})
    outcome = wait(policy.execute(ExecutorCore(), make_execution_frame(node, 4)))
    assert isinstance(outcome, Success)
    assert outcome.output == {"a": 4, "b": 4}


def test_synchronous_steps_side_by_side_go_to_threads(wait: Wait) -> None:
    meeting = threading.Barrier(3, timeout=2)
    names: list[str] = []

    @step
    def meet(data: int) -> int:
        names.append(threading.current_thread().name)
        meeting.wait()
        return data

    node = map_over("outer", meet, max_concurrency=3)
    assert wait(runner_of(node).run_async([1, 2, 3]).result()).output == [1, 2, 3]
    assert names == ["flujo meet"] * 3


@pytest.mark.parametrize("make", [lambda one: map_over("outer", one), lambda one: echo >> one])
def test_a_synchronous_step_alone_stays_where_it_was_called(
    wait: Wait, make: Callable[[Any], Node]
) -> None:
    threads: list[threading.Thread] = []

    @step
    def where(data: object) -> None:
        threads.append(threading.current_thread())

    wait(runner_of(make(where)).run_async([1, 2]).result())
    assert set(threads) == {threading.main_thread()}


def test_one_that_must_stay_on_the_loop_does_and_has_it_to_itself(wait: Wait) -> None:
    flags: list[bool] = []
    inside = threading.Lock()

    @step(thread=False)
    def alone(data: object) -> None:
        flags.append(inside.acquire(blocking=False))
        flags.append(threading.current_thread() is threading.main_thread())
        inside.release()

    assert wait(
        runner_of(map_over("outer", alone, max_concurrency=3)).run_async([1, 2, 3]).result()
    )
    assert flags == [True] * 6


def test_the_late_result_of_a_thread_is_dropped(wait: Wait) -> None:
    go, done = threading.Event(), threading.Event()

    @step(updates_context=True)
    def late(data: object) -> dict[str, int]:
        go.wait(2)
        done.set()
        return {"total": 9}

    node = parallel("outer", {"late": late, "fails": failing_late})

    async def main() -> Any:
        result = await runner_of(node).run_async(1)
        go.set()
        assert done.wait(2)
        await asyncio.sleep(0.005)
        return result

    result = wait(main())
    assert result.status is RunStatus.FAILED
    assert result.final_pipeline_context == Counts()


ASK = human_in_the_loop("ask", "{{ data }}?")


def test_a_pause_lets_its_siblings_finish(wait: Wait) -> None:
    done: list[object] = []

    @step
    async def slow(data: object) -> str:
        await asyncio.sleep(0.005)
        done.append(data)
        return "slow"

    async def main() -> None:
        runner = runner_of(parallel("outer", {"asks": ASK, "slow": slow}))
        paused = await runner.run_async("may I")
        assert [str(pause.path) for pause in paused.paused] == ["outer/:asks/ask"]
        assert done == ["may I"]
        result = await runner.resume_async(paused, "yes")
        assert isinstance(result.output, dict)
        assert result.output == {"asks": "yes", "slow": "slow"}
        assert done == ["may I"]

    wait(main())


def test_a_failure_beats_a_pause_and_under_ignore_it_does_not(wait: Wait) -> None:
    propagating = parallel("outer", {"asks": ASK, "fails": failing_late})
    assert wait(runner_of(propagating).run_async(1).result()).status is RunStatus.FAILED
    ignoring = parallel("outer", {"asks": ASK, "fails": failing_late}, on_branch_failure=IGNORE)
    assert wait(runner_of(ignoring).run_async(1).result()).status is RunStatus.PAUSED


def test_a_reducer_that_gives_a_failed_result_fails_the_step(wait: Wait) -> None:
    def reduce(results: list[StepResult]) -> StepResult:
        return replace(results[0], success=False, feedback="none is good enough")

    both = parallel("both", {"a": echo, "b": echo}, reduce=reduce)
    result = wait(runner_of(both).run_async(1).result())
    assert result.status is RunStatus.FAILED
    assert "none is good enough" in str(result.step_history[0].feedback)
