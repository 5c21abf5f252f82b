"""Plugins and validators that say what a test tells them to, and steps that they check."""

from __future__ import annotations

from typing import Any

from flujo_nb.engine.decorators import step
from flujo_nb.engine.step_config import PluginOutcome, ValidationResult
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage


class Plugin:
    """Says what it is told to, and keeps what it was shown."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.shown: list[object] = []

    def validate(self, data: dict[str, object]) -> Any:
        self.shown.append(dict(data))
        answer = self.answers.pop(0) if self.answers else PASSED
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Validator:
    """Says what it is told to, and keeps what it was shown."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.shown: list[object] = []

    async def validate(self, output: object) -> Any:
        self.shown.append(output)
        answer = self.answers.pop(0) if self.answers else ValidationResult(is_valid=True)
        if isinstance(answer, BaseException):
            raise answer
        return answer


PASSED = PluginOutcome(success=True)


def failed(feedback: str | None = None) -> PluginOutcome:
    return PluginOutcome(success=False, feedback=feedback)


def invalid(feedback: str | None = None, **more: Any) -> ValidationResult:
    return ValidationResult(is_valid=False, feedback=feedback, **more)


def checked(
    *, plugins: list[Any] | None = None, validators: list[Any] | None = None, **options: Any
) -> Step[Any, Any]:
    """A step that gives its input, checked."""
    given = [(plugin, 0) for plugin in plugins or ()]
    return step(**{"name": "it", "plugins": given, "validators": validators or (), **options})(
        lambda data: data
    )


class Agent:
    """Gives its own name, at the price of a token."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[object] = []

    async def run(self, data: object) -> Metered:
        self.calls.append(data)
        return Metered(self.name, Usage(tokens=1), {"model": self.name})
