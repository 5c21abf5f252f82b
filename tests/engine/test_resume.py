"""Going on with a run that paused: what runs, what does not, and what it all comes to.

Questions at every depth are in ``test_hitl.py``, refused answers in ``test_answers.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PausedException,
    PipelineAbortSignal,
    ResumeError,
    StepInterrupted,
    UsageLimitExceededError,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Metered, Quota, Usage, UsageEstimate
from tests.engine.fakes import Counts, Wait, echo, names_in, runner_of
from tests.engine.pauses import (
    Calls,
    answered,
    asks,
    broken_at,
    questions,
    resumed,
    spends,
    started,
    tokens,
)


def both(calls: Calls, *names: str, **options: Any) -> Any:
    """Branches that each ask and then work."""
    branches = {name: asks(name) >> calls.step(f"after {name}") for name in names}
    return Step.parallel("both", branches, **options)


# Which question is meant.


def test_with_one_question_the_answer_needs_no_path(wait: Wait) -> None:
    assert wait(answered(Flujo(asks()), None, 1)).output == 1


def test_with_several_questions_the_path_is_asked_for(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(both(calls, "a", "b"))
    paused = wait(started(runner, "which?"))
    with pytest.raises(ResumeError, match=r"pause=PATH: both/:a/a: which\?; both/:b/b: which\?"):
        wait(resumed(runner, paused, 1))
    assert calls == {}


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_questions_are_answered_in_any_order(wait: Wait, order: str, as_text: bool) -> None:
    calls = Calls()
    runner = Flujo(both(calls, "a", "b"))
    paused = wait(started(runner))
    paths = {pause.path.segments[-1].key: pause.path for pause in paused.paused}
    for number, name in enumerate(order):
        path = str(paths[name]) if as_text else paths[name]
        left = [f"both/:{one}/{one}" for one in order[number:]]
        assert sorted(questions(paused)) == sorted(left)
        paused = wait(resumed(runner, paused, name.upper(), pause=path))
    assert paused.output == {"a": "A after a", "b": "B after b"}
    assert calls == {"after a": 1, "after b": 1}


def test_the_last_open_question_needs_no_path_even_when_asked_with_others(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(both(calls, "a", "b"))
    first = wait(started(runner))
    wait(resumed(runner, first, 1, pause="both/:a/a"))
    assert wait(resumed(runner, first, 2)).output == {"a": "1 after a", "b": "2 after b"}
    assert calls == {"after a": 1, "after b": 1}


@pytest.mark.parametrize("path", ["nowhere", "both", "both/:a", ""])
def test_a_path_where_nothing_asks_is_an_error_that_lists_what_does(wait: Wait, path: str) -> None:
    runner = Flujo(both(Calls(), "a", "b"))
    paused = wait(started(runner, "?"))
    with pytest.raises(ResumeError, match=r"nothing asks at .*; there are both/:a/a: \?; both/:b"):
        wait(resumed(runner, paused, 1, pause=path))


# Which results can be gone on from.


@step
def stop(data: object) -> None:
    raise PipelineAbortSignal("enough")


@pytest.mark.warm("a store tells more: that the question was answered")
@pytest.mark.parametrize(
    ("node", "status"),
    [
        (echo, "completed"),
        (asks() >> echo, "completed"),
        (asks() >> Step.from_callable(broken_at(1)), "failed"),
        (asks() >> stop, "aborted"),
    ],
    ids=["completed", "completed after a pause", "failed", "aborted"],
)
def test_only_a_paused_result_takes_an_answer(wait: Wait, node: Any, status: str) -> None:
    async def ended(runner: Flujo) -> Any:
        result = await runner.run_async(1)
        return await runner.resume_async(result, 1) if result.paused else result

    runner = Flujo(node)
    result = wait(ended(runner))
    assert result.status == status
    with pytest.raises(ResumeError, match=f"is {status}"):
        wait(runner.resume_async(result, 2))


@pytest.mark.warm("with a store it can be answered")
def test_a_function_that_pauses_leaves_a_run_that_nobody_can_answer(wait: Wait) -> None:
    @step
    def ask(data: object) -> None:
        raise PausedException("may I?")

    runner = Flujo(ask)
    paused = wait(started(runner))
    with pytest.raises(ResumeError, match="journal"):
        wait(resumed(runner, paused, "yes"))


def test_a_withdrawn_question_takes_no_answer(wait: Wait) -> None:
    """A failure under PROPAGATE beats a pause."""

    async def late(data: object) -> None:
        await asyncio.sleep(0)
        raise ValueError

    node = Step.parallel("both", {"asks": asks(), "fails": step(late)})
    runner = Flujo(node)
    result = wait(runner.run_async(1).result())
    assert (result.status, list(result.paused)) == (RunStatus.FAILED, [])
    with pytest.raises(ResumeError):
        wait(runner.resume_async(result, 1))


def test_siblings_of_a_question_run_to_their_own_end_first(wait: Wait) -> None:
    async def late(data: object) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "late"

    calls = Calls()
    node = Step.parallel("both", {"asks": asks(), "works": calls.step("late", late)})
    paused = wait(started(Flujo(node)))
    assert calls == {"late": 1}
    (both_,) = paused.step_history
    assert names_in(both_.step_history) == ["ask", "late"]
    assert [one.success for one in both_.step_history] == [False, True]


def test_a_serial_map_asks_one_question_at_a_time_and_a_concurrent_one_all(wait: Wait) -> None:
    for limit, expected in ((1, 1), (2, 3), (3, 3)):
        runner = Flujo(Step.map_over("each", asks(), max_concurrency=limit))
        assert len(wait(started(runner, [1, 2, 3])).paused) == expected


def test_the_items_of_a_map_are_those_it_began_with(wait: Wait) -> None:
    """An iterator can be read only once, and a set has an order of its own each time."""
    calls = Calls()
    runner = Flujo(Step.map_over("each", asks() >> calls.step("after")))
    assert wait(answered(runner, iter("ab"), 1, 2)).output == ["1 after", "2 after"]
    assert calls == {"after": 2}


# What runs again.


def test_a_resumed_run_that_fails_can_be_resumed_again(wait: Wait) -> None:
    calls = Calls()
    broken = [True]

    def flaky(data: object) -> object:
        if broken:
            broken.clear()
            raise ValueError("not yet")
        return data

    node = calls.step("before") >> asks() >> calls.step("after") >> calls.step("flaky", flaky)
    runner = Flujo(node)
    paused = wait(started(runner, "x"))
    failed = wait(resumed(runner, paused, "ok"))
    assert failed.status is RunStatus.FAILED
    assert failed.step_history[-1].feedback == "ValueError: not yet"
    result = wait(resumed(runner, paused, "ok"))
    assert (result.status, result.output) == (RunStatus.COMPLETED, "ok after")
    assert calls == {"before": 1, "after": 1, "flaky": 2}


def test_a_resumed_run_that_was_interrupted_can_be_resumed_again(wait: Wait) -> None:
    calls = Calls()
    entered = asyncio.Event()

    async def slow(data: object) -> object:
        if not entered.is_set():
            entered.set()
            await asyncio.sleep(60)
        return data

    runner = Flujo(calls.step("before") >> asks() >> calls.step("slow", slow))

    async def whole() -> Any:
        paused = await started(runner, "x")
        task = asyncio.create_task(resumed(runner, paused, "ok"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await resumed(runner, paused, "ok")

    assert wait(whole()).output == "ok"
    assert calls == {"before": 1, "slow": 2}


def test_a_keyboard_interrupt_in_a_resumed_run_leaves_it_resumable(wait: Wait) -> None:
    calls = Calls()

    def interrupted(data: object) -> object:
        if calls["interrupted"] == 1:
            raise KeyboardInterrupt
        return data

    runner = Flujo(asks() >> calls.step("interrupted", interrupted))
    paused = wait(started(runner))
    with pytest.raises(StepInterrupted):
        wait(resumed(runner, paused, "ok"))
    assert wait(resumed(runner, paused, "ok")).output == "ok"
    assert calls == {"interrupted": 2}


def test_deciders_with_effects_on_the_context_are_not_asked_again(wait: Wait) -> None:
    calls = Calls()

    def key(data: object, context: Counts) -> str:
        context.names.append("key")
        return "on"

    def exits(output: object, context: Counts) -> bool:
        context.names.append("exit")
        return len(context.names) > 4

    body = Step.branch_on("branch", calls.counted("key", key), {"on": asks()})
    runner = runner_of(Step.loop_until("loop", body, calls.counted("exit", exits)))
    result = wait(answered(runner, 0, 1, 2, 3))
    assert result.final_pipeline_context.names == ["key", "exit"] * 3
    assert calls == {"key": 3, "exit": 3}


def test_what_was_asked_for_of_a_run_still_holds_when_it_goes_on(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(calls.step("first") >> asks() >> calls.step("last"))
    paused = wait(started(runner, "x", until="ask"))
    assert wait(resumed(runner, paused, "ok")).output == "ok"
    assert calls == {"first": 1}


def test_the_runs_identity_extensions_and_resources_stay(wait: Wait) -> None:
    seen = []

    def look(data: object, frame: Any, resources: object) -> None:
        seen.append((frame.run_id, dict(frame.extensions), resources))

    runner = Flujo(step(name="one")(look) >> asks() >> step(name="two")(look), resources="db")
    paused = wait(started(runner, run_id="r1", extensions={"trace_id": 7}))
    result = wait(resumed(runner, paused, 1))
    assert result.run_id == "r1"
    assert seen == [("r1", {"trace_id": 7}, "db")] * 2


def test_chunks_of_a_resumed_run_reach_who_listened_to_the_first(wait: Wait) -> None:
    async def words(data: object) -> Any:
        yield f"{data}!"

    heard = []
    runner = Flujo(asks() >> step(words))
    paused = wait(started(runner, on_chunk=lambda chunk: heard.append(chunk.data)))
    assert wait(resumed(runner, paused, "ok")).output == "ok!"
    assert heard == ["ok!"]


def test_a_step_reads_the_outputs_of_steps_that_are_not_run_again(wait: Wait) -> None:
    calls = Calls()
    quoted = Step.from_callable(
        lambda data: data, name="quote", input="{{ steps.inside }}, {{ resume }}, {{ steps.ask }}"
    )
    node = Step.map_over("each", calls.step("inside")) >> asks() >> quoted
    assert wait(answered(Flujo(node), ["a", "b"], "ok")).output == "b inside, ok, ok"
    assert calls == {"inside": 2}


def test_the_context_shows_what_was_answered_and_what_ran_before(wait: Wait) -> None:
    def look(data: object, context: PipelineContext) -> object:
        seen = [(one.path, one.human_response) for one in context.hitl_history]
        return seen, dict(context.step_outputs), context.run_id

    result = wait(answered(Flujo(echo >> asks() >> step(look)), "x", "ok"))
    expected = ([("ask", "ok")], {"echo": "x", "ask": "ok"}, result.run_id)
    assert result.output == expected


# What it all comes to.


def test_totals_add_up_over_pauses(wait: Wait) -> None:
    node = spends("a", 3) >> asks("one") >> spends("b", 4) >> asks("two") >> spends("c", 5)
    runner = Flujo(node)
    paused = wait(started(runner))
    assert (paused.total_tokens, paused.total_cost_usd) == (3, 3e-6)
    paused = wait(resumed(runner, paused, 1))
    assert paused.total_tokens == 7
    result = wait(resumed(runner, paused, 2))
    assert (result.total_tokens, result.total_cost_usd) == (12, 12e-6)
    assert [one.token_counts for one in result.step_history] == [3, 0, 4, 0, 5]


@pytest.mark.warm("two runners, each with a store of its own")
def test_what_is_left_of_the_budget_is_what_a_resumed_run_has(wait: Wait) -> None:
    node = spends("a", 6) >> asks() >> spends("b", 3, estimate=5)
    runner = Flujo(node, usage_limits=tokens(10))
    paused = wait(started(runner))
    with pytest.raises(UsageLimitExceededError, match="Token limit of 10") as breach:
        wait(resumed(runner, paused, 1))
    partial = breach.value.result
    assert partial is not None
    assert (partial.status, partial.total_tokens) == (RunStatus.ABORTED, 6)
    assert names_in(partial.step_history) == ["a", "ask", "b"]
    # With a larger budget it goes on from there.
    assert wait(resumed(Flujo(node, usage_limits=tokens(11)), paused, 1)).total_tokens == 9


def test_what_was_overspent_before_a_pause_stops_what_comes_after(wait: Wait) -> None:
    runner = Flujo(spends("a", 11) >> asks() >> spends("b", 0), usage_limits=tokens(10))
    paused = wait(started(runner))
    with pytest.raises(UsageLimitExceededError):
        wait(resumed(runner, paused, 1))


def test_what_a_failed_resumption_spent_counts(wait: Wait) -> None:
    calls = Calls()

    async def failing(data: object, frame: Any) -> Metered:
        calls["failing"] += 1
        if calls["failing"] == 1:
            raise ValueError
        return Metered(data, Usage(tokens=1))

    node = asks() >> spends("a", 6) >> step(failing)
    runner = Flujo(node, usage_limits=tokens(20))
    paused = wait(started(runner))
    failed = wait(resumed(runner, paused, 1))
    assert (failed.status, failed.total_tokens) == (RunStatus.FAILED, 6)
    assert wait(resumed(runner, paused, 1)).total_tokens == 7


def test_answers_to_an_older_result_find_what_was_spent_since(wait: Wait) -> None:
    branches = {name: asks(name) >> spends(f"after {name}", 3) for name in "ab"}
    runner = Flujo(Step.parallel("both", branches))
    paused = wait(started(runner))
    wait(resumed(runner, paused, 1, pause="both/:a/a"))
    assert wait(resumed(runner, paused, 2, pause="both/:b/b")).total_tokens == 6


def test_the_budget_of_an_import_is_not_new_after_a_pause(wait: Wait) -> None:
    inner = spends("a", 6) >> asks() >> spends("b", 3, estimate=5)
    runner = Flujo(ImportStep(name="sub", pipeline=inner, usage_limits=tokens(10)))
    paused = wait(started(runner))
    with pytest.raises(UsageLimitExceededError, match="Token limit of 10"):
        wait(resumed(runner, paused, 1))


def test_a_pause_holds_nothing_of_the_budget(wait: Wait) -> None:
    quotas: list[Quota] = []

    async def look(data: object, frame: Any) -> None:
        quotas.append(frame.quota)
        raise PausedException("may I?")

    config = StepConfig(estimate=UsageEstimate(tokens=5))
    pausing = Step.from_callable(look, name="look", config=config)
    node = Step.parallel("both", {"one": pausing, "two": asks(), "three": spends("three", 2)})
    wait(started(Flujo(node, usage_limits=tokens(20))))
    assert (quotas[0].reserved, quotas[0].spent.tokens) == (FREE, 2)
