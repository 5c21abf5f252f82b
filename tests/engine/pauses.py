"""Runs that pause, and steps that count how often they are run."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flujo_nb.engine.decorators import step
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import AnswerRecorded, PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits


def asks(name: str = "ask", message: str | None = None, **options: Any) -> Any:
    """A step that waits for a human."""
    return Step.human_in_the_loop(name, message, **options)


class Calls(Counter[str]):
    """How often the steps and functions that it made were called."""

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, counted under ``name``."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            self[name] += 1
            return function(*given, **named)

        return call

    def step(self, name: str, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """A step that is counted; without a function it adds its name to the text it gets."""

        async def extended(data: object) -> str:
            return f"{data} {name}"

        return step(name=name, **options)(self.counted(name, function or extended))


def spends(name: str, tokens: int, estimate: int = 0) -> Any:
    """A step that uses as many tokens, and says before that it will use ``estimate``."""

    async def work(data: object) -> Metered:
        return Metered(data, Usage(cost_micros=tokens, tokens=tokens, requests=1))

    return step(name=name, estimate=UsageEstimate(tokens=estimate))(work)


def tokens(limit: int | None) -> UsageLimits:
    """Limits of a budget."""
    return UsageLimits(total_tokens_limit=limit)


def broken_at(*inputs: object) -> Callable[[object], object]:
    """A function that fails on these inputs and gives back all others."""

    def work(data: object) -> object:
        if data in inputs:
            raise ValueError(f"cannot use {data!r}")
        return data

    return work


def questions(result: PipelineResult) -> list[str]:
    """Where a run waits for answers."""
    return [str(pause.path) for pause in result.paused]


async def started(runner: Flujo, data: object = None, **options: Any) -> PipelineResult:
    """A run's result, which is that of a paused one."""
    result = await runner.run_async(data, **options)
    assert result.status is RunStatus.PAUSED, result
    return result


async def resumed(
    runner: Flujo, paused: PipelineResult, answer: object, **options: Any
) -> PipelineResult:
    """The result of going on with an answer."""
    result = await runner.resume_async(paused, answer, **options)
    assert not isinstance(result, AnswerRecorded)
    return result


async def answered(runner: Flujo, data: object, *answers: object) -> PipelineResult:
    """A run to which one question after the other is answered."""
    result = await started(runner, data)
    for answer in answers:
        assert len(result.paused) == 1, questions(result)
        result = await resumed(runner, result, answer)
    return result


async def answered_at(runner: Flujo, data: object, answers: Mapping[str, object]) -> PipelineResult:
    """A run whose questions, named by their paths, are answered in the order of ``answers``."""
    result = await started(runner, data)
    for path, answer in answers.items():
        result = await resumed(runner, result, answer, pause=path)
    return result


def told(value: Any) -> Any:
    """Results, and what holds them, as plain values without what differs from run to run."""
    match value:
        case StepResult():
            return (
                value.name,
                str(value.path),
                told(value.output),
                value.success,
                value.attempts,
                value.feedback,
                value.token_counts,
                dict(value.metadata),
                told(value.step_history),
            )
        case PipelineResult():
            return (
                value.status,
                told(value.output),
                told(value.step_history),
                value.total_tokens,
                value.final_pipeline_context,
            )
        case str():
            return value
        case Sequence():
            return [told(one) for one in value]
        case Mapping():
            return {key: told(one) for key, one in value.items()}
    return value
