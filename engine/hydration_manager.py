"""State outside of the run: loaded before a step that takes the context, saved after it succeeded.

Saving is at least once: a step that is run again saves again, and what was saved is not rolled
back when something later fails.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from .context import ContextChange, ContextUpdate, SetValue
from .failure_builder import FailureBuilder, is_failure
from .frame import AnyFrame, hydrated_frame
from .outcomes import StepOutcome, Success
from .references import (
    ContextReference,
    Loaded,
    ProviderFailed,
    UnknownProvider,
    may_have_references,
    references_in,
)
from .user_code import Raised, caught, caught_inline

AnyReference: TypeAlias = ContextReference[object]
Places: TypeAlias = Mapping[tuple[str, ...], AnyReference]
"""The references of a context by their paths."""


class HydrationManager:
    """Stands around the steps of runs whose context may hold references."""

    def __init__(
        self,
        failures: FailureBuilder,
        merge: Callable[[BaseModel, ContextUpdate], BaseModel],
    ) -> None:
        self._failures = failures
        self._merge = merge
        self._known: WeakKeyDictionary[type[BaseModel], bool] = WeakKeyDictionary()

    def serves(self, context: BaseModel) -> bool:
        """Whether contexts of this model may hold references."""
        model = type(context)
        known = self._known.get(model)
        if known is None:
            known = self._known[model] = may_have_references(model)
        return known

    async def hydrate(
        self, frame: AnyFrame, proceed: Callable[[AnyFrame], Awaitable[StepOutcome]]
    ) -> StepOutcome:
        """The interceptor: the step's context has loaded references, its update has none."""
        shape, context = frame.step.shape, frame.context
        if context is None or shape is None or "context" not in shape.injected:
            return await proceed(frame)
        places = dict(references_in(context))
        if not places:
            return await proceed(frame)
        given = await self._load(frame, places)
        if isinstance(given, Raised):
            return self._failures.build(frame, given.error)
        loaded = [Loaded(value) for value in given]
        bound = zip(places.items(), loaded, strict=True)
        changes = tuple(SetValue(path, place.bound(one)) for (path, place), one in bound)
        context = self._merge(context, ContextUpdate(changes))
        try:
            outcome = await proceed(hydrated_frame(frame, context))
            if isinstance(outcome, Success) and outcome.update is not None:
                return await self._save(frame, outcome, outcome.update, places)
            return outcome
        finally:
            for one in loaded:
                one.ended = True

    async def _load(self, frame: AnyFrame, places: Places) -> Sequence[object] | Raised:
        providers = frame.run.state_providers
        for path, reference in places.items():
            if reference.provider_id not in providers:
                known = ", ".join(map(repr, providers)) or "none"
                return Raised(
                    UnknownProvider(
                        f"{'.'.join(path)} of the context refers to the state provider "
                        f"{reference.provider_id!r}, and the run has {known} (at {frame.path}): "
                        "give it to the runner as state_providers={name: provider}"
                    )
                )
        return await self._all(
            [
                self._ask(one, "load", providers[one.provider_id].load, one.key)
                for one in places.values()
            ]
        )

    async def _save(
        self, frame: AnyFrame, outcome: Success, update: ContextUpdate, places: Places
    ) -> StepOutcome:
        """``outcome`` once its changed references are saved, without them in its update."""
        changed, rest = _split(update, places)
        providers = frame.run.state_providers
        saved = await self._all(
            [
                self._ask(one, "save", providers[one.provider_id].save, one.key, one.value)
                for one in changed
            ]
        )
        if isinstance(saved, Raised):
            return self._failures.build(
                frame,
                saved.error,
                attempts=outcome.attempts,
                latency_s=outcome.latency_s,
                usage=outcome.usage,
                children=outcome.children,
            )
        return replace(outcome, update=ContextUpdate(rest) if rest else None)

    async def _all(
        self, calls: Sequence[Coroutine[None, None, object]]
    ) -> Sequence[object] | Raised:
        """What ``calls`` give, in their order; the first error where there is one."""
        given: Sequence[object] | Raised
        if len(calls) < 2:  # most often, and a task costs more than the rest
            given = [await one for one in calls]
        else:
            given = await caught(asyncio.gather(*calls))
        if isinstance(given, Raised):
            return Raised(self._failures.cause_of(given.error))
        return next((one for one in given if isinstance(one, Raised)), given)

    async def _ask(
        self,
        reference: AnyReference,
        verb: str,
        call: Callable[..., object],
        *arguments: object,
    ) -> object:
        """What a provider's ``call`` gives; what it raises comes back as `Raised`."""
        given: object = caught_inline(call, *arguments)
        if inspect.isawaitable(given):
            given = await caught(given)
        if not isinstance(given, Raised):
            return given
        cause = self._failures.cause_of(given.error)
        if not is_failure(cause):
            return Raised(cause)
        failed = ProviderFailed(
            f"the state provider {reference.provider_id!r} could not {verb} {reference.key!r}: "
            f"{cause!r}"
        )
        failed.__cause__ = cause
        return Raised(failed)


def _split(
    update: ContextUpdate, places: Places
) -> tuple[Sequence[AnyReference], tuple[ContextChange, ...]]:
    """The references whose value is to be saved, and what is the run's own in ``update``."""
    changed: dict[tuple[str, str], AnyReference] = {}
    rest: list[ContextChange] = []
    for change in update.changes:
        if isinstance(change, SetValue) and isinstance(change.value, ContextReference):
            reference: AnyReference = change.value
            if reference.is_changed:
                changed[reference.provider_id, reference.key] = reference
            change = SetValue(change.path, reference.unbound())
            if places.get(tuple(map(str, change.path))) == change.value:
                continue
        rest.append(change)
    return tuple(changed.values()), tuple(rest)
