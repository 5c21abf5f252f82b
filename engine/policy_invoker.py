"""One call of one policy: nothing but an outcome comes back, and the hooks hear of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

from .errors import PipelineAbortSignal, PolicyContractError
from .failure_builder import FailureBuilder
from .frame import AnyFrame
from .outcomes import Chunk, FrameOutcome, Outcome, StepOutcome
from .policy import BindingPolicy, Call, ExecutorPort, StepPolicy
from .recorder import tells_the_end
from .steps import Node
from .user_code import Raised, caught, caught_inline


class PolicyInvoker:
    """Turns a policy into the call of one step."""

    def __init__(self, failures: FailureBuilder) -> None:
        self._failures = failures

    def bind(self, core: ExecutorPort, policy: StepPolicy, step: Node) -> Call:
        """The call of ``step``: the policy's own when it binds, else ``execute``.

        Other people's are guarded; the bound calls of this package raise nothing by themselves.
        """
        execute: Callable[[AnyFrame], object] = partial(policy.execute, core)
        if isinstance(policy, BindingPolicy) and _binds_what_it_executes(type(policy)):
            bound = policy.bind(core, step)
            if type(policy).__module__.startswith(f"{__package__}."):
                return bound
            execute = bound

        async def call(frame: AnyFrame) -> StepOutcome:
            started = perf_counter()
            given: object = caught_inline(execute, frame)
            if inspect.isawaitable(given):
                given = await caught(given)
            latency = perf_counter() - started
            if isinstance(given, Raised):
                return self._failures.build(frame, given.error, latency_s=latency)
            return self._identified(given, frame, policy, latency)

        return call

    def _identified(
        self, given: object, frame: AnyFrame, policy: StepPolicy, latency_s: float
    ) -> FrameOutcome:
        """The outcome with what only the frame knows; a failure when it is no outcome."""
        if not isinstance(given, Outcome):
            error = PolicyContractError(
                f"{type(policy).__name__} returned {type(given).__name__} at {frame.path}; a "
                "policy returns Success, Failure, Paused, Aborted or BackgroundLaunched"
            )
            return self._failures.build(frame, error)
        known: FrameOutcome = replace(  # type: ignore[assignment]  # the union's only base
            given,
            step=frame.step,
            segments=frame.segments,
            index=frame.index,
            latency_s=given.latency_s or latency_s,
        )
        return known

    async def observe(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """The interceptor that tells a run's events; once a hook aborted, no frame starts."""
        events = frame.run.events
        if events is None:
            return await proceed(frame)
        path = frame.path
        told = await caught(events.frame_started(path, frame.step, frame.data))
        if isinstance(told, Raised):
            stopped = self._failures.build(frame, told.error)
            if not tells_the_end(frame):
                await caught(events.frame_finished(path, stopped))  # what was begun is ended
            return stopped
        outcome: StepOutcome
        if events.abort_message is None:
            outcome = await proceed(frame)
        else:
            outcome = self._failures.build(frame, PipelineAbortSignal(events.abort_message))
        if not isinstance(outcome, Chunk) and not tells_the_end(frame):
            told = await caught(events.frame_finished(path, outcome))
            if isinstance(told, Raised):
                return self._failures.build(frame, told.error, children=outcome.children)
        return outcome


def _binds_what_it_executes(policy_type: type) -> bool:
    """Whether ``bind`` is as near as ``execute``: a subclass may override only the latter."""
    for base in policy_type.__mro__:
        if "bind" in vars(base):
            return True
        if "execute" in vars(base):
            return False
    return False
