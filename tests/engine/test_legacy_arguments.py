"""What policies with argument lists make of their arguments, and what is made of their answers."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PausedException,
    PolicyContractError,
    UsageLimitExceededError,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Aborted, Chunk, Failure, Paused, Success
from flujo_nb.engine.path import FramePath, step_segment
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.step_kinds import HumanInTheLoopStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Box, Counts, Wait, broken, echo, outcome_of, runner_of
from tests.engine.older import BOX, LIMIT, costs, older, paths, ran, result_of
from tests.engine.pauses import Calls, asks, questions, resumed, started

# The budget.


dear = Step.from_callable(echo.agent, name="dear", estimate=UsageEstimate(tokens=9))


@step
def pause(data: object) -> Any:
    raise PausedException("may I?")


def test_a_policy_reserves_and_books_without_a_frame(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any, quota: Any) -> StepResult:
        with core.reserve(UsageEstimate(tokens=4)) as attempt:
            reserved = quota.reserved.tokens
            attempt.used = Usage(0, 2, 1)
        return result_of(reserved, quota.spent.tokens, quota.limits.total_tokens_limit)

    result = ran(wait, execute, usage_limits=LIMIT)
    assert result.output == (4, 2, 10)
    assert (result.total_tokens, result.step_history[0].token_counts) == (2, 2)


@pytest.mark.parametrize("how", ["told", "booked", "both"])
def test_what_a_policy_used_is_booked_once(wait: Wait, how: str) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        child = await core.execute(costs, data)
        if how != "told":
            with core.reserve(UsageEstimate()) as attempt:
                attempt.used = Usage(0, 4, 1)
        told = child.token_counts + 4 if how != "booked" else 0
        return result_of(token_counts=told)

    result = ran(wait, execute)
    assert (result.total_tokens, result.step_history[0].token_counts) == (7, 7)


def test_usage_that_is_only_told_counts_against_the_budget(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(token_counts=11)

    node = BOX >> costs
    with pytest.raises(UsageLimitExceededError):
        wait(runner_of(node, registry=older(execute), usage_limits=LIMIT).run_async(1).result())


def test_usage_that_is_none_fails_the_step(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        await core.execute(costs, data)
        return result_of(cost_usd=float("nan"))

    result = ran(wait, execute)
    assert "cost_usd must be a finite number" in (result.step_history[0].feedback or "")
    assert (result.total_tokens, result.step_history[0].token_counts) == (3, 3)


@pytest.mark.parametrize("end", [pause, dear])
def test_what_a_policy_booked_is_told_however_a_child_ends(wait: Wait, end: Any) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        with core.reserve(UsageEstimate(tokens=2)) as attempt:
            attempt.used = Usage(0, 2, 1)
        return result_of(await core.execute(end, data))

    outcome = wait(outcome_of(BOX, registry=older(execute), limits=LIMIT))
    assert isinstance(outcome, Paused if end is pause else Aborted)
    assert (outcome.usage, outcome.children[0].usage) == (Usage(0, 2, 1), None)


@pytest.mark.parametrize(("limit", "fits"), [(2, False), (None, True), (10, True)])
def test_a_child_may_have_a_part_of_the_budget(wait: Wait, limit: int | None, fits: bool) -> None:
    async def execute(core: Any, step: Any, data: Any, limits: Any) -> StepResult:
        given = None if limit is None else UsageLimits(total_tokens_limit=limit)
        return result_of(await core.execute(dear, data, limits=given))

    if fits:
        assert ran(wait, execute, usage_limits=LIMIT).success
    else:
        with pytest.raises(UsageLimitExceededError, match="limit of 2"):
            ran(wait, execute, usage_limits=LIMIT)


def test_a_child_that_is_given_the_policys_own_limits_draws_on_the_same_budget(wait: Wait) -> None:
    look = Step.from_callable(lambda data, frame: frame.quota, name="look")

    async def execute(core: Any, step: Any, data: Any, limits: Any) -> StepResult:
        child = await core.execute(look, data, limits=limits)
        return result_of(child.output)

    quota = Quota(LIMIT)
    outcome = wait(outcome_of(BOX, registry=older(execute), quota=quota))
    assert outcome.output[0] is quota


# Pauses, context, chunks, answers that are none.


def test_a_policy_asks_a_human_and_gets_the_answer(wait: Wait) -> None:
    def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(core.ask(f"how many {data}?", int))

    async def main() -> tuple[object, ...]:
        runner = runner_of(BOX, registry=older(execute))
        paused = await started(runner, "apples")
        (one,) = paused.paused
        return one.message, one.schema, (await resumed(runner, paused, "3")).output

    assert wait(main()) == ("how many apples?", {"type": "integer"}, (3,))


def test_an_answer_that_does_not_fit_leaves_the_question_open(wait: Wait) -> None:
    def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(core.ask("how many?", int))

    async def main() -> tuple[object, ...]:
        runner = runner_of(BOX, registry=older(execute))
        paused = await resumed(runner, await started(runner), "none")
        (one,) = paused.paused
        return one.message, (await resumed(runner, paused, 3)).output

    message, output = wait(main())
    assert message.startswith("how many? (refused: AnswerRejected: the answer at box is no int")
    assert output == (3,)


def test_a_policy_of_a_human_in_the_loop_may_ask_for_more_than_the_step_says(wait: Wait) -> None:
    def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(core.ask("how many?", int))

    async def main() -> object:
        registry = older(execute)
        registry.register(registry.table().policy_of(Box), handles=HumanInTheLoopStep)
        runner = runner_of(asks("ask"), registry=registry)
        paused = await resumed(runner, await started(runner), "none")
        return (await resumed(runner, paused, 3)).output

    assert wait(main()) == (3,)


def test_the_schema_of_a_question_is_that_of_the_frame_that_asks(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(await core.execute(asks("ask", input_schema=int), data))

    outcome = wait(outcome_of(BOX, "?", registry=older(execute)))
    assert (outcome.schema, outcome.children[0].schema) == (None, {"type": "integer"})


def test_a_policy_that_pauses_by_itself_goes_on_with_the_answer(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        if data == "which?":
            raise PausedException(data)
        return result_of(data)

    async def main() -> object:
        runner = runner_of(BOX, registry=older(execute))
        return (await resumed(runner, await started(runner, "which?"), "that")).output

    assert wait(main()) == ("that",)


def test_resuming_runs_nothing_again_that_ended(wait: Wait) -> None:
    calls = Calls()
    first, bad = calls.step("first"), calls.step("work", broken.agent)

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        for _ in range(2):  # each failure, at a place of its own, is gone past
            await core.execute(first >> bad, data)
            await core.execute(bad, data)
        child = await core.execute(asks("ask"), data)
        return result_of(child.output)

    async def main() -> tuple[object, ...]:
        runner = runner_of(BOX, registry=older(execute))
        paused = await started(runner, "x")
        return questions(paused), (await resumed(runner, paused, "yes")).output

    assert wait(main()) == (["box/ask"], ("yes",))
    assert calls == {"work": 4, "first": 2}


def test_the_setter_names_the_context_that_counts(wait: Wait) -> None:
    async def execute(
        core: Any, step: Any, data: Any, context: Any, context_setter: Any
    ) -> StepResult:
        own = context.model_copy(update={"total": 5})
        context_setter(result_of(), own)
        context_setter("no context")
        return result_of()

    assert ran(wait, execute).final_pipeline_context == Counts(total=5)


def test_a_step_that_takes_the_context_sees_what_the_run_has_put_out(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any, context: Any) -> StepResult:
        return result_of(dict(context.step_outputs))

    runner = runner_of(echo >> BOX, registry=older(execute), context_model=PipelineContext)
    assert wait(runner.run_async("x").result()).output == ({"echo": "x"},)


def test_chunks_of_a_policy_reach_all_who_listen(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any, stream: bool, on_chunk: Any) -> StepResult:
        if on_chunk is not None:
            await on_chunk("a")
            await on_chunk("b", 2)
        return result_of(stream, on_chunk is not None)

    async def main() -> list[object]:
        runner = runner_of(BOX, registry=older(execute))
        return [item async for item in runner.stream_async()]

    *chunks, result = wait(main())
    assert [(str(one.path), one.data, one.attempt) for one in chunks] == [
        *(("box", "a", 1), ("box", "b", 2))
    ]
    assert isinstance(result, PipelineResult)
    assert result.output == (True, True)
    assert ran(wait, execute).output == (False, False)


@pytest.mark.parametrize("answer", [None, 5, Chunk("a", FramePath()), "text"])
def test_what_is_no_answer_is_told_with_the_policys_name(wait: Wait, answer: object) -> None:
    outcome = wait(outcome_of(BOX, registry=older(lambda step, data: answer)))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, PolicyContractError)
    assert f"Old returned {type(answer).__name__} at box" in outcome.feedback


@pytest.mark.parametrize("success", [True, False])
def test_a_result_keeps_its_metadata_and_its_output(wait: Wait, success: bool) -> None:
    answer = StepResult(name="x", output=1, success=success, feedback="no", metadata={"a": 1})
    outcome = wait(outcome_of(BOX, registry=older(lambda step, data: answer)))
    assert (outcome.output, outcome.metadata) == (1, {"a": 1})


def test_the_error_of_a_failed_child_is_that_of_a_policy_that_tells_of_it(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        child = await core.execute(broken, data)
        return result_of(success=False, feedback=f"inside: {child.feedback}" if data else "mine")

    outcome = wait(outcome_of(BOX, 1, registry=older(execute)))
    assert isinstance(outcome.error, ValueError)
    assert outcome.error is outcome.children[0].error
    assert not isinstance(wait(outcome_of(BOX, 0, registry=older(execute))).error, ValueError)


def test_a_child_in_the_background_hands_its_input_on(wait: Wait) -> None:
    behind = Step.from_callable(costs.agent, name="behind", execution_mode="background")

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        child = await core.execute(behind, data)
        return result_of(child.success, child.output)

    async def main() -> Any:
        core = ExecutorCore(older(execute))
        outcome = await core.run_root(make_execution_frame(BOX, "x"))
        await core.tasks.drain()
        return outcome

    assert wait(main()).output == (True, "x")


@pytest.mark.warm("a child that has no frame of its own leaves no row")
def test_an_outcome_is_an_answer_too(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> Success:
        await core.execute(costs, data)
        more = Success(segments=(step_segment("more"),))
        return Success(output="own", usage=Usage(0, 1, 0), children=(more,))

    result = ran(wait, execute)
    assert (result.output, result.total_tokens) == ("own", 4)
    assert paths(result) == ["box/more", "box/costs"]
