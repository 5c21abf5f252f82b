"""One walk of a run: what it gives, and in which form it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import (
    PipelineAbortSignal,
    StepInterrupted,
    StoreFailed,
    UsageLimitExceededError,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.hooks import FrameFinished, RunFinished, RunStarted
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, RunStatus, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.usage import UsageEstimate
from flujo_nb.engine.walker import context_after
from tests.engine.behind import behind
from tests.engine.durable import Mortal, durable, works
from tests.engine.fakes import Counts, Wait, names_in
from tests.engine.pauses import Calls, asks, spends, tokens

KINDS = [True, False]
"""In a store, and without one."""


def runner_of(node: Any, kept: bool, **options: Any) -> Flujo:
    if kept:
        return durable(node, MemoryStore(), **options)
    return Flujo(node, context_model=Counts, **options)


async def adds(data: object, context: Counts) -> object:
    context.total += 1
    return data


def fails(data: object) -> None:
    raise ValueError("no")


ADD, FAIL = Step.from_callable(adds, name="add"), Step.from_callable(fails, name="fail")


@pytest.mark.parametrize("kept", KINDS)
def test_a_run_that_failed_shows_how_far_it_came(kept: bool, wait: Wait) -> None:
    node = ADD >> spends("spend", 4) >> FAIL >> ADD
    result = wait(runner_of(node, kept).run_async("x").result())
    assert (result.status, result.output) == (RunStatus.FAILED, None)
    assert names_in(result.step_history) == ["add", "spend", "fail"]
    assert result.final_pipeline_context == Counts(total=1)
    assert result.total_tokens == 4


@pytest.mark.parametrize("kept", KINDS)
def test_a_run_whose_last_step_works_behind_it_gives_its_input(kept: bool, wait: Wait) -> None:
    async def nap(data: object) -> None:
        await asyncio.sleep(0.001)

    async def main() -> Any:
        async with runner_of(behind(nap), kept) as runner:
            return await runner.run_async("x")

    result = wait(main())
    assert (result.status, result.output, result.open_background) == (RunStatus.COMPLETED, "x", 1)


@pytest.mark.parametrize("kept", KINDS)
def test_a_signal_ends_the_run_as_aborted(kept: bool, wait: Wait) -> None:
    def stop(data: object) -> None:
        raise PipelineAbortSignal("enough")

    node = ADD >> Step.from_callable(stop, name="stop") >> ADD
    result = wait(runner_of(node, kept).run_async("x").result())
    assert result.status is RunStatus.ABORTED
    assert result.final_pipeline_context == Counts(total=1)


@pytest.mark.parametrize("kept", KINDS)
def test_a_hook_that_aborts_ends_the_run_as_aborted(kept: bool, wait: Wait) -> None:
    def stop(event: FrameFinished) -> None:
        raise PipelineAbortSignal("enough")

    finished: list[RunStatus] = []

    def end(event: RunFinished) -> None:
        finished.append(event.result.status)

    result = wait(runner_of(ADD >> ADD, kept, hooks=[stop, end]).run_async("x").result())
    assert result.status is RunStatus.ABORTED
    assert finished == [RunStatus.ABORTED]


@pytest.mark.parametrize("kept", KINDS)
def test_a_breach_of_the_budget_carries_the_result(kept: bool, wait: Wait) -> None:
    costly = Step.from_callable(adds, name="costly", estimate=UsageEstimate(tokens=9))
    with pytest.raises(UsageLimitExceededError) as caught:
        wait(runner_of(ADD >> costly, kept, usage_limits=tokens(5)).run_async("x").result())
    assert caught.value.result is not None
    assert names_in(caught.value.result.step_history) == ["add", "costly"]


@pytest.mark.parametrize("kept", KINDS)
def test_an_interrupt_travels_as_it_came(kept: bool, wait: Wait) -> None:
    def interrupts(data: object) -> None:
        raise KeyboardInterrupt

    node = ADD >> Step.from_callable(interrupts, name="interrupts")
    with pytest.raises(StepInterrupted):
        wait(runner_of(node, kept).run_async("x").result())

    async def main() -> None:
        started = asyncio.Event()

        def begin(event: RunStarted) -> None:
            started.set()

        async def nap(data: object) -> None:
            await asyncio.sleep(2)

        runner = runner_of(Step.from_callable(nap, name="nap"), kept, hooks=[begin])
        task = asyncio.create_task(runner.run_async("x").result())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait(main())


def test_an_interrupted_run_is_left_and_can_be_gone_on_with(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()

        def interrupts(data: object) -> object:
            calls["last"] += 1
            if calls["last"] == 1:
                raise KeyboardInterrupt
            return data

        store = MemoryStore()
        runner = durable(works(calls, "a") >> Step.from_callable(interrupts, name="last"), store)
        with pytest.raises(StepInterrupted):
            await runner.run_async("x", run_id="r")
        assert store.run("r").status == RunStatus.INTERRUPTED
        assert store.run("r").owner is None
        assert (await runner.run_async("x", run_id="r")).output == "x a"
        assert calls == {"a": 1, "last": 2}

    wait(main())


def test_the_error_of_a_store_carries_the_result(wait: Wait) -> None:
    async def main() -> None:
        finished: list[RunStatus] = []

        def end(event: RunFinished) -> None:
            finished.append(event.result.status)

        runner = durable(ADD >> ADD, Mortal(2), hooks=[end])
        with pytest.raises(StoreFailed, match="the disk is gone") as caught:
            await runner.run_async("x")
        assert caught.value.result is not None
        assert not caught.value.result.success
        assert caught.value.result.step_history[0].success
        assert len(finished) == 1

    wait(main())


@pytest.mark.parametrize("kept", KINDS)
def test_open_questions_are_told_with_their_places(kept: bool, wait: Wait) -> None:
    node = Step.parallel("both", {"a": ADD >> asks("x", "which?"), "b": asks("y", "when?")})
    result = wait(runner_of(node, kept).run_async("x").result())
    told = {str(pause.path): pause.message for pause in result.paused}
    assert told == {"both/:a/x": "which?", "both/:b/y": "when?"}


@pytest.mark.parametrize(
    ("outcome", "total"),
    [
        (Success(), 5),
        (Failure(error=ValueError(), feedback="", step=ADD), 5),
        (Aborted(reason=AbortReason.SIGNAL, message="", step=ADD >> FAIL), 5),
    ],
)
def test_an_outcome_without_an_update_leaves_the_context(outcome: Any, total: int) -> None:
    before = Counts(total=5)
    assert context_after(ExecutorCore(), outcome, before).total == total


def test_what_the_steps_of_a_sequence_merged_is_kept_when_it_stops(wait: Wait) -> None:
    core, before = ExecutorCore(), Counts(total=5)
    update = core.contexts.diff(before, Counts(total=6))
    children = [Success(update=update), Success(), Failure(error=ValueError(), feedback="")]
    stopped = Failure(error=ValueError(), feedback="", step=ADD >> FAIL, children=children)
    assert context_after(core, stopped, before) == Counts(total=6)
    alone = Failure(error=ValueError(), feedback="", step=ADD, children=children)
    assert context_after(core, alone, before) == before
    assert before.total == 5
