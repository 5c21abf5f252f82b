"""The policy of steps that reuse what they gave before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from time import perf_counter
from types import MappingProxyType
from typing import TypeAlias, cast

from ..cache_manager import CacheEntry, Ran
from ..context import ContextUpdate
from ..digests import Definition, definition_of
from ..errors import TemplateResolutionError
from ..failure_builder import feedback_of, is_failure
from ..frame import AnyFrame, planned_child
from ..outcomes import StepOutcome, Success, make_success
from ..output_sinks import with_output
from ..passing import ended, failed, passed_on
from ..path import Segment, SegmentKind
from ..placeholders import filled
from ..policy import BoundPolicy, Call, ExecutorPort
from ..roots import roots_of
from ..step_kinds import CacheStep
from ..steps import Node
from ..usage import NO_METADATA
from ..user_code import Raised, caught_inline
from ..value_keys import NotKeyable, encoded
from ..values import state_of

AnyCache: TypeAlias = CacheStep[object, object]

_SEGMENTS = (Segment(SegmentKind.CACHED),)
_HIT: Mapping[str, object] = MappingProxyType({"cache_hit": True})


class CacheStepExecutor(BoundPolicy):
    """Runs a `CacheStep`."""

    handles = CacheStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return _Cached(core, cast(AnyCache, step)).run


@dataclass(frozen=True, slots=True)
class _NoKey:
    """Why there is no key."""

    because: str


class _Cached:
    def __init__(self, core: ExecutorPort, step: AnyCache) -> None:
        self.core = core
        self.step = step
        self.wrapped = step.wrapped_step
        self.backend = core.cache.backend if step.cache_backend is None else step.cache_backend
        self.templates = [one for one in self.wrapped.templates if one is not None]
        self.known: tuple[Definition, blake2b] | None = None

    async def run(self, frame: AnyFrame) -> StepOutcome:
        started = perf_counter()
        key = caught_inline(self._key_of, frame)
        if isinstance(key, Raised):
            cause = self.core.failures.cause_of(key.error)
            if not is_failure(cause):
                return failed(self.core, frame, started, cause, ())
            key = _NoKey(feedback_of(cause))
        if isinstance(key, _NoKey):
            return await self._ran_uncached(frame, started, key.because)
        children: list[StepOutcome] = []
        cache, backend = self.core.cache, self.backend
        found: CacheEntry | Ran | Raised | None = cache.at_hand(backend, key)
        if found is None:
            found = await cache.recall(backend, key, partial(self._child, frame, children))
        if isinstance(found, Raised):
            return failed(self.core, frame, started, found.error, children)
        if isinstance(found, Ran):
            return self._ran(frame, started, found.outcome, found.not_cached_because)
        if found.update is not None and frame.context is not None:
            fits = caught_inline(self.core.contexts.merge, frame.context, found.update)
            if isinstance(fits, Raised):
                because = f"what it did to another context does not fit: {fits.error}"
                return await self._ran_uncached(frame, started, because)
        metadata = {**found.metadata, **_HIT} if found.metadata else _HIT
        return self._success(frame, started, found.output, found.update, metadata, ())

    def _key_of(self, frame: AnyFrame) -> str | _NoKey:
        """What tells this execution of the step from all that could give something else."""
        known = self.known
        if known is None or not known[0].holds():
            definition = definition_of(self.wrapped)
            begin = encoded((definition.digest, definition.state, self.step.context_keys))
            known = self.known = definition, blake2b(begin, digest_size=32)
        hashed = known[1].copy()
        root = "input"
        try:
            hashed.update(encoded(frame.data))
            if self.step.context_keys:
                fields = {} if frame.context is None else state_of(frame.context)
                for name in self.step.context_keys:
                    root = f"context.{name}"
                    if name not in fields:
                        return _NoKey(f"{root}: there is no such field")
                    hashed.update(encoded(fields[name]))
            for template in self.templates:
                root = "placeholders"
                given = filled(template, roots_of(self.core, frame), repr(self.wrapped.name))
                hashed.update(encoded(given))
        except NotKeyable as found:
            return _NoKey(found.at(root))
        except TemplateResolutionError as error:
            return _NoKey(str(error))
        return hashed.hexdigest()

    async def _child(self, frame: AnyFrame, children: list[StepOutcome]) -> StepOutcome:
        """The outcome of the wrapped step, which is noted among ``children``."""
        data, context = frame.data, frame.context
        child = planned_child(frame, frame, _SEGMENTS, None, self.wrapped, data, context, 1, None)
        outcome = await self.core.calls(frame)[self.wrapped](child)
        children.append(outcome)
        return outcome

    async def _ran_uncached(self, frame: AnyFrame, started: float, because: str) -> StepOutcome:
        return self._ran(frame, started, await self._child(frame, []), because)

    def _ran(
        self, frame: AnyFrame, started: float, outcome: StepOutcome, because: str | None
    ) -> StepOutcome:
        metadata = (
            NO_METADATA if because is None else {"cached": False, "not_cached_because": because}
        )
        if not isinstance(outcome, Success):
            latency = perf_counter() - started
            return passed_on(ended(outcome), frame, (outcome,), latency, metadata)
        return self._success(frame, started, outcome.output, outcome.update, metadata, (outcome,))

    def _success(
        self,
        frame: AnyFrame,
        started: float,
        output: object,
        update: ContextUpdate | None,
        metadata: Mapping[str, object],
        children: Sequence[StepOutcome],
    ) -> StepOutcome:
        """The step's success: its own ``sink_to`` and ``updates_context`` come on top."""
        if self.step.updates_context or self.step.sink_to is not None:
            sunk = caught_inline(with_output, self.core, self.step, frame.context, update, output)
            if isinstance(sunk, Raised):
                return failed(self.core, frame, started, sunk.error, children)
            update = sunk
        return make_success(
            self.step,
            frame.segments,
            frame.index,
            1,
            perf_counter() - started,
            None,
            children,
            metadata,
            output,
            update,
        )
