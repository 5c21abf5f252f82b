"""One call of one policy: nothing but an outcome comes back, and the hooks hear of it."""

from __future__ import annotations

from dataclasses import replace

from .errors import PolicyContractError
from .failure_builder import FailureBuilder
from .frame import AnyFrame
from .outcomes import Aborted, AbortReason, Chunk, FrameOutcome, Outcome, StepOutcome
from .policy import BindingPolicy, Call, ExecutorPort, StepPolicy
from .steps import Node
from .user_code import Raised, caught


class PolicyInvoker:
    """Turns a policy into the call of one step."""

    def __init__(self, failures: FailureBuilder) -> None:
        self._failures = failures

    def bind(self, core: ExecutorPort, policy: StepPolicy, step: Node) -> Call:
        """The call of ``step``: the policy's own when it binds, else ``execute``, guarded."""
        if isinstance(policy, BindingPolicy):
            return policy.bind(core, step)

        async def call(frame: AnyFrame) -> StepOutcome:
            given = await caught(policy.execute(core, frame))
            if isinstance(given, Raised):
                return self._failures.build(frame, self._failures.cause_of(given.error))
            return self._identified(given, frame, policy)

        return call

    def _identified(self, given: object, frame: AnyFrame, policy: StepPolicy) -> FrameOutcome:
        """The outcome with what only the frame knows; a failure when it is no outcome."""
        if not isinstance(given, Outcome):
            error = PolicyContractError(
                f"{type(policy).__name__} returned {type(given).__name__} at {frame.path}; a "
                "policy returns Success, Failure, Paused, Aborted or BackgroundLaunched"
            )
            return self._failures.build(frame, error)
        known: FrameOutcome = replace(  # type: ignore[assignment]  # the union's only base
            given, step=frame.step, segments=frame.segments, index=frame.index
        )
        return known

    async def observe(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """The interceptor that tells a run's events; once a hook aborted, no frame starts."""
        events = frame.run.events
        if events is None:
            return await proceed(frame)
        told = await caught(events.frame_started(frame.path, frame.step, frame.data))
        if isinstance(told, Raised):
            return self._failures.build(frame, self._failures.cause_of(told.error))
        if events.abort_message is not None:
            return Aborted(
                step=frame.step,
                segments=frame.segments,
                index=frame.index,
                reason=AbortReason.SIGNAL,
                message=events.abort_message,
            )
        outcome = await proceed(frame)
        if not isinstance(outcome, Chunk):
            told = await caught(events.frame_finished(frame.path, outcome))
            if isinstance(told, Raised):
                cause = self._failures.cause_of(told.error)
                return self._failures.build(frame, cause, children=outcome.children)
        return outcome
