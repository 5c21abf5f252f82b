"""One attempt at a step's work.

Isolate the context → fill the prompt → prompt processors → enter the resources → reserve → call →
unwrap, measure, reconcile → output processors → plugins → validators → what the output makes of
the context. ``timeout_s`` bounds all of it. Every attempt starts from the context as it was before
the step, so one that fails has changed nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TypeAlias

from .context import ContextUpdate
from .errors import ContextMissing, StepStillRunning, StepTimeout
from .frame import AnyFrame
from .output_sinks import with_output
from .placeholders import filled
from .policy import ExecutorPort
from .processing import processed, processors_of
from .resources import Entered, manager_of
from .roots import roots_of
from .run import Facility
from .step_body import (
    PLAIN_OUTPUTS,
    BodyCall,
    Trial,
    body_of,
    body_of_other,
    check_input,
    finished,
    needs_of_step,
    plain_output,
    unusable_usage,
)
from .step_config import Agent
from .steps import AnyStep
from .usage import FREE, NO_METADATA, Metered, Usage
from .validation_orchestrator import Other, ValidationOrchestrator, validators_of

Attempted: TypeAlias = tuple[object, ContextUpdate | None, Mapping[str, object]]
"""What an attempt gave that went well: output, update of the context, metadata."""


class Attempts:
    """Makes single attempts at ``step``; all that no frame changes is worked out here.

    ``agent`` is whose ``run`` the step's function is, if it is an agent's.
    """

    def __init__(self, core: ExecutorPort, step: AnyStep, agent: Agent | None) -> None:
        self._core = core
        self._step = step
        self._body = body_of(step, agent)
        self._estimate = step.config.estimate.usage() or FREE
        self._before = processors_of(step, step.processors.prompt_processors)
        self._after = processors_of(step, step.processors.output_processors)
        self._checks = ValidationOrchestrator().bind(core, step)
        self._writes_context = step.updates_context or step.sink_to is not None
        self._needs_context = self._writes_context or "context" in self._body.injected
        self._takes_context = Facility.CONTEXT in needs_of_attempts(step, agent)
        # Whom a plugin redirects to may ask for the resources too.
        asked = self._body.injected & {"resources", "frame"}
        self._takes_resources = bool(asked or step.plugins)
        self.run = self._whole if step.config.timeout_s is None else self._timed
        """Makes an attempt: ``(frame, trial)``. Raises whatever ends it."""

    async def _timed(self, frame: AnyFrame, trial: Trial) -> Attempted:
        limit = self._step.config.timeout_s
        try:
            async with asyncio.timeout(limit) as scope:
                attempted = await self._whole(frame, trial)
        except TimeoutError as error:
            if not scope.expired():
                raise
            if trial.thread_runs:
                raise StepStillRunning(
                    f"no result after {limit:g} s, and the step's thread is still running; "
                    "its late result is dropped"
                ) from error
            raise StepTimeout(f"no result after {limit:g} s (timeout_s)") from error
        if scope.expired():  # the step swallowed the cancellation, and took its time
            raise StepTimeout(f"no result after {limit:g} s (timeout_s); one came too late")
        return attempted

    async def _whole(self, frame: AnyFrame, trial: Trial) -> Attempted:
        step, core = self._step, self._core
        if frame.context is not None:
            if self._takes_context:
                trial.context = core.contexts.isolate(frame.context)
        elif self._needs_context:
            raise ContextMissing(
                f"step {step.name!r} needs a context, and this run has none: "
                "declare a pydantic model for it"
            )
        if step.input is not None:
            where = f"the input of step {step.name!r}"
            trial.data = filled(step.input, roots_of(core, frame), where)
        if self._before:
            trial.data = await processed(self._before, trial.data, trial, core.failures)
        check_input(step, trial.data)
        manager = manager_of(trial.resources) if self._takes_resources else None
        if manager is None:
            return await self._worked(frame, trial)
        async with Entered(manager, core.failures) as trial.resources:
            return await self._worked(frame, trial)

    async def _worked(self, frame: AnyFrame, trial: Trial) -> Attempted:
        """The attempt from the call on."""
        core = self._core
        output = await self._called(frame, trial, self._body.call)
        if self._after:
            output = await processed(self._after, output, trial, core.failures)
        metadata = trial.metadata
        if self._checks is not None:
            redirect = partial(self._redirected, frame, trial)
            verdict = await self._checks.verdict(output, trial, redirect)
            output, metadata = verdict.output, {**trial.metadata, **verdict.metadata}
        if type(output) not in PLAIN_OUTPUTS and (self._after or self._checks is not None):
            output = await finished(output)  # a processor's, or a plugin's solution
        update = None
        if frame.context is not None and trial.context is not None:
            update = core.contexts.diff(frame.context, trial.context)
            output = plain_output(output)
        if self._writes_context:
            update = with_output(core, self._step, frame.context, update, output)
        return output, update, metadata

    async def _called(self, frame: AnyFrame, trial: Trial, call: BodyCall) -> object:
        """The output of one call, reserved before it and booked after it, however it ends."""
        with self._core.quota.attempt(frame, self._estimate) as meter:
            trial.meter, trial.metadata = meter, NO_METADATA
            try:
                output = await call(frame, trial)
                if type(output) not in PLAIN_OUTPUTS:
                    output = await finished(output)
                    if isinstance(output, Metered):
                        meter.used, trial.metadata = output.usage, output.metadata
                        output = output.output
                if not isinstance(meter.used, Usage):
                    raise unusable_usage(meter.used)
            finally:
                if not isinstance(meter.used, Usage):
                    meter.used = FREE
                if meter.used is not FREE:
                    trial.spent += meter.used
        return output

    async def _redirected(self, frame: AnyFrame, trial: Trial, other: Other) -> object:
        """The output of another agent on the same input, processed as the step's own."""
        output = await self._called(frame, trial, body_of_other(other, self._step).call)
        return await processed(self._after, output, trial, self._core.failures)


def needs_of_attempts(step: AnyStep, agent: Agent | None = None) -> Facility:
    """What a run of ``step`` needs because of what its function and all around it ask for."""
    needs = needs_of_step(step)
    helpers = (
        *processors_of(step, step.processors.prompt_processors),
        *processors_of(step, step.processors.output_processors),
        *validators_of(step),
    )
    by_body = step.work is not None and "context" in body_of(step, agent).injected
    # Whom a plugin redirects to may ask for the context too.
    if by_body or step.plugins or any(one.takes_context for one in helpers):
        needs |= Facility.CONTEXT
    return needs
