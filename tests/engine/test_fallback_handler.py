"""Fallbacks: when another step does the work, on what, and how that is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ConfigurationError,
    FallbackFailed,
    InfiniteFallbackError,
    InfiniteRedirectError,
    NonRetryableError,
    PausedException,
    PipelineAbortSignal,
    StepInterrupted,
    UsageLimitExceededError,
)
from flujo_nb.engine.failure_builder import FailureBuilder
from flujo_nb.engine.fallback_handler import FallbackHandler, NoFallback, Use
from flujo_nb.engine.frame import AnyFrame, make_execution_frame, planned_child
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.step_config import AgentProcessors, PluginOutcome, StepConfig
from flujo_nb.engine.step_history_tracker import StepHistoryTracker, total_usage
from flujo_nb.engine.steps import AnyStep, Step
from flujo_nb.engine.usage import Metered, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.checks import Agent, Plugin, Validator, failed, invalid
from tests.engine.fakes import Counts, Wait, echo, outcome_of, runner_of


def failing(name: str, **options: Any) -> Step[Any, Any]:
    """A step that fails, told by its own name."""

    async def fail(data: object) -> None:
        raise ValueError(f"{name} failed")

    return Step.from_callable(fail, **{"name": name, **options})


def working(name: str) -> Step[Any, Any]:
    async def work(data: object) -> str:
        return f"{name} on {data}"

    return Step.from_callable(work, name=name)


# The decision.


def stood_in(frame: AnyFrame, one: AnyStep, depth: int) -> AnyFrame:
    """The frame of the fallback ``one`` of ``frame``."""
    segments = (Segment(SegmentKind.FALLBACK, depth),)
    return planned_child(frame, frame, segments, None, one, None, None, 1, None)


def decided(frame: AnyFrame, one: AnyStep, error: BaseException) -> Use | NoFallback:
    ended = FailureBuilder().build(frame, error)
    return FallbackHandler().decide_fallback(frame, one, ended)


@pytest.mark.parametrize(
    ("error", "falls_back"),
    [
        (ValueError("x"), True),
        (NonRetryableError("x"), True),
        (InfiniteRedirectError("x"), False),
        (InfiniteFallbackError("x"), False),
        (ConfigurationError("x"), False),
        (PausedException("x"), False),
        (PipelineAbortSignal("x"), False),
        (StepInterrupted("x"), False),
        (UsageLimitExceededError("x"), False),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_fallback_follows_failures_and_no_other_end(
    error: BaseException, falls_back: bool
) -> None:
    primary = failing("a", fallback_step=echo)
    decision = decided(make_execution_frame(primary), primary, error)
    assert decision == (Use(echo, 1) if falls_back else NoFallback())


def test_a_step_without_a_fallback_has_none() -> None:
    assert decided(make_execution_frame(echo), echo, ValueError()) == NoFallback()


def test_ten_may_stand_in_for_a_step_one_after_the_other() -> None:
    chain = [failing(f"s{number}") for number in range(12)]
    for one, after in pairwise(chain):
        one.fallback(after)
    frame = make_execution_frame(chain[0])
    for depth in range(1, 11):
        decision = decided(frame, chain[depth - 1], ValueError("x"))
        assert decision == Use(chain[depth], depth)
        frame = stood_in(frame, chain[depth], depth)
    decision = decided(frame, chain[10], ValueError("x"))
    assert isinstance(decision, NoFallback)
    assert "the fallback of 's10' would be number 11" in str(decision.error)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_chain_does_not_lead_back_to_a_step_that_has_failed(length: int) -> None:
    chain = [failing(f"s{number}") for number in range(length)]
    chain[-1].fallback(chain[0])
    frame = make_execution_frame(chain[0])
    for depth, one in enumerate(chain[1:], 1):
        frame = stood_in(frame, one, depth)
    decision = decided(frame, chain[-1], ValueError("x"))
    assert isinstance(decision, NoFallback)
    assert "leads back to 's0', which has failed already" in str(decision.error)


def test_another_step_of_the_same_name_is_another_step() -> None:
    second = failing("same")
    first = failing("same", fallback_step=second)
    assert decided(make_execution_frame(first), first, ValueError()) == Use(second, 1)


def test_only_the_chain_itself_counts() -> None:
    """The same step may have failed elsewhere in the run, above the chain too."""
    primary = failing("a", fallback_step=echo)
    above = make_execution_frame(echo)
    frame = planned_child(above, above, primary.own_segments, None, primary, None, None, 1, None)
    assert decided(frame, primary, ValueError()) == Use(echo, 1)
    nameless = planned_child(above, above, (), 3, primary, None, None, 1, None)
    assert decided(nameless, primary, ValueError()) == Use(echo, 1)


# What a fallback does.


def test_a_fallback_does_the_work_under_the_name_of_the_step(wait: Wait) -> None:
    primary = failing("primary", fallback_step=working("second"), max_retries=1)
    outcome = wait(outcome_of(echo >> primary >> echo, "x"))
    assert outcome.output == "second on x"
    own = outcome.children[1]
    assert (own.step.name, own.attempts) == ("primary", 2)
    noted = {"fallback_triggered": True, "original_error": "ValueError: primary failed"}
    assert own.metadata == noted
    result = StepHistoryTracker().results(outcome, FramePath())[1]
    assert (result.name, str(result.path), result.success) == ("primary", "primary", True)
    (inner,) = result.step_history
    assert (inner.name, str(inner.path)) == ("second", "primary/fallback[1]")


def test_diagnostics_are_kept_on_request(wait: Wait) -> None:
    config = StepConfig(max_retries=2, preserve_fallback_diagnostics=True)
    outcome = wait(outcome_of(failing("primary", fallback_step=echo, config=config), "x"))
    assert (
        outcome.metadata["feedback"]
        == "failed attempts: 3; the last one: ValueError: primary failed"
    )


@pytest.mark.parametrize(
    "declared",
    [
        {"plugins": [(Plugin(failed("no")), 0)]},
        {"validators": [Validator(invalid("no"))]},
        {"validators": [Validator(invalid("no"))], "validation": "strict"},
        {"processors": AgentProcessors(prompt_processors=[int])},
        {"processors": AgentProcessors(output_processors=[int])},
        {"input": "{{ data.nothing }}"},
    ],
    ids=["plugin", "validator", "strict", "prompt processor", "output processor", "template"],
)
def test_a_fallback_follows_whatever_failed_in_the_attempts(
    wait: Wait, declared: dict[str, Any]
) -> None:
    primary = Step.from_callable(lambda data: data, name="primary", **declared)
    primary.fallback(working("second"))
    assert wait(outcome_of(primary, "x")).output == "second on x"


def test_a_fallback_gets_the_input_and_the_context_from_before_the_step(wait: Wait) -> None:
    given = []

    @step
    def second(data: object, context: Counts, frame: Any) -> str:
        given.append((data, context.total, list(context.names), frame.feedback))
        context.names.append("second")
        return "done"

    @step(input="about {{ data }}", processors=AgentProcessors([str.upper]), fallback_step=second)
    def primary(data: str, context: Counts) -> None:
        assert data == "ABOUT RAIN"
        context.total = 5
        raise ValueError

    outcome = wait(outcome_of(primary, "rain", context=Counts()))
    assert given == [("rain", 0, [], None)]
    after = ContextUpdateManager().merge(Counts(), outcome.update)
    assert after == Counts(names=["second"])


def test_a_fallback_has_its_own_attempts(wait: Wait) -> None:
    calls = []

    class Stumbling:
        async def run(self, data: object) -> str:
            calls.append(data)
            if len(calls) < 4:
                raise ValueError
            return "done"

    second = Step(name="second", agent=Stumbling(), config=StepConfig(max_retries=3))
    outcome = wait(outcome_of(failing("primary", fallback_step=second), "x"))
    assert (outcome.output, outcome.attempts, outcome.children[0].attempts) == ("done", 1, 4)


def test_usage_is_the_sum_of_all_that_ran(wait: Wait) -> None:
    quota = Quota()
    plugin = Plugin(failed("no"), failed("no"))
    primary = Step(name="primary", agent=Agent("own"), plugins=[(plugin, 0)])
    primary.fallback(Step(name="second", agent=Agent("second")))
    outcome = wait(outcome_of(primary, "x", quota=quota))
    assert isinstance(outcome, Success)
    assert (outcome.usage, outcome.children[0].usage) == (Usage(tokens=2), Usage(tokens=1))
    assert total_usage(outcome) == quota.spent == Usage(tokens=3)


def test_both_failed(wait: Wait) -> None:
    primary = failing("primary", fallback_step=failing("second"), max_retries=1)
    outcome = wait(outcome_of(primary, "x"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, FallbackFailed)
    assert (
        "Original error: ValueError: primary failed; Fallback error: ValueError: second failed"
        in outcome.feedback
    )
    assert str(outcome.error.__cause__) == "primary failed"
    assert (outcome.step.name, outcome.attempts) == ("primary", 2)
    assert outcome.metadata["fallback_triggered"] is True
    assert [type(child) for child in outcome.children] == [Failure]


def test_a_fallback_may_have_a_fallback(wait: Wait) -> None:
    last = working("third")
    second = failing("second", fallback_step=last)
    outcome = wait(outcome_of(failing("first", fallback_step=second), "x"))
    assert outcome.output == "third on x"
    (result,) = StepHistoryTracker().results(outcome, FramePath())
    paths = []
    while True:
        paths.append(str(result.path))
        if not result.step_history:
            break
        (result,) = result.step_history
    assert paths == ["first", "first/fallback[1]", "first/fallback[1]/fallback[2]"]


def test_a_chain_that_is_too_long_ends_as_an_error(wait: Wait) -> None:
    chain = [failing(f"s{number}") for number in range(12)]
    for one, after in pairwise(chain):
        one.fallback(after)
    outcome = wait(outcome_of(chain[0], "x"))
    assert isinstance(outcome.error, FallbackFailed)
    while outcome.children:
        (outcome,) = outcome.children
    assert isinstance(outcome.error, InfiniteFallbackError)
    assert outcome.step.name == "s10"


def test_no_fallback_takes_a_breach_of_the_budget_for_its_own(wait: Wait) -> None:
    costly = Step.from_callable(
        lambda data: data, name="costly", estimate=UsageEstimate(tokens=9), fallback_step=echo
    )
    outcome = wait(outcome_of(costly, 1, limits=UsageLimits(total_tokens_limit=5)))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.QUOTA
    assert outcome.children == ()


@pytest.mark.parametrize(
    ("error", "ends"), [(PipelineAbortSignal("stop"), Aborted), (PausedException("who?"), Paused)]
)
def test_how_a_fallback_ends_the_run_is_how_the_step_does(
    wait: Wait, error: BaseException, ends: type[StepOutcome]
) -> None:
    def second(data: object) -> None:
        raise error

    spending = Step.from_callable(
        lambda data: Metered(data, Usage(tokens=2)),
        name="primary",
        validators=[Validator(invalid("no"))],
        fallback_step=Step.from_callable(second),
    )
    outcome = wait(outcome_of(echo >> spending, "x"))
    assert type(outcome) is ends
    own = outcome.children[1]
    assert type(own) is ends
    assert (own.step.name, own.attempts, own.usage) == ("primary", 1, Usage(tokens=2))
    assert [type(child) for child in own.children] == [ends]
    assert own.message == str(error)


# Resuming.


def test_a_human_can_be_the_fallback_and_the_step_is_not_tried_again(wait: Wait) -> None:
    calls = []

    @step(fallback_step=Step.human_in_the_loop("ask", "What is {{ data }}?"))
    def primary(data: object) -> None:
        calls.append(data)
        raise ValueError("no idea")

    journal = Journal()
    outcome = wait(outcome_of(primary, "x", journal=journal))
    assert isinstance(outcome, Paused)
    assert outcome.message == "What is x?"
    (pause,) = StepHistoryTracker().open_pauses(outcome, FramePath())
    assert str(pause.path) == "primary/fallback[1]"
    journal.answer(pause.path, "rain")
    again = wait(outcome_of(primary, "x", journal=journal))
    assert isinstance(again, Success)
    assert (again.output, again.attempts, calls) == ("rain", 1, ["x"])
    assert again.metadata["original_error"] == "ValueError: no idea"


def test_a_resumed_step_keeps_what_its_attempts_came_to(wait: Wait) -> None:
    plugin = Plugin(failed("no"), failed("no"))
    primary = Step(name="primary", agent=Agent("own"), plugins=[(plugin, 0)])
    primary.fallback(failing("second"))
    journal = Journal()
    first = wait(outcome_of(primary, "x", journal=journal))
    again = wait(outcome_of(primary, "x", journal=journal))
    assert isinstance(first, Failure)
    assert isinstance(again, Failure)
    assert again.feedback == first.feedback
    assert (again.attempts, again.usage) == (first.attempts, first.usage) == (2, Usage(tokens=2))
    assert len(plugin.shown) == 2


def test_a_step_without_a_journal_falls_back_all_the_same(wait: Wait) -> None:
    result = wait(runner_of(failing("primary", fallback_step=echo)).run_async("x").result())
    assert (result.output, result.success) == ("x", True)
    assert [one.name for one in result.step_history] == ["primary"]
    assert result.step_history[0].metadata["fallback_triggered"] is True


def test_no_fallback_hides_a_mistake_of_the_declaration(wait: Wait) -> None:
    """Plugins that send the work round in circles, say."""
    own = Agent("own")
    circling = Plugin(PluginOutcome(success=False, redirect_to=own))
    primary = Step(name="primary", agent=own, plugins=[(circling, 0)], fallback_step=echo)
    outcome = wait(outcome_of(primary, "x"))
    assert isinstance(outcome.error, InfiniteRedirectError)
    assert outcome.children == ()
