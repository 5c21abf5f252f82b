"""What checks a step's output: its plugins by priority, then its validators, and their verdict.

An ordinary step fails at the first thing that is found wrong. A validation step (``validation``)
hears everything first, and then fails with all of it or, when it is lenient, notes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import TypeAlias

from .errors import (
    ConfigurationError,
    FlujoError,
    InfiniteRedirectError,
    PluginFailed,
    ValidationFailed,
)
from .failure_builder import feedback_of, is_retryable
from .policy import ExecutorPort
from .processing import Helper, helper_of, name_of_helper, strict_helper_of
from .step_body import Trial
from .step_config import Agent, Plugin, PluginOutcome, ValidationResult, Validator
from .steps import AnyStep
from .usage import NO_METADATA
from .user_code import Raised

MAX_PLUGIN_ROUNDS = 10
"""How often an attempt goes through its plugins, as long as one of them changes the output."""

Other: TypeAlias = Agent | Callable[..., object]
Redirect: TypeAlias = Callable[[Other], Awaitable[object]]
"""Lets another agent work on the input, and gives its output."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The output that passed (or that a lenient step keeps), and what is noted about that."""

    output: object
    metadata: Mapping[str, object]


class ValidationOrchestrator:
    """Makes the checks of a step."""

    def bind(self, core: ExecutorPort, step: AnyStep) -> Checks | None:
        """The checks of ``step``; `ConfigurationError` for what is no plugin or validator."""
        if not step.plugins and not step.validators and step.validation is None:
            return None
        plugins = [_plugin_of(step, given) for given in step.plugins]
        plugins.sort(key=lambda ranked: ranked[0], reverse=True)
        return Checks(core, step, [plugin for _, plugin in plugins], validators_of(step))


def validators_of(step: AnyStep) -> Sequence[Helper]:
    """The validators of ``step``, in order."""
    return [_validator_of(step, one) for one in step.validators]


def _plugin_of(step: AnyStep, given: object) -> tuple[int, Helper]:
    match given:
        case (Plugin() as plugin, int(priority)) if callable(plugin.validate):
            return priority, strict_helper_of(name_of_helper(plugin), plugin.validate)
    raise ConfigurationError(
        f"step {step.name!r}: plugins are pairs of an object with a method `validate(data)` and "
        f"its priority, a whole number; found {given!r:.60}"
    )


def _validator_of(step: AnyStep, validator: object) -> Helper:
    if not isinstance(validator, Validator) or not callable(validator.validate):
        raise ConfigurationError(
            f"step {step.name!r}: a validator has a method `validate(output)`; "
            f"found {validator!r:.60}"
        )
    return helper_of(name_of_helper(validator), validator.validate)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a check found wrong; as an error it is of ``kind`` and begins with ``prefix``."""

    kind: type[FlujoError]
    prefix: str
    text: str
    cause: BaseException | None = None


class Checks:
    """The plugins and validators of one step."""

    def __init__(
        self,
        core: ExecutorPort,
        step: AnyStep,
        plugins: Sequence[Helper],
        validators: Sequence[Helper],
    ) -> None:
        self._core = core
        self._step = step
        self._plugins = plugins
        self._validators = validators

    async def verdict(self, output: object, trial: Trial, redirect: Redirect) -> Verdict:
        """Check ``output``, which the attempt ``trial`` made.

        Raises `PluginFailed`, `ValidationFailed`, `InfiniteRedirectError`, and whatever a check
        raised that no attempt may follow.
        """
        kind = self._step.validation
        output, wrong = await self._past_plugins(output, trial, redirect)
        if kind is None:
            trial.made = output
        for validator in self._validators:
            self._take(wrong, await self._problem_with(output, validator, trial))
        if kind is None:
            return Verdict(output, NO_METADATA)
        told = "; ".join(wrong)
        if wrong and kind == "strict":
            raise ValidationFailed(f"Validation failed: {told}")
        noted = {"validation_feedback": told} if wrong else {}
        return Verdict(output, {"validation_passed": not wrong, **noted})

    async def _past_plugins(
        self, output: object, trial: Trial, redirect: Redirect
    ) -> tuple[object, list[str]]:
        """The output that the plugins leave as it is, and what they found wrong with it."""
        had_turn: list[object] = [self._step.agent]
        for _ in range(MAX_PLUGIN_ROUNDS):
            wrong: list[str] = []
            for plugin in self._plugins:
                outcome = await self._outcome_on(output, plugin, trial)
                if isinstance(outcome, _Problem):
                    self._take(wrong, outcome)
                elif outcome.redirect_to is not None:
                    self._check_turn(had_turn, outcome.redirect_to, plugin)
                    output = await redirect(outcome.redirect_to)
                    break
                elif outcome.new_solution is not None:
                    output = outcome.new_solution
                    break
                elif not outcome.success:
                    found = outcome.feedback or "not successful, and it gave no feedback"
                    self._take(wrong, _Problem(PluginFailed, "", f"{plugin.name}: {found}"))
            else:
                return output, wrong
        raise PluginFailed(
            f"the plugins of step {self._step.name!r} changed its output {MAX_PLUGIN_ROUNDS} times "
            "and came to no end"
        )

    def _check_turn(self, had_turn: list[object], other: Other, plugin: Helper) -> None:
        """Note that ``other`` has its turn; `InfiniteRedirectError` when it had one before."""
        if any(_is_same(other, one) for one in had_turn):
            raise InfiniteRedirectError(
                f"{plugin.name} redirects step {self._step.name!r} to {name_of_helper(other)}, "
                "which has worked on this input already"
            )
        had_turn.append(other)

    def _take(self, wrong: list[str], problem: _Problem | None) -> None:
        """Fail an ordinary step; a validation step goes on, to hear what else is wrong."""
        if problem is None:
            return
        if self._step.validation is None:
            raise problem.kind(problem.prefix + problem.text) from problem.cause
        wrong.append(problem.text)

    async def _outcome_on(
        self, output: object, plugin: Helper, trial: Trial
    ) -> PluginOutcome | _Problem:
        shown = output if isinstance(output, dict) else {"output": output}
        answer = await plugin.ask(shown, trial)
        if isinstance(answer, PluginOutcome):
            return answer
        return self._no_answer(answer, plugin, PluginOutcome, PluginFailed, "")

    async def _problem_with(
        self, output: object, validator: Helper, trial: Trial
    ) -> _Problem | None:
        answer = await validator.ask(output, trial)
        prefix = "Validation failed: "
        if not isinstance(answer, ValidationResult):
            return self._no_answer(answer, validator, ValidationResult, ValidationFailed, prefix)
        if answer.is_valid:
            return None
        name = answer.validator_name or validator.name
        found = answer.feedback or f"{name} found the output invalid"
        return _Problem(ValidationFailed, prefix, found)

    def _no_answer(
        self, answer: object, check: Helper, wanted: type, kind: type[FlujoError], prefix: str
    ) -> _Problem:
        """The problem with a check that raised, or gave something else than it must."""
        if not isinstance(answer, Raised):
            text = f"{check.name} returned {type(answer).__name__}; expected a {wanted.__name__}"
            return _Problem(kind, prefix, text)
        cause = self._core.failures.cause_of(answer.error)
        if not is_retryable(cause):
            raise cause
        return _Problem(kind, prefix, f"{check.name} raised {feedback_of(cause)}", cause)


def _is_same(other: Other, one: object) -> bool:
    """Whether both are one agent or function; each look at a method makes a new object of it."""
    return other == one if isinstance(other, MethodType) else other is one
