"""Declaring steps and pipelines, and what a declaration may get wrong."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from pydantic import ValidationError

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import AgentStep, Pipeline, PipelineTypeError, Step, name_of, steps_of
from flujo_nb.engine.usage import UsageEstimate
from tests.engine.fakes import Wait, echo, echo_async, outcome_of


class Writer:
    async def run(self, data: str) -> str:
        return data.upper()


def test_a_decorated_function_is_a_step_of_its_name() -> None:
    @step
    def draft(topic: str) -> str:
        return topic

    assert isinstance(draft, Step)
    assert draft.name == "draft"
    assert repr(draft) == "<Step draft>"
    assert draft.max_retries == 0


def test_options_of_the_decorator_win_over_its_config() -> None:
    base = StepConfig(max_retries=1, timeout_s=9, estimate=UsageEstimate(tokens=3))

    @step(name="other", config=base, max_retries=4, thread=True, sink_to="total")
    def draft(topic: str) -> str:
        return topic

    assert (draft.name, draft.sink_to, draft.max_retries) == ("other", "total", 4)
    assert draft.config == StepConfig(
        max_retries=4, timeout_s=9, thread=True, estimate=UsageEstimate(tokens=3)
    )


def test_an_object_with_run_is_an_agent_and_is_tried_twice() -> None:
    writing = Step(name="writing", agent=Writer())
    assert type(writing) is AgentStep
    assert writing.max_retries == 1


def test_a_function_as_agent_is_a_function() -> None:
    def draft(topic: str) -> str:
        return topic

    assert type(Step(name="draft", agent=draft)) is Step


def test_an_agent_step_without_an_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="object with `async run`; found int"):
        AgentStep(name="writing", agent=5)  # type: ignore[arg-type]


def test_a_step_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        echo.name = "other"  # type: ignore[misc]
    other = dataclasses.replace(echo, name="other")
    assert (other.name, other.agent) == ("other", echo.agent)
    assert copy.copy(other).shape == echo.shape


def test_a_step_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        Step(name="", agent=Writer())


@pytest.mark.parametrize(
    "wrong",
    [{"max_retries": -1}, {"timeout_s": 0}, {"timeout_s": float("nan")}, {"retries": 1}],
)
def test_a_config_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StepConfig(**wrong)


@pytest.mark.parametrize("amount", [float("nan"), -1.0, True])
def test_an_estimate_is_checked_when_it_is_declared(amount: float) -> None:
    with pytest.raises(ValidationError):
        StepConfig.model_validate({"estimate": {"cost_usd": amount}})


def test_pipelines_are_flat() -> None:
    whole = echo >> (echo_async >> echo) >> Pipeline.from_step(echo_async)
    assert [one.name for one in whole.steps] == ["echo", "echo_async", "echo", "echo_async"]
    assert name_of(whole) == "echo >> echo_async >> echo >> echo_async"
    assert repr(Pipeline.from_step(echo)) == "<Pipeline echo>"
    assert list(steps_of(echo)) == [echo]


def test_two_different_steps_of_one_name_are_refused() -> None:
    same = Step.from_callable(lambda data: data, name="echo")
    with pytest.raises(ConfigurationError, match=r"two different steps .* called 'echo'"):
        echo >> same


def test_an_empty_pipeline_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one step"):
        Pipeline(())


def test_neighbours_that_do_not_fit_are_refused_when_built() -> None:
    @step
    def count(text: str) -> int:
        return len(text)

    @step
    def shout(text: str) -> str:
        return text.upper()

    shout >> count
    with pytest.raises(PipelineTypeError, match="'shout' takes str, but 'count' before it"):
        count >> shout
    assert issubclass(PipelineTypeError, ValueError)


@pytest.mark.parametrize("other", [len, "draft", None])
def test_only_steps_and_pipelines_can_follow(other: Any) -> None:
    with pytest.raises((TypeError, ConfigurationError), match=r"step|>>"):
        echo >> other


def test_a_pipeline_of_something_else_is_refused_kindly() -> None:
    with pytest.raises((TypeError, ConfigurationError), match="step"):
        Pipeline((echo, len))  # type: ignore[arg-type]


def test_a_time_limit_that_cannot_be_kept_is_refused() -> None:
    """A synchronous step that stays on the loop cannot be timed out."""
    with pytest.raises(ConfigurationError, match="timeout_s"):
        step(thread=False, timeout_s=0.01)(lambda data: data)


def test_a_kind_of_step_declared_as_a_dataclass_runs(wait: Wait) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Special(Step[Any, Any]):
        extra: int = 0

    special = Special(name="special", agent=lambda data: data + 1, extra=2)
    assert wait(outcome_of(special, 1)).output == 2
