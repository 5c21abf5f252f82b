"""A completed run is resumed to what is open behind it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.step_kinds import LoopStep
from tests.engine.behind import behind, run
from tests.engine.fakes import Wait


@pytest.mark.parametrize("deep", [False, True])
def test_a_run_that_completed_is_resumed_to_what_failed_behind_it(wait: Wait, deep: bool) -> None:
    ran: list[str] = []

    @step
    def first(data: int) -> int:
        ran.append("first")
        return data + 1

    async def flaky(data: int) -> int:
        ran.append("job")
        if ran.count("job") == 1:
            raise ValueError("once")
        return data * 10

    async def main() -> None:
        core, journal = ExecutorCore(), Journal()
        pipeline: Any = first >> behind(flaky)
        if deep:
            pipeline = LoopStep(
                name="loop",
                loop_body_pipeline=pipeline,
                exit_condition_callable=lambda data, context: data >= 2,
            )
        for _ in range(3):
            outcome = await run(core, pipeline, 1, journal=journal)
            assert isinstance(outcome, Success)
            assert outcome.output == 2
            await core.tasks.drain()
        assert ran == ["first", "job", "job"]
        (task,) = core.tasks.tasks_of("r")
        assert task.outcome.output == 20

    wait(main())
