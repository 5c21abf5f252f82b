"""The defects of flujo 0.6.11 by their numbers; the comment says what breaks in that version.

Elsewhere: 1 and 2 in ``test_cache_defects.py``, 5 in ``test_branch_merge.py``, 9, 15, 17, 24 and 26
in ``test_attempts_defects.py``, 10 in ``test_background_defects.py``; the second list, of what was
read in that version's code, in ``test_defects_of_code.py``.

Not yet, because what they concern is not built: 7 (crash recovery), 8 (replay) and 18 (a saved step
index) need a store, 16 a state machine, 21 agents with several turns of their own (granular steps).
27 was about a library that this project does not use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PipelineAbortSignal,
    UsageLimitExceededError,
)
from flujo_nb.engine.hooks import Event, FrameFinished, FrameStarted
from flujo_nb.engine.outcomes import Aborted, AbortReason, RunStatus
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import (
    ImportStep,
)
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Box, Counts, Wait, boxed, broken, echo, names_in, runner_of
from tests.engine.pauses import Calls, answered, asks, questions, spends, started, tokens

Make = Callable[[Calls], Any]


def ran(wait: Wait, node: Any, data: object = None, **options: Any) -> PipelineResult:
    result: PipelineResult = wait(runner_of(node, **options).run_async(data).result())
    return result


@step
def add_one(data: int, context: Counts) -> int:
    context.total += 1
    return data + 1


def fails(data: object) -> None:
    raise ValueError(f"cannot use {data!r}")


def test_defect_3_steps_in_a_branch_are_chained(wait: Wait) -> None:
    # 0.6.11: each step of a branch gets the branch's input, so the output is 1.
    branch = Step.branch_on("branch", lambda data: "on", {"on": add_one >> add_one >> add_one})
    assert ran(wait, branch, 0).output == 3


def test_defect_3_a_failed_step_in_a_branch_fails_it_and_usage_is_not_lost(wait: Wait) -> None:
    calls = Calls()
    body = spends("a", 3) >> calls.step("fails", fails) >> calls.step("never")
    # 0.6.11: the branch goes on and succeeds, with the tokens of its last step.
    result = ran(wait, Step.branch_on("branch", lambda data: "on", {"on": body}), 0)
    assert (result.status, result.total_tokens) == (RunStatus.FAILED, 3)
    assert calls == {"fails": 1}


NESTED: dict[str, Callable[[Any], Any]] = {
    "a branch": lambda body: Step.branch_on("x", lambda data: 1, {1: body}),
    "a loop": lambda body: Step.loop_until("x", body, lambda output: True),
    "a map": lambda body: step(name="list")(lambda data: [data]) >> Step.map_over("x", body),
    "a parallel branch": lambda body: Step.parallel("x", {"a": body}),
    "an import": lambda body: ImportStep(name="x", pipeline=body),
    "a runner as a step": lambda body: Flujo(body).as_step("x"),
}


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_defect_4_nested_pipelines_stop_at_a_failed_step(
    wait: Wait, nest: Callable[[Any], Any]
) -> None:
    calls = Calls()
    body = echo >> broken >> calls.step("next")
    # 0.6.11: `next` runs, on the input of the step that failed.
    assert not ran(wait, nest(body), 1).success
    assert calls == {}


def ask_between(calls: Calls) -> Any:
    return calls.step("before") >> asks() >> calls.step("after")


def stops(output: object) -> bool:
    return str(output).startswith("stop")


# What 0.6.11 does in each is in the facts, section 9.2: it restarts, skips or loses.
PAUSES: dict[str, tuple[Make, list[object], object]] = {
    # 0.6.11: siblings run again, and it pauses again.
    "a parallel branch": (
        lambda calls: Step.parallel("x", {"a": ask_between(calls), "b": calls.step("works")}),
        ["ok"],
        {"a": "ok after", "b": "x works"},
    ),
    # 0.6.11: the pipeline starts again, and pauses again.
    "an import": (
        lambda calls: ImportStep(name="x", pipeline=ask_between(calls)),
        ["ok"],
        "ok after",
    ),
    # 0.6.11: the parent does not stop at the pause.
    "a runner as a step": (
        lambda calls: Flujo(ask_between(calls)).as_step("x") >> step(lambda data: data.output),
        ["ok"],
        "ok after",
    ),
    # 0.6.11: of two items one result is left.
    "a map": (
        lambda calls: step(lambda data: ["a", "b"]) >> Step.map_over("x", ask_between(calls)),
        ["1", "2"],
        ["1 after", "2 after"],
    ),
    # 0.6.11: the second answer skips the loop, and the run stays paused.
    "the sole step of a loop": (
        lambda calls: Step.loop_until("x", asks(), stops) >> calls.step("last"),
        ["go on", "stop"],
        "stop last",
    ),
    # 0.6.11: as above, and steps before the question get the answer.
    "a branch in a loop": (
        lambda calls: Step.loop_until(
            "x", Step.branch_on("y", lambda data: 1, {1: ask_between(calls)}), stops
        ),
        ["go on", "stop"],
        "stop after",
    ),
    # 0.6.11: steps before the question run again, on the answer.
    "a branch": (
        lambda calls: Step.branch_on("x", lambda data: 1, {1: ask_between(calls)}),
        ["ok"],
        "ok after",
    ),
}


@pytest.mark.parametrize(("make", "answers", "output"), PAUSES.values(), ids=PAUSES)
def test_defect_6_a_run_goes_on_inside_every_container(
    wait: Wait, make: Make, answers: list[object], output: object
) -> None:
    calls = Calls()
    result = wait(answered(runner_of(make(calls)), "x", *answers))
    assert (result.status, result.output) == (RunStatus.COMPLETED, output)
    assert {*calls.values()} <= {1, len(answers)}  # once in each iteration or item


@pytest.mark.parametrize("count", [1, 2])
def test_defect_11_a_breach_of_the_budget_leaves_a_loop(wait: Wait, count: int) -> None:
    body = Pipeline.of(*(spends(f"step{n}", 4, estimate=4) for n in range(count)))
    loop = Step.loop_until("loop", body, lambda output: False, max_loops=9)
    # 0.6.11: with two steps in the body nothing is raised, and the run ends "paused".
    with pytest.raises(UsageLimitExceededError) as breach:
        ran(wait, loop, 1, usage_limits=tokens(10))
    assert breach.value.result is not None
    assert (breach.value.result.status, breach.value.result.total_tokens) == ("aborted", 8)


@pytest.mark.parametrize("body", [broken, echo >> broken], ids=["one step", "two steps"])
def test_defect_12_a_failing_loop_is_a_failed_run_and_not_a_paused_one(
    wait: Wait, body: Any
) -> None:
    result = ran(wait, Step.loop_until("loop", body, lambda output: True), 1)
    # 0.6.11: with two steps in the body the status is "paused"; with one it goes on to the bound.
    assert (result.status, list(result.paused)) == (RunStatus.FAILED, [])
    assert result.step_history[0].metadata == {"exit_reason": "body_step_error", "iterations": 1}


def test_defect_13_a_failed_runner_as_a_step_fails_its_parent(wait: Wait) -> None:
    calls = Calls()
    # 0.6.11: the step succeeds, and `after` runs.
    assert not ran(wait, Flujo(broken).as_step("sub") >> calls.step("after"), 1).success
    assert calls == {}


def test_defect_13_a_runner_as_a_step_draws_on_its_parents_budget(wait: Wait) -> None:
    inner = Flujo(spends("a", 10, estimate=10) >> spends("b", 10, estimate=10))
    # 0.6.11: 20 tokens are spent under a limit of 15.
    with pytest.raises(UsageLimitExceededError, match="15"):
        ran(wait, inner.as_step("sub"), 1, usage_limits=tokens(15))


def test_defect_13_a_question_in_a_runner_as_a_step_stops_its_parent(wait: Wait) -> None:
    calls = Calls()
    paused = wait(started(runner_of(Flujo(asks()).as_step("sub") >> calls.step("after")), 1))
    # 0.6.11: `after` runs, and then the run is said to be paused.
    assert (questions(paused), calls) == (["sub/import/ask"], {})


def test_defect_14_an_aborted_outcome_is_an_aborted_run(wait: Wait) -> None:
    async def stop(core: Any, frame: Any) -> Aborted:
        return Aborted(reason=AbortReason.SIGNAL, message="enough")

    result = ran(wait, echo >> Box(name="box") >> echo_again, 1, registry=boxed(stop))
    # 0.6.11: the status is "paused", with an empty history.
    assert (result.status, result.step_history[-1].feedback) == (RunStatus.ABORTED, "enough")
    assert names_in(result.step_history) == ["echo", "box"]


def test_defect_14_a_hook_that_aborts_is_an_aborted_run(wait: Wait) -> None:
    def stop(event: FrameStarted) -> None:
        if str(event.path) == "echo_again":
            raise PipelineAbortSignal("enough")

    result = ran(wait, echo >> echo_again, 1, hooks=[stop])
    # 0.6.11: the status is "paused", with a message about a human.
    assert (result.status, list(result.paused)) == (RunStatus.ABORTED, [])


echo_again = Step.from_callable(lambda data: data, name="echo_again")


@pytest.mark.parametrize(
    ("node", "status"), [(echo, "completed"), (broken, "failed"), (asks(), "paused")]
)
def test_defect_19_the_status_is_how_the_run_ended(wait: Wait, node: Any, status: str) -> None:
    # 0.6.11: it stays "running" when a run has completed or failed.
    assert ran(wait, node).status == status


def test_defect_20_runs_of_one_runner_at_the_same_time_stay_apart(wait: Wait) -> None:
    heard: dict[str, list[Event]] = {}

    def listen(event: Event) -> None:
        heard.setdefault(event.run_id, []).append(event)

    async def slow(data: int, context: Counts) -> int:
        for _ in range(data + 1):
            await asyncio.sleep(0)
        context.names.append(str(data))
        return data * 10

    runner = runner_of(step(slow) >> spends("a", 2) >> echo, hooks=[listen])

    async def all_at_once() -> list[PipelineResult]:
        return list(await asyncio.gather(*(runner.run_async(n).result() for n in range(5))))

    results = wait(all_at_once())
    # 0.6.11: every result has the trace of the run that started last.
    for number, result in enumerate(results):
        events = heard[result.run_id]
        assert [event.sequence for event in events] == list(range(len(events)))
        assert events[0].data == number  # type: ignore[attr-defined]
        finished = [event for event in events if isinstance(event, FrameFinished)]
        assert [str(event.path) for event in finished] == ["slow", "a", "echo", ""]
        assert (result.output, result.total_tokens) == (number * 10, 2)
        assert result.final_pipeline_context.names == [str(number)]
        assert result.step_history[0].output == number * 10
    assert len(heard) == 5


def test_defect_22_a_map_has_a_result_for_each_item_none_included(wait: Wait) -> None:
    body = Step.from_callable(lambda data: None if data % 2 == 0 else data, name="body")
    # 0.6.11: the last None is dropped, so of four items three results are left.
    assert ran(wait, Step.map_over("each", body), [1, 2, 3, 4]).output == [1, None, 3, None]


def test_defect_22_a_map_does_not_hide_a_failed_item(wait: Wait) -> None:
    body = Step.from_callable(lambda data: 6 // data, name="body")
    # 0.6.11: the map succeeds, with None in the failed item's place.
    failed = ran(wait, Step.map_over("each", body), [1, 0, 2])
    assert (failed.status, failed.output) == (RunStatus.FAILED, None)
    kept = ran(wait, Step.map_over("each", body, on_item_failure="keep"), [1, 0, 2])
    assert (kept.output[0], kept.output[2]) == (6, 3)
    assert isinstance(kept.output[1], StepResult)
    assert "ZeroDivisionError" in kept.output[1].feedback


def test_defect_23_none_is_an_input_like_any_other(wait: Wait) -> None:
    @step
    def untyped(data):  # type: ignore[no-untyped-def]
        return ["got", data]

    # 0.6.11: a TypeMismatchError leaves the run.
    assert ran(wait, step(lambda data: None) >> untyped, 1).output == ["got", None]


def test_defect_25_failed_parallel_branches_merge_nothing(wait: Wait) -> None:
    node = Step.parallel("both", {"good": add_one, "bad": add_one_then_fail}, max_concurrency=1)
    result = ran(wait, node, 1)
    # 0.6.11: what the good branch did is in the context of the failed run.
    assert (result.status, result.final_pipeline_context) == (RunStatus.FAILED, Counts())


add_one_then_fail = add_one >> Step.from_callable(fails)
