"""Declaring the steps that contain others, and what a declaration may get wrong."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from flujo_nb.engine.dsl import cached
from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.step_config import AgentProcessors, StepConfig
from flujo_nb.engine.step_kinds import (
    BranchFailureStrategy,
    CacheStep,
    ConditionalStep,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    ImportStep,
    LoopStep,
    MapStep,
    OutputMapping,
    ParallelStep,
)
from flujo_nb.engine.steps import AnyStep, Step, name_of
from tests.engine.fakes import broken, echo, echo_async

BOTH = {"a": echo, "b": echo_async}
WHOLE: dict[type[AnyStep], dict[str, Any]] = {
    LoopStep: {"loop_body_pipeline": echo, "exit_condition_callable": bool},
    MapStep: {"pipeline_to_run": echo},
    ParallelStep: {"branches": BOTH},
    DynamicParallelRouterStep: {"branches": BOTH, "router_agent": str},
    ConditionalStep: {"branches": BOTH, "condition_callable": str},
    CacheStep: {"wrapped_step": echo},
    ImportStep: {"pipeline": echo >> echo_async},
    HumanInTheLoopStep: {},
}
KINDS = pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)


def made(kind: type[AnyStep], **options: Any) -> Any:
    return kind(name="outer", **{**WHOLE[kind], **options})


def refused(kind: type[AnyStep], **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        made(kind, **options)
    message = str(caught.value)
    assert kind.__name__ in message and "'outer'" in message
    return message


INSIDE: dict[type[AnyStep], list[str]] = {
    LoopStep: ["echo"],
    MapStep: ["echo"],
    ParallelStep: ["echo", "echo_async"],
    DynamicParallelRouterStep: ["outer_router", "echo", "echo_async"],
    ConditionalStep: ["echo", "echo_async"],
    CacheStep: ["echo"],
    ImportStep: ["echo >> echo_async"],
    HumanInTheLoopStep: [],
}


@KINDS
def test_a_kind_knows_what_it_runs_inside(kind: type[AnyStep]) -> None:
    step = made(kind)
    assert [name_of(node) for node in step.inner] == INSIDE[kind]
    assert step.is_container is (kind is not HumanInTheLoopStep)
    assert repr(step) == f"<{kind.__name__} outer>"


def test_the_default_branch_is_inside_too() -> None:
    step = made(ConditionalStep, default_branch_pipeline=broken)
    assert list(step.inner) == [echo, echo_async, broken]


ATTEMPTS: dict[str, Any] = {
    "agent": lambda data: data,
    "plugins": ((object(), 1),),
    "validators": (object(),),
    "processors": AgentProcessors(prompt_processors=(str,)),
    "fallback_step": broken,
    "input": "{{ data }}",
    "rate": "6/min",
    "validation": "strict",
}


@KINDS
@pytest.mark.parametrize("option", ATTEMPTS)
def test_what_belongs_to_attempts_is_refused(kind: type[AnyStep], option: str) -> None:
    message = refused(kind, **{option: ATTEMPTS[option]})
    assert f"takes no {option}" in message
    assert "declare it on the steps inside" in message


@KINDS
@pytest.mark.parametrize(
    "config", [{"max_retries": 1}, {"timeout_s": 1.0}, {"thread": True}, {"temperature": 0.5}]
)
def test_a_config_of_attempts_is_refused(kind: type[AnyStep], config: dict[str, Any]) -> None:
    assert "takes no config" in refused(kind, config=StepConfig(**config))


@KINDS
def test_a_container_may_work_in_the_background(kind: type[AnyStep]) -> None:
    config = StepConfig(execution_mode="background", on_close="detach")
    assert made(kind, config=config).config is config


@KINDS
def test_a_container_needs_a_name(kind: type[AnyStep]) -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        kind(name="", **WHOLE[kind])


INSIDES: list[tuple[type[AnyStep], dict[str, Any]]] = [
    (LoopStep, {"loop_body_pipeline": len}),
    (MapStep, {"pipeline_to_run": len}),
    (ParallelStep, {"branches": {"a": len}}),
    (DynamicParallelRouterStep, {"branches": {"a": len}}),
    (ConditionalStep, {"branches": {"a": len}}),
    (ConditionalStep, {"default_branch_pipeline": len}),
    (CacheStep, {"wrapped_step": len}),
    (ImportStep, {"pipeline": [echo]}),
]


@pytest.mark.parametrize(("kind", "options"), INSIDES)
def test_what_is_inside_is_a_step_or_a_pipeline(
    kind: type[AnyStep], options: dict[str, Any]
) -> None:
    assert "runs steps and pipelines; found" in refused(kind, **options)


@pytest.mark.parametrize("kind", [ParallelStep, DynamicParallelRouterStep, ConditionalStep])
def test_branches_there_must_be(kind: type[AnyStep]) -> None:
    assert "it has no branches" in refused(kind, branches={})


@pytest.mark.parametrize("kind", [ParallelStep, DynamicParallelRouterStep, ConditionalStep])
def test_branches_are_those_of_the_declaration(kind: type[AnyStep]) -> None:
    branches: dict[str, Any] = dict(BOTH)
    step = made(kind, branches=branches)
    branches["c"] = broken
    assert list(step.branches) == ["a", "b"]


COUNTS: list[tuple[type[AnyStep], str]] = [
    (LoopStep, "max_loops"),
    (MapStep, "max_concurrency"),
    (ParallelStep, "max_concurrency"),
    (DynamicParallelRouterStep, "max_concurrency"),
]


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "2", float("inf")])
@pytest.mark.parametrize(("kind", "name"), COUNTS)
def test_a_bound_is_a_whole_number(kind: type[AnyStep], name: str, count: object) -> None:
    assert f"{name} is a whole number, 1 or more; found {count!r}" in refused(kind, **{name: count})


def test_a_loop_has_a_bound() -> None:
    assert made(LoopStep).max_loops == 5
    assert "found None" in refused(LoopStep, max_loops=None)


CHOICES: list[tuple[type[AnyStep], str, str]] = [
    (MapStep, "on_item_failure", "propagate, keep"),
    (ImportStep, "on_failure", "abort, skip, continue_with_default"),
    (ImportStep, "input_to", "initial_prompt, import_artifacts, both"),
]


@pytest.mark.parametrize(("kind", "name", "known"), CHOICES)
def test_a_choice_is_one_of_those_there_are(kind: type[AnyStep], name: str, known: str) -> None:
    assert f"{name} is one of {known}; found 'other'" in refused(kind, **{name: "other"})


@pytest.mark.parametrize("kind", [ParallelStep, DynamicParallelRouterStep])
def test_a_field_mapping_names_branches(kind: type[AnyStep]) -> None:
    message = refused(kind, field_mapping={"c": ["total"]})
    assert "names the branch 'c'; there are a, b" in message


def test_a_router_is_made_a_step_called_after_its_container() -> None:
    router = made(DynamicParallelRouterStep).router
    assert (router.name, router.agent) == ("outer_router", str)
    assert made(DynamicParallelRouterStep, router_agent=echo).router is echo


def test_an_import_says_what_flows_back() -> None:
    mapping = OutputMapping(child="a.b", parent="c")
    assert made(ImportStep, outputs=[mapping]).outputs == [mapping]


def test_a_container_in_a_pipeline_is_sealed_with_all_inside() -> None:
    steps = [Step.from_callable(lambda data: data, name=name) for name in "abc"]
    inner = ParallelStep(name="inner", branches={"a": steps[0], "b": steps[1] >> steps[2]})
    outer: Any = MapStep(name="outer", pipeline_to_run=inner)
    assert not outer.sealed and not steps[0].sealed
    outer >> echo
    assert outer.sealed and inner.sealed and all(one.sealed for one in steps)


@KINDS
def test_every_kind_takes_where_its_output_goes(kind: type[AnyStep]) -> None:
    step = made(kind, sink_to="total", updates_context=True, meta={"owner": "me"})
    assert (step.sink_to, step.updates_context, step.meta) == ("total", True, {"owner": "me"})


DECIDERS: list[tuple[type[AnyStep], str]] = [
    (LoopStep, "exit_condition_callable"),
    (LoopStep, "initial_input_to_loop_body_mapper"),
    (LoopStep, "iteration_input_mapper"),
    (LoopStep, "loop_output_mapper"),
    (ConditionalStep, "condition_callable"),
    (ConditionalStep, "branch_input_mapper"),
    (ConditionalStep, "branch_output_mapper"),
    (ParallelStep, "reduce"),
    (DynamicParallelRouterStep, "reduce"),
    (DynamicParallelRouterStep, "router_agent"),
]


@pytest.mark.parametrize(("kind", "name"), DECIDERS)
def test_what_a_container_asks_can_be_called(kind: type[AnyStep], name: str) -> None:
    assert f"{name} is a function" in refused(kind, **{name: "keys"})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(LoopStep, "exit_condition_callable"), (ConditionalStep, "condition_callable")],
)
def test_what_a_container_has_to_ask_is_not_none(kind: type[AnyStep], name: str) -> None:
    assert f"{name} is a function" in refused(kind, **{name: None})


@pytest.mark.parametrize("kind", [ParallelStep, DynamicParallelRouterStep])
@pytest.mark.parametrize(
    ("name", "members"),
    [("on_branch_failure", BranchFailureStrategy), ("merge_strategy", MergeStrategy)],
)
def test_the_names_of_strategies_mean_the_strategies(
    kind: type[AnyStep], name: str, members: type[Enum]
) -> None:
    """Pipelines from flujo give them so; above all, "propagate" may not come to mean "ignore"."""
    for member in members:
        assert getattr(made(kind, **{name: member.value}), name) is member
    assert f"{name} is one of" in refused(kind, **{name: "other"})


@pytest.mark.parametrize("key", [(1, 2), b"a", object()])
def test_a_key_that_no_condition_can_give(key: object) -> None:
    assert "branches" in refused(ConditionalStep, branches={key: echo})


@pytest.mark.parametrize("kind", [ParallelStep, DynamicParallelRouterStep, ConditionalStep])
def test_branches_are_named(kind: type[AnyStep]) -> None:
    assert "branches" in refused(kind, branches=[echo])


def test_what_a_cached_step_wraps_is_a_step() -> None:
    with pytest.raises(ConfigurationError, match="step"):
        cached(echo >> echo_async)  # type: ignore[arg-type]
