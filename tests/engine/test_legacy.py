"""Policies with an argument list, adapted when they are registered."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import FlujoDeprecationWarning, PausedException, UsageLimitExceededError
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, Paused, Success
from flujo_nb.engine.pipeline_orchestrator import PipelineOrchestrator
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Box, Counts, Wait, broken, echo, names_in, outcome_of, runner_of

BOX = Box(name="box")
Execute = Callable[..., Awaitable[Any]]


@step
def count(data: str, context: Counts) -> str:
    context.total += 1
    context.names.append(data)
    return data


@step
def metered(data: object) -> Metered:
    return Metered(data, Usage(1_000_000, 5, 1))


def policy_of(execute: Execute) -> object:
    """A policy of a class of its own, so that each is warned about once."""
    return type("OldPolicy", (), {"handles": Box, "execute": execute})()


def legacy(execute: Execute) -> PolicyRegistry:
    registry = built_in_policies()
    with pytest.warns(FlujoDeprecationWarning):
        registry.register(policy_of(execute))
    return registry


class Listed:
    handles = Box

    async def execute(
        self,
        core: Any,
        step: Any,
        data: Any,
        context: Any,
        resources: Any,
        limits: Any,
        stream: Any,
        on_chunk: Any,
    ) -> StepResult:
        seen = (step.name, data, context.total, resources, limits.total_tokens_limit, stream)
        return StepResult(name=step.name, output=(*seen, on_chunk is not None))


class Keyworded:
    handles = Box

    async def execute(self, core: Any, step: Any, data: Any, **others: Any) -> StepResult:
        seen = (step.name, data, others["context"].total, others["resources"])
        return StepResult(
            name=step.name,
            output=(
                *seen,
                others["limits"].total_tokens_limit,
                others["stream"],
                others["on_chunk"] is not None,
            ),
        )


class Shuffled:
    handles = Box

    async def execute(
        self,
        *,
        on_chunk: Any,
        stream: Any,
        limits: Any,
        resources: Any,
        context: Any,
        data: Any,
        step: Any,
        core: Any,
    ) -> StepResult:
        seen = (step.name, data, context.total, resources, limits.total_tokens_limit, stream)
        return StepResult(name=step.name, output=(*seen, on_chunk is not None))


@pytest.mark.parametrize("policy_class", [Listed, Keyworded, Shuffled])
def test_an_older_policy_runs_unchanged(wait: Wait, policy_class: type) -> None:
    own = type("Own", (policy_class,), {})
    registry = built_in_policies()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        registry.register(own())
        registry.register(own())
    assert [warned.category for warned in told] == [FlujoDeprecationWarning]
    assert "Own.execute takes an argument list" in str(told[0].message)
    assert told[0].filename == __file__
    assert "Version 1.0" in str(told[0].message)
    outcome = wait(
        outcome_of(
            BOX,
            5,
            registry=registry,
            context=Counts(total=2),
            resources="db",
            stream=True,
            limits=UsageLimits(total_tokens_limit=9),
            on_chunk=print,
        )
    )
    assert outcome.output == ("box", 5, 2, "db", 9, True, True)


def test_a_policy_that_takes_a_frame_is_not_warned_about() -> None:
    class New:
        handles = Box

        async def execute(self, core: Any, frame: Any) -> Success:
            return Success()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built_in_policies().register(New())


async def without_core(self: Any, frame: Any) -> None: ...
async def reversed_(self: Any, frame: Any, core: Any) -> None: ...
async def asks_more(self: Any, core: Any, frame: Any, tenant: Any) -> None: ...
async def by_name_only(self: Any, *, core: Any, frame: Any) -> None: ...
async def foreign(self: Any, request: Any, response: Any) -> None: ...
async def unknown(self: Any, core: Any, step: Any, data: Any, tenant: Any) -> None: ...
async def no_step(self: Any, core: Any, data: Any) -> None: ...
async def packed(self: Any, *arguments: Any) -> None: ...


@pytest.mark.parametrize(
    "execute",
    [without_core, reversed_, asks_more, by_name_only, foreign, unknown, no_step, packed],
)
def test_what_is_neither_form_is_refused_and_not_registered(wait: Wait, execute: Execute) -> None:
    async def instead(core: Any, frame: Any) -> Success:
        return Success(output="still the first")

    registry = built_in_policies()
    registry.register(type("New", (), {"handles": Box, "execute": staticmethod(instead)})())
    with pytest.raises(TypeError) as refused:
        registry.register(policy_of(execute))
    parameters = ", ".join(list(inspect.signature(execute).parameters)[1:])
    assert "OldPolicy.execute(" in str(refused.value)
    for name in parameters.split(", "):
        assert name in str(refused.value)
    assert "execute(self, core, frame: ExecutionFrame) -> StepOutcome" in str(refused.value)
    assert wait(outcome_of(BOX, registry=registry)).output == "still the first"


def test_a_policy_without_execute_or_type_is_refused() -> None:
    with pytest.raises(TypeError, match="has no `execute`"):
        built_in_policies().register(object(), handles=Box)
    with pytest.raises(TypeError, match="says no step type"):
        built_in_policies().register(type("Lost", (), {"execute": without_core})())


def test_the_registrys_constructor_is_the_same_door() -> None:
    with pytest.warns(FlujoDeprecationWarning):
        PolicyRegistry([policy_of(Listed.execute)])  # type: ignore[list-item]


def test_what_the_policy_changes_in_its_context_becomes_the_update(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        context.total = 7
        return StepResult(name="box", output=context.total)

    before = Counts()
    outcome = wait(outcome_of(BOX, registry=legacy(execute), context=before))
    (change,) = outcome.update.changes
    assert (change.path, change.value) == (("total",), 7)
    assert before.total == 0


def test_a_container_runs_its_children_by_step_and_input(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        one = await core.execute(count, data, context=context)
        two = await core.execute(step=count, data=one.output + "!", context=context)
        return StepResult(name="box", output=(one.success, two.output, two.name, context.total))

    result = wait(runner_of(BOX, registry=legacy(execute)).run_async("a").result())
    assert result.output == (True, "a!", "count", 2)
    assert result.final_pipeline_context == Counts(total=2, names=["a", "a!"])
    (box,) = result.step_history
    assert [str(child.path) for child in box.step_history] == ["box/count", "box/count#1"]


def test_a_container_runs_its_children_as_frames(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        for name in ("a", "b"):
            frame = core.make_execution_frame(count, name, context=context)
            result = await core.execute(frame)
        return StepResult(name="box", output=(result.output, context.total))

    result = wait(runner_of(BOX, registry=legacy(execute)).run_async("a").result())
    assert result.output == ("b", 2)
    assert result.final_pipeline_context == Counts(total=2, names=["a", "b"])


def test_what_a_child_changes_is_not_lost_when_the_container_passes_no_context(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        return StepResult(name="box", output=(await core.execute(count, data)).output)

    result = wait(runner_of(BOX, registry=legacy(execute)).run_async("a").result())
    assert result.final_pipeline_context == Counts(total=1, names=["a"])


def test_children_inherit_what_the_containers_frame_has(wait: Wait) -> None:
    @step
    def look(data: object, frame: Any) -> tuple[object, ...]:
        return frame.run_id, frame.resources, frame.extensions["trace_id"], str(frame.path)

    async def execute(self: Any, core: Any, step: Any, data: Any, **_: Any) -> StepResult:
        child = await core.execute(look, data, context=None, resources="other", limits=None)
        return StepResult(name="box", output=child.output)

    outcome = wait(
        outcome_of(
            BOX, registry=legacy(execute), run_id="r", resources="db", extensions={"trace_id": "t"}
        )
    )
    assert outcome.output == ("r", "db", "t", "box/look")


def test_a_failed_child_is_a_result_and_changes_nothing(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        child = await core.execute(count >> broken, data, context=context)
        return StepResult(name="box", output=(child.success, child.feedback, context.total))

    outcome = wait(outcome_of(BOX, "a", registry=legacy(execute), context=Counts()))
    assert outcome.output == (False, "ValueError: cannot use 'a'", 0)


@pytest.mark.parametrize("how", ["answers", "raises", "pauses"])
def test_what_children_used_is_counted_however_the_container_ends(wait: Wait, how: str) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        child = await core.execute(metered, data)
        if how == "raises":
            raise ValueError("after the child")
        if how == "pauses":
            raise PausedException("may I?")
        return StepResult(name="box", success=False, feedback=f"no use for {child.output}")

    result = wait(runner_of(BOX, registry=legacy(execute)).run_async("a").result())
    assert not result.success
    assert (result.total_tokens, result.total_cost_usd) == (5, 1.0)
    assert names_in(result.step_history[0].step_history) == ["metered"]


def test_a_child_tells_the_container_what_it_used(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        child = await core.execute(metered, data)
        return StepResult(name="box", output=(child.token_counts, child.cost_usd))

    result = wait(runner_of(BOX, registry=legacy(execute)).run_async("a").result())
    assert result.output == (5, 1.0)
    assert result.total_tokens == 5


def test_a_raw_result_is_an_outcome_with_its_usage(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        return StepResult(name="x", output=1, attempts=3, token_counts=4, cost_usd=0.5)

    outcome = wait(outcome_of(BOX, registry=legacy(execute)))
    assert isinstance(outcome, Success)
    assert (outcome.output, outcome.attempts) == (1, 3)
    assert outcome.usage == Usage.of(cost_usd=0.5, tokens=4)


def test_a_failed_raw_result_is_a_failure(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        return StepResult(name="x", success=False, feedback="too long", attempts=2)

    outcome = wait(outcome_of(BOX, registry=legacy(execute)))
    assert isinstance(outcome, Failure)
    assert (outcome.feedback, outcome.attempts) == ("too long", 2)


def test_a_raised_pause_is_a_pause(wait: Wait) -> None:
    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        raise PausedException("may I?")

    outcome = wait(outcome_of(BOX, registry=legacy(execute)))
    assert isinstance(outcome, Paused)
    assert outcome.message == "may I?"


def test_a_pause_of_a_child_travels_as_the_exception_that_older_policies_know(wait: Wait) -> None:
    caught = []

    @step
    def ask(data: object) -> None:
        raise PausedException("may I?")

    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        try:
            return await core.execute(ask, data)  # type: ignore[no-any-return]
        except PausedException as pause:
            caught.append(str(pause))
            raise

    outcome = wait(outcome_of(BOX, registry=legacy(execute)))
    assert isinstance(outcome, Paused)
    assert caught == ["may I?"]
    assert [type(child) for child in outcome.children] == [Paused]


def test_a_container_cannot_swallow_a_breach_of_the_budget(wait: Wait) -> None:
    dear = Step.from_callable(
        lambda data: data, name="dear", config=StepConfig(estimate=UsageEstimate(tokens=100))
    )

    async def execute(self: Any, core: Any, step: Any, data: Any) -> StepResult:
        try:
            return await core.execute(dear, data)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001  # what older containers do
            return StepResult(name="box", output="swallowed")

    limits = UsageLimits(total_tokens_limit=3)
    outcome = wait(outcome_of(BOX >> echo, registry=legacy(execute), limits=limits))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.QUOTA
    with pytest.raises(UsageLimitExceededError):
        wait(runner_of(BOX, registry=legacy(execute), usage_limits=limits).run_async(1).result())


async def flujos_own(
    self: Any,
    core: Any,
    step: Any,
    data: Any,
    context: Any,
    resources: Any,
    limits: Any,
    stream: Any,
    on_chunk: Any,
    cache_key: Any,
    breach_event: Any,
    _fallback_depth: int = 0,
) -> StepResult:
    return StepResult(name=step.name, output=data)


async def step_and_others(self: Any, core: Any, step: Any, **others: Any) -> StepResult:
    return StepResult(name=step.name, output=others["data"])


async def everything(self: Any, **given: Any) -> StepResult:
    return StepResult(name=given["step"].name, output=given["data"])


def synchronous(self: Any, core: Any, step: Any, data: Any) -> StepResult:
    return StepResult(name=step.name, output=data)


@pytest.mark.parametrize("execute", [flujos_own, step_and_others, everything, synchronous])
def test_other_forms_of_the_argument_list_run_too(wait: Wait, execute: Execute) -> None:
    assert wait(outcome_of(BOX, 5, registry=legacy(execute))).output == 5


def test_a_binding_policy_registered_for_another_type_still_binds(wait: Wait) -> None:
    registry = built_in_policies()
    registry.register(PipelineOrchestrator(), handles=Box)
    assert registry.table().policy_of(Box).handles is Pipeline
