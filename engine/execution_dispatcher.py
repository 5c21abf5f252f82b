"""Finds the policy of a frame's step, once for each step, and keeps the resulting call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from .errors import UsageLimitExceededError
from .frame import AnyFrame
from .outcomes import StepOutcome
from .policy import Call, ExecutorPort, Interceptor
from .policy_invoker import PolicyInvoker
from .policy_registry import PolicyTable
from .run import Facility
from .steps import AnyStep, Node

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class _Kept(dict[KeyT, ValueT]):
    """Values that are made on look-up and kept."""

    def __init__(self, make: Callable[[KeyT], ValueT]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: KeyT) -> ValueT:
        value = self[key] = self._make(key)
        return value


class ExecutionDispatcher:
    """From a step to its call: policy by type, guard, interceptors.

    ``interceptors`` lists, outermost first, which interceptor serves which facility; a run gets
    only those of the facilities that it uses.
    """

    def __init__(
        self,
        policies: PolicyTable,
        invoker: PolicyInvoker,
        interceptors: Sequence[tuple[Facility, Interceptor]],
    ) -> None:
        self._policies = policies
        self._invoker = invoker
        self._interceptors = interceptors
        self._bodies: dict[AnyStep, AnyStep] = {}

    def calls(self, core: ExecutorPort) -> Mapping[Facility, Mapping[Node, Call]]:
        """The calls of runs, by what these make use of."""
        return _Kept(lambda facilities: _Kept(lambda step: self._resolved(core, step, facilities)))

    def _resolved(self, core: ExecutorPort, step: Node, facilities: Facility) -> Call:
        if step.in_background:
            # Only its events: a launch is nothing to go back to, and loads and gives nothing.
            launch = self._launcher(core, cast(AnyStep, step), facilities)
            return self._surrounded(launch, facilities & Facility.EVENTS)
        call = self._invoker.bind(core, self._policies.policy_of(type(step)), step)
        return self._surrounded(call, facilities)

    def _surrounded(self, call: Call, facilities: Facility) -> Call:
        for facility, interceptor in reversed(self._interceptors):
            if facility in facilities:
                call = _intercepted(interceptor, call)
        return call

    def _launcher(self, core: ExecutorPort, step: AnyStep, facilities: Facility) -> Call:
        """The call that has ``step`` work behind the run, as a step of its own."""
        body = self._bodies.get(step)
        if body is None:
            body = self._bodies[step] = work_of(step)
        self._resolved(core, body, facilities)  # what nothing can run is an error before the launch

        async def launch(frame: AnyFrame) -> StepOutcome:
            try:
                return await core.tasks.launch(frame, body, core.run_root)
            except UsageLimitExceededError as error:
                return core.failures.build(frame, error)

        return launch


def work_of(step: AnyStep) -> AnyStep:
    """What a step does in the background, as a step of its own."""
    return replace(step, config=step.config.model_copy(update={"execution_mode": "sync"}))


def _intercepted(interceptor: Interceptor, proceed: Call) -> Call:
    return lambda frame: interceptor(frame, proceed)
