"""Every error that the engine raises: one class a cause, all under `FlujoError`.

A message says what was expected, what was found and what to do; the frame's path is in it
wherever a frame exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .results import PipelineResult


class FlujoError(Exception):
    """The root of all errors of this package."""


class FlujoDeprecationWarning(FutureWarning):
    """A form that still works and that a named version removes."""


# What a declaration got wrong.


class ConfigurationError(FlujoError):
    """Something was declared that cannot run; nothing has run."""


class MissingAgentError(ConfigurationError):
    """A step has neither a function nor an agent."""


class PipelineTypeError(ConfigurationError, ValueError):
    """Two neighbouring steps declare types that do not fit."""


class StepSealed(ConfigurationError):
    """A step that is part of a pipeline or a run was to be changed."""


class NestingTooDeep(ConfigurationError):
    """Containers stand in one another deeper than Python's stack allows."""


class PricingNotConfiguredError(ConfigurationError):
    """A budget has a limit on costs, and nobody knows what a model costs."""

    def __init__(self, provider: str | None, model: str) -> None:
        super().__init__(
            f"the budget limits costs, and no price is known for {model!r}"
            f"{f' of {provider}' if provider else ''}: limit tokens instead, or use a model with a "
            "known price"
        )
        self.provider = provider
        self.model = model


class StepSignatureError(ConfigurationError):
    """A step's function asks for a parameter that no step gets."""


class PolicyNotFound(ConfigurationError):
    """No policy is registered for a step's type."""


class DuplicatePath(FlujoError):
    """A container made two frames with one path in one run (an error of the container)."""


# What went wrong while a step ran.


class NonRetryableError(FlujoError):
    """Raise it in a step to fail without another attempt."""


class StepTimeout(FlujoError):
    """An attempt did not end within the step's ``timeout_s``."""


class StepStillRunning(StepTimeout):
    """A synchronous attempt timed out and its thread cannot be stopped, so none may follow."""


class StepInDoubt(FlujoError):
    """A step that may run once only began, nobody knows how it ended, and it was told to fail."""


class StepExited(FlujoError):
    """A step called ``sys.exit``."""

    def __init__(self, code: str | int | None) -> None:
        super().__init__(f"the step called sys.exit({code!r}); return a value or raise instead")
        self.code = code


class StepCancelledItself(FlujoError):
    """A step raised ``CancelledError`` although nobody had cancelled the run."""


class RateLimited(FlujoError):
    """A provider asks to wait ``retry_after_s`` seconds before the next attempt."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProcessorFailed(FlujoError):
    """A processor raised."""


class PluginFailed(FlujoError):
    """A plugin found an output wanting, or raised."""


class ValidationFailed(FlujoError):
    """A validator found an output wanting, or raised."""


class FallbackFailed(FlujoError):
    """A step failed, and its fallback too."""


class InfiniteFallbackError(NonRetryableError):
    """Fallbacks lead back to a step that has failed already, or are too many."""


class InfiniteRedirectError(NonRetryableError):
    """Plugins redirect to an agent that has had its turn."""


class TemplateResolutionError(FlujoError):
    """A placeholder names something that is not there."""


class MaxLoopsReached(FlujoError):
    """A loop's exit condition never held."""


class BranchNotFound(FlujoError):
    """A condition or router chose a branch that does not exist."""


class UnusableInput(FlujoError):
    """A container cannot work on what it was given."""


class UnusableOutput(FlujoError):
    """A step returned something that cannot be an output, such as a generator."""


class TypeMismatchError(FlujoError):
    """A value is not of the type that the next step declares."""


class PolicyContractError(FlujoError):
    """A policy returned something that is no outcome."""


# Context.


class ContextError(FlujoError):
    """The root of the errors about contexts."""


class ContextTypeError(ContextError, TypeError):
    """A context is not a pydantic model."""


class ContextMissing(ContextError):
    """A step needs a context and the run has none."""


class ContextIsolationError(ContextError):
    """A field of a context cannot be copied, so no step can be given its own copy."""


class ContextUpdateError(ContextError):
    """An update does not fit the context."""


class ContextMergeError(ContextError):
    """What branches changed in the context does not fit together."""


class ContextViewError(ContextError, AttributeError):
    """Something wrote to what a context only shows."""


class ContextInheritanceError(ContextError):
    """An imported pipeline's context cannot be made of its parent's."""


class PipelineContextInitializationError(ContextError):
    """The initial data do not validate against the context model."""


# Control flow. These travel as values (`Aborted`, `Paused`) inside the engine.


class ControlFlowError(FlujoError):
    """The root of what ends or pauses a run on purpose."""


class StepInterrupted(ControlFlowError):
    """A user interrupted a step while its code ran (how ``KeyboardInterrupt`` travels)."""


class PipelineAbortSignal(ControlFlowError):
    """Raise it in a step or hook to end the run as ``aborted``."""


class PausedException(ControlFlowError):
    """Raise it in a policy or an agent to pause the run with a message for a human."""


class ResumeError(FlujoError):
    """A run cannot go on from where it stands."""


class AnswerRejected(ResumeError, ValueError):
    """An answer is not what the question asks for; the question stays open."""


class AlreadyAnswered(ResumeError):
    """A question was answered before, and differently."""


class PatchMisfit(ResumeError):
    """A patch does not fit what it is for."""


class NotPatchable(PatchMisfit):
    """A patch is for what is no data of JSON, such as a data frame."""


class UsageLimitExceededError(FlujoError):
    """A reservation did not fit the budget.

    A runner raises it with the ``result`` of what had run until then.
    """

    def __init__(self, message: str, result: PipelineResult | None = None) -> None:
        super().__init__(message)
        self.result = result


# Stores, and what is kept there.


class StoreError(FlujoError):
    """A store could not do what was asked; nothing was acknowledged.

    When it ended a run, ``result`` is how far that had come.
    """

    result: PipelineResult | None = None


class StoreBusy(StoreError):
    """Another process held the store's lock for longer than the time-out."""


class StoreRefused(StoreError):
    """A file is no store that this version can use: corrupt, foreign or newer. It is untouched."""


class StoreFailed(StoreError):
    """The file system refused a read or a write: disk full, read-only, an input/output error."""


class NoSuchRun(StoreError):
    """The store was read, and holds no run of that id."""


class RunExists(StoreError):
    """A new run was to get the id of another."""


class RunHeld(StoreError):
    """Another process is executing the run."""


class LeaseLost(StoreError):
    """Another process took the run over, so this one may not write to it any more."""


class ValueNotSaved(FlujoError):
    """A value cannot be saved so that it comes back equal.

    ``where`` leads to the part that cannot, from the value's name (``output.items[3].conn``);
    ``kind`` is that part's type and ``reason`` why.
    """

    def __init__(self, where: str, kind: str, reason: str) -> None:
        super().__init__(f"{where} ({kind}) cannot be saved: {reason}")
        self.where = where
        self.kind = kind
        self.reason = reason


class ValueNotRead(FlujoError):
    """A saved value cannot be read back here."""


class TypeNotDefined(ValueNotRead):
    """A saved value is of a class that this process does not know yet."""


class SecretNeeded(ValueNotRead):
    """A saved value refers to a secret that neither the resources nor the environment have."""


class DefinitionChanged(ResumeError):
    """Steps were edited whose outcomes are recorded; nothing has run.

    ``paths`` are where those stand.
    """

    def __init__(self, message: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class InputChanged(ResumeError):
    """A step whose outcome is recorded was given another input than then."""


class RunInputMismatch(ResumeError):
    """A known run was started with another input."""


class ReplayMismatch(ResumeError):
    """A replay came to something that is not as it was recorded; the message shows the first."""


class ValueGone(ResumeError):
    """A step needs a value that was only in memory; ``path`` is where it was made.

    ``paths`` are all of these places, when it needs several.
    """

    def __init__(self, message: str, *paths: str) -> None:
        super().__init__(message)
        self.path = paths[0] if paths else ""
        self.paths = paths


class RunSetAside(ResumeError):
    """A run's resumes came to nothing, again and again, and nobody said that it shall go on."""
