"""``updates_context`` and ``sink_to``, of every kind of step alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.errors import ContextMissing, ContextUpdateError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.output_sinks import with_output
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Box, Counts, Wait, boxed, echo, outcome_of, runner_of
from tests.engine.pauses import asks, resumed, started

CORE = ExecutorCore()


class Inner(BaseModel):
    label: str = ""


class State(BaseModel):
    total: int = 0
    names: list[str] = []
    inner: Inner = Inner()
    table: dict[str, Any] = {}


def after(output: object, update: ContextUpdate | None = None, **declared: Any) -> State:
    """The context after a step that declares this gave ``output``."""
    step = Step.from_callable(lambda data: data, name="x", **declared)
    base = State(names=["a"], table={"k": {"n": 1}})
    before = base.model_copy(deep=True)
    made = with_output(CORE, step, base, update, output)
    assert base == before
    return CORE.contexts.merge(base, made)


# The function.


def test_without_either_the_update_stays_as_it_is() -> None:
    update = ContextUpdate((SetValue(("total",), 1),))
    for base in (State(), None):
        assert with_output(CORE, echo, base, update, 5) is update
        assert with_output(CORE, echo, base, None, 5) is None


def test_a_sink_stores_the_output_where_it_says() -> None:
    assert after(5, sink_to="total").total == 5
    assert after("x", sink_to="inner.label").inner.label == "x"
    assert after([1], sink_to="table.new").table == {"k": {"n": 1}, "new": [1]}
    assert after(2, sink_to="table.k.n").table == {"k": {"n": 2}}


def test_an_output_updates_the_fields_that_it_names() -> None:
    assert after({"total": 2, "names": ["b"]}, updates_context=True) == State(
        total=2, names=["b"], table={"k": {"n": 1}}
    )
    assert after(Counts(total=3), updates_context=True).total == 3
    assert after(Counts(), updates_context=True).names == ["a"]


def test_the_result_of_a_run_updates_with_its_context() -> None:
    result = PipelineResult("r", RunStatus.COMPLETED, 9, final_pipeline_context=State(total=4))
    assert after(result, updates_context=True).total == 4


def test_both_come_after_what_the_step_did_itself() -> None:
    own = ContextUpdate((SetValue(("total",), 1), AppendValues(("names",), ("own",))))
    context = after({"total": 2}, own, updates_context=True, sink_to="table.out")
    assert (context.total, context.names) == (2, ["a", "own"])
    assert context.table["out"] == {"total": 2}


def test_the_update_is_its_own() -> None:
    output = {"names": ["b"]}
    step = Step.from_callable(echo.agent, updates_context=True)
    update = with_output(CORE, step, State(), None, output)
    output["names"].append("later")
    assert CORE.contexts.merge(State(), update).names == ["b"]


@pytest.mark.parametrize(
    ("declared", "output", "parts"),
    [
        ({"sink_to": "total"}, "many", ["State.total", "'many'"]),
        ({"sink_to": "nowhere"}, 1, ["nowhere", "total, names"]),
        ({"sink_to": "total.deeper"}, 1, ["sink_to='total.deeper'", "int"]),
        ({"sink_to": "missing.deeper"}, 1, ["no 'missing'"]),
        ({"updates_context": True}, 7, ["a dict or a pydantic model", "int"]),
        ({"updates_context": True}, {"nowhere": 1}, ["nowhere"]),
        ({"updates_context": True}, {"total": "many"}, ["State.total", "'many'"]),
    ],
)
def test_an_output_that_does_not_fit_is_an_error_that_says_why(
    declared: dict[str, Any], output: object, parts: list[str]
) -> None:
    with pytest.raises(ContextUpdateError) as error:
        after(output, **declared)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("declared", [{"sink_to": "total"}, {"updates_context": True}])
def test_without_a_context_there_is_nothing_to_write_to(declared: dict[str, Any]) -> None:
    step = Step.from_callable(echo.agent, name="x", **declared)
    with pytest.raises(ContextMissing, match="step 'x' writes to the context"):
        with_output(CORE, step, None, None, {})


# Every kind of step.

FIVE = Step.from_callable(lambda data: 5, name="five")
Make = Callable[..., Any]
KINDS: dict[str, Make] = {
    "a function": lambda **own: Step.from_callable(lambda data: 5, name="x", **own),
    "a loop": lambda **own: Step.loop_until("x", FIVE, lambda output: True, **own),
    "a branch": lambda **own: Step.branch_on("x", lambda data: 1, {1: FIVE}, **own),
    "a map": lambda **own: Step.map_over("x", FIVE, **own),
    "parallel branches": lambda **own: Step.parallel("x", {"a": FIVE}, **own),
    "a router": lambda **own: Step.dynamic_parallel_branch(
        "x", lambda data: "a", {"a": FIVE}, **own
    ),
    "an import": lambda **own: ImportStep(name="x", pipeline=FIVE, **own),
}
OUTPUTS: dict[str, object] = {
    "a map": [5],
    "parallel branches": {"a": 5},
    "a router": {"a": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_step_has_a_sink(wait: Wait, kind: str) -> None:
    runner = runner_of(KINDS[kind](sink_to="table.out"), context_model=State)
    result = wait(runner.run_async([1]).result())
    assert result.final_pipeline_context.table == {"out": OUTPUTS.get(kind, 5)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", [{"sink_to": "names"}, {"sink_to": "nowhere"}])
def test_a_sink_that_does_not_take_the_output_fails_the_step(
    wait: Wait, kind: str, declared: dict[str, Any]
) -> None:
    outcome = wait(outcome_of(KINDS[kind](**declared), [1], context=State()))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ContextUpdateError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_in_a_run_without_a_context_fails_the_step(wait: Wait, kind: str) -> None:
    outcome = wait(outcome_of(KINDS[kind](sink_to="total"), [1]))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ContextMissing)


def test_an_answer_has_a_sink(wait: Wait) -> None:
    runner = runner_of(asks("x", sink_to="table.out"), context_model=State)
    paused = wait(started(runner))
    assert wait(resumed(runner, paused, 5)).final_pipeline_context.table == {"out": 5}


MAPPINGS: dict[str, Make] = {
    "a function": lambda **own: Step.from_callable(lambda data: {"total": 5}, name="x", **own),
    "parallel branches": lambda **own: Step.parallel("x", {"total": FIVE}, **own),
    "a loop": lambda **own: Step.loop_until(
        "x", FIVE, lambda output: True, loop_output_mapper=lambda output: {"total": output}, **own
    ),
    "a branch": lambda **own: Step.branch_on(
        "x", bool, {True: FIVE}, branch_output_mapper=lambda output: {"total": output}, **own
    ),
    "reduced branches": lambda **own: Step.parallel(
        "x", {"a": FIVE}, reduce=lambda results: {"total": results[0].output}, **own
    ),
}


@pytest.mark.parametrize("kind", MAPPINGS)
def test_the_output_of_every_kind_may_update_the_context(wait: Wait, kind: str) -> None:
    runner = runner_of(MAPPINGS[kind](updates_context=True))
    result = wait(runner.run_async([1]).result())
    assert result.final_pipeline_context == Counts(total=5)


# Updates of somebody else's.


@pytest.mark.parametrize("follows", [False, True])
def test_an_update_that_does_not_fit_is_a_failed_run_and_no_error_of_the_runner(
    wait: Wait, follows: bool
) -> None:
    async def lose(core: Any, frame: Any) -> Success:
        return Success(update=ContextUpdate((DeleteKey(("by_kind", "missing")),)))

    box: Any = Box(name="box")
    runner = runner_of(box >> echo if follows else box, registry=boxed(lose))
    result = wait(runner.run_async().result())
    assert (result.status, result.final_pipeline_context) == (RunStatus.FAILED, Counts())


def test_a_sink_holds_what_a_runner_as_a_step_gives(wait: Wait) -> None:
    inner = Flujo(FIVE).as_step("sub", inherit_context=False)
    node = inner >> Step.from_callable(lambda data: data.output, name="out", sink_to="total")
    assert wait(runner_of(node).run_async().result()).final_pipeline_context.total == 5
