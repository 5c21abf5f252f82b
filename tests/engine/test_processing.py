"""Processors, and how the functions around a step's own are called."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ConfigurationError,
    NonRetryableError,
    PipelineAbortSignal,
    ProcessorFailed,
    StepCancelledItself,
    UnusableOutput,
)
from flujo_nb.engine.outcomes import Aborted, Failure, Success
from flujo_nb.engine.processing import Helper, helper_of, strict_helper_of
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import AgentProcessors
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, Wait, echo, outcome_of


def nothing(*given: object, **named: object) -> None: ...


def with_context(data: object, context: object) -> None: ...


def with_named_context(data: object, *, context: object) -> None: ...


def with_optional_context(data: object, context: object = None) -> None: ...


def with_second(data: object, ctx: object) -> None: ...


def with_option(data: object, width: int = 3) -> None: ...


@pytest.mark.parametrize(
    ("function", "named", "second"),
    [
        (str.upper, (), False),
        (str.strip, (), False),
        (int, (), False),
        (nothing, (), False),
        (with_context, ("context",), False),
        (with_named_context, ("context",), False),
        (with_optional_context, ("context",), False),
        (with_second, (), True),
        (with_option, (), False),
        (functools.partial(with_context, context=1), ("context",), False),
    ],
)
def test_what_a_function_gets_beside_the_value_follows_from_its_signature(
    function: Callable[..., object], named: tuple[str, ...], second: bool
) -> None:
    helper = helper_of("it", function)
    assert helper == Helper("it", function, named, second)
    assert helper.takes_context is bool(named or second)


def test_a_strict_helper_gets_what_it_names_as_keyword_only_parameters() -> None:
    def both(data: object, *, resources: object, context: object) -> None: ...

    assert strict_helper_of("it", both).named == ("context", "resources")
    assert strict_helper_of("it", with_named_context).named == ("context",)
    assert strict_helper_of("it", with_context).named == ()


def processed_step(
    before: list[Any] | None = None, after: list[Any] | None = None, **options: Any
) -> Step[Any, Any]:
    processors = AgentProcessors(prompt_processors=before or (), output_processors=after or ())
    return step(**{"name": "it", "processors": processors, **options})(lambda data: data)


class Doubling:
    def process(self, data: Any) -> Any:
        return data * 2


class Waiting:
    async def process(self, data: Any, context: Counts) -> Any:
        await asyncio.sleep(0)
        context.names.append("seen")
        return f"{data}!"


def test_processors_change_input_and_output_one_after_the_other(wait: Wait) -> None:
    it = processed_step(before=[str.upper, Doubling()], after=[Waiting(), str.strip])
    outcome = wait(outcome_of(it, " a", context=Counts()))
    assert isinstance(outcome, Success)
    assert outcome.output == "A A!"
    after = ContextUpdateManager().merge(Counts(), outcome.update)
    assert after == Counts(names=["seen"])


def test_a_processor_that_asks_for_the_context_gets_none_where_there_is_none(wait: Wait) -> None:
    given = []
    outcome = wait(outcome_of(processed_step([lambda data, context: given.append(context)])))
    assert isinstance(outcome, Success)
    assert given == [None]


def test_what_a_processor_makes_of_the_input_is_what_the_type_of_the_step_is_about(
    wait: Wait,
) -> None:
    @step(processors=AgentProcessors(prompt_processors=[str]))
    def length(text: str) -> int:
        return len(text)

    assert wait(outcome_of(length, 1234)).output == 4


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_processor_that_fails_is_tried_again_with_the_attempt(wait: Wait, place: str) -> None:
    calls = []

    def stumbling(data: object) -> object:
        calls.append(data)
        if len(calls) < 3:
            raise ValueError("not yet")
        return data

    it = processed_step(**{place: [stumbling]}, max_retries=2)
    outcome = wait(outcome_of(it, "a"))
    assert (outcome.output, outcome.attempts, calls) == ("a", 3, ["a"] * 3)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_failure_of_a_processor_names_it_and_keeps_its_error(wait: Wait, place: str) -> None:
    def picky(data: object) -> None:
        raise KeyError("rows")

    outcome = wait(outcome_of(processed_step(**{place: [picky]}), "a"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ProcessorFailed)
    assert isinstance(outcome.error.__cause__, KeyError)
    assert outcome.feedback == "ProcessorFailed: picky raised KeyError: 'rows'"


def test_the_feedback_of_a_processor_reaches_the_agent(wait: Wait) -> None:
    feedbacks = []

    class Learning:
        async def run(self, data: object, feedback: str | None) -> str:
            feedbacks.append(feedback)
            return "{}" if feedback else "{"

    def parsed(data: str) -> str:
        if data != "{}":
            raise ValueError("no JSON")
        return data

    it = Step(name="it", agent=Learning(), processors=AgentProcessors(output_processors=[parsed]))
    assert wait(outcome_of(it, "x")).output == "{}"
    assert feedbacks == [None, "ProcessorFailed: parsed raised ValueError: no JSON"]


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (NonRetryableError("enough"), Failure),
        (ConfigurationError("no key"), Failure),
        (PipelineAbortSignal("stop"), Aborted),
        (KeyboardInterrupt(), Aborted),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_no_attempt_may_follow_goes_through_as_it_is(
    wait: Wait, error: BaseException, ends: type
) -> None:
    calls = []

    def ending(data: object) -> None:
        calls.append(data)
        raise error

    outcome = wait(outcome_of(processed_step([ending], max_retries=5), "a"))
    assert type(outcome) is ends
    assert not isinstance(getattr(outcome, "error", None), ProcessorFailed)
    assert calls == ["a"]


def test_a_cancellation_of_the_processors_own_is_a_failure(wait: Wait) -> None:
    async def confused(data: object) -> None:
        raise asyncio.CancelledError

    outcome = wait(outcome_of(processed_step([confused]), "a"))
    assert isinstance(outcome.error.__cause__, StepCancelledItself)


def test_what_a_processor_gives_is_awaited_and_never_a_generator(wait: Wait) -> None:
    async def later() -> str:
        return "later"

    assert wait(outcome_of(processed_step(after=[lambda data: later()]), "a")).output == "later"
    refused = wait(outcome_of(processed_step(after=[lambda data: iter_of(data)]), "ab"))
    assert isinstance(refused.error, UnusableOutput)


def iter_of(data: str) -> Iterator[str]:
    yield from data


@pytest.mark.parametrize("wrong", [5, "upper", object()])
def test_what_is_no_processor_is_refused_before_anything_runs(wait: Wait, wrong: Any) -> None:
    runner = Flujo(echo >> processed_step([wrong]))
    with pytest.raises(ConfigurationError, match="'it': a processor is a function or has"):
        wait(runner.run_async(1).result())
