"""Steps that repeat, as a user meets them; `LoopExecutor` has the details."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import loop_until, map_over, parallel
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.policies.loop import LoopStepExecutor, MapStepExecutor
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import LoopStep, MapStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, Wait, echo, echo_async, names_in, runner_of


@step
def grow(data: int, context: Counts) -> int:
    context.total += data
    context.names.append(str(data))
    return data + 1


def test_it_runs_at_least_once(wait: Wait) -> None:
    loop = loop_until("loop", grow, lambda output: True)
    result = wait(runner_of(loop).run_async(5).result())
    assert result.output == 6
    (loop_result,) = result.step_history
    assert loop_result.attempts == 1
    assert loop_result.metadata == {"exit_reason": "condition", "iterations": 1}
    assert names_in(loop_result.step_history) == ["grow"]


def test_each_iteration_gets_what_the_one_before_gave_and_left(wait: Wait) -> None:
    loop = loop_until("loop", grow, lambda output, context: context.total > 5, max_loops=9)
    result = wait(runner_of(loop >> grow).run_async(1).result())
    assert result.final_pipeline_context == Counts(total=10, names=["1", "2", "3", "4"])
    assert result.output == 5


def test_none_is_an_output(wait: Wait) -> None:
    @step
    def nothing(data: object, context: Counts) -> None:
        context.names.append(repr(data))

    loop = loop_until("loop", nothing, lambda output, context: len(context.names) == 3)
    result = wait(runner_of(loop).run_async(1).result())
    assert result.output is None
    assert result.final_pipeline_context.names == ["1", "None", "None"]


def test_a_body_may_be_a_pipeline_or_a_container(wait: Wait) -> None:
    body = echo >> loop_until("inner", grow, lambda output: output % 3 == 0)
    result = wait(
        runner_of(loop_until("outer", body, lambda output: output >= 6)).run_async(1).result()
    )
    assert result.output == 6
    outer = result.step_history[0]
    assert names_in(outer.step_history) == ["echo", "inner"] * 2
    assert [len(one.step_history) for one in outer.step_history] == [0, 2, 0, 3]


def test_the_same_loop_may_run_twice_in_a_run_and_in_another(wait: Wait) -> None:
    loop = loop_until("loop", grow, lambda output: output % 2 == 0)
    runner = runner_of(loop >> loop)
    for _ in range(2):
        result = wait(runner.run_async(1).result())
        assert result.output == 4
        assert [one.metadata["iterations"] for one in result.step_history] == [1, 2]


def test_paths(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    body = echo >> map_over("map", echo_async)
    runner = Flujo(loop_until("loop", body, lambda output: True) >> echo, hooks=[hear])
    wait(runner.run_async(["a", "b"]).result())
    assert paths == [
        "",
        "loop",
        "loop/[0]",
        "loop/[0]/echo",
        "loop/[0]/map",
        "loop/[0]/map/[0]/echo_async",
        "loop/[0]/map/[1]/echo_async",
        "echo",
    ]


def test_where_the_output_goes(wait: Wait) -> None:
    loop = loop_until("loop", grow, lambda output: output == 3, sink_to="by_kind.last")
    result = wait(runner_of(loop).run_async(1).result())
    assert result.final_pipeline_context == Counts(total=3, names=["1", "2"], by_kind={"last": 3})


def test_an_output_that_does_not_fit_where_it_goes_fails_the_loop(wait: Wait) -> None:
    class Strict(BaseModel):
        total: int = 0

    loop = loop_until("loop", echo, lambda output: True, sink_to="total")
    result = wait(Flujo(loop, context_model=Strict).run_async("many").result())
    assert result.status is RunStatus.FAILED
    assert result.step_history[0].metadata["exit_reason"] == "merge_error"
    assert "total" in (result.step_history[0].feedback or "")


def test_loops_side_by_side_do_not_meet(wait: Wait) -> None:
    branches: dict[str, Any] = {
        name: loop_until(
            name,
            Step.from_callable(_noted(name), name="body"),
            lambda output, context, name=name: len(context.by_kind) == 3,
        )
        for name in "ab"
    }
    result = wait(runner_of(parallel("both", branches)).run_async(0).result())
    assert sorted(result.final_pipeline_context.by_kind) == ["a0", "a1", "a2", "b0", "b1", "b2"]


def _noted(name: str) -> Any:
    async def work(data: int, context: Counts) -> int:
        context.by_kind[f"{name}{data}"] = data
        return data + 1

    return work


@pytest.mark.parametrize(
    ("policy", "kind", "node", "output"),
    [
        (LoopStepExecutor(), LoopStep, loop_until("loop", echo, lambda _: True), [1, 2]),
        (MapStepExecutor(), MapStep, map_over("map", echo), [1, 2]),
    ],
)
def test_a_policy_runs_a_frame_by_itself(
    wait: Wait, policy: Any, kind: type, node: Any, output: object
) -> None:
    assert policy.handles is kind
    outcome = wait(policy.execute(ExecutorCore(), make_execution_frame(node, [1, 2])))
    assert outcome.output == output
    assert outcome.step is node
