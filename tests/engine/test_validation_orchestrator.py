"""Plugins and validators: what they get, what they may say, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    ConfigurationError,
    NonRetryableError,
    PipelineAbortSignal,
    PluginFailed,
    StepTimeout,
    ValidationFailed,
)
from flujo_nb.engine.outcomes import Aborted, Failure, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import PluginOutcome, ValidationResult
from flujo_nb.engine.steps import Step
from tests.engine.checks import PASSED, Agent, Plugin, Validator, checked, failed, invalid
from tests.engine.fakes import Counts, Wait, echo, outcome_of

# Plugins.


@pytest.mark.parametrize(
    ("output", "shown"),
    [({"a": 1}, {"a": 1}), ("text", {"output": "text"}), ([1], {"output": [1]})],
)
def test_a_plugin_is_shown_a_dict(wait: Wait, output: object, shown: dict[str, object]) -> None:
    plugin = Plugin()
    assert wait(outcome_of(checked(plugins=[plugin]), output)).output == output
    assert plugin.shown == [shown]


def test_plugins_check_by_descending_priority_and_then_in_the_order_they_were_added(
    wait: Wait,
) -> None:
    order = []

    class Noting:
        def __init__(self, name: str) -> None:
            self.name = name

        async def validate(self, data: object) -> PluginOutcome:
            order.append(self.name)
            return PASSED

    it = checked()
    for name, priority in (("low", 1), ("high", 9), ("high too", 9), ("lowest", -1)):
        it.add_plugin(Noting(name), priority)
    wait(outcome_of(it))
    assert order == ["high", "high too", "low", "lowest"]


def test_a_plugin_gets_context_and_resources_as_keyword_only_parameters(wait: Wait) -> None:
    given: list[object] = []

    class Asking:
        def validate(self, data: object, *, context: Counts, resources: object) -> PluginOutcome:
            given.extend([context.total, resources])
            context.total += 1
            return PASSED

    class Optional:
        def validate(self, data: object, context: object = "none") -> PluginOutcome:
            given.append(context)
            return PASSED

    it = checked(plugins=[Asking(), Optional()])
    outcome = wait(outcome_of(it, context=Counts(), resources="gpt"))
    assert given == [0, "gpt", "none"]
    assert ContextUpdateManager().merge(Counts(), outcome.update) == Counts(total=1)


def test_an_ordinary_step_fails_with_the_first_plugin_that_is_not_content(wait: Wait) -> None:
    last = Plugin()
    outcome = wait(outcome_of(checked(plugins=[Plugin(failed("too short")), last]), "a"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, PluginFailed)
    assert outcome.feedback == "PluginFailed: Plugin: too short"
    assert last.shown == []


def test_a_plugin_that_raises_fails_the_attempt_and_its_error_is_kept(wait: Wait) -> None:
    outcome = wait(outcome_of(checked(plugins=[Plugin(KeyError("rows"))]), "a"))
    assert isinstance(outcome.error, PluginFailed)
    assert outcome.feedback == "PluginFailed: Plugin raised KeyError: 'rows'"
    assert isinstance(outcome.error.__cause__, KeyError)


@pytest.mark.parametrize("answer", [None, True, {"success": True}, ValidationResult(is_valid=True)])
def test_what_is_no_plugin_outcome_fails_the_attempt(wait: Wait, answer: object) -> None:
    outcome = wait(outcome_of(checked(plugins=[Plugin(answer)]), "a"))
    assert isinstance(outcome.error, PluginFailed)
    assert f"Plugin returned {type(answer).__name__}; expected a PluginOutcome" in outcome.feedback


def test_the_feedback_of_a_plugin_reaches_the_next_attempt(wait: Wait) -> None:
    feedbacks = []

    class Learning:
        async def run(self, data: object, feedback: str | None) -> str:
            feedbacks.append(feedback)
            return "text"

    plugins = [(Plugin(failed("too short")), 0)]
    outcome = wait(outcome_of(Step(name="it", agent=Learning(), plugins=plugins), "x"))
    assert (outcome.output, outcome.attempts) == ("text", 2)
    assert feedbacks == [None, "PluginFailed: Plugin: too short"]


@pytest.mark.parametrize("check", ["plugins", "validators"])
@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (NonRetryableError("enough"), Failure),
        (ConfigurationError("no key"), Failure),
        (PipelineAbortSignal("stop"), Aborted),
        (KeyboardInterrupt(), Aborted),
    ],
    ids=lambda given: type(given).__name__,
)
@pytest.mark.parametrize("kind", [None, "strict", "lenient"])
def test_what_no_attempt_may_follow_goes_through_every_check(
    wait: Wait, check: str, error: BaseException, ends: type, kind: str | None
) -> None:
    checks = [Plugin(error)] if check == "plugins" else [Validator(error)]
    it = checked(**{check: checks}, max_retries=5, validation=kind)
    outcome = wait(outcome_of(it, "a"))
    assert type(outcome) is ends
    assert outcome.attempts == 1


def test_a_plugin_has_no_more_time_than_the_attempt(wait: Wait) -> None:
    class Slow:
        async def validate(self, data: object) -> PluginOutcome:
            await asyncio.sleep(5)
            return PASSED

    outcome = wait(outcome_of(checked(plugins=[Slow()], timeout_s=0.05), "x"))
    assert type(outcome.error) is StepTimeout


# Validators.


def test_validators_check_in_order_what_the_plugins_left(wait: Wait) -> None:
    plugin = Plugin(PluginOutcome(success=False, new_solution="better"))
    validators = [Validator(), Validator()]
    outcome = wait(outcome_of(checked(plugins=[plugin], validators=validators), "good"))
    assert outcome.output == "better"
    assert [one.shown for one in validators] == [["better"], ["better"]]


def with_positional(output: object, context: Counts) -> ValidationResult:
    context.names.append("positional")
    return ValidationResult(is_valid=True)


async def with_keyword(output: object, *, context: Counts | None = None) -> ValidationResult:
    assert context is not None
    context.names.append("keyword")
    return ValidationResult(is_valid=True)


@pytest.mark.parametrize("function", [with_positional, with_keyword])
def test_a_validator_gets_the_context_when_it_names_it(
    wait: Wait, function: Callable[..., object]
) -> None:
    class Asking:
        validate = staticmethod(function)

    outcome = wait(outcome_of(checked(validators=[Asking()]), "a", context=Counts()))
    after = ContextUpdateManager().merge(Counts(), outcome.update)
    assert after.names == [function.__name__.removeprefix("with_")]


def test_a_type_error_in_a_validator_is_no_question_of_its_signature(wait: Wait) -> None:
    calls = []

    class Wrong:
        def validate(self, output: object, context: object = None) -> object:
            calls.append(output)
            raise TypeError("unsupported operand")

    outcome = wait(outcome_of(checked(validators=[Wrong()]), "a"))
    assert isinstance(outcome.error.__cause__, TypeError)
    assert calls == ["a"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (invalid("too short"), "too short"),
        (invalid(), "Validator found the output invalid"),
        (invalid(validator_name="length"), "length found the output invalid"),
        (ValueError("no"), "Validator raised ValueError: no"),
        (True, "Validator returned bool; expected a ValidationResult"),
    ],
)
def test_an_ordinary_step_fails_with_the_first_validator_that_refuses(
    wait: Wait, answer: object, told: str
) -> None:
    last = Validator()
    outcome = wait(outcome_of(checked(validators=[Validator(answer), last]), "a"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ValidationFailed)
    assert outcome.feedback == f"ValidationFailed: Validation failed: {told}"
    assert last.shown == []
    assert outcome.output == "a"


def test_what_a_validator_refused_is_tried_again(wait: Wait) -> None:
    validator = Validator(invalid("no"), ValueError("no"))
    outcome = wait(outcome_of(checked(validators=[validator], max_retries=2), "a"))
    assert (outcome.output, outcome.attempts) == ("a", 3)


# Validation steps.


def validating(kind: str) -> Step[Any, Any]:
    return checked(
        plugins=[Plugin(failed("too short")), Plugin(ValueError("no"))],
        validators=[Validator(invalid("no rhyme")), Validator(), Validator(invalid("no metre"))],
        validation=kind,
    )


FOUND = "Plugin: too short; Plugin raised ValueError: no; no rhyme; no metre"


def test_a_strict_validation_step_fails_with_all_that_is_wrong(wait: Wait) -> None:
    outcome = wait(outcome_of(validating("strict"), "a"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ValidationFailed)
    assert outcome.feedback == f"ValidationFailed: Validation failed: {FOUND}"
    assert outcome.output is None


def test_a_lenient_validation_step_keeps_its_output_and_notes_what_is_wrong(wait: Wait) -> None:
    outcome = wait(outcome_of(validating("lenient") >> echo, "a"))
    assert isinstance(outcome, Success)
    assert outcome.output == "a"
    noted = {"validation_passed": False, "validation_feedback": FOUND}
    assert outcome.children[0].metadata == noted


@pytest.mark.parametrize("kind", ["strict", "lenient"])
@pytest.mark.parametrize("validators", [[], [Validator()]])
def test_a_validation_step_that_finds_nothing_notes_that(
    wait: Wait, kind: str, validators: list[Any]
) -> None:
    it = Step(name="it", agent=Agent("own"), validators=validators, validation=kind)
    outcome = wait(outcome_of(it, "a"))
    assert (outcome.output, outcome.attempts) == ("own", 1)
    assert outcome.metadata == {"model": "own", "validation_passed": True}


def test_the_short_form_is_a_validation_step(wait: Wait) -> None:
    strict = Step.validate_step(lambda data: data, validators=[Validator(invalid("no"))])
    lenient = Step.validate_step(
        lambda data: data, strict=False, validators=[Validator(invalid("no"))]
    )
    assert isinstance(wait(outcome_of(strict, "a")), Failure)
    assert wait(outcome_of(lenient, "a")).metadata["validation_feedback"] == "no"


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"plugins": [(5, 0)]}, r"'it': plugins are pairs .*; found \(5, 0\)"),
        ({"plugins": [(Plugin(), "high")]}, "'it': plugins are pairs .*; found"),
        ({"plugins": [Plugin()]}, "'it': plugins are pairs"),
        ({"validators": [len]}, "'it': a validator has a method `validate\\(output\\)`; found"),
    ],
)
def test_what_is_no_check_is_refused_before_anything_runs(
    wait: Wait, declared: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        wait(Flujo(echo >> step(**{"name": "it", **declared})(len)).run_async(1).result())
