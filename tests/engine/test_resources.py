"""Resources that every attempt enters and leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import PipelineAbortSignal, StepTimeout, UsageLimitExceededError
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import AgentProcessors, PluginOutcome, StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Quota, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts, Wait, echo, outcome_of


class Resources:
    """Resources that note who enters and leaves them, and what the step was given."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def enter(self) -> None:
        self.notes.append("in")

    def leave(self, kind: type[BaseException] | None) -> bool:
        self.notes.append(f"out {kind.__name__ if kind else 'well'}")
        return True  # which hides nothing from the engine


class SyncResources(Resources):
    def __enter__(self) -> SyncResources:
        self.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return self.leave(kind)


class AsyncResources(Resources):
    async def __aenter__(self) -> AsyncResources:
        await asyncio.sleep(0)
        self.enter()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        await asyncio.sleep(0)
        return self.leave(kind)


KINDS = [SyncResources, AsyncResources]


@pytest.mark.parametrize("kind", KINDS)
def test_resources_are_entered_and_left_by_each_attempt(wait: Wait, kind: type[Resources]) -> None:
    resources = kind()

    @step(max_retries=2)
    def work(data: object, resources: Resources, frame: Any) -> str:
        resources.notes.append(f"attempt {frame.attempt}")
        if frame.attempt < 3:
            raise ValueError
        return "done"

    assert wait(outcome_of(work, resources=resources)).output == "done"
    assert resources.notes == [
        *("in", "attempt 1", "out ValueError"),
        *("in", "attempt 2", "out ValueError"),
        *("in", "attempt 3", "out well"),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("too slow", "CancelledError"),
        ("cancelled", "CancelledError"),
        ("aborts", "PipelineAbortSignal"),
        ("interrupts", "KeyboardInterrupt"),
        ("over budget", "UsageLimitExceededError"),
        ("is found wanting", "PluginFailed"),
        ("does not fit the context", "ContextUpdateError"),
    ],
)
def test_resources_are_left_however_the_attempt_ends(
    wait: Wait, kind: type[Resources], ending: str, told: str
) -> None:
    resources = kind()

    class Wanting:
        def validate(self, data: object) -> PluginOutcome:
            return PluginOutcome(success=False)

    async def work(data: object, resources: Resources) -> object:
        match ending:
            case "too slow" | "cancelled":
                await asyncio.sleep(5)
            case "aborts":
                raise PipelineAbortSignal("stop")
            case "interrupts":
                raise KeyboardInterrupt
        return "text"

    it = Step.from_callable(
        work,
        config=StepConfig(
            timeout_s=0.01 if ending == "too slow" else None,
            estimate=UsageEstimate(tokens=9 if ending == "over budget" else 0),
        ),
        plugins=[(Wanting(), 0)] if ending == "is found wanting" else [],
        updates_context=ending == "does not fit the context",
    )

    async def main() -> Any:
        quota = Quota(UsageLimits(total_tokens_limit=5))
        run = outcome_of(it, resources=resources, quota=quota, context=Counts())
        task = asyncio.create_task(run)
        await asyncio.sleep(0.002)
        if ending == "cancelled":
            task.cancel()
        return await task

    assert not isinstance(wait(main()), Success)
    assert resources.notes == ["in", f"out {told}"]


def test_resources_are_left_alone_by_steps_that_do_not_ask_for_them(wait: Wait) -> None:
    resources = SyncResources()
    processed = step(processors=AgentProcessors(prompt_processors=[str]))(lambda data: data)
    assert isinstance(wait(outcome_of(echo, 1, resources=resources)), Success)
    assert isinstance(wait(outcome_of(processed, 1, resources=resources)), Success)
    assert resources.notes == []


def test_a_step_gets_what_entering_the_resources_gives(wait: Wait) -> None:
    @contextlib.contextmanager
    def connected() -> Iterator[str]:
        yield "a connection"

    @contextlib.asynccontextmanager
    async def connected_later() -> AsyncIterator[str]:
        yield "a connection"

    class Opened(contextlib.nullcontext[None]):
        """Gives nothing when it is entered, so the step gets itself."""

    @step
    def work(data: object, resources: object) -> object:
        return resources

    opened = Opened()
    given = [
        wait(outcome_of(work, resources=one)).output
        for one in (connected(), connected_later(), opened, "plain")
    ]
    assert given == ["a connection", "a connection", opened, "plain"]


@pytest.mark.parametrize("waits", [False, True])
def test_resources_that_cannot_be_entered_fail_the_attempt(wait: Wait, waits: bool) -> None:
    class Closed(AsyncResources if waits else SyncResources):  # type: ignore[misc]
        def enter(self) -> None:
            super().enter()
            raise ConnectionError("closed")

    resources, calls = Closed(), []

    @step(max_retries=1)
    def work(data: object, resources: object) -> None:
        calls.append(data)

    outcome = wait(outcome_of(work, resources=resources))
    assert isinstance(outcome, Failure)
    assert (outcome.feedback, outcome.attempts) == ("ConnectionError: closed", 2)
    assert (calls, resources.notes) == ([], ["in", "in"])


@pytest.mark.parametrize("waits", [False, True])
def test_resources_that_cannot_be_left_fail_an_attempt_that_went_well(
    wait: Wait, waits: bool
) -> None:
    class Stuck(AsyncResources if waits else SyncResources):  # type: ignore[misc]
        def leave(self, kind: type[BaseException] | None) -> bool:
            raise ConnectionError("stuck")

    @step
    def work(data: object, resources: object) -> object:
        if data == "fails":
            raise ValueError("own error")
        if data == "aborts":
            raise PipelineAbortSignal("stop")
        return data

    def ended(data: str) -> Any:
        return wait(outcome_of(work, data, resources=Stuck()))

    assert ended("works").feedback == "ConnectionError: stuck"
    failed = ended("fails")
    assert failed.feedback == "ValueError: own error"
    assert failed.error.__notes__ == ["Leaving the resources failed too: ConnectionError: stuck"]
    assert ended("aborts").reason is AbortReason.SIGNAL


def test_an_interrupt_while_resources_are_left_ends_the_run(wait: Wait) -> None:
    class Interrupted(SyncResources):
        def leave(self, kind: type[BaseException] | None) -> bool:
            raise KeyboardInterrupt

    @step(max_retries=3)
    def work(data: object, resources: object) -> None:
        raise ValueError

    outcome = wait(outcome_of(work, resources=Interrupted()))
    assert isinstance(outcome, Aborted)
    assert (outcome.reason, outcome.attempts) == (AbortReason.INTERRUPTED, 1)


def test_entering_and_leaving_count_in_the_time_of_the_attempt(wait: Wait) -> None:
    class Slow(AsyncResources):
        async def __aenter__(self) -> Slow:
            await asyncio.sleep(5)
            return self

    @step(timeout_s=0.01)
    async def work(data: object, resources: object) -> None: ...

    assert type(wait(outcome_of(work, resources=Slow())).error) is StepTimeout


def test_a_breach_of_the_budget_stays_one_whatever_the_resources_do(wait: Wait) -> None:
    class Stuck(SyncResources):
        def leave(self, kind: type[BaseException] | None) -> bool:
            raise ConnectionError("stuck")

    async def work(data: object, resources: object) -> None: ...

    it = Step.from_callable(work, estimate=UsageEstimate(tokens=9), fallback_step=echo)
    runner = Flujo(it, usage_limits=UsageLimits(total_tokens_limit=5), resources=Stuck())
    with pytest.raises(UsageLimitExceededError):
        wait(runner.run_async(1).result())
