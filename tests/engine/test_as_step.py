"""What a pipeline inside another is to it: paths, results, a part of the budget.

What it starts with and what it gives back is in ``test_import.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import FREE, Metered, Quota, Usage
from tests.engine.fakes import Counts, Wait, echo, runner_of
from tests.engine.pauses import Calls, spends, tokens


class Task(BaseModel):
    """A context that an input stands in."""

    initial_prompt: str = ""
    total: int = 0


def imported(node: Any, **options: Any) -> ImportStep[Any, Any]:
    return ImportStep(name="sub", pipeline=node, **options)


def ran(wait: Wait, node: Any, data: object = None, **options: Any) -> PipelineResult:
    """A run on a `Task`."""
    result: PipelineResult = wait(
        Flujo(node, context_model=Task, **options).run_async(data).result()
    )
    return result


# Paths and results.


def test_what_runs_inside_stands_below_the_import(wait: Wait) -> None:
    @step
    def where(data: object, frame: Any) -> str:
        return str(frame.path)

    assert ran(wait, imported(where)).output == "sub/import/where"
    assert ran(wait, imported(echo >> where)).output == "sub/import/where"
    assert ran(wait, imported(imported(where))).output == "sub/import/sub/import/where"


def test_a_runner_as_a_step_gives_the_result_of_its_run(wait: Wait) -> None:
    @step
    def spend(data: str, context: Task) -> Metered:
        context.total += 1
        return Metered(data.upper(), Usage.of(cost_usd=0.5, tokens=3))

    inner = Flujo(echo >> spend, context_model=Task).as_step("sub")
    result = ran(wait, inner >> echo, "x", initial_context_data={"total": 1})
    own = result.output
    assert isinstance(own, PipelineResult)
    assert (own.output, own.success, own.run_id) == ("X", True, result.run_id)
    assert (own.total_tokens, own.total_cost_usd) == (3, 0.5) == (result.total_tokens, 0.5)
    assert own.final_pipeline_context == Task(initial_prompt="x", total=2)
    assert result.final_pipeline_context == Task(total=2)
    paths = ["sub/import/echo", "sub/import/spend"]
    assert [str(one.path) for one in result.step_history[0].step_history] == paths
    assert [str(one.path) for one in own.step_history] == paths


def test_a_runner_as_a_step_that_inherits_nothing_has_its_own_context(wait: Wait) -> None:
    @step
    def count(data: object, context: Counts) -> None:
        context.total += 1

    inner = Flujo(count, context_model=Counts, initial_context_data={"total": 1})
    result = ran(wait, inner.as_step("sub", inherit_context=False), 1)
    assert result.output.final_pipeline_context == Counts(total=2)
    assert result.final_pipeline_context == Task()


def test_resources_events_and_the_run_are_the_parents(wait: Wait) -> None:
    heard, seen = [], []

    def look(data: object, resources: object, frame: Any) -> None:
        seen.append((resources, frame.run_id, frame.extensions["trace_id"]))

    inner = Flujo(Step.from_callable(look), resources="inner", hooks=[lambda e: heard.append("i")])
    runner = runner_of(inner.as_step("sub"), resources="outer", hooks=[heard.append])
    wait(runner.run_async(run_id="r", extensions={"trace_id": 7}).result())
    assert seen == [("outer", "r", 7)]
    assert "i" not in heard
    assert any(str(event.path) == "sub/import/look" for event in heard)


# The budget.

BUDGETS = [(10, None), (None, 10), (10, 100), (100, 10), (10, 10)]


@pytest.mark.parametrize(("own", "outer"), BUDGETS)
def test_an_import_draws_on_its_own_budget_and_on_its_parents(
    wait: Wait, own: int | None, outer: int | None
) -> None:
    calls = Calls()
    inner = spends("a", 6) >> spends("dear", 0, estimate=5) >> calls.step("never")
    runner = Flujo(imported(inner, usage_limits=tokens(own)) >> echo, usage_limits=tokens(outer))
    with pytest.raises(UsageLimitExceededError, match="Token limit of 10") as breach:
        wait(runner.run_async(1).result())
    assert breach.value.result is not None
    assert breach.value.result.total_tokens == 6
    assert calls == {}


def test_what_an_import_spent_its_siblings_cannot(wait: Wait) -> None:
    quotas: list[Quota] = []
    look = Step.from_callable(lambda data, frame: quotas.append(frame.quota), name="look")
    node = imported(spends("a", 6) >> look, usage_limits=tokens(8)) >> look
    result = ran(wait, node, 1, usage_limits=tokens(20))
    inside, outside = quotas
    assert inside is not outside
    assert inside.spent.tokens == outside.spent.tokens == 6
    assert outside.reserved == FREE
    assert inside.limits.total_tokens_limit == 8
    assert result.total_tokens == 6


def test_the_limits_of_a_runner_bound_it_as_a_step_too(wait: Wait) -> None:
    inner = Flujo(spends("dear", 0, estimate=5), usage_limits=tokens(4))
    with pytest.raises(UsageLimitExceededError, match="Token limit of 4"):
        ran(wait, inner.as_step("sub"), 1)
