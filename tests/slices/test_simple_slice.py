"""The behaviour of a `Step` of a function, whoever runs it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import NonRetryableError, PausedException, StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_config import ValidationResult
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate
from tests.engine.fakes import Counts
from tests.slices import loose
from tests.slices.parts import add, add_async, count, dear, endless, fails, interrupt, say, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Simple)


class Stumbling:
    """Fails as often as it is told, and notes what it was given."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.left = times
        self.error = error or ValueError("again")
        self.seen: list[tuple[object, int]] = []

    def work(self, data: object, context: Counts) -> object:
        self.seen.append((data, context.total))
        context.total += 1
        if self.left:
            self.left -= 1
            raise self.error
        return data

    def step(self, **options: Any) -> Any:
        return Step.from_callable(self.work, name="work", **options)


@pytest.mark.parametrize("node", [add, add_async])
def test_the_output_is_what_the_function_returns(runs: Runs, node: Any) -> None:
    result = runs(node, 1)
    one = only(result)
    assert (result.status, result.output, one.output) == (RunStatus.COMPLETED, 2, 2)
    assert (one.name, str(one.path), one.success, one.attempts) == (node.name, node.name, True, 1)


def test_it_gets_what_it_asks_for(runs: Runs) -> None:
    @step
    def ask(data: str, resources: str, context: Counts) -> tuple[str, str, int]:
        return data, resources, context.total

    result = runs(ask, "x", resources="db", initial_context_data={"total": 3})
    assert result.output == ("x", "db", 3)


def test_what_it_changes_in_the_context_is_kept(runs: Runs) -> None:
    result = runs(count, "x", initial_context_data={"names": ["a"]})
    assert result.final_pipeline_context == Counts(total=1, names=["a", "x"])


def test_its_output_may_go_into_the_context(runs: Runs) -> None:
    @step(updates_context=True)
    def set_both(data: int) -> dict[str, object]:
        return {"total": data, "names": ["set"]}

    @step(sink_to="by_kind")
    def sink(data: object) -> dict[str, int]:
        return {"a": 1}

    result = runs(set_both >> sink, 3)
    assert result.final_pipeline_context == Counts(total=3, names=["set"], by_kind={"a": 1})


def test_a_failure_is_a_failed_step(runs: Runs) -> None:
    result = runs(fails() >> add, 1)
    one = only(result)
    assert (result.status, result.output) == (RunStatus.FAILED, None)
    assert (one.success, one.feedback, one.attempts) == (False, "ValueError: no", 1)
    assert result.final_pipeline_context == Counts()


def test_each_attempt_starts_from_the_context_before_the_step(runs: Runs) -> None:
    stumbling = Stumbling(2)
    result = runs(stumbling.step(max_retries=2), "x")
    assert (result.output, only(result).attempts) == ("x", 3)
    assert stumbling.seen == [("x", 0)] * 3
    assert result.final_pipeline_context == Counts(total=1)


@pytest.mark.parametrize(
    ("times", "error", "attempts"), [(9, None, 3), (9, NonRetryableError("never"), 1)]
)
def test_attempts_end(runs: Runs, times: int, error: Exception | None, attempts: int) -> None:
    stumbling = Stumbling(times, error)
    result = runs(stumbling.step(max_retries=2), "x")
    assert (result.success, only(result).attempts) == (False, attempts)
    assert len(stumbling.seen) == attempts


def test_an_attempt_has_its_time(runs: Runs) -> None:
    @step(timeout_s=0.02, max_retries=1)
    async def slow(data: list[int]) -> str:
        data.append(1)
        await asyncio.sleep(0 if len(data) > 1 else 60)
        return "done"

    result = runs(slow, [])
    assert (result.output, only(result).attempts) == ("done", 2)


def test_a_validator_may_refuse_the_output(runs: Runs) -> None:
    class Even:
        def validate(self, output: int) -> ValidationResult:
            return ValidationResult(is_valid=output % 2 == 0, feedback=f"{output} is odd")

    node = Step.from_callable(lambda data: data, name="even", validators=[Even()])
    assert runs(node, 2).output == 2
    assert "3 is odd" in (only(runs(node, 3)).feedback or "")


def test_usage_is_booked_and_told(runs: Runs) -> None:
    result = runs(dear, "x", usage_limits=tokens(2))
    assert (result.output, result.total_tokens, result.total_cost_usd) == ("x", 2, 0.5)
    assert (only(result).token_counts, only(result).cost_usd) == (2, 0.5)


def test_what_does_not_fit_the_budget_does_not_run(runs: Runs) -> None:
    stumbling = Stumbling(0)
    node = stumbling.step(estimate=UsageEstimate(tokens=9), max_retries=3)
    partial = runs.breach(dear >> node, "x", usage_limits=tokens(10))
    assert (partial.status, partial.total_tokens, stumbling.seen) == (RunStatus.ABORTED, 2, [])
    assert [one.success for one in partial.step_history] == [True, False]


def test_an_attempt_that_fails_gives_its_reservation_back(runs: Runs) -> None:
    stumbling = Stumbling(1)
    node = stumbling.step(estimate=UsageEstimate(tokens=2), max_retries=1)
    result = runs(node >> dear, "x", usage_limits=tokens(2))
    assert (result.success, result.total_tokens) == (True, 2)


def test_what_was_used_beyond_the_budget_stops_what_comes_next(runs: Runs) -> None:
    greedy = Step.from_callable(lambda data: Metered(data, Usage(0, 9, 1)), name="greedy")
    partial = runs.breach(greedy >> dear, "x", usage_limits=tokens(5))
    assert partial.total_tokens == 9


def test_a_fallback_does_the_work_under_the_steps_name(runs: Runs) -> None:
    other = Step.from_callable(lambda data, context: (data, context.total), name="other")
    result = runs(Stumbling(9).step(fallback_step=other), "x")
    one = only(result)
    assert (result.success, result.output, one.name) == (True, ("x", 0), "work")
    assert one.metadata["fallback_triggered"]
    assert one.metadata["original_error"] == "ValueError: again"
    assert paths_in(result.step_history) == ["work", "work/fallback[1]"]


def test_a_fallback_may_have_one_too(runs: Runs) -> None:
    last = Stumbling(0).step()
    middle = Step.from_callable(fails().agent, name="middle", fallback_step=last)
    result = runs(Step.from_callable(fails().agent, name="first", fallback_step=middle), "x")
    assert result.output == "x"
    assert paths_in(result.step_history) == [
        *("first", "first/fallback[1]", "first/fallback[1]/fallback[2]")
    ]
    assert result.final_pipeline_context == Counts(total=1)


def test_both_failures_are_told(runs: Runs) -> None:
    other = fails("other", "not I")
    one = only(runs(Stumbling(9).step(fallback_step=other), "x"))
    assert not one.success
    assert "ValueError: again" in (one.feedback or "")
    assert "ValueError: not I" in (one.feedback or "")


def test_chunks_come_as_they_arrive(runs: Runs) -> None:
    assert runs(say, 1).output == "1a1b"
    assert runs.chunks == [("say", "1a", 1), ("say", "1b", 1)]
    assert runs.events == ["started say", "chunk say 1a", "chunk say 1b", "completed say"]


def test_chunks_tell_the_attempt_that_they_are_of(runs: Runs) -> None:
    @step(max_retries=1)
    async def stumbling(data: list[str]) -> AsyncIterator[str]:
        yield "half"
        if not data:
            data.append("once")
            raise ValueError
        yield " done"

    assert runs(stumbling, []).output == "half done"
    assert [(data, attempt) for _, data, attempt in runs.chunks] == [
        *(("half", 1), ("half", 2), (" done", 2))
    ]


def test_it_may_pause_the_run(runs: Runs) -> None:
    @step
    def ask(data: int) -> Any:
        raise PausedException(f"more than {data}?")

    paused = runs(add >> ask >> add, 1)
    assert paused.status is RunStatus.PAUSED
    assert [(str(one.path), one.message) for one in paused.paused] == [("ask", "more than 2?")]


@pytest.mark.parametrize(
    ("node", "status"), [(add, "completed"), (fails(), "failed"), (interrupt, "interrupted")]
)
def test_the_hooks_hear_of_it(runs: Runs, node: Any, status: str) -> None:
    if node is interrupt:
        with pytest.raises(StepInterrupted):
            runs(node, 1)
    else:
        runs(node, 1)
    assert runs.events == [f"started {node.name}", f"{status} {node.name}"]


def test_leaving_python_is_a_failure(runs: Runs) -> None:
    @step
    def leave(data: object) -> None:
        sys.exit(3)

    assert "sys.exit(3)" in (only(runs(leave, 1)).feedback or "")


def test_a_cancelled_run_is_cancelled(runs: Runs) -> None:
    with pytest.raises(TimeoutError):
        runs(endless, 1, time_limit_s=0.02)
    assert runs.events == ["started endless", "interrupted endless"]
