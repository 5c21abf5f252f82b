"""Steps whose work goes on behind their run."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import threading
from typing import Any, TypeAlias

import pytest

from flujo_nb.engine.background_task_manager import KEPT
from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import MissingAgentError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.hooks import AnyEvent, FrameFinished, FrameStarted, Hook
from flujo_nb.engine.outcomes import Aborted, BackgroundLaunched, RunStatus, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.run import Facility, Run
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import LoopStep, ParallelStep
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.behind import behind, ended, failing, napping, run
from tests.engine.fakes import Counts, Wait, echo, echo_async, names_in

Log: TypeAlias = pytest.LogCaptureFixture
BODY = FramePath.parse("job/background")


# The run goes on.


def test_a_run_goes_on_with_the_input_and_does_not_wait(wait: Wait) -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async def waiting(data: int) -> str:
            await opened.wait()
            return f"worked on {data}"

        core = ExecutorCore()
        outcome = await run(core, echo >> behind(waiting) >> echo_async, 7)
        assert isinstance(outcome, Success)
        assert outcome.output == 7
        assert isinstance(outcome.children[1], BackgroundLaunched)
        assert outcome.children[1].task_id == "job/background"
        (task,) = core.tasks.collect("r")
        assert (task.status, task.is_open, task.outcome) == (RunStatus.RUNNING, True, None)
        assert core.tasks.open_count("r") == 1
        opened.set()
        task = await ended(core)
        assert (task.run_id, task.path, task.name) == ("r", BODY, "job")
        assert (task.status, task.is_open) == (RunStatus.COMPLETED, False)
        assert task.outcome.output == "worked on 7"
        assert core.tasks.open_count("r") == 0

    wait(main())


def test_a_runner_runs_it(wait: Wait) -> None:
    async def main() -> None:
        result = await Flujo(echo >> behind(echo_async.agent) >> echo_async).run_async("x")
        assert (result.status, result.output) == (RunStatus.COMPLETED, "x")
        assert names_in(result.step_history) == ["echo", "job", "echo_async"]

    wait(main())


def test_a_lone_step_can_be_launched(wait: Wait) -> None:
    async def main() -> None:
        core = ExecutorCore()
        outcome = await run(core, behind(echo_async.agent), "x")
        assert isinstance(outcome, BackgroundLaunched)
        assert (await ended(core)).outcome.output == "x"

    wait(main())


def test_a_synchronous_body_leaves_the_loop(wait: Wait) -> None:
    async def main() -> None:
        core = ExecutorCore()
        await run(core, behind(lambda data: threading.current_thread()))
        assert (await ended(core)).outcome.output is not threading.current_thread()

    wait(main())


def test_the_events_of_the_body_follow_those_of_the_launch(wait: Wait) -> None:
    told: list[tuple[str, str]] = []

    def listen(event: AnyEvent) -> None:
        told.append((type(event).__name__, str(event.path)))

    async def main() -> None:
        hook = Hook(listen, (FrameStarted, FrameFinished))
        core = ExecutorCore()
        await run(core, behind(echo_async.agent) >> echo_async, hooks=(hook,))
        await core.tasks.drain()

    wait(main())
    assert told == [
        ("FrameStarted", ""),
        ("FrameStarted", "job"),
        ("FrameFinished", "job"),
        ("FrameStarted", "echo_async"),
        ("FrameFinished", "echo_async"),
        ("FrameFinished", ""),
        ("FrameStarted", "job/background"),
        ("FrameFinished", "job/background"),
    ]


def test_each_place_of_a_container_has_its_own_task(wait: Wait) -> None:
    async def main() -> None:
        work = behind(napping)
        loop = LoopStep(
            name="loop",
            loop_body_pipeline=echo >> work,
            exit_condition_callable=lambda data, context: True,
        )
        both = ParallelStep(name="both", branches={"a": loop, "b": Pipeline((work,))})
        core = ExecutorCore()
        outcome = await run(core, both, 3)
        assert isinstance(outcome, Success)
        assert outcome.output == {"a": 3, "b": 3}
        await core.tasks.drain()
        paths = sorted(str(task.path) for task in core.tasks.tasks_of("r"))
        assert paths == ["both/:a/loop/[0]/job/background", "both/:b/job/background"]

    wait(main())


def test_a_container_can_work_in_the_background(wait: Wait) -> None:
    async def main() -> None:
        loop = LoopStep(
            name="job",
            loop_body_pipeline=Step.from_callable(lambda data: data + 1, name="more"),
            exit_condition_callable=lambda data, context: data > 2,
            config=StepConfig(execution_mode="background"),
        )
        core = ExecutorCore()
        outcome = await run(core, loop >> echo, 0)
        assert isinstance(outcome, Success)
        assert outcome.output == 0
        assert (await ended(core)).outcome.output == 3

    wait(main())


def test_what_a_task_launches_is_a_task_too(wait: Wait) -> None:
    async def main() -> None:
        inner = Step.from_callable(
            napping, name="inner", config=StepConfig(execution_mode="background")
        )
        loop = LoopStep(
            name="job",
            loop_body_pipeline=inner,
            exit_condition_callable=lambda data, context: True,
            config=StepConfig(execution_mode="background"),
        )
        core = ExecutorCore()
        await run(core, loop >> echo, 0)
        await core.tasks.drain()
        found = {str(task.path): task.status.value for task in core.tasks.tasks_of("r")}
        assert found == {
            "job/background": "completed",
            "job/background/[0]/inner/background": "completed",
        }

    wait(main())


def test_what_cannot_be_run_is_an_error_before_the_launch(wait: Wait) -> None:
    nothing = Step[Any, Any](name="job", config=StepConfig(execution_mode="background"))
    with pytest.raises(MissingAgentError, match="nothing to run"):
        wait(run(ExecutorCore(), echo >> nothing))


def test_a_run_with_a_step_in_the_background_keeps_a_journal() -> None:
    core = ExecutorCore()
    assert Facility.JOURNAL in core.facilities_of(echo >> behind(napping), None)
    assert Facility.JOURNAL not in core.facilities_of(echo, None)


# It is apart from the run.


def test_what_is_apart_from_a_run_has_its_identity() -> None:
    run = Run()
    assert run.apart().run_id == run.run_id


def test_nothing_flows_back(wait: Wait) -> None:
    def count(data: object, context: PipelineContext) -> str:
        context.initial_prompt = "changed"
        return "secret"

    @step
    async def look(data: object, context: PipelineContext) -> tuple[str, list[str]]:
        await core.tasks.drain()
        return context.initial_prompt, list(context.step_outputs)

    core = ExecutorCore()
    outcome = wait(run(core, echo >> behind(count) >> look, context=PipelineContext()))
    assert isinstance(outcome, Success)
    assert (outcome.output, outcome.update) == (("", ["echo"]), None)
    (task,) = core.tasks.tasks_of("r")
    assert task.outcome.output == "secret"


def test_the_body_sees_the_outputs_and_the_context_of_before(wait: Wait) -> None:
    def see(data: object, context: PipelineContext) -> list[str]:
        return list(context.step_outputs)

    async def main() -> None:
        core = ExecutorCore()
        await run(core, echo >> behind(see) >> echo_async, context=PipelineContext())
        assert (await ended(core)).outcome.output == ["echo"]

    wait(main())


@pytest.mark.parametrize("data", [[1], {"a": 1}, Counts(names=["a"])], ids=repr)
def test_plain_data_is_the_bodys_own(wait: Wait, data: Any) -> None:
    before = copy.deepcopy(data)

    @step
    def spoil(same: Any) -> None:
        same.names.append(2) if isinstance(same, Counts) else same.clear()

    async def main() -> None:
        core = ExecutorCore()
        await run(core, behind(napping) >> spoil, data)
        assert (await ended(core)).outcome.output == before != data

    wait(main())


def test_what_cannot_be_copied_is_shared(wait: Wait) -> None:
    async def main() -> None:
        core, lock = ExecutorCore(), [threading.Lock()]
        await run(core, behind(echo_async.agent), lock)
        assert (await ended(core)).outcome.output is lock

    wait(main())


def test_an_interrupt_of_the_run_is_not_the_tasks(wait: Wait) -> None:
    @step
    async def stop(data: object) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        core = ExecutorCore()
        outcome = await run(core, behind(napping) >> stop, 1)
        assert isinstance(outcome, Aborted)
        assert (await ended(core)).status is RunStatus.COMPLETED

    wait(main())


# Nothing is lost unseen.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), RunStatus.FAILED),
        (SystemExit(3), RunStatus.FAILED),
        (asyncio.CancelledError(), RunStatus.FAILED),
        (GeneratorExit(), RunStatus.FAILED),
        (KeyboardInterrupt(), RunStatus.INTERRUPTED),
    ],
    ids=repr,
)
def test_however_a_task_fails_the_record_has_it(
    wait: Wait, caplog: Log, error: BaseException, status: RunStatus
) -> None:
    async def raising(data: object) -> None:
        raise error

    async def main() -> None:
        core = ExecutorCore()
        outcome = await run(core, behind(raising) >> echo)
        assert isinstance(outcome, Success)
        assert (await ended(core)).status is status
        del core

    wait(main())
    gc.collect()
    assert caplog.messages == []


def test_the_result_has_the_end_of_what_ended_before_it(wait: Wait) -> None:
    async def main() -> None:
        core = ExecutorCore()
        await run(core, behind(failing) >> Step.from_callable(napping))
        (task,) = core.tasks.collect("r")
        assert task.outcome.feedback == "ValueError: no such row"
        assert core.tasks.tasks_of("r") == core.tasks.collect("r") == ()

    wait(main())


def test_the_result_has_the_end_of_what_ended_just_before_it(wait: Wait) -> None:
    async def main() -> None:
        said = asyncio.Event()

        async def saying(data: object) -> str:
            said.set()
            return "said"

        @step
        async def hear(data: object) -> None:
            await said.wait()

        core = ExecutorCore()
        await run(core, behind(saying) >> hear)
        assert [task.outcome.output for task in core.tasks.collect("r")] == ["said"]

    wait(main())


@pytest.mark.parametrize("is_read", [True, False])
def test_a_late_failure_that_nobody_asked_about_is_logged_at_the_end(
    wait: Wait, caplog: Log, is_read: bool
) -> None:
    async def main() -> None:
        core = ExecutorCore()
        await run(core, behind(failing))
        assert core.tasks.collect("r")[0].status is RunStatus.RUNNING
        await core.tasks.drain()
        if is_read:
            assert core.tasks.tasks_of("r")[0].status is RunStatus.FAILED
        for _ in range(2):
            await core.tasks.close()

    wait(main())
    told = "background task job/background of r: ValueError: no such row"
    assert caplog.record_tuples == ([] if is_read else [("flujo_nb", logging.WARNING, told)])


def test_a_manager_keeps_the_newest_of_what_nobody_asks_about(wait: Wait, caplog: Log) -> None:
    async def main() -> None:
        core = ExecutorCore()
        for number in range(KEPT + 2):
            await run(core, behind(failing), run_id=f"r{number}")
            core.tasks.collect(f"r{number}")
        await core.tasks.drain()
        kept = [number for number in range(KEPT + 2) if core.tasks.tasks_of(f"r{number}")]
        assert kept == list(range(2, KEPT + 2))

    wait(main())
    assert [message.split()[4] for message in caplog.messages] == ["r0:", "r1:"]


def test_what_ended_before_its_result_is_kept_for_it_all(wait: Wait) -> None:
    async def main() -> None:
        core, many = ExecutorCore(), KEPT + 2
        work = behind(echo_async.agent)
        loop = LoopStep(
            name="loop",
            loop_body_pipeline=work >> Step.from_callable(lambda data: data + 1, name="more"),
            exit_condition_callable=lambda data, context: data == many,
            max_loops=many,
        )
        await run(core, loop, 0)
        await core.tasks.drain()
        assert len(core.tasks.collect("r")) == many
        assert core.tasks.tasks_of("r") == ()

    wait(main())
