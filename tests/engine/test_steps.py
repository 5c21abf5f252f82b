"""Declaring steps and pipelines, and what a declaration may get wrong."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from pydantic import ValidationError

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ConfigurationError, PipelineTypeError, StepSealed
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import PluginOutcome, StepConfig
from flujo_nb.engine.steps import AgentStep, Pipeline, Step, name_of, steps_of
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


def test_two_steps_of_one_name_stand_in_one_pipeline() -> None:
    same: Step[int, int] = Step.from_callable(lambda data: data + 1, name="echo")
    result = Flujo(echo >> same).run(1)
    assert [str(one.path) for one in result.step_history] == ["echo", "echo#1"]
    assert result.output == 2


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


def test_a_pipeline_of_a_pipeline_is_refused_kindly() -> None:
    with pytest.raises(ConfigurationError, match=r"made of steps; found Pipeline|Pipeline\.of"):
        Pipeline((echo >> echo_async,))  # type: ignore[arg-type]


# Until a step is in use it changes in place.


class Check:
    """A plugin that finds every output good, and notes it."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def validate(self, output: object) -> PluginOutcome:
        self.log.append(self.name)
        return PluginOutcome(success=True)


def fresh(name: str = "fresh", work: Any = None) -> Step[Any, Any]:
    return Step.from_callable(work or (lambda data: data), name=name)


def test_a_step_that_is_not_in_use_changes_in_place(wait: Wait) -> None:
    log: list[str] = []
    one = fresh(work=lambda data: data["missing"])
    first, second = Check(log, "first"), Check(log, "second")
    assert one.fallback(fresh("other", lambda data: "other")) is one
    assert one.add_plugin(first) is one
    assert one.add_plugin(second, priority=5) is one
    assert one.plugins == ((first, 0), (second, 5))
    assert wait(outcome_of(one, {})).output == "other"
    good = fresh().add_plugin(first).add_plugin(second, 5)
    log.clear()
    assert wait(outcome_of(good, 1)).output == 1
    assert log == ["second", "first"]


USES: dict[str, Any] = {
    "a pipeline": lambda one: Pipeline.from_step(one),
    "a longer pipeline": lambda one: echo >> one,
    "a container in a pipeline": lambda one: Pipeline.from_step(Step.map_over("map", one)),
    "a fallback in a pipeline": lambda one: Pipeline.from_step(fresh("main").fallback(one)),
    "a run": lambda one: asyncio.run(outcome_of(one, 1)),
    "a container's run": lambda one: asyncio.run(outcome_of(Step.map_over("map", one), [1])),
    "a runner's run": lambda one: asyncio.run(Flujo(one).run_async(1).result()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_step_in_use_no_longer_changes(use: Any) -> None:
    one = fresh()
    use(one)
    assert one.sealed
    for change in (
        lambda: one.add_plugin(Check([], "late")),
        lambda: one.fallback(echo),
    ):
        with pytest.raises(StepSealed, match=r"'fresh' .* dataclasses.replace"):
            change()
    assert (one.plugins, one.fallback_step) == ((), None)


def test_declaring_containers_and_runners_uses_nothing_yet() -> None:
    one = fresh()
    Step.map_over("map", one)
    Flujo(one)
    Flujo(Step.map_over("map", one))
    assert not one.sealed
    one.fallback(echo)


def test_a_copy_of_a_sealed_step_is_a_new_one() -> None:
    one = fresh()
    Pipeline.from_step(one)
    other = dataclasses.replace(one)
    assert one.sealed and not other.sealed
    assert other.fallback(echo).fallback_step is echo


def test_an_agents_step_changes_in_place_too() -> None:
    writing = Step(name="writing", agent=Writer()).fallback(echo)
    assert type(writing) is AgentStep
    assert writing.fallback_step is echo


def test_a_fallback_is_a_step() -> None:
    with pytest.raises(ConfigurationError, match=r"fallback .*'fresh'|'fresh' .*fallback"):
        fresh().fallback(len)  # type: ignore[arg-type]


OPTIONS: dict[str, Any] = {
    "name": "other",
    "updates_context": True,
    "sink_to": "total",
    "input": "{{ data }}",
    "rate": "6/min",
    "validation": "lenient",
    "meta": {"owner": "me"},
    "fallback_step": echo,
}
CONFIG: dict[str, Any] = {
    "max_retries": 4,
    "retry_delay_s": 0.5,
    "backoff": True,
    "timeout_s": 2.0,
    "thread": True,
    "execution_mode": "background",
    "estimate": UsageEstimate(tokens=3),
}


@pytest.mark.parametrize("make", [Step.from_callable, Step.from_mapper])
def test_from_callable_takes_the_fields_of_a_step_and_of_its_config(make: Any) -> None:
    made = make(str, **OPTIONS, **CONFIG)
    assert {name: getattr(made, name) for name in OPTIONS} == OPTIONS
    assert made.config == StepConfig(**CONFIG)


@pytest.mark.parametrize("option", CONFIG)
def test_an_option_wins_over_the_config_and_leaves_the_rest_of_it(option: str) -> None:
    base = StepConfig(retry_delay_s=9.0, temperature=0.5)
    options: Any = {option: CONFIG[option]}
    made = Step.from_callable(lambda data: data, name="x", config=base, **options)
    assert getattr(made.config, option) == CONFIG[option]
    assert made.config.temperature == 0.5
    assert base == StepConfig(retry_delay_s=9.0, temperature=0.5)


def test_from_callable_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="retries"):
        Step.from_callable(str, retries=3)  # type: ignore[call-arg]


class Named:
    def __call__(self, data: object) -> object:
        return data


def test_a_step_is_called_what_its_function_is_called() -> None:
    def draft(data: object) -> object:
        return data

    assert Step.from_callable(draft).name == "draft"
    assert Step.from_callable(Named()).name == "Named"
    assert Step.from_callable(Writer()).name == "Writer"
    assert Step.from_callable(functools.partial(draft), name="part").name == "part"


async def writing(data: object) -> str:
    return f"written {data}"


def test_arun_calls_what_is_inside_directly(wait: Wait) -> None:
    calls: list[int] = []

    def fails(data: int, context: Any = None) -> int:
        calls.append(data)
        if context is None:
            raise ValueError("no context")
        return data + int(context)

    made = Step.from_callable(fails, max_retries=3)
    assert wait(made.arun(1, context=4)) == 5
    with pytest.raises(ValueError, match="no context"):
        wait(made.arun(1))
    assert calls == [1, 1]
    assert not made.sealed
    assert wait(Step.from_callable(writing).arun("x")) == "written x"
    assert wait(Step(name="writing", agent=Writer()).arun("x")) == "X"
    with pytest.raises(ConfigurationError, match="'empty' has no function or agent"):
        wait(Step(name="empty").arun(1))


def test_what_belongs_to_the_configuration_is_told_to_go_there() -> None:
    with pytest.raises(ConfigurationError, match=r"config=StepConfig\(max_retries=2\)"):
        Step(name="x", agent=lambda data: data, max_retries=2)  # type: ignore[call-arg]


def test_an_agents_class_is_no_agent() -> None:
    class Writer:
        async def run(self, data: str) -> str:
            return data

    with pytest.raises(ConfigurationError, match=r"found the class Writer: make one, Writer\("):
        Step(name="x", agent=Writer)
