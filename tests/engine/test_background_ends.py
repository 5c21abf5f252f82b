"""How tasks in the background end, and when they are launched again."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, TypeAlias

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.hooks import AnyEvent, FrameRestored, FrameStarted, Hook
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import AbortReason, Failure, Paused, RunStatus, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import HumanInTheLoopStep, LoopStep
from flujo_nb.engine.usage import FREE, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.behind import behind, ended, endless, napping, run
from tests.engine.fakes import Wait, echo_async

Log: TypeAlias = pytest.LogCaptureFixture


@pytest.mark.parametrize(
    ("on_close", "status"),
    [
        ("await", RunStatus.COMPLETED),
        ("cancel", RunStatus.INTERRUPTED),
        ("detach", RunStatus.RUNNING),
    ],
)
def test_closing_does_what_the_step_declares(wait: Wait, on_close: Any, status: RunStatus) -> None:
    async def main() -> None:
        core = ExecutorCore()
        await run(core, behind(napping, on_close=on_close) >> echo_async, 1)
        await core.tasks.settle()
        assert core.tasks.tasks_of("r")[0].status is status
        await core.tasks.drain()

    wait(main())


def test_one_run_can_be_closed(wait: Wait) -> None:
    async def main() -> None:
        core = ExecutorCore()
        for run_id in ("a", "b"):
            await run(core, behind(endless, on_close="cancel"), run_id=run_id)
        await core.tasks.close("a")
        assert [core.tasks.open_count(one) for one in ("a", "b")] == [0, 1]
        await core.tasks.close()

    wait(main())


def test_the_end_of_a_loop_ends_its_tasks_without_a_word(caplog: Log) -> None:
    core = ExecutorCore()
    asyncio.run(run(core, behind(endless, on_close="detach") >> echo_async))
    gc.collect()
    assert core.tasks.tasks_of("r")[0].status is RunStatus.INTERRUPTED
    assert caplog.messages == []


def test_a_task_cancelled_before_its_first_step_has_an_end(wait: Wait) -> None:
    async def main() -> None:
        core, quota = ExecutorCore(), Quota()
        await run(core, behind(endless, share=UsageEstimate(tokens=5)), quota=quota)
        assert quota.reserved == Usage(tokens=5)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        task.cancel()
        assert (await ended(core)).outcome.reason is AbortReason.INTERRUPTED
        assert quota.reserved == FREE

    wait(main())


def test_a_task_whose_loop_was_closed_is_told_as_interrupted(caplog: Log) -> None:
    core, loop = ExecutorCore(), asyncio.new_event_loop()
    loop.run_until_complete(run(core, behind(endless, on_close="detach")))
    loop.close()
    assert core.tasks.open_count("r") == 0
    assert core.tasks.tasks_of("r")[0].status is RunStatus.INTERRUPTED
    del core
    gc.collect()
    assert ["pending" in message for message in caplog.messages] == [True]  # asyncio's own word


def test_a_task_of_another_loop_is_left_to_it(caplog: Log) -> None:
    core, loop = ExecutorCore(), asyncio.new_event_loop()
    loop.run_until_complete(run(core, behind(napping) >> echo_async, 1))
    asyncio.run(core.tasks.close())
    assert core.tasks.open_count("r") == 1
    loop.run_until_complete(core.tasks.close())
    loop.close()
    assert core.tasks.tasks_of("r")[0].status is RunStatus.COMPLETED
    assert caplog.messages == []


def test_a_task_at_work_is_not_launched_twice(wait: Wait) -> None:
    started = []

    async def noting(data: object) -> None:
        started.append(data)
        await asyncio.sleep(0.01)

    async def main() -> None:
        core, work = ExecutorCore(), behind(noting)
        for data in (1, 2):
            outcome = await run(core, work >> echo_async, data)
            assert isinstance(outcome, Success)
            assert outcome.output == data
            await asyncio.sleep(0)
        await core.tasks.drain()
        assert started == [1]

    wait(main())


@pytest.mark.parametrize("fails", [False, True])
def test_resuming_launches_again_only_what_has_not_succeeded(wait: Wait, fails: bool) -> None:
    started: list[object] = []
    told: list[tuple[str, str]] = []

    async def noting(data: object) -> str:
        started.append(data)
        if fails and len(started) == 1:
            raise ValueError("the first time")
        return "done"

    @step
    async def second(data: object) -> None:
        await core.tasks.drain()
        if len(told) == 0:
            raise ValueError("the run itself failed")

    def listen(event: AnyEvent) -> None:
        told.append((type(event).__name__, str(event.path)))

    async def main() -> None:
        pipeline, journal = behind(noting) >> second, Journal()
        assert isinstance(await run(core, pipeline, 1, journal=journal), Failure)
        hook = Hook(listen, (FrameStarted, FrameRestored))
        outcome = await run(core, pipeline, 1, journal=journal, hooks=(hook,))
        assert isinstance(outcome, Success)
        assert started == ([1, 1] if fails else [1])
        assert core.tasks.tasks_of("r")[0].outcome.output == "done"

    core = ExecutorCore()
    wait(main())
    kind = "FrameStarted" if fails else "FrameRestored"
    assert (kind, "job/background") in told


def test_a_task_that_is_done_takes_no_share_when_its_run_is_resumed(wait: Wait) -> None:
    async def main() -> None:
        core, journal = ExecutorCore(), Journal()
        pipeline = behind(napping, share=UsageEstimate(tokens=5)) >> echo_async
        await run(core, pipeline, 1, journal=journal)
        await core.tasks.drain()
        journal.finish(FramePath(), Paused(message="as if it had asked something"))
        small = Quota(UsageLimits(total_tokens_limit=4))
        assert isinstance(await run(core, pipeline, 1, journal=journal, quota=small), Success)

    wait(main())


def test_a_task_may_ask_a_human_and_goes_on_where_it_asked(wait: Wait) -> None:
    began = []

    @step
    def begin(data: object) -> object:
        began.append(data)
        return data

    ask = HumanInTheLoopStep[Any, Any](name="ask", message_for_user="how many?")
    talk = LoopStep(
        name="job",
        loop_body_pipeline=begin >> ask,
        exit_condition_callable=lambda data, context: True,
        config=StepConfig(execution_mode="background"),
    )

    async def main() -> None:
        core, journal = ExecutorCore(), Journal()
        pipeline = talk >> HumanInTheLoopStep[Any, Any](name="too", message_for_user="sure?")
        outcome = await run(core, pipeline, 1, journal=journal)
        assert isinstance(outcome, Paused)
        task = await ended(core)
        assert (task.status, task.is_open) == (RunStatus.PAUSED, True)
        journal.answer(FramePath.parse("job/background/[0]/ask"), 5)
        journal.answer(FramePath.parse("too"), "yes")
        outcome = await run(core, pipeline, 1, journal=journal)
        assert isinstance(outcome, Success)
        assert outcome.output == "yes"
        assert (await ended(core)).outcome.output == 5
        assert began == [1]

    wait(main())
