"""From a step to its call: once for each step, with the interceptors that its run uses."""

from __future__ import annotations

from typing import Any

from flujo_nb.engine.execution_dispatcher import ExecutionDispatcher
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.failure_builder import FailureBuilder
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.policy_invoker import PolicyInvoker
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.run import Facility
from tests.engine.fakes import Box, BoxPolicy, Wait

BOX = Box(name="box")


def dispatcher_with(*interceptors: Any) -> ExecutionDispatcher:
    async def run(core: Any, frame: Any) -> Success:
        return Success(output="ran")

    table = PolicyRegistry([BoxPolicy(run)]).table()
    return ExecutionDispatcher(table, PolicyInvoker(FailureBuilder()), interceptors)


def test_a_step_is_resolved_once() -> None:
    calls = dispatcher_with().calls(ExecutorCore())[Facility.NONE]
    assert calls[BOX] is calls[BOX]
    assert calls[BOX] is not calls[Box(name="box")]


def test_a_run_pays_only_for_the_interceptors_that_it_uses(wait: Wait) -> None:
    order = []

    def interceptor(name: str) -> Any:
        async def around(frame: Any, proceed: Any) -> Any:
            order.append(name)
            return await proceed(frame)

        return around

    dispatcher = dispatcher_with(
        (Facility.EVENTS, interceptor("outer")), (Facility.EVENTS, interceptor("inner"))
    )
    core, frame = ExecutorCore(), make_execution_frame(BOX)
    assert wait(dispatcher.calls(core)[Facility.NONE][BOX](frame)).output == "ran"
    assert order == []
    assert wait(dispatcher.calls(core)[Facility.EVENTS][BOX](frame)).output == "ran"
    assert order == ["outer", "inner"]
