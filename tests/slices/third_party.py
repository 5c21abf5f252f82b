"""Containers as somebody else writes them.

A frame goes in, its children are made and run by the core, an outcome comes out. They know nothing
of the containers whose places they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flujo_nb.engine import step_kinds
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from flujo_nb.engine.passing import passed_on
from flujo_nb.engine.path import Segment, SegmentKind, branch_segment
from flujo_nb.engine.policy import ExecutorPort
from flujo_nb.engine.steps import Pipeline
from flujo_nb.engine.usage import FREE, Quota, UsageLimits


def done(core: ExecutorPort, frame: AnyFrame, context: Any, **facts: Any) -> Success:
    """The success of a container that has come to ``context``."""
    update = None if frame.context is None else core.contexts.net(frame.context, context)
    return Success(update=update, **facts)


class Sequential:
    handles = Pipeline

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        data, context, children = frame.data, frame.context, []
        for one in step.steps:
            outcome = await core.run(core.child_frame(frame, one, data, context=context))
            children.append(outcome)
            if not isinstance(outcome, Success):
                return passed_on(outcome, frame, children, 0.0)
            data = outcome.output
            context = context and core.contexts.merge(context, outcome.update)
        return done(core, frame, context, output=data, children=children)


class Loop:
    handles = step_kinds.LoopStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        data, context, children = frame.data, frame.context, []
        if step.initial_input_to_loop_body_mapper is not None:
            data = step.initial_input_to_loop_body_mapper(data, context)
        for number in range(step.max_loops):
            child = core.child_frame(
                frame, step.loop_body_pipeline, data, context=context, index=number
            )
            outcome: Any = await core.run(child)
            children.append(outcome)
            facts = {"children": children, "attempts": number + 1}
            if isinstance(outcome, Failure):
                reason = {"exit_reason": "body_step_error"}
                told = f"Loop body failed: {outcome.feedback}"
                return replace(outcome, feedback=told, metadata=reason, usage=None, **facts)
            if not isinstance(outcome, Success):
                return passed_on(outcome, frame, children, 0.0)
            data = outcome.output
            context = context and core.contexts.merge(context, outcome.update)
            exits = step.exit_condition_callable(data, context)
            if await exits if asyncio.iscoroutine(exits) else exits:
                if step.loop_output_mapper is not None:
                    data = step.loop_output_mapper(data, context)
                reason = {"exit_reason": "condition"}
                return done(core, frame, context, output=data, metadata=reason, **facts)
            if step.iteration_input_mapper is not None and number + 1 < step.max_loops:
                data = step.iteration_input_mapper(data, context, number + 1, frame.data)
        error = TimeoutError("reached max_loops")
        reason = {"exit_reason": "max_loops"}
        return Failure(error=error, feedback=str(error), output=data, metadata=reason, **facts)


async def together(
    core: ExecutorPort,
    children: Sequence[AnyFrame],
    limit: int | None,
    stops: Callable[[StepOutcome], bool],
) -> list[Any]:
    """What the children came to, in their order; ``None`` for those that were not begun."""
    if limit == 1:
        alone: list[Any] = [None] * len(children)
        for number, child in enumerate(children):
            alone[number] = await core.run(child)
            if isinstance(alone[number], Aborted) or stops(alone[number]):
                break
        return alone
    turns = asyncio.Semaphore(limit or len(children))

    async def in_turn(child: AnyFrame) -> StepOutcome:
        async with turns:
            return await core.run(replace(child, concurrent=True))

    tasks = [asyncio.create_task(in_turn(child)) for child in children]
    last = None
    try:
        for task in asyncio.as_completed(tasks):
            last = await task
            if isinstance(last, Aborted) or stops(last):
                break
    finally:
        for one in tasks:
            one.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    return [cut_off(end, last) for end in ends]


def cut_off(end: Any, last: StepOutcome | None) -> Any:
    """A child's end; one that was cancelled because of ``last`` was not interrupted."""
    if isinstance(end, BaseException):
        return None
    cancelled = isinstance(end, Aborted) and end is not last
    return replace(end, reason=AbortReason.CANCELLED) if cancelled else end


def unfinished(frame: AnyFrame, ends: Sequence[Any], children: Sequence[Any], failed: bool) -> Any:
    """How a container ends whose children did not all do what they were to do."""
    kinds = (Aborted, Failure, Paused) if failed else (Aborted, Paused)
    for kind in kinds:
        found = [one for one in ends if isinstance(one, kind)]
        if kind is Aborted:
            found = [one for one in found if one.reason is not AbortReason.CANCELLED]
        if found:
            outcome = passed_on(found[0], frame, children, 0.0)
            if kind is Paused:
                return replace(outcome, message="; ".join(one.message for one in found))
            return outcome
    return None


class Map:
    handles = step_kinds.MapStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        named = step.iterable_input
        items: Any = list(frame.data if named is None else getattr(frame.context, named))
        inside = [
            core.child_frame(frame, step.pipeline_to_run, item, index=number)
            for number, item in enumerate(items)
        ]
        keeps = step.on_item_failure == "keep"

        def stops(outcome: StepOutcome) -> bool:
            alone = step.max_concurrency == 1 and isinstance(outcome, Paused)
            return alone or (isinstance(outcome, Failure) and not keeps)

        ends: Any = await together(core, inside, step.max_concurrency, stops)
        _go_past(frame, inside, ends)
        begun = [one for one in ends if one is not None]
        if (end := unfinished(frame, begun, begun, not keeps)) is not None:
            if isinstance(end, Failure):
                failed = next(one for one in begun if isinstance(one, Failure))
                told = f"item [{failed.index}] failed: {end.feedback}"
                return replace(end, feedback=told)
            return end
        output = [
            one.output if isinstance(one, Success) else core.history.result_of(one, frame.path)
            for one in ends
        ]
        names = [f"[{number}]" for number in range(len(ends))]
        context = _merged(core, frame, names, ends, MergeStrategy.CONTEXT_UPDATE)
        facts = {"output": output, "children": ends, "attempts": len(ends) or 1}
        return done(core, frame, context, **facts)


def _go_past(frame: AnyFrame, children: Sequence[AnyFrame], ends: Sequence[StepOutcome]) -> None:
    if frame.run.journal is not None:
        for child, end in zip(children, ends, strict=True):
            if isinstance(end, Failure):
                frame.run.journal.go_past(child.path)


def _merged(
    core: ExecutorPort,
    frame: AnyFrame,
    names: Sequence[str],
    ends: Sequence[Any],
    strategy: Any,
    fields: Any = None,
) -> Any:
    if frame.context is None:
        return None
    updates = [
        (name, one.update if isinstance(one, Success) else None)
        for name, one in zip(names, ends, strict=True)
    ]
    update: Any = core.contexts.merge_branches(frame.context, updates, strategy, fields)
    return core.contexts.merge(frame.context, update)


async def branches(
    core: ExecutorPort, frame: AnyFrame, names: Sequence[str], before: Sequence[Any] = ()
) -> Any:
    """What parallel steps and routers have in common."""
    step: Any = frame.step
    inside = [
        core.child_frame(
            frame,
            step.branches[name],
            frame.data,
            segments=(branch_segment(name), *step.branches[name].own_segments),
        )
        for name in names
    ]
    propagates = step.on_branch_failure is step_kinds.BranchFailureStrategy.PROPAGATE

    def stops(outcome: StepOutcome) -> bool:
        return propagates and isinstance(outcome, Failure)

    ends: Any = await together(core, inside, step.max_concurrency, stops)
    children = [*before, *(one for one in ends if one is not None)]
    bad = [(name, one) for name, one in zip(names, ends, strict=True) if isinstance(one, Failure)]
    all_bad = len(bad) == len(ends) > 0
    if not propagates:
        _go_past(frame, inside, ends)
    if (end := unfinished(frame, ends, children, propagates or all_bad)) is not None:
        if isinstance(end, Failure):
            told = "; ".join(f"branch {name!r} failed: {one.feedback}" for name, one in bad)
            return replace(end, feedback=told)
        return end
    context = _merged(core, frame, names, ends, step.merge_strategy, step.field_mapping)
    results = [core.history.result_of(one, frame.path) for one in ends]
    output: Any = {
        name: one.output if isinstance(one, Success) else result
        for name, one, result in zip(names, ends, results, strict=True)
    }
    if step.reduce is not None:
        output = step.reduce(results, context)
    metadata = {"executed_branches": list(names)}
    return done(core, frame, context, output=output, children=children, metadata=metadata)


class Parallel:
    handles = step_kinds.ParallelStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        return await branches(core, frame, list(step.branches))


class Router:
    handles = step_kinds.DynamicParallelRouterStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        place = (Segment(SegmentKind.ROUTER),)
        asked: Any = await core.run(
            core.child_frame(frame, step.router, frame.data, segments=place)
        )
        if not isinstance(asked, Success):
            return passed_on(asked, frame, (asked,), 0.0)
        names: Any = [asked.output] if isinstance(asked.output, str) else asked.output
        if unknown := [name for name in names if name not in step.branches]:
            error = KeyError(f"the router named {unknown}; there are {', '.join(step.branches)}")
            return Failure(error=error, feedback=str(error), children=(asked,))
        if frame.context is None:
            return await branches(core, frame, names, (asked,))
        context = core.contexts.merge(frame.context, asked.update)
        outcome: Any = await branches(core, replace(frame, context=context), names, (asked,))
        if isinstance(outcome, Success):
            after = core.contexts.merge(context, outcome.update)
            return replace(outcome, update=core.contexts.net(frame.context, after))
        return outcome


class Conditional:
    handles = step_kinds.ConditionalStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        key = step.condition_callable(frame.data, frame.context)
        key = await key if asyncio.iscoroutine(key) else key
        known = {(type(one), one): branch for one, branch in step.branches.items()}
        branch, place = known.get((type(key), key)), key
        if branch is None:
            branch, place = step.default_branch_pipeline, "default"
        if branch is None:
            error = KeyError(f"no branch for {key!r}")
            return Failure(error=error, feedback=str(error))
        data = frame.data
        if step.branch_input_mapper is not None:
            data = step.branch_input_mapper(data, frame.context)
        segments = (branch_segment(place), *branch.own_segments)
        outcome: Any = await core.run(core.child_frame(frame, branch, data, segments=segments))
        if not isinstance(outcome, Success):
            passed = passed_on(outcome, frame, (outcome,), 0.0)
            if isinstance(passed, Failure):
                return replace(passed, feedback=f"Failure in branch {key!r}: {passed.feedback}")
            return passed
        context = frame.context and core.contexts.merge(frame.context, outcome.update)
        output = outcome.output
        if step.branch_output_mapper is not None:
            output = step.branch_output_mapper(output, key, context)
        metadata = {"executed_branch_key": key}
        facts = {"output": output, "children": (outcome,), "metadata": metadata}
        return done(core, frame, context, **facts)


async def within(core: ExecutorPort, child: AnyFrame, limits: UsageLimits | None) -> Any:
    """Run a child on a part of the budget; after a pause on what was left of it."""
    if limits is None:
        return await core.run(child)
    journal, path = child.run.journal, child.path
    spent = FREE if journal is None else journal.spent_at(path)
    part = Quota(limits, child.quota, spent)
    outcome = await core.run(replace(child, quota=part))
    if journal is not None:
        journal.spend(path, part.spent)
    return outcome


class Import:
    handles = step_kinds.ImportStep

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        parent: Any = frame.context
        model = step.context_model or type(parent)
        held = parent.model_dump() if step.inherit_context else {}
        own = model.model_validate({**held, **(step.initial_context_data or {})})
        if "initial_prompt" in model.model_fields:
            own = own.model_copy(update={"initial_prompt": str(frame.data)})
        place = (Segment(SegmentKind.IMPORT), *step.pipeline.own_segments)
        child = core.child_frame(frame, step.pipeline, frame.data, context=own, segments=place)
        outcome: Any = await within(core, child, step.usage_limits)
        context = parent
        if isinstance(outcome, Failure) and step.on_failure != "abort":
            _go_past(frame, [child], [outcome])
            output: Any = None if step.on_failure == "skip" else {}
            metadata = {"import_failed": outcome.feedback}
            return Success(output=output, children=(outcome,), metadata=metadata)
        if not isinstance(outcome, Success):
            return passed_on(outcome, frame, (outcome,), 0.0)
        after: Any = core.contexts.merge(own, outcome.update)
        for mapping in step.outputs or ():
            value = getattr(after, mapping.child)
            sunk = core.contexts.update_of_sink(context, mapping.parent, value)
            context = core.contexts.merge(context, sunk)
        if step.updates_context and step.outputs is None:
            context = core.contexts.merge(parent, core.contexts.diff(parent, after))
        return done(core, frame, context, output=outcome.output, children=(outcome,))


class Cache:
    handles = step_kinds.CacheStep

    def __init__(self) -> None:
        self.flights: dict[str, asyncio.Future[None]] = {}

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        step: Any = frame.step
        fields = [getattr(frame.context, name) for name in step.context_keys]
        key = f"{step.name} {frame.data!r} {fields!r}"
        while key in self.flights:
            await self.flights[key]
        flight = self.flights[key] = asyncio.get_running_loop().create_future()
        try:
            kept: Any = step.cache_backend.get(key)
            if kept is not None:
                output, update = kept
                return Success(output=output, update=update, metadata={"cache_hit": True})
            place = (Segment(SegmentKind.CACHED),)
            outcome: Any = await core.run(
                core.child_frame(frame, step.wrapped_step, frame.data, segments=place)
            )
            if not isinstance(outcome, Success):
                return passed_on(outcome, frame, (outcome,), 0.0)
            step.cache_backend.set(key, (outcome.output, outcome.update))
            return Success(output=outcome.output, update=outcome.update, children=(outcome,))
        finally:
            del self.flights[key]
            flight.set_result(None)
