"""Steps that run another pipeline: its context, its input, its failures.

Its paths, its result and its budget are in ``test_as_step.py``, questions in ``test_hitl.py``.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ContextInheritanceError,
    ContextUpdateError,
    PipelineAbortSignal,
    UsageLimitExceededError,
)
from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep, OutputMapping
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, Wait, broken, echo, names_in, outcome_of
from tests.engine.pauses import Calls, spends, tokens


class Task(BaseModel):
    """A context with the fields that imports know, and some more."""

    initial_prompt: str = ""
    import_artifacts: dict[str, Any] = {}
    total: int = 0
    names: list[str] = []


class Strict(BaseModel):
    total: int
    owner: str


def imported(node: Any, **options: Any) -> ImportStep[Any, Any]:
    return ImportStep(name="sub", pipeline=node, **options)


def ran(wait: Wait, node: Any, data: object = None, **options: Any) -> PipelineResult:
    """A run on a `Task` unless another model is given."""
    options.setdefault("context_model", Task)
    result: PipelineResult = wait(Flujo(node, **options).run_async(data).result())
    return result


def seen_inside(wait: Wait, data: object = None, **options: Any) -> Any:
    """The context that an import's pipeline starts with, in a run on a context with values."""
    seen: list[Any] = []
    look = Step.from_callable(lambda data, context: seen.append(context.model_copy()), name="look")
    given = {"initial_prompt": "outer", "total": 2, "names": ["a"], "import_artifacts": {"k": 1}}
    result = ran(wait, imported(look, **options), data, initial_context_data=given)
    assert result.success, result.step_history[0].feedback
    return seen[0]


# What the pipeline starts with.


def test_the_context_is_new_unless_it_is_inherited(wait: Wait) -> None:
    assert seen_inside(wait, "in") == Task(initial_prompt="in", import_artifacts={"k": 1})
    assert seen_inside(wait, "in", inherit_context=True) == Task(
        initial_prompt="in", total=2, names=["a"], import_artifacts={"k": 1}
    )
    for inherits in (False, True):
        own = {"inherit_context": inherits, "initial_context_data": {"total": 7}}
        assert seen_inside(wait, **own).total == 7


def test_a_model_of_its_own_gets_the_fields_that_it_has(wait: Wait) -> None:
    class Other(BaseModel):
        total: int = 5
        names: list[str] = []
        more: str = "own"

    assert seen_inside(wait, context_model=Other) == Other()
    assert seen_inside(wait, context_model=Other, inherit_context=True) == Other(
        total=2, names=["a"]
    )


def test_a_context_that_cannot_be_made_fails_the_step_by_name(wait: Wait) -> None:
    calls = Calls()
    node = imported(calls.step("inside"), context_model=Strict, inherit_context=True)
    outcome = wait(outcome_of(node, 1, context=Task()))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ContextInheritanceError)
    for part in ("'sub'", "Strict", "owner: Field required", "initial_context_data"):
        assert part in outcome.feedback
    assert calls == {}


def test_a_new_context_may_lack_what_its_steps_fill(wait: Wait) -> None:
    def fill(data: object, context: Strict) -> str:
        context.owner = "ann"
        return context.owner

    node = imported(Step.from_callable(fill))
    given = {"total": 1, "owner": "bob"}
    result = ran(wait, node, context_model=Strict, initial_context_data=given)
    assert result.output == "ann"
    assert result.final_pipeline_context == Strict(total=1, owner="bob")


class Doubling(BaseModel):
    total: int = 0

    @field_validator("total")
    @classmethod
    def _doubled(cls, total: int) -> int:
        return 2 * total


class Aliased(BaseModel):
    total: int = Field(0, alias="sum")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("model", "given"), [(Doubling, {"total": 2}), (Aliased, {"sum": 4}), (Open, {"total": 4})]
)
def test_what_is_inherited_is_what_the_parent_has(
    wait: Wait, model: type[BaseModel], given: dict[str, Any]
) -> None:
    """It is not validated anew, which may change or lose it."""
    look = Step.from_callable(lambda data, context: context.total, name="look")
    node = imported(look, inherit_context=True)
    result = ran(wait, node, context_model=model, initial_context_data=given)
    assert result.output == 4, result.step_history[0].feedback


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize("data", [{"sum": 4}, {"sum": 4, "unknown": 1}])
def test_initial_data_mean_what_they_mean_to_a_run(
    wait: Wait, inherits: bool, data: dict[str, Any]
) -> None:
    look = Step.from_callable(lambda data, context: context.total, name="look")
    assert ran(wait, look, context_model=Aliased, initial_context_data=data).output == 4
    node = imported(
        look, context_model=Aliased, inherit_context=inherits, initial_context_data=data
    )
    result = ran(wait, node, context_model=Aliased)
    assert result.output == 4, result.step_history[0].feedback


def test_the_pipeline_works_on_a_copy(wait: Wait) -> None:
    def spoil(data: object, context: Task) -> None:
        context.names.append("x")
        context.import_artifacts["k"] = "x"

    data = {"names": ["own"]}
    node = imported(Step.from_callable(spoil), inherit_context=True, initial_context_data=data)
    given = {"names": ["a"], "import_artifacts": {"k": 1}}
    for _ in range(2):
        result = ran(wait, node, initial_context_data=given)
        assert result.final_pipeline_context == Task(names=["a"], import_artifacts={"k": 1})
    assert data == {"names": ["own"]}


def test_an_import_in_a_run_without_a_context_has_none(wait: Wait) -> None:
    outcome = wait(outcome_of(imported(echo), 3))
    assert isinstance(outcome, Success)
    assert (outcome.output, outcome.update) == (3, None)


# The input.

InputTo = Literal["initial_prompt", "import_artifacts", "both"]


@pytest.mark.parametrize("data", [{"a": [1]}, [1], 7, "text", None, Strict(total=1, owner="x")])
@pytest.mark.parametrize("to", ["initial_prompt", "import_artifacts", "both"])
def test_the_input_keeps_its_type(wait: Wait, data: object, to: InputTo) -> None:
    result = ran(wait, imported(echo, input_to=to), data)
    assert result.output == data
    assert type(result.output) is type(data)


def test_the_input_stands_in_the_context_where_it_is_to(wait: Wait) -> None:
    data = {"a": [1]}
    text = '{"a": [1]}'
    kept = {"k": 1}
    inside = seen_inside(wait, data)
    assert (inside.initial_prompt, inside.import_artifacts) == (text, kept)
    inside = seen_inside(wait, data, input_to="import_artifacts")
    assert (inside.initial_prompt, inside.import_artifacts) == ("", {**kept, "initial_input": data})
    inside = seen_inside(wait, data, input_to="both", input_scratchpad_key="given")
    assert (inside.initial_prompt, inside.import_artifacts) == (text, {**kept, "given": data})


# What flows back.


def work(data: object, context: Any) -> object:
    context.total += 5
    context.names.append("in")
    return data


WORK = Step.from_callable(work)


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize("model", [None, Counts])
def test_nothing_flows_back_that_was_not_asked_for(
    wait: Wait, inherits: bool, model: type[BaseModel] | None
) -> None:
    given = {"total": 1, "names": ["out"]}
    for outputs in (None, []):
        node = imported(WORK, inherit_context=inherits, context_model=model, outputs=outputs)
        result = ran(wait, node, 1, initial_context_data=given)
        assert result.success
        assert result.final_pipeline_context == Task(**given)


def test_with_updates_context_everything_that_was_changed_flows_back(wait: Wait) -> None:
    node = imported(WORK, inherit_context=True, updates_context=True)
    result = ran(wait, node, "data", initial_context_data={"total": 1, "names": ["out"]})
    assert result.final_pipeline_context == Task(total=6, names=["out", "in"])


def test_of_another_model_only_fields_flow_back_that_the_parent_has(wait: Wait) -> None:
    class Other(BaseModel):
        total: int = 0
        names: list[str] = []
        more: int = 0

    def more(data: object, context: Other) -> None:
        context.total, context.more = 9, 9

    node = imported(Step.from_callable(more), context_model=Other, updates_context=True)
    result = ran(wait, node, initial_context_data={"names": ["out"]})
    assert result.final_pipeline_context == Task(total=9, names=["out"])


def test_what_a_new_context_lost_is_no_error_in_the_parents(wait: Wait) -> None:
    def lose(data: object, context: Task) -> None:
        del context.import_artifacts["mine"]
        context.total = 1

    start = {"import_artifacts": {"mine": 1}}
    node = imported(Step.from_callable(lose), updates_context=True, initial_context_data=start)
    result = ran(wait, node >> echo)
    assert result.success, result.step_history[-1].feedback
    assert result.final_pipeline_context == Task(total=1)


def test_outputs_say_what_flows_back_and_where(wait: Wait) -> None:
    def fill(data: object, context: Task) -> None:
        context.import_artifacts = {"deep": {"er": [1]}, "none": None}
        context.total = 9
        context.names = ["in"]

    mappings = [
        OutputMapping("import_artifacts.deep.er", "import_artifacts.here"),
        OutputMapping("import_artifacts.none", "import_artifacts.empty"),
        OutputMapping("import_artifacts.missing.part", "names"),
        OutputMapping("names", "names"),
    ]
    node = imported(Step.from_callable(fill), outputs=mappings, updates_context=True)
    result = ran(wait, node, initial_context_data={"import_artifacts": {"k": 1}, "names": ["out"]})
    assert result.final_pipeline_context == Task(
        import_artifacts={"k": 1, "here": [1], "empty": None}, names=["in"]
    )


def test_an_output_that_has_no_place_fails_the_step(wait: Wait) -> None:
    mapping = OutputMapping("total", "nowhere.at.all")
    outcome = wait(outcome_of(imported(WORK, outputs=[mapping]), 1, context=Task()))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ContextUpdateError)
    assert "nowhere" in outcome.feedback


# Failures.


def test_a_failure_inside_is_the_steps_failure(wait: Wait) -> None:
    calls = Calls()
    inner = WORK >> broken >> calls.step("never")
    node = imported(inner, inherit_context=True, updates_context=True)
    result = ran(wait, node >> calls.step("after"), 1)
    assert (result.status, calls) == (RunStatus.FAILED, {})
    (failed,) = result.step_history
    assert failed.name == "sub"
    assert "ValueError: cannot use 1" in failed.feedback
    assert names_in(failed.step_history) == ["work", "broken"]
    assert result.final_pipeline_context == Task()


@pytest.mark.parametrize(("how", "output"), [("skip", None), ("continue_with_default", {})])
def test_a_failure_may_be_gone_past(wait: Wait, how: Any, output: object) -> None:
    node = imported(WORK >> broken, on_failure=how, inherit_context=True, updates_context=True)
    result = ran(wait, node >> Step.from_callable(lambda data: [data], name="after"), 1)
    assert (result.success, result.output) == (True, [output])
    sub = result.step_history[0]
    assert (sub.success, sub.output) == (True, output)
    assert sub.metadata == {"import_failed": "ValueError: cannot use 1"}
    assert sub.step_history[-1].feedback == "ValueError: cannot use 1"
    assert result.final_pipeline_context == Task()


@pytest.mark.parametrize("how", ["skip", "continue_with_default"])
def test_what_ends_the_run_is_no_failure_to_go_past(wait: Wait, how: Any) -> None:
    @step
    def stop(data: object) -> None:
        raise PipelineAbortSignal("enough")

    result = ran(wait, imported(stop, on_failure=how) >> echo, 1)
    assert result.status is RunStatus.ABORTED
    dear = imported(spends("dear", 0, estimate=5), on_failure=how)
    with pytest.raises(UsageLimitExceededError):
        ran(wait, dear, usage_limits=tokens(4))
