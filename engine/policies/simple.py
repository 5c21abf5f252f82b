"""The policy of steps that are functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import cast

from ..agent_orchestrator import AgentOrchestrator, ended_attempt
from ..attempt import needs_of_attempts
from ..frame import AnyFrame
from ..outcomes import StepOutcome, make_success
from ..policy import BoundPolicy, Call, ExecutorPort
from ..run import Facility
from ..signatures import CallKind
from ..step_body import PLAIN_OUTPUTS, finished, function_of, runs_in_thread
from ..step_config import NO_PROCESSORS
from ..steps import AnyStep, Node, Step
from ..usage import FREE, NO_METADATA, Metered
from ..user_code import Raised, caught, caught_inline


class SimpleStepExecutor(BoundPolicy):
    """Runs a `Step`'s function."""

    handles = Step

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator

    def needs(self, step: Node) -> Facility:
        """What the step asks for."""
        return needs_of_attempts(cast(AnyStep, step))

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call: a short one when all that it asks for is its input."""
        declared = cast(AnyStep, step)
        whole = self._orchestrator.bind(core, declared)
        if core.slots is not None or not _asks_for_input_only(declared):
            return whole
        return _OneAttempt(core, declared, whole).call()


def _asks_for_input_only(step: AnyStep) -> bool:
    _, shape = function_of(step)
    return (
        shape.kind is not CallKind.STREAM
        and shape.data == ""
        and not shape.injected
        and not step.updates_context
        and step.sink_to is None
        and step.max_retries == 0
        and step.config.timeout_s is None
        and not (shape.kind is CallKind.SYNC and runs_in_thread(step))
        and not step.config.estimate.usage()
        and step.input is None
        and step.processors == NO_PROCESSORS
        and not step.plugins
        and not step.validators
        and step.validation is None
        and step.fallback_step is None
        and step.rate is None
    )


class _OneAttempt:
    """A single attempt at a function of its input: what most steps are.

    ``whole`` takes over before the attempt where the frame needs more: an input of another type,
    an overdrawn budget.
    """

    def __init__(self, core: ExecutorPort, step: AnyStep, whole: Call) -> None:
        self.core = core
        self.step = step
        self.whole = whole

    def call(self) -> Call:
        """The step's call, with everything that it reads in local variables."""
        step, whole = self.step, self.whole
        function, shape = function_of(step)
        wanted = shape.input_type or (object,)
        inline = shape.kind is CallKind.SYNC
        may_leave = inline and step.config.thread is None
        start = cast(Callable[[object], Awaitable[object]], function)

        async def call(frame: AnyFrame) -> StepOutcome:
            data = frame.data
            if (
                frame.quota.overdrawn
                or not isinstance(data, wanted)
                or (may_leave and frame.concurrent)
            ):
                return await whole(frame)
            started = perf_counter()
            if inline:
                output = caught_inline(function, data)
            else:
                output = await caught(start(data))
            if type(output) not in PLAIN_OUTPUTS:
                return await self._settle(frame, output, started)
            latency = perf_counter() - started
            return make_success(
                step, frame.segments, frame.index, 1, latency, None, (), NO_METADATA, output, None
            )

        return call

    async def _settle(self, frame: AnyFrame, output: object, started: float) -> StepOutcome:
        """The outcome when what the function returned may be no output yet, or it raised."""
        usage, metadata = FREE, NO_METADATA
        if not isinstance(output, Raised):
            output = await caught(finished(output))
        if isinstance(output, Metered):
            usage, metadata, output = output.usage, output.metadata, output.output
            frame.quota.reconcile(FREE, usage)
        if isinstance(output, Raised):
            error = await ended_attempt(self.core, frame, 1, output.error)
            latency = perf_counter() - started
            return self.core.failures.build(frame, error, latency_s=latency)
        latency = perf_counter() - started
        return make_success(
            self.step,
            frame.segments,
            frame.index,
            1,
            latency,
            usage or None,
            (),
            metadata,
            output,
            None,
        )
