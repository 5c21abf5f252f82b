"""Finds the policy of a frame's step, once for each step, and keeps the resulting call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .frame import Facility
from .policy import Call, ExecutorPort, Interceptor
from .policy_invoker import PolicyInvoker
from .policy_registry import PolicyTable
from .steps import Node


class _Calls(dict[Node, Call]):
    """The calls of one kind of run; a missing one is made on look-up and kept."""

    def __init__(self, resolve: Callable[[Node], Call]) -> None:
        super().__init__()
        self._resolve = resolve

    def __missing__(self, step: Node) -> Call:
        call = self[step] = self._resolve(step)
        return call


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
        self._calls: dict[Facility, _Calls] = {}

    def calls(self, core: ExecutorPort, facilities: Facility) -> Mapping[Node, Call]:
        """The calls of runs that use ``facilities``."""
        known = self._calls.get(facilities)
        if known is None:
            known = self._calls[facilities] = _Calls(
                lambda step: self._resolved(core, step, facilities)
            )
        return known

    def _resolved(self, core: ExecutorPort, step: Node, facilities: Facility) -> Call:
        call = self._invoker.bind(core, self._policies.policy_of(type(step)), step)
        for facility, interceptor in reversed(self._interceptors):
            if facility in facilities:
                call = _intercepted(interceptor, call)
        return call


def _intercepted(interceptor: Interceptor, proceed: Call) -> Call:
    return lambda frame: interceptor(frame, proceed)
