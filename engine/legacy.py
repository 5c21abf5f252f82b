"""Policies with an argument list, made to take a frame when they are registered.

Such a policy takes some of ``core, step, data, context, resources, limits, stream, on_chunk,
quota, fallback_depth, cache_key, context_setter`` by name, in any order, with or without
``**kwargs``. Its ``core`` is bound to its frame (`FrameBoundCore`), and its context is a copy of
its own, whose difference becomes the update. This file and ``legacy_core.py`` can be deleted whole
when version 1.0 drops the form.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from .errors import FlujoDeprecationWarning, PolicyContractError
from .frame import AnyFrame
from .legacy_core import FrameBoundCore
from .outcomes import FrameOutcome, Outcome
from .policy import ExecutorPort
from .results import StepResult
from .run import Facility
from .step_body import needs_of_step
from .steps import Node
from .user_code import Raised, caught, caught_inline

_REMOVED_IN = "1.0"
_KNOWN = (
    "core",
    "step",
    "data",
    "context",
    "resources",
    "limits",
    "stream",
    "on_chunk",
    "quota",
    "fallback_depth",
    "_fallback_depth",
    "cache_key",
    "breach_event",
    "context_setter",
)
_MARKS = frozenset({"step", "data"})
_warned: set[type] = set()


class _LoosePolicy(Protocol):
    @property
    def execute(self) -> Callable[..., object]:
        """Takes the argument list."""


def adapted(policy: object, handles: type) -> LegacyPolicyAdapter | None:
    """An older policy as one that takes a frame; ``None`` when it is no older policy either."""
    execute: object = getattr(policy, "execute", None)
    if not callable(execute):
        return None
    parameters = list(inspect.signature(execute).parameters.values())
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    required = [p.name for p in parameters if p.default is p.empty and p.name in names]
    everything = len(names) < len(parameters)
    loose = (
        (everything or set(names) >= _MARKS)
        and set(required) <= set(_KNOWN)
        and not any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters)
    )
    if not loose:
        return None
    _warn_once(type(policy))
    wanted = _KNOWN if everything else tuple(name for name in names if name in _KNOWN)
    return LegacyPolicyAdapter(cast(_LoosePolicy, policy), handles, wanted)


def _warn_once(policy_type: type) -> None:
    if policy_type in _warned:
        return
    _warned.add(policy_type)
    warnings.warn(
        f"{policy_type.__name__}.execute takes an argument list; take (core, frame) instead. "
        f"Version {_REMOVED_IN} of flujo-nb no longer adapts it",
        FlujoDeprecationWarning,
        stacklevel=4,
    )


class LegacyPolicyAdapter:
    """A policy that takes a frame and gives an older one its argument list."""

    def __init__(self, policy: _LoosePolicy, handles: type, wanted: tuple[str, ...]) -> None:
        self._policy = policy
        self._wanted = wanted
        self.handles = handles

    def needs(self, step: Node) -> Facility:
        """What the step asks for, and whatever may be made of an argument list."""
        asked = Facility.CONTEXT if "context" in self._wanted else Facility.NONE
        return needs_of_step(step) | Facility.JOURNAL | asked

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> FrameOutcome:
        """Call the policy with what it names; its answer as an outcome."""
        bound = FrameBoundCore(core, frame)
        heard = frame.stream or frame.on_chunk is not None or frame.run.events is not None
        known: dict[str, object] = {
            "core": bound,
            "step": frame.step,
            "data": frame.data,
            "context": bound.context,
            "resources": frame.resources,
            "limits": frame.limits,
            "stream": frame.stream,
            "on_chunk": bound.give_chunk if heard else None,
            "quota": bound.quota,
            "fallback_depth": bound.fallback_depth,
            "_fallback_depth": bound.fallback_depth,
            "cache_key": None,
            "breach_event": None,
            "context_setter": bound.set_context,
        }
        given = {name: known[name] for name in self._wanted}
        answer: object = caught_inline(partial(self._policy.execute, **given))
        if inspect.isawaitable(answer):
            answer = await caught(answer)
        answer = await bound.settled(answer)
        if not isinstance(answer, Outcome | StepResult | Raised):
            answer = Raised(
                PolicyContractError(
                    f"{type(self._policy).__name__} returned {type(answer).__name__} at "
                    f"{frame.path}; a policy with an argument list returns a StepResult or an "
                    "outcome"
                )
            )
        outcome = caught_inline(bound.outcome_of, answer)
        return bound.failed(outcome.error) if isinstance(outcome, Raised) else outcome
