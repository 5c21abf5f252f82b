"""What the placeholders of a step can begin with: its input, its context, steps, the answer."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.roots import roots_of
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Counts, Wait, echo, runner_of
from tests.engine.pauses import answered, asks

CORE = ExecutorCore()


def said(name: str, template: Any) -> Any:
    """A step whose input is a template, and its output what came of it."""
    return Step.from_callable(lambda data: data, name=name, input=template)


def ran(wait: Wait, node: Any, data: object = None, **options: Any) -> Any:
    result = wait(runner_of(node, **options).run_async(data).result())
    assert result.success, result.step_history[-1].feedback
    return result.output


def test_the_roots_of_a_frame() -> None:
    context, data = Counts(names=["a"]), {"x": 1}
    frame = make_execution_frame(echo, data, context=context)
    frame.run.outputs["draft"] = "d"
    roots = roots_of(CORE, frame)
    assert roots.keys() == {"data", "context", "steps", "resume"}
    assert roots["data"] is data
    assert (roots["context"], roots["resume"]) == (context, None)
    assert roots["steps"] == {"draft": "d"}


def test_without_a_context_there_is_an_empty_one() -> None:
    assert roots_of(CORE, make_execution_frame(echo))["context"] == {}


def test_the_context_is_a_copy() -> None:
    context = Counts(names=["a"])
    given: Any = roots_of(CORE, make_execution_frame(echo, context=context))["context"]
    given.names.append("b")
    assert context.names == ["a"]


def test_resume_is_the_newest_answer() -> None:
    journal = Journal()
    frame = make_execution_frame(echo, journal=journal)
    assert roots_of(CORE, frame)["resume"] is None
    for name, answer in (("b", 1), ("a", None), ("c", 3)):
        journal.answer(FramePath.parse(name), answer)
        assert roots_of(CORE, frame)["resume"] == answer


# In a run.


def test_an_input_is_made_of_all_four(wait: Wait) -> None:
    node = echo >> said("say", "{{ data.x }} {{ context.total }} {{ steps.echo.x }} {{ resume }}")
    assert ran(wait, node, {"x": 1}, initial_context_data={"total": 2}) == "1 2 1 null"


def test_steps_are_found_at_every_depth_as_soon_as_they_have_ended(wait: Wait) -> None:
    inside = Step.from_callable(lambda data: data * 2, name="double")
    node = Pipeline.of(
        Step.map_over("each", inside >> said("look", "{{ steps.double }}")),
        said("after", "{{ steps.each }} {{ steps.look }}"),
    )
    assert ran(wait, node, [1, 2]) == "[2, 4] 4"


def test_a_step_that_has_not_run_is_named_in_the_error(wait: Wait) -> None:
    node = echo >> said("say", "{{ steps.ecco }}")
    result = wait(runner_of(node).run_async(1).result())
    feedback = result.step_history[-1].feedback
    for part in ("the input of step 'say'", "steps has no 'ecco'", "did you mean 'echo'?"):
        assert part in feedback


def test_the_context_is_that_of_the_step(wait: Wait) -> None:
    def count(data: object, context: Counts) -> object:
        context.total += 1
        return data

    body = Step.from_callable(count) >> said("say", "{{ context.total }}")
    loop = Step.loop_until("loop", body, lambda output: output == 3)
    assert ran(wait, loop >> said("last", "total {{ context.total }}")) == "total 3"


def test_an_answer_reaches_every_step_that_asks_for_it(wait: Wait) -> None:
    node = asks("one") >> echo >> said("say", "first {{ resume }}") >> asks("two")
    node = node >> said("again", "{{ steps.say }}, then {{ resume }}")
    assert wait(answered(Flujo(node), None, "a", "b")).output == "first a, then b"


@pytest.mark.parametrize("template", [{"a": "{{ data }}"}, ["{{ data }}"], "{{ data }}", 5, "text"])
def test_an_input_of_any_shape_is_filled(wait: Wait, template: Any) -> None:
    expected = {str: "x" if template == "{{ data }}" else template, dict: {"a": "x"}, list: ["x"]}
    assert ran(wait, said("say", template), "x") == expected.get(type(template), template)
