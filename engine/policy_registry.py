"""Step type → policy, and the only way in for policies."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import cast

from .errors import PolicyNotFound
from .legacy import adapted
from .policy import StepPolicy


class PolicyRegistry:
    """The policies that a core is built with.

    A policy serves the type that it ``handles`` and, unless they have their own, its subclasses.
    The later registration replaces the earlier. A core takes a table of what is registered when
    it is built; later registrations reach later cores.
    """

    def __init__(self, policies: Iterable[StepPolicy] = ()) -> None:
        self._policies: dict[type, StepPolicy] = {}
        for policy in policies:
            self.register(policy)

    def register(self, policy: object, *, handles: type | None = None) -> None:
        """Add ``policy`` for the step type ``handles`` (default: the policy's own ``handles``).

        A policy's ``execute`` takes ``(core, frame)``. One that takes the older argument list is
        adapted, with one `FlujoDeprecationWarning` a class; one that takes neither is a
        `TypeError`, and nothing is registered.
        """
        kind: object = handles if handles is not None else getattr(policy, "handles", None)
        if not isinstance(kind, type):
            raise TypeError(
                f"{type(policy).__name__} says no step type: give it a `handles`, or register it "
                "with handles=StepType"
            )
        if _takes_frame(policy):
            self._policies[kind] = cast(StepPolicy, policy)
            return
        older = adapted(policy, kind)
        if older is None:
            raise TypeError(_refusal(policy))
        self._policies[kind] = older

    def table(self) -> PolicyTable:
        """What is registered now."""
        return PolicyTable(dict(self._policies))


class PolicyTable:
    """Looks policies up along a type's MRO."""

    def __init__(self, policies: Mapping[type, StepPolicy]) -> None:
        self._policies = policies
        self._found: dict[type, StepPolicy] = {}

    def policy_of(self, step_type: type) -> StepPolicy:
        """The policy of ``step_type``; `PolicyNotFound` when neither it nor a base has one."""
        found = self._found.get(step_type)
        if found is None:
            found = self._found[step_type] = self._along_mro(step_type)
        return found

    def _along_mro(self, step_type: type) -> StepPolicy:
        for base in step_type.__mro__:
            if base in self._policies:
                return self._policies[base]
        known = ", ".join(sorted(kind.__name__ for kind in self._policies))
        raise PolicyNotFound(
            f"no policy runs {step_type.__name__}; there are policies for {known}. "
            "Register one: registry.register(policy, handles=…)"
        )


def _takes_frame(policy: object) -> bool:
    """Whether ``execute(core, frame)`` is how to call the policy."""
    execute: object = getattr(policy, "execute", None)
    if not callable(execute):
        return False
    try:
        given = inspect.signature(execute).bind("core", "frame").arguments
    except TypeError:
        return False
    return given.get("frame") == "frame"


def _refusal(policy: object) -> str:
    name = type(policy).__name__
    execute: object = getattr(policy, "execute", None)
    if not callable(execute):
        return f"{name} has no `execute`, so it is no policy"
    return (
        f"{name}.execute{inspect.signature(execute)} is no policy's: write "
        "`async def execute(self, core, frame: ExecutionFrame) -> StepOutcome`"
    )
