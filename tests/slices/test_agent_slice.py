"""The behaviour of an `AgentStep`, whoever runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flujo_nb.engine.errors import PausedException, StepInterrupted
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_config import StepConfig, ValidationResult
from flujo_nb.engine.steps import AgentStep, Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate
from flujo_nb.testing import StubAgent
from tests.engine.fakes import Counts, echo
from tests.slices import loose
from tests.slices.parts import dear, tokens
from tests.slices.runs import Runs, implementations, only, paths_in

pytestmark = implementations(loose.Agents)

BROKEN = ConnectionError("no route")


def agent(worker: Any, **options: Any) -> Any:
    return AgentStep(name="agent", agent=worker, **options)


class Asking:
    """An agent that notes what it was given."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.seen: list[tuple[object, object, object]] = []

    async def run(self, data: object, context: Counts, resources: Any, feedback: Any) -> object:
        await asyncio.sleep(0)
        self.seen.append((data, resources, feedback))
        context.total += 1
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


def test_the_output_is_what_the_agent_gives(runs: Runs) -> None:
    result = runs(echo >> agent(StubAgent(["a poem"])), "topic")
    assert (result.status, result.output) == (RunStatus.COMPLETED, "a poem")
    assert paths_in(result.step_history) == ["echo", "agent"]


def test_it_gets_what_it_asks_for(runs: Runs) -> None:
    asking = Asking("done")
    result = runs(agent(asking), "x", resources="gpt")
    assert asking.seen == [("x", "gpt", None)]
    assert result.final_pipeline_context == Counts(total=1)


def test_it_has_two_attempts_and_learns_why_the_first_failed(runs: Runs) -> None:
    asking = Asking(BROKEN, "done")
    result = runs(agent(asking), "x", resources="gpt")
    assert (result.output, only(result).attempts) == ("done", 2)
    assert asking.seen == [("x", "gpt", None), ("x", "gpt", "ConnectionError: no route")]
    assert result.final_pipeline_context == Counts(total=1)


def test_it_fails_when_its_attempts_have(runs: Runs) -> None:
    result = runs(agent(StubAgent([BROKEN, BROKEN, "late"])), "x")
    one = only(result)
    assert (result.status, one.success, one.attempts) == (RunStatus.FAILED, False, 2)
    assert one.feedback == "ConnectionError: no route"


def test_what_a_validator_refuses_is_tried_again(runs: Runs) -> None:
    class Short:
        async def validate(self, output: str) -> ValidationResult:
            return ValidationResult(is_valid=len(output) < 4, feedback="too long")

    result = runs(agent(StubAgent(["long text", "ok"]), validators=[Short()]), "x")
    assert (result.output, only(result).attempts) == ("ok", 2)


def test_every_attempt_counts_against_the_budget(runs: Runs) -> None:
    class Odd:
        def validate(self, output: int) -> ValidationResult:
            return ValidationResult(is_valid=output == 2, feedback="again")

    worker = StubAgent([Metered(1, Usage(0, 3, 1)), Metered(2, Usage(0, 4, 1))])
    result = runs(agent(worker, validators=[Odd()]), "x", usage_limits=tokens(7))
    assert (result.output, result.total_tokens) == (2, 7)
    assert only(result).token_counts == 7


def test_a_breach_of_the_budget_ends_the_run_without_another_attempt(runs: Runs) -> None:
    worker = StubAgent([BROKEN, "late"])
    config = StepConfig(estimate=UsageEstimate(tokens=9), max_retries=3)
    fallback = Step.from_callable(lambda data: data, name="fallback")
    node = dear >> agent(worker, config=config, fallback_step=fallback)
    partial = runs.breach(node, "x", usage_limits=tokens(10))
    assert (partial.status, partial.total_tokens, worker.inputs) == (RunStatus.ABORTED, 2, [])


def test_an_attempt_that_fails_gives_its_reservation_back(runs: Runs) -> None:
    config = StepConfig(estimate=UsageEstimate(tokens=2))
    node = agent(StubAgent([BROKEN, "done"]), config=config)
    result = runs(node >> dear, "x", usage_limits=tokens(2))
    assert (result.success, result.total_tokens) == (True, 2)


def test_another_agent_may_do_the_work(runs: Runs) -> None:
    fallback = AgentStep(name="other", agent=Asking("done"))
    node = agent(StubAgent([BROKEN, BROKEN]), fallback_step=fallback)
    result = runs(node, "x", resources="gpt")
    assert (result.output, only(result).name) == ("done", "agent")
    assert paths_in(result.step_history) == ["agent", "agent/fallback[1]"]
    assert result.final_pipeline_context == Counts(total=1)
    assert runs.events == [
        "started agent",
        "started agent/fallback[1]",
        "completed agent/fallback[1]",
        "completed agent",
    ]


class Streaming:
    async def run(self, data: str) -> str:
        return "at once"

    async def stream(self, data: str) -> AsyncIterator[str]:
        for piece in (data, " in", " parts"):
            yield piece
            await asyncio.sleep(0)


def test_it_streams_when_somebody_listens(runs: Runs) -> None:
    assert runs(agent(Streaming()), "x").output == "x in parts"
    assert runs.chunks == [("agent", piece, 1) for piece in ("x", " in", " parts")]


def test_an_agent_may_ask_a_human_and_gets_the_answer(runs: Runs) -> None:
    worker = StubAgent([PausedException("which one?"), "that one"])
    paused = runs(echo >> agent(worker), "x")
    assert [(str(one.path), one.message) for one in paused.paused] == [("agent", "which one?")]
    result = runs.resume(paused, "that")
    assert (result.output, worker.inputs) == ("that one", ["x", "that"])
    assert runs.events == [
        *("started ", "restored echo", "started agent", "completed agent", "completed ")
    ]


def test_an_interrupt_ends_the_run_without_another_attempt(runs: Runs) -> None:
    worker = StubAgent([KeyboardInterrupt(), "late"])
    with pytest.raises(StepInterrupted):
        runs(agent(worker), "x")
    assert len(worker.inputs) == 1
