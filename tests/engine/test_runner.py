"""The runner: awaited, iterated over, and run from plain Python."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ConfigurationError,
    ContextTypeError,
    PipelineAbortSignal,
    PipelineContextInitializationError,
    StepInterrupted,
    UsageLimitExceededError,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts, Log, Wait, broken, echo, echo_async, names_in, runner_of


@step
def metered(data: object) -> Metered:
    return Metered(data, Usage(500_000, 5, 1))


@step
async def endless(data: object) -> None:
    await asyncio.sleep(60)


async def awaited(runner: Flujo, data: object = None, **options: Any) -> PipelineResult:
    return await runner.run_async(data, **options)


def test_a_run_that_completes(wait: Wait) -> None:
    result = wait(awaited(Flujo(echo >> metered), "x", run_id="r1"))
    assert (result.run_id, result.output, result.status) == ("r1", "x", RunStatus.COMPLETED)
    assert result.success
    assert (result.total_tokens, result.total_cost_usd) == (5, 0.5)
    assert names_in(result.step_history) == ["echo", "metered"]
    assert result.hook_errors == ()


def test_a_run_that_fails_is_a_result(wait: Wait) -> None:
    result = wait(awaited(Flujo(metered >> broken), 1))
    assert (result.status, result.success, result.output) == (RunStatus.FAILED, False, None)
    assert result.total_tokens == 5
    assert result.step_history[-1].feedback == "ValueError: cannot use 1"


def test_a_status_is_its_text(wait: Wait) -> None:
    assert json.dumps(wait(awaited(Flujo(echo))).status) == '"completed"'


def test_each_run_has_an_id_and_a_context_of_its_own(wait: Wait) -> None:
    @step
    def count(data: object, context: Counts) -> int:
        context.total += 1
        context.names.append("x")
        return context.total

    runner = runner_of(count, initial_context_data={"names": ["a"]})
    one, two = wait(awaited(runner)), wait(awaited(runner))
    assert one.run_id != two.run_id
    for result in (one, two):
        assert result.final_pipeline_context == Counts(total=1, names=["a", "x"])
        assert type(result.final_pipeline_context) is Counts


def test_what_a_caller_does_to_a_final_context_reaches_no_other_run(wait: Wait) -> None:
    given = {"items": [{"a": 1}]}
    runner = Flujo(echo, context_model=Log, initial_context_data=given)
    first = wait(awaited(runner)).final_pipeline_context
    first.items[0]["a"] = 2
    first.items.append("x")
    assert wait(awaited(runner)).final_pipeline_context.items == [{"a": 1}]
    assert given == {"items": [{"a": 1}]}


def test_without_a_model_the_context_holds_the_prompt(wait: Wait) -> None:
    context = wait(awaited(Flujo(echo), "write a poem")).final_pipeline_context
    assert context == PipelineContext(initial_prompt="write a poem")


def test_initial_data_that_do_not_fit_are_an_error(wait: Wait) -> None:
    with pytest.raises(PipelineContextInitializationError, match=r"Counts: total: .*integer"):
        wait(awaited(runner_of(echo, initial_context_data={"total": "many"})))


@pytest.mark.parametrize("model", [dict, int, "Counts", 5])
def test_a_context_model_must_be_a_pydantic_model(model: Any) -> None:
    with pytest.raises(ContextTypeError, match="pydantic model"):
        Flujo(echo, context_model=model)


@pytest.mark.parametrize("pipeline", [len, "echo", None, [echo]])
def test_only_a_step_or_a_pipeline_can_be_run(pipeline: Any) -> None:
    with pytest.raises((TypeError, ConfigurationError), match="step"):
        Flujo(pipeline)


def test_resources_reach_the_steps_that_ask(wait: Wait) -> None:
    @step
    def use(data: object, resources: str, frame: Any) -> tuple[str, object]:
        return resources, frame.extensions["trace_id"]

    result = wait(awaited(Flujo(use, resources="db"), extensions={"trace_id": 7}))
    assert result.output == ("db", 7)


def test_a_breach_of_the_budget_is_raised_with_what_had_run(wait: Wait) -> None:
    dear = Step.from_callable(
        lambda data: data, name="dear", config=StepConfig(estimate=UsageEstimate(tokens=9))
    )
    runner = Flujo(metered >> dear, usage_limits=UsageLimits(total_tokens_limit=10))
    with pytest.raises(UsageLimitExceededError, match="Token limit of 10") as breach:
        wait(awaited(runner, 1))
    partial = breach.value.result
    assert partial is not None
    assert partial.status is RunStatus.ABORTED
    assert names_in(partial.step_history) == ["metered", "dear"]
    assert partial.total_tokens == 5


def test_a_step_may_end_the_run(wait: Wait) -> None:
    @step
    def enough(data: object) -> None:
        raise PipelineAbortSignal("enough")

    result = wait(awaited(Flujo(echo >> enough >> echo_async), 1))
    assert (result.status, result.success) == (RunStatus.ABORTED, False)
    assert names_in(result.step_history) == ["echo", "enough"]


@pytest.mark.parametrize("form", ["sync", "async"])
def test_an_interrupt_leaves_the_runner_as_an_ordinary_exception(wait: Wait, form: str) -> None:
    def sync(data: object) -> None:
        raise KeyboardInterrupt

    async def waiting(data: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(StepInterrupted):
        wait(awaited(Flujo(step(sync if form == "sync" else waiting))))


def test_a_real_cancellation_is_passed_on(wait: Wait) -> None:
    async def main() -> None:
        task = asyncio.create_task(awaited(Flujo(echo >> endless), 1))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    wait(main())


def test_a_run_can_be_given_a_time_limit_from_outside(wait: Wait) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Flujo(endless).run_async()

    wait(main())


def test_a_run_inside_a_step_with_a_time_limit_is_timed_out(wait: Wait) -> None:
    @step(timeout_s=0.01)
    async def outer(data: object) -> object:
        return await Flujo(endless).run_async(data)

    result = wait(awaited(Flujo(outer)))
    assert "StepTimeout" in (result.step_history[0].feedback or "")


def test_a_run_starts_once(wait: Wait) -> None:
    async def main() -> None:
        handle = Flujo(echo).run_async(1)
        await handle
        with pytest.raises(ConfigurationError, match="started before"):
            await handle
        with pytest.raises(ConfigurationError, match="started before"):
            async for _ in handle:
                pass

    wait(main())


def test_a_handle_can_be_gathered(wait: Wait) -> None:
    async def main() -> list[object]:
        runner = Flujo(echo_async)
        results = await asyncio.gather(*(runner.run_async(i) for i in range(3)))
        return [result.output for result in results]

    assert wait(main()) == [0, 1, 2]


def test_plain_python_can_run_a_pipeline() -> None:
    assert Flujo(echo >> echo_async).run(5, run_id="r").output == 5


def test_inside_a_running_loop_the_async_form_is_named(wait: Wait) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"await runner\.run_async.*%flujo run"):
            Flujo(echo).run(1)

    wait(main())


def test_the_model_of_a_context_may_be_any(wait: Wait) -> None:
    class Own(BaseModel):
        words: list[str] = []

    @step
    def say(data: str, context: Own) -> None:
        context.words.append(data)

    result = wait(awaited(Flujo(say, context_model=Own), "hello"))
    assert result.final_pipeline_context == Own(words=["hello"])


def test_runs_beside_each_other_do_not_mix(wait: Wait) -> None:
    @step
    async def count(data: int, context: Counts) -> int:
        context.total += data
        await asyncio.sleep(0)
        return context.total

    async def main() -> list[tuple[object, object]]:
        runner = runner_of(count >> count)
        results = await asyncio.gather(*(runner.run_async(i) for i in (1, 10)))
        return [(r.output, r.final_pipeline_context) for r in results]

    assert wait(main()) == [(2, Counts(total=2)), (20, Counts(total=20))]


def test_a_result_can_be_copied_and_pickled(wait: Wait) -> None:
    result = wait(awaited(Flujo(echo >> echo_async), 1))
    for made in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert (made.status, made.output) == (RunStatus.COMPLETED, 1)
        assert names_in(made.step_history) == ["echo", "echo_async"]


def test_what_cannot_be_copied_may_stand_in_a_context_as_long_as_no_step_reads_it(
    wait: Wait,
) -> None:
    class Holding(BaseModel):
        lock: Any = None

    lock = threading.Lock()
    runner = Flujo(echo, context_model=Holding, initial_context_data={"lock": lock})
    assert wait(awaited(runner, 1)).output == 1


def test_a_condition_sees_what_steps_gave_and_the_run(wait: Wait) -> None:
    seen: list[tuple[dict[str, object], str]] = []

    def done(output: int, context: PipelineContext) -> bool:
        seen.append((dict(context.step_outputs), context.status))
        return output >= 2

    plus_one: Step[int, int] = Step.from_callable(lambda number: number + 1, name="plus_one")
    result = wait(Flujo(Step.loop_until("loop", plus_one, done)).run_async(0).result())
    assert seen == [({"plus_one": 1}, "running"), ({"plus_one": 2}, "running")]
    assert result.final_pipeline_context.step_outputs == {"plus_one": 2, "loop": 2}
    assert result.final_pipeline_context.status == "completed"
    assert result.final_pipeline_context.run_id == result.run_id
