"""The functions that stand around a step's own: how they are called, and its processors.

These are functions of the user's too. What one raises fails the attempt as an error of its kind,
unless it is one after which no attempt may follow: that goes through as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .errors import ConfigurationError, ProcessorFailed
from .failure_builder import FailureBuilder, feedback_of, is_retryable
from .step_body import PLAIN_OUTPUTS, Trial
from .step_config import Processor, ProcessorObject
from .steps import AnyStep
from .user_code import Raised, caught, caught_inline


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that is called with one value, and with what it asks for beside it.

    ``named`` are the keyword parameters that it gets (``context``, ``resources``); ``second``
    says that it gets the context as its second positional argument.
    """

    name: str
    function: Callable[..., object]
    named: tuple[str, ...] = ()
    second: bool = False

    @property
    def takes_context(self) -> bool:
        """Whether the function asks for the context."""
        return self.second or "context" in self.named

    async def ask(self, value: object, trial: Trial) -> object:
        """What the function gives for ``value``, awaited if it must be; `Raised` when it raises."""
        known = {"context": trial.context, "resources": trial.resources}
        named = {name: known[name] for name in self.named}
        positional = (value, trial.context) if self.second else (value,)
        answer: object = caught_inline(partial(self.function, *positional, **named))
        if type(answer) not in PLAIN_OUTPUTS and inspect.isawaitable(answer):
            answer = await caught(answer)
        return answer


def helper_of(name: str, function: Callable[..., object]) -> Helper:
    """A helper that gets the context when a parameter has that name, or a second one needs it."""
    parameters = _parameters_of(function)
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.name == "context" for p in by_name):
        return Helper(name, function, ("context",))
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    return Helper(name, function, second=len(needed) > 1)


def strict_helper_of(name: str, function: Callable[..., object]) -> Helper:
    """A helper that gets context and resources as the keyword-only parameters of these names."""
    wanted = {p.name for p in _parameters_of(function) if p.kind is p.KEYWORD_ONLY}
    return Helper(name, function, tuple(sorted(wanted & {"context", "resources"})))


def _parameters_of(function: Callable[..., object]) -> Sequence[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins tell no signature
        return ()


def processors_of(step: AnyStep, processors: Sequence[Processor]) -> tuple[Helper, ...]:
    """The processors of a step; `ConfigurationError` for what is none."""
    helpers = []
    for one in processors:
        function = one.process if isinstance(one, ProcessorObject) else one
        if not callable(function):
            raise ConfigurationError(
                f"step {step.name!r}: a processor is a function or has a method `process`; "
                f"found {one!r:.60}"
            )
        helpers.append(helper_of(name_of_helper(one), function))
    return tuple(helpers)


def name_of_helper(helper: object) -> str:
    """A function's name, or the class of an object."""
    if inspect.isroutine(helper):
        return helper.__name__
    return type(helper).__name__


async def processed(
    processors: Sequence[Helper], value: object, trial: Trial, failures: FailureBuilder
) -> object:
    """``value`` as one processor after the other changes it. Raises `ProcessorFailed`."""
    for processor in processors:
        value = await processor.ask(value, trial)
        if isinstance(value, Raised):
            cause = failures.cause_of(value.error)
            if not is_retryable(cause):
                raise cause
            raise ProcessorFailed(f"{processor.name} raised {feedback_of(cause)}") from cause
    return value
