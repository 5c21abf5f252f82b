"""The short forms of `Step` for its kinds, and the loop of work and criticism."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.dsl import RefinementCheck, gather, refine_until
from flujo_nb.engine.errors import BranchNotFound, ConfigurationError
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.outcomes import Failure, RunStatus
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import (
    BranchFailureStrategy,
    CacheStep,
    ConditionalStep,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    LoopStep,
    MapStep,
    ParallelStep,
)
from flujo_nb.engine.steps import AgentStep, Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.fakes import Counts, Wait, broken, echo, echo_async, outcome_of, runner_of


class Writer:
    async def run(self, data: object) -> object:
        return data


BOTH = {"a": echo, "b": echo_async}
FORMS: dict[str, tuple[Any, type, dict[str, Any]]] = {
    "loop_until": (
        Step.loop_until("x", echo, bool, 7, iteration_input_mapper=str, sink_to="total"),
        LoopStep,
        {
            "loop_body_pipeline": echo,
            "exit_condition_callable": bool,
            "max_loops": 7,
            "iteration_input_mapper": str,
            "initial_input_to_loop_body_mapper": None,
            "loop_output_mapper": None,
            "sink_to": "total",
        },
    ),
    "map_over": (
        Step.map_over("x", echo, "rows", max_concurrency=3, on_item_failure="keep"),
        MapStep,
        {
            "pipeline_to_run": echo,
            "iterable_input": "rows",
            "max_concurrency": 3,
            "on_item_failure": "keep",
        },
    ),
    "parallel": (
        Step.parallel(
            "x",
            BOTH,
            reduce=len,
            merge_strategy=MergeStrategy.OVERWRITE,
            on_branch_failure=BranchFailureStrategy.IGNORE,
            context_include_keys=["total"],
            field_mapping={"a": ["total"]},
            max_concurrency=2,
        ),
        ParallelStep,
        {
            "branches": BOTH,
            "reduce": len,
            "merge_strategy": MergeStrategy.OVERWRITE,
            "on_branch_failure": BranchFailureStrategy.IGNORE,
            "context_include_keys": ["total"],
            "field_mapping": {"a": ["total"]},
            "max_concurrency": 2,
        },
    ),
    "dynamic_parallel_branch": (
        Step.dynamic_parallel_branch("x", echo, BOTH, updates_context=True),
        DynamicParallelRouterStep,
        {
            "router": echo,
            "branches": BOTH,
            "updates_context": True,
            "merge_strategy": MergeStrategy.CONTEXT_UPDATE,
        },
    ),
    "branch_on": (
        Step.branch_on("x", str, {1: echo}, echo_async, branch_output_mapper=str),
        ConditionalStep,
        {
            "condition_callable": str,
            "branches": {1: echo},
            "default_branch_pipeline": echo_async,
            "branch_input_mapper": None,
            "branch_output_mapper": str,
        },
    ),
    "human_in_the_loop": (
        Step.human_in_the_loop("x", "why?", int, sink_to="total"),
        HumanInTheLoopStep,
        {"message_for_user": "why?", "input_schema": int, "sink_to": "total"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_short_form_declares_a_kind_of_step(form: str) -> None:
    made, kind, declared = FORMS[form]
    assert type(made) is kind
    assert made.name == "x"
    assert {name: getattr(made, name) for name in declared} == declared


def test_a_cached_step_has_its_steps_name() -> None:
    made = Step.cached(echo, context_keys=["total"])
    assert type(made) is CacheStep
    assert (made.name, made.wrapped_step, list(made.context_keys)) == ("echo", echo, ["total"])


@pytest.mark.parametrize(("form", "name"), [(Step.review, "review"), (Step.solution, "solution")])
def test_named_steps(form: Any, name: str) -> None:
    made = form(Writer())
    assert type(made) is AgentStep
    assert made.name == name
    assert form(str, name="other", max_retries=3).config == StepConfig(max_retries=3)
    assert form(str, name="other").name == "other"


def test_a_step_that_validates() -> None:
    assert Step.validate_step(Writer()).validation == "strict"
    assert Step.validate_step(Writer(), strict=False).validation == "lenient"
    assert Step.validate_step(Writer()).name == "validate"


def test_forms_make_plain_steps_whatever_class_they_are_called_on() -> None:
    assert type(LoopStep.map_over("x", echo)) is MapStep


def test_gather_picks_branches(wait: Wait) -> None:
    node = Step.parallel("both", {**BOTH, "c": echo}) >> gather("some", wait_for=["c", "a"])
    assert wait(outcome_of(node, 1)).output == {"c": 1, "a": 1}


def test_gather_names_what_is_missing(wait: Wait) -> None:
    outcome = wait(outcome_of(Step.parallel("both", BOTH) >> gather("some", wait_for=["a", "z"])))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, BranchNotFound)
    assert "'some' waits for z; its input has a, b" in outcome.feedback


def improve(given: dict[str, Any]) -> str:
    return f"{given['original_input']} after {given['feedback']}"


def critic(*verdicts: object) -> Any:
    """A critic that gives these verdicts in turn."""
    left = list(verdicts)
    return Step.from_callable(lambda work: left.pop(0), name="critic")


AGAIN = RefinementCheck(is_complete=False, feedback="shorter")
DONE = RefinementCheck(is_complete=True)
GENERATOR = Step.from_callable(improve, name="generator")


def test_work_is_refined_until_the_critic_finds_it_complete(wait: Wait) -> None:
    node = refine_until("refine", GENERATOR, critic(AGAIN, AGAIN, DONE))
    result = wait(runner_of(node).run_async("essay").result())
    assert result.output == "essay after shorter"
    (refine,) = result.step_history
    assert refine.metadata == {"exit_reason": "condition", "iterations": 3}


def test_work_that_is_complete_at_once(wait: Wait) -> None:
    node = refine_until("refine", GENERATOR, critic(DONE))
    assert wait(outcome_of(node, "essay")).output == "essay after None"


@pytest.mark.parametrize("verdict", ["fine", None, False, {"is_complete": False}])
def test_a_verdict_that_is_no_check_counts_as_complete(wait: Wait, verdict: object) -> None:
    node = refine_until("refine", GENERATOR, critic(verdict))
    assert wait(outcome_of(node, "essay")).output == "essay after None"


def test_a_feedback_mapper_makes_the_next_input(wait: Wait) -> None:
    def mapped(original: object, check: RefinementCheck) -> dict[str, Any]:
        return {"original_input": str(original).upper(), "feedback": check.feedback}

    node = refine_until("refine", GENERATOR, critic(AGAIN, DONE), feedback_mapper=mapped)
    assert wait(outcome_of(node, "essay")).output == "ESSAY after shorter"


def test_refinements_have_a_bound(wait: Wait) -> None:
    node = refine_until("refine", GENERATOR, critic(AGAIN, AGAIN), max_refinements=2)
    result = wait(runner_of(node).run_async("essay").result())
    assert result.status is RunStatus.FAILED
    assert "reached max_loops" in (result.step_history[0].feedback or "")
    with pytest.raises(ConfigurationError, match="whole number"):
        refine_until("refine", GENERATOR, critic(), max_refinements=0)


def test_a_generator_may_be_a_pipeline_and_both_may_change_the_context(wait: Wait) -> None:
    def draft(given: dict[str, Any], context: Counts) -> str:
        context.names.append("draft")
        return str(given["original_input"])

    def judge(work: str, context: Counts) -> RefinementCheck:
        context.names.append("judge")
        return RefinementCheck(is_complete=context.names.count("judge") > 1)

    node = refine_until(
        "refine",
        Step.from_callable(draft) >> echo,
        Step.from_callable(judge),
    )
    result = wait(runner_of(node).run_async("essay").result())
    assert result.output == "essay"
    assert result.final_pipeline_context.names == ["draft", "judge"] * 2


def test_generator_and_critic_that_fail(wait: Wait) -> None:
    for node in (refine_until("r", broken, critic(DONE)), refine_until("r", GENERATOR, broken)):
        outcome = wait(outcome_of(node, "essay"))
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, ValueError)


def test_what_refining_used_counts(wait: Wait) -> None:
    def metered(given: object) -> Metered:
        return Metered("work", Usage(tokens=5))

    node = refine_until("refine", Step.from_callable(metered), critic(AGAIN, DONE))
    assert wait(runner_of(node).run_async("essay").result()).total_tokens == 10


def test_refinements_may_run_side_by_side(wait: Wait) -> None:
    def judge(work: str) -> RefinementCheck:
        return RefinementCheck(is_complete=work.count("again") >= 2, feedback=work + " again")

    def draft(given: dict[str, Any]) -> str:
        return str(given["feedback"] or given["original_input"])

    refine = refine_until("refine", Step.from_callable(draft), Step.from_callable(judge))
    node = Step.map_over("all", refine, max_concurrency=2)
    assert wait(runner_of(node).run_async(["a", "b"]).result()).output == [
        "a again again",
        "b again again",
    ]
