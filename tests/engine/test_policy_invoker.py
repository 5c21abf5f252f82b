"""One call of one policy: nothing but an outcome comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import PolicyContractError
from flujo_nb.engine.outcomes import Aborted, AbortReason, Chunk, Failure, Success
from flujo_nb.engine.path import FramePath
from tests.engine.fakes import Box, BoxPolicy, Wait, boxed, echo, outcome_of, registry_with

BOX = Box(name="box")


@pytest.mark.parametrize("answer", [None, "text", Chunk("c", FramePath()), Success])
def test_an_answer_that_is_no_outcome_is_a_failure(wait: Wait, answer: object) -> None:
    async def run(core: Any, frame: Any) -> Any:
        return answer

    outcome = wait(outcome_of(BOX, registry=boxed(run)))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, PolicyContractError)
    assert "BoxPolicy returned" in outcome.feedback
    assert "at box" in outcome.feedback


def test_the_invoker_fills_in_what_only_the_frame_knows(wait: Wait) -> None:
    async def run(core: Any, frame: Any) -> Success:
        await asyncio.sleep(0.002)
        return Success(output=1, attempts=4)

    outcome = wait(outcome_of(BOX, registry=boxed(run)))
    assert (outcome.step, str(outcome.segments[0]), outcome.output) == (BOX, "box", 1)
    assert outcome.attempts == 4
    assert outcome.latency_s > 0.001


@pytest.mark.parametrize("error", [ValueError, SystemExit, StopIteration, GeneratorExit])
def test_what_a_policy_raises_is_a_failure_of_its_frame(
    wait: Wait, error: type[BaseException]
) -> None:
    async def run(core: Any, frame: Any) -> Success:
        raise error

    outcome = wait(outcome_of(echo >> BOX, 1, registry=boxed(run)))
    assert isinstance(outcome, Failure)
    assert [type(child) for child in outcome.children] == [Success, Failure]


def test_a_policy_that_is_no_coroutine_function_is_guarded_too(wait: Wait) -> None:
    class Sync:
        handles = Box

        def execute(self, core: Any, frame: Any) -> Success:
            raise ValueError("not even started")

    outcome = wait(outcome_of(echo >> BOX, 1, registry=registry_with(Sync())))
    assert isinstance(outcome, Failure)
    assert [type(child) for child in outcome.children] == [Success, Failure]


def test_an_interrupt_in_a_policy_is_an_abort(wait: Wait) -> None:
    async def run(core: Any, frame: Any) -> Success:
        raise KeyboardInterrupt

    outcome = wait(outcome_of(echo >> BOX, 1, registry=boxed(run)))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert len(outcome.children) == 2


def test_a_policy_may_bind_its_steps_beforehand(wait: Wait) -> None:
    bound = []

    class Binding(BoxPolicy):
        def __init__(self) -> None: ...

        def bind(self, core: Any, step: Any) -> Any:
            bound.append(step.name)

            async def call(frame: Any) -> Success:
                return Success(step=step, segments=frame.segments, output=frame.data)

            return call

    outcome = wait(outcome_of(BOX >> echo >> BOX, 3, registry=registry_with(Binding())))
    assert outcome.output == 3
    assert bound == ["box"]
