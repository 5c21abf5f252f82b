"""One attempt: what it is given, what it may spend, how long it may take, what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from itertools import groupby
from typing import Any, cast

import pytest
from pydantic import BaseModel, field_validator

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ContextMissing,
    TemplateResolutionError,
)
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Failure, FailureKind, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_config import (
    AgentProcessors,
    PluginOutcome,
    StepConfig,
    ValidationResult,
)
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.fakes import Counts, Wait, echo, outcome_of, runner_of


def test_each_attempt_starts_from_the_context_before_the_step(wait: Wait) -> None:
    seen = []

    @step(max_retries=2)
    def work(data: object, context: Counts, frame: Any) -> None:
        seen.append((frame.attempt, context.total, list(context.names)))
        context.total += 1
        context.names.append("x")
        if frame.attempt < 3:
            raise ValueError

    context = Counts()
    outcome = wait(outcome_of(work, context=context))
    assert seen == [(1, 0, []), (2, 0, []), (3, 0, [])]
    assert context == Counts()
    assert len(outcome.update.changes) == 2


def test_a_failed_attempt_at_the_end_leaves_no_update(wait: Wait) -> None:
    @step(updates_context=True)
    def work(data: object, context: Counts) -> dict[str, object]:
        context.total = 5
        return {"no_such_field": 1}

    outcome = wait(outcome_of(work, context=Counts()))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.CONTEXT
    assert "Counts has no field 'no_such_field'" in outcome.feedback
    assert not hasattr(outcome, "update")


def test_a_step_that_needs_a_context_says_so_where_there_is_none(wait: Wait) -> None:
    @step
    def work(data: object, context: Counts) -> None: ...

    outcome = wait(outcome_of(work))
    assert isinstance(outcome.error, ContextMissing)
    assert "'work' needs a context" in outcome.feedback


@pytest.mark.parametrize(
    ("options", "output", "after"),
    [
        ({"updates_context": True}, {"total": 3}, Counts(total=3)),
        ({"updates_context": True}, Counts(names=["a"]), Counts(names=["a"])),
        ({"sink_to": "total"}, 4, Counts(total=4)),
        ({"sink_to": "by_kind.mit"}, 4, Counts(by_kind={"mit": 4})),
    ],
)
def test_an_output_can_go_into_the_context(
    wait: Wait, options: dict[str, Any], output: object, after: Counts
) -> None:
    outcome = wait(outcome_of(step(**options)(lambda data: output), context=Counts()))
    assert ContextUpdateManager().merge(Counts(), outcome.update) == after


class Noting:
    """Everything that an attempt calls; each notes that it was."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures = 0

    def note(self, what: str) -> str:
        self.notes.append(what)
        return what

    async def run(self, data: object, resources: object) -> str:
        return self.note("call")

    def before(self, data: object) -> object:
        return self.note("prompt processor")

    def after(self, data: object) -> object:
        return self.note("output processor")

    def __enter__(self) -> None:
        self.note("enter")

    def __exit__(self, *_: object) -> None:
        self.note("leave")


class NotingCheck:
    def __init__(self, noting: Noting, name: str, answer: object) -> None:
        self.noting = noting
        self.name = name
        self.answer = answer

    def validate(self, output: object) -> object:
        self.noting.note(self.name)
        return self.answer


def test_the_order_in_an_attempt(wait: Wait) -> None:
    noting = Noting()
    passed, valid = PluginOutcome(success=True), ValidationResult(is_valid=True)
    agent = Step(
        name="agent",
        agent=noting,
        processors=AgentProcessors([noting.before], [noting.after]),
        plugins=[(NotingCheck(noting, "low", passed), 1), (NotingCheck(noting, "high", passed), 2)],
        validators=[NotingCheck(noting, "validator", valid)],
        sink_to="what",
    )

    class Kept(BaseModel):
        what: str = ""

        @field_validator("what")
        @classmethod
        def note(cls, what: str) -> str:
            noting.note("update")
            return what

    assert isinstance(wait(outcome_of(agent, "x", context=Kept(), resources=noting)), Success)
    assert [note for note, _ in groupby(noting.notes)] == [
        *("prompt processor", "enter", "call", "output processor", "high", "low", "validator"),
        *("update", "leave"),
    ]


def test_a_step_is_given_its_filled_template_instead_of_its_input(wait: Wait) -> None:
    @step(input={"about": "{{ data.topic }}", "style": "{{ context.names[0] }}", "n": 3})
    def draft(data: object) -> object:
        return data

    context = Counts(names=["terse"])
    outcome = wait(outcome_of(draft, {"topic": "rain"}, context=context))
    assert outcome.output == {"about": "rain", "style": "terse", "n": 3}


def test_a_template_shows_what_earlier_steps_gave(wait: Wait) -> None:
    @step
    def first(data: object) -> dict[str, object]:
        return {"title": "Rain"}

    last = Step.from_callable(lambda data: data, name="last", input="{{ steps.first.title }}!")
    assert wait(runner_of(first >> echo >> last).run_async(1).result()).output == "Rain!"


def test_a_template_shows_the_newest_answer_of_a_human(wait: Wait) -> None:
    asked = Step.from_callable(lambda data: data, name="asked", input="you said {{ resume }}")
    journal = Journal()
    assert wait(outcome_of(asked, journal=journal)).output == "you said null"
    journal.answer(FramePath.parse("one"), "no")
    journal.answer(FramePath.parse("two"), "yes")
    again = Step.from_callable(lambda data: data, name="again", input="you said {{ resume }}")
    assert wait(outcome_of(again, journal=journal)).output == "you said yes"


def test_a_template_that_finds_nothing_fails_the_step_once(wait: Wait) -> None:
    lost = Step.from_callable(echo.agent, name="lost", input="{{ data.nothing }}", max_retries=3)
    outcome = wait(outcome_of(lost, {"topic": "rain"}))
    assert isinstance(outcome.error, TemplateResolutionError)
    assert "the input of step 'lost'" in outcome.feedback
    assert outcome.attempts == 1


def test_what_a_step_does_to_its_filled_input_does_not_reach_the_context(wait: Wait) -> None:
    @step(input="{{ context.names }}")
    def work(data: list[str]) -> list[str]:
        data.append("new")
        return data

    context = Counts(names=["old"])
    outcome = wait(outcome_of(work, context=context))
    assert (outcome.output, outcome.update) == (["old", "new"], None)
    assert context == Counts(names=["old"])


def test_what_an_output_says_of_itself_stands_in_the_outcome(wait: Wait) -> None:
    @step
    def work(data: object, context: Counts) -> Metered:
        return Metered("done", Usage(tokens=1), {"model": "small"})

    outcome = wait(outcome_of(work, context=Counts()))
    assert dict(outcome.metadata) == {"model": "small"}


class Deep:
    """An agent that says how many calls stand between it and what ran its step."""

    async def run(self, data: object, resources: object) -> int:
        await asyncio.sleep(0)
        frame, count = inspect.currentframe(), -2  # itself, and the guard of the root
        while frame is not None and frame.f_code.co_name != "run_root":
            frame, count = frame.f_back, count + 1
        return count


def test_few_calls_stand_between_a_step_and_its_agent(wait: Wait) -> None:
    """Those of containers come on top, and Python bounds them all."""
    config = StepConfig(max_retries=0, timeout_s=5)

    def depth_of(**options: Any) -> int:
        deep = Step(**{"name": "deep", "agent": Deep(), **options})
        return cast(int, wait(outcome_of(deep, resources=contextlib.nullcontext(1))).output)

    assert depth_of() <= 5
    assert depth_of(config=config) <= 6
    failing = {"agent": Failing(), "fallback_step": Step(name="second", agent=Deep())}
    assert depth_of(**failing, config=config) <= 5 + 2


class Failing:
    async def run(self, data: object) -> None:
        raise ValueError
