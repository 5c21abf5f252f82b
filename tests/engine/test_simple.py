"""Steps that are functions: every way in which their code can end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.agent_orchestrator import AgentOrchestrator
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    StepCancelledItself,
    StepExited,
    TypeMismatchError,
    UnusableOutput,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import AttemptFailed, Hook
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, FailureKind, Success
from flujo_nb.engine.policies.simple import SimpleStepExecutor
from flujo_nb.engine.step_config import AgentProcessors, PluginOutcome
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts, Wait, broken, echo, echo_async, outcome_of

FORMS = ["sync", "async", "sync with context", "async with context", "thread", "tried twice"]


def step_that(act: Callable[[], Any], form: str) -> Step[Any, Any]:
    """A step in one of the forms in which functions are run, whose body is ``act``."""

    async def waiting(data: object) -> Any:
        return act()

    async def waiting_with_context(data: object, context: Counts) -> Any:
        return act()

    makers: dict[str, Callable[[], Step[Any, Any]]] = {
        "sync": lambda: step(lambda data: act()),
        "async": lambda: step(waiting),
        "sync with context": lambda: step(lambda data, context: act()),
        "async with context": lambda: step(waiting_with_context),
        "thread": lambda: step(thread=True)(lambda data: act()),
        "tried twice": lambda: step(max_retries=1)(lambda data: act()),
    }
    return makers[form]()


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def ended(wait: Wait, act: Callable[[], Any], form: str) -> Any:
    """The outcome of a sequence whose second step does ``act``; the first one's result stands."""
    outcome = wait(outcome_of(echo >> step_that(act, form), 1, context=Counts()))
    assert [type(child) for child in outcome.children] == [Success, type(outcome)]
    return outcome


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        RecursionError("deep"),
        MemoryError(),
        StopIteration(3),
        StopAsyncIteration(),
        GeneratorExit(),
        ExceptionGroup("both", [ValueError("left"), KeyError("right")]),
        BaseExceptionGroup("both", [GeneratorExit()]),
        type("Own", (BaseException,), {})(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_a_failure(wait: Wait, error: BaseException, form: str) -> None:
    outcome = ended(wait, raising(error), form)
    assert isinstance(outcome, Failure)
    chain = [outcome.error, outcome.error.__cause__]
    assert error in chain
    assert type(error).__name__ in outcome.feedback


@pytest.mark.parametrize("form", FORMS)
def test_every_leaf_of_a_group_is_kept(wait: Wait, form: str) -> None:
    leaves = [ValueError("left"), KeyError("right")]
    outcome = ended(wait, raising(ExceptionGroup("both", leaves)), form)
    assert list(outcome.error.exceptions) == leaves


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupt_ends_the_run_as_interrupted(wait: Wait, form: str) -> None:
    outcome = ended(wait, raising(KeyboardInterrupt()), form)
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert outcome.children[-1].attempts == 1


@pytest.mark.parametrize("form", FORMS)
def test_an_exit_is_a_failure_and_not_the_end_of_the_process(wait: Wait, form: str) -> None:
    outcome = ended(wait, lambda: sys.exit(3), form)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, StepExited)
    assert (outcome.kind, outcome.error.code) == (FailureKind.EXIT, 3)
    assert outcome.children[-1].attempts == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_cancellation_of_the_steps_own_is_a_failure(wait: Wait, form: str) -> None:
    outcome = ended(wait, raising(asyncio.CancelledError()), form)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, StepCancelledItself)


def test_awaiting_what_others_cancelled_is_a_failure(wait: Wait) -> None:
    async def work(data: object) -> None:
        task = asyncio.create_task(asyncio.sleep(5))
        task.cancel()
        await task

    outcome = wait(outcome_of(step(work)))
    assert isinstance(outcome.error, StepCancelledItself)


def test_endless_recursion_is_a_failure(wait: Wait) -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    outcome = ended(wait, lambda: deeper(0), "sync")
    assert isinstance(outcome.error, RecursionError)


@pytest.mark.parametrize("form", FORMS)
def test_an_error_that_cannot_say_what_it_is_is_a_failure_too(wait: Wait, form: str) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise AttributeError("response")

    outcome = ended(wait, raising(Mute()), form)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, Mute)


@pytest.mark.parametrize("form", FORMS)
def test_an_output_is_handed_on_as_it_is(wait: Wait, form: str) -> None:
    value = {"a": [1]}
    outcome = ended(wait, lambda: value, form)
    assert isinstance(outcome, Success)
    assert outcome.output is value


@pytest.mark.parametrize("form", FORMS)
def test_usage_that_a_step_tells_is_booked(wait: Wait, form: str) -> None:
    quota = Quota()
    metered = step_that(lambda: Metered("x", Usage(tokens=3)), form)
    outcome = wait(outcome_of(metered, quota=quota, context=Counts()))
    assert (outcome.output, outcome.usage) == ("x", Usage(tokens=3))
    assert quota.spent == Usage(tokens=3)


@pytest.mark.parametrize("one", [echo, echo_async])
def test_an_overdrawn_budget_stops_the_simplest_step(wait: Wait, one: Step[Any, Any]) -> None:
    quota = Quota(UsageLimits(total_tokens_limit=1))
    quota.reconcile(Usage(tokens=0), Usage(tokens=2))
    outcome = wait(outcome_of(one, quota=quota))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.QUOTA


def test_an_input_of_another_type_is_a_failure_before_the_call(wait: Wait) -> None:
    calls = []

    @step
    def length(text: str) -> int:
        calls.append(text)
        return len(text)

    outcome = wait(outcome_of(length, 5))
    assert isinstance(outcome.error, TypeMismatchError)
    assert "'length' takes str, and its input is int" in outcome.feedback
    assert calls == []


def test_an_input_of_a_class_that_was_defined_again_is_explained(wait: Wait) -> None:
    def define() -> type:
        return type("Invoice", (), {})

    old, new = define(), define()

    def read(invoice: Any) -> None: ...

    read.__annotations__["invoice"] = new
    outcome = wait(outcome_of(step(read), old()))
    assert "defined again since" in outcome.feedback


def test_a_failed_attempt_is_told_to_hooks(wait: Wait) -> None:
    heard = []

    def hear(event: AttemptFailed) -> None:
        heard.append((str(event.path), event.attempt, event.feedback))

    wait(outcome_of(broken, 1, hooks=(Hook.of(hear),)))
    assert heard == [("broken", 1, "ValueError: cannot use 1")]


def test_a_step_runs_by_itself_through_its_policy(wait: Wait) -> None:
    policy = SimpleStepExecutor(AgentOrchestrator())
    outcome = wait(policy.execute(ExecutorCore(), make_execution_frame(echo, 4)))
    assert outcome.output == 4


def test_the_time_that_a_step_took_is_kept(wait: Wait) -> None:
    @step
    async def slow(data: object) -> None:
        await asyncio.sleep(0.005)

    outcome = wait(outcome_of(slow))
    assert 0.004 < outcome.latency_s < 1


@pytest.mark.parametrize("form", FORMS)
def test_what_a_step_says_of_its_output_stands_in_its_outcome(wait: Wait, form: str) -> None:
    metered = step_that(lambda: Metered("x", Usage(tokens=3), {"model": "small"}), form)
    outcome = wait(outcome_of(metered, context=Counts()))
    assert dict(outcome.metadata) == {"model": "small"}


@pytest.mark.parametrize("form", FORMS)
def test_usage_that_is_none_is_refused(wait: Wait, form: str) -> None:
    quota = Quota()
    metered = step_that(lambda: Metered("x", 3), form)  # type: ignore[arg-type]
    outcome = wait(outcome_of(metered, context=Counts(), quota=quota))
    assert isinstance(outcome.error, UnusableOutput)
    assert quota.spent == Usage()


class Refusing:
    def validate(self, output: object) -> object:
        return PluginOutcome(success=False) if isinstance(output, dict) else None


@pytest.mark.parametrize(
    "asked",
    [
        {"plugins": [(Refusing(), 0)]},
        {"validators": [Refusing()]},
        {"processors": AgentProcessors(output_processors=[int])},
        {"input": "{{ data.nothing }}"},
        {"timeout_s": 0.01, "thread": None},
        {"sink_to": "nothing"},
        {"updates_context": True},
        {"estimate": UsageEstimate(tokens=99)},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_a_step_gets_whatever_it_asks_for(wait: Wait, asked: dict[str, Any]) -> None:
    """None of these is lost on the short way of steps that ask for nothing."""

    @step(**asked)
    async def work(data: object) -> object:
        await asyncio.sleep(0.05 if "timeout_s" in asked else 0)
        return data

    limits = UsageLimits(total_tokens_limit=9)
    outcome = wait(outcome_of(work, "x", context=Counts(), limits=limits))
    assert not isinstance(outcome, Success)


def test_a_fallback_and_a_mark_of_validation_are_not_lost_either(wait: Wait) -> None:
    assert wait(outcome_of(step(fallback_step=echo)(broken.agent), "x")).output == "x"
    passed = wait(outcome_of(step(validation="lenient")(lambda data: data), "x"))
    assert passed.metadata == {"validation_passed": True}
