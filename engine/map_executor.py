"""One body for each item of an iterable, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import TypeAlias, cast

from .errors import UnusableInput
from .fan_out import FannedOut, FanOut
from .frame import AnyFrame, branch_frame
from .journal import Decision
from .merging import MergeStrategy
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    Paused,
    StepOutcome,
    Success,
    make_success,
)
from .output_sinks import with_output
from .passing import failed, gone_past, passed_on
from .policy import ExecutorPort
from .step_kinds import MapStep
from .steps import steps_of
from .user_code import Raised, caught_inline
from .values import shown, state_of

AnyMap: TypeAlias = MapStep[object, object]


class MapExecutor:
    """Runs the items of a `MapStep`, all on the context that it began with."""

    def __init__(self, core: ExecutorPort, step: AnyMap) -> None:
        self.core = core
        self.step = step
        inside = tuple(steps_of(step.pipeline_to_run))
        self.body = inside[0] if len(inside) == 1 else step.pipeline_to_run
        self.keeps = step.on_item_failure == "keep"

    async def run(self, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        started = perf_counter()
        items = self._items_of(frame)
        if isinstance(items, Raised):
            return failed(self.core, frame, started, items.error, ())
        body, segments = self.body, self.body.own_segments
        call = self.core.calls(frame)[body]
        limit = self.step.max_concurrency
        concurrent = frame.concurrent or (limit > 1 and len(items) > 1)

        def start(number: int) -> Awaitable[StepOutcome]:
            item, context = items[number], frame.context
            child = branch_frame(
                frame, frame, segments, number, body, item, context, 1, None, concurrent
            )
            return gone_past(self.core, child, call) if self.keeps else call(child)

        if not items:
            return self._ended(frame, started, items, FannedOut(()))
        fanned = await FanOut(frame.run, len(items), start, self._stops, limit).run()
        return self._ended(frame, started, items, fanned)

    def _items_of(self, frame: AnyFrame) -> list[object] | Raised:
        """The items, fixed for the whole run before the first one starts."""
        journal = frame.run.journal
        if journal is not None:
            known = journal.decision(frame.path, "items")
            if known is not None:
                return cast(list[object], known.value)
        items = caught_inline(self._listed, frame)
        if journal is not None and not isinstance(items, Raised):
            return journal.decide(frame.path, "items", Decision(items)) or items
        return items

    def _listed(self, frame: AnyFrame) -> list[object]:
        name = self.step.iterable_input
        source, where = frame.data, "its input"
        if name is not None:
            if frame.context is None or name not in state_of(frame.context):
                held = "no context" if frame.context is None else type(frame.context).__name__
                raise UnusableInput(
                    f"iterable_input names {name!r}, a field of the context; {held} has none "
                    f"(at {frame.path})"
                )
            # A copy of its own: the items are given to steps, which may write to them.
            source = getattr(self.core.contexts.isolate(frame.context), name)
            where = f"context.{name}"
        if isinstance(source, str | bytes) or not isinstance(source, Iterable):
            raise UnusableInput(
                f"map {self.step.name!r} goes over a list or another iterable; {where} is "
                f"{type(source).__name__}: {shown(source)} (at {frame.path})"
            )
        if isinstance(source, set | frozenset):
            return sorted(source, key=lambda item: (type(item).__name__, repr(item)))
        return list(source)

    def _stops(self, outcome: StepOutcome) -> bool:
        match outcome:
            case Aborted():
                return True
            case Failure():
                return not self.keeps
            case Paused():
                return self.step.max_concurrency == 1
        return False

    def _ended(
        self, frame: AnyFrame, started: float, items: list[object], fanned: FannedOut
    ) -> StepOutcome:
        children = [outcome for outcome in fanned.outcomes if outcome is not None]
        if fanned.cut is not None:
            return failed(self.core, frame, started, fanned.cut, children)
        others = [one for one in children if type(one) is not Success]
        aborted = [one for one in others if isinstance(one, Aborted)]
        # What was cancelled with its siblings is not what ended the map.
        aborted.sort(key=lambda one: one.reason is AbortReason.CANCELLED)
        failures = [one for one in others if isinstance(one, Failure) and not self.keeps]
        paused = [one for one in others if isinstance(one, Paused)]
        metadata = {"items": len(fanned.outcomes)}
        latency = perf_counter() - started
        if aborted and not (failures and aborted[0].reason is AbortReason.CANCELLED):
            return passed_on(aborted[0], frame, children, latency, metadata)
        if failures:
            told = f"item [{failures[0].index}] failed: {failures[0].feedback}"
            return replace(
                passed_on(failures[0], frame, children, latency, metadata), feedback=told
            )
        if paused:
            told = "; ".join(one.message for one in paused)
            passed = passed_on(paused[0], frame, children, latency, metadata)
            return replace(passed, message=told)
        output = [
            one.output if type(one) is Success else self._output_of(frame, one, item)
            for one, item in zip(children, items, strict=True)
        ]
        update = None
        base = frame.context
        if base is not None:
            updates = [
                (f"[{number}]", one.update)
                for number, one in enumerate(children)
                if isinstance(one, Success) and one.update is not None
            ]
            merged = caught_inline(
                self.core.contexts.merge_branches, base, updates, MergeStrategy.CONTEXT_UPDATE
            )
            if isinstance(merged, Raised):
                return failed(self.core, frame, started, merged.error, children)
            update = merged
        sunk = caught_inline(with_output, self.core, self.step, base, update, output)
        if isinstance(sunk, Raised):
            return failed(self.core, frame, started, sunk.error, children)
        return make_success(
            self.step,
            frame.segments,
            frame.index,
            len(children) or 1,
            perf_counter() - started,
            None,
            children,
            metadata,
            output,
            sunk,
        )

    def _output_of(self, frame: AnyFrame, outcome: StepOutcome, item: object) -> object:
        if isinstance(outcome, BackgroundLaunched):
            return item
        return self.core.history.result_of(outcome, frame.path)
