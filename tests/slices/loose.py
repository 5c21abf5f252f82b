"""Policies with argument lists, one for each kind of step, as their users wrote them.

All that they know stands in their argument lists. They choose different forms of these on purpose.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from flujo_nb.engine import step_kinds
from flujo_nb.engine.errors import (
    ControlFlowError,
    NonRetryableError,
    PausedException,
    UsageLimitExceededError,
)
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.placeholders import filled_text, rendered
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.steps import AgentStep, Pipeline, Step
from flujo_nb.engine.usage import FREE, Metered

ENDS_THE_RUN = (ControlFlowError, UsageLimitExceededError)


def failed(step: Any, feedback: str | None, **more: Any) -> StepResult:
    return StepResult(name=step.name, success=False, feedback=feedback, **more)


async def finished(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def take_over(context: Any, other: Any) -> None:
    """Have ``context`` hold what ``other``, a copy of it, holds by now."""
    for name in type(other).model_fields:
        setattr(context, name, getattr(other, name))


def copied(context: Any) -> Any:
    return None if context is None else context.model_copy(deep=True)


def merge(core: Any, context: Any, copies: dict[str, Any], strategy: Any, fields: Any) -> None:
    """Have ``context`` hold what branches made of copies of it."""
    if context is None:
        return
    updates = [(name, core.contexts.diff(context, copy)) for name, copy in copies.items()]
    update = core.contexts.merge_branches(context, updates, strategy, fields)
    if update is not None:
        core.contexts.merge_into(context, update)


class Simple:
    handles: type = Step

    async def execute(
        self,
        core: Any,
        step: Any,
        data: Any,
        context: Any,
        resources: Any,
        limits: Any,
        stream: bool,
        on_chunk: Any,
        _fallback_depth: int = 0,
    ) -> StepResult:
        used, feedback, attempt = FREE, None, 0
        for attempt in range(1, step.max_retries + 2):
            own = copied(context)
            offered = {"context": own, "resources": resources, "feedback": feedback}
            try:
                with core.reserve(step.config.estimate) as reserved:
                    work = self.work(step, stream, data, offered, on_chunk, attempt)
                    output = await asyncio.wait_for(work, step.config.timeout_s)
                    if isinstance(output, Metered):
                        reserved.used, output = output.usage, output.output
                        used += reserved.used
                for validator in step.validators:
                    verdict = await finished(validator.validate(output))
                    if not verdict.is_valid:
                        raise ValueError(verdict.feedback)
            except ENDS_THE_RUN:
                raise
            except Exception as error:  # noqa: BLE001  # a step may raise anything
                feedback = f"{type(error).__name__}: {error}"
                if isinstance(error, NonRetryableError):
                    break
                continue
            if own is not None:
                take_over(context, own)
            if step.updates_context:
                for name, value in output.items():
                    setattr(context, name, value)
            if step.sink_to:
                setattr(context, step.sink_to, output)
            return StepResult(
                name=step.name,
                output=output,
                attempts=attempt,
                token_counts=used.tokens,
                cost_usd=used.cost_usd,
            )
        if step.fallback_step is None:
            return failed(step, feedback, attempts=attempt, token_counts=used.tokens)
        other = await core.execute(
            step.fallback_step, data, context, limits=limits, _fallback_depth=_fallback_depth + 1
        )
        return StepResult(
            name=step.name,
            output=other.output,
            success=other.success,
            attempts=attempt,
            token_counts=used.tokens + other.token_counts,
            feedback=None if other.success else f"{feedback}; {other.feedback}",
            metadata={"fallback_triggered": True, "original_error": feedback},
        )

    async def work(
        self, step: Any, stream: bool, data: Any, offered: Any, on_chunk: Any, attempt: int
    ) -> Any:
        function = self.function_of(step, stream)
        asked = inspect.signature(function).parameters
        given = function(data, **{name: offered[name] for name in asked if name in offered})
        if not inspect.isasyncgen(given):
            return await finished(given)
        pieces = []
        async for piece in given:
            pieces.append(piece)
            if on_chunk is not None:
                await on_chunk(piece, attempt)
        return "".join(pieces)

    def function_of(self, step: Any, stream: bool) -> Callable[..., Any]:
        return step.agent


class Agents(Simple):
    handles = AgentStep

    def function_of(self, step: Any, stream: bool) -> Callable[..., Any]:
        streams = stream and hasattr(step.agent, "stream")
        return step.agent.stream if streams else step.agent.run


class Sequential:
    handles = Pipeline

    async def execute(self, core: Any, step: Any, data: Any, **others: Any) -> StepResult:
        for one in step.steps:
            result = await core.execute(one, data, **others)
            if not result.success:
                return result
            data = result.output
        return StepResult(name="sequence", output=data)


class Loop:
    handles = step_kinds.LoopStep

    async def execute(
        self, core: Any, step: Any, data: Any, context: Any, limits: Any, resources: Any
    ) -> StepResult:
        given, number = data, 0
        if step.initial_input_to_loop_body_mapper is not None:
            data = step.initial_input_to_loop_body_mapper(data, context)
        for number in range(1, step.max_loops + 1):
            result = await core.execute(
                step.loop_body_pipeline, data, context=context, index=number - 1, limits=limits
            )
            if not result.success:
                return failed(
                    step,
                    f"Loop body failed: {result.feedback}",
                    attempts=number,
                    metadata={"exit_reason": "body_step_error"},
                )
            data = result.output
            if await finished(step.exit_condition_callable(data, context)):
                if step.loop_output_mapper is not None:
                    data = step.loop_output_mapper(data, context)
                reason = {"exit_reason": "condition"}
                return StepResult(name=step.name, output=data, attempts=number, metadata=reason)
            if step.iteration_input_mapper is not None and number < step.max_loops:
                data = step.iteration_input_mapper(data, context, number, given)
        reason = {"exit_reason": "max_loops"}
        told = f"reached max_loops after {number}"
        return failed(step, told, output=data, attempts=number, metadata=reason)


async def together(
    works: Sequence[Callable[[], Awaitable[Any]]],
    limit: int | None,
    stops: Callable[[StepResult], bool],
) -> list[StepResult | None]:
    """Results in the order of ``works``; ``None`` for those that another one stopped.

    Beside a pause the others go on to their own end, unless they run one by one.
    """
    results: list[StepResult | None] = [None] * len(works)
    if limit == 1:
        for number, work in enumerate(works):
            one = results[number] = await work()
            if stops(one):
                break
        return results
    turns = asyncio.Semaphore(limit or len(works))

    async def in_turn(work: Callable[[], Awaitable[Any]]) -> Any:
        async with turns:
            return await work()

    tasks = [asyncio.create_task(in_turn(work)) for work in works]
    raised: Exception | None = None
    for task in asyncio.as_completed(tasks):
        try:
            result = await task
        except PausedException as pause:
            raised = raised or pause
            continue
        except ENDS_THE_RUN as end:
            raised = end
        else:
            if not stops(result):
                continue
            raised = None
        for other in tasks:
            other.cancel()
        break
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    if raised is not None:
        raise raised
    return [None if isinstance(end, BaseException) else end for end in ends]


class Map:
    handles = step_kinds.MapStep

    async def execute(self, *, step: Any, data: Any, core: Any, context: Any) -> StepResult:
        items = list(data if step.iterable_input is None else getattr(context, step.iterable_input))
        copies = {f"[{number}]": copied(context) for number in range(len(items))}

        async def run(number: int) -> Any:
            own = copies[f"[{number}]"]
            return await core.execute(step.pipeline_to_run, items[number], own, index=number)

        keeps = step.on_item_failure == "keep"
        works = [lambda number=number: run(number) for number in range(len(items))]
        results = await together(
            works, step.max_concurrency, lambda one: not (one.success or keeps)
        )
        bad = [(n, one) for n, one in enumerate(results) if one is not None and not one.success]
        if bad and not keeps:
            number, one = bad[0]
            return failed(step, f"item [{number}] failed: {one.feedback}")
        merge(core, context, copies, MergeStrategy.CONTEXT_UPDATE, None)
        output = [one.output if one is not None and one.success else one for one in results]
        return StepResult(name=step.name, output=output, attempts=len(items) or 1)


async def branches(core: Any, step: Any, data: Any, context: Any, names: Any) -> StepResult:
    """What the policies of parallel steps and of routers have in common."""
    copies = {name: copied(context) for name in names}

    async def run(name: str) -> Any:
        return await core.execute(step.branches[name], data, context=copies[name], branch=name)

    propagates = step.on_branch_failure is step_kinds.BranchFailureStrategy.PROPAGATE
    works = [lambda name=name: run(name) for name in names]
    ends = await together(works, step.max_concurrency, lambda one: propagates and not one.success)
    results = {name: end for name, end in zip(names, ends, strict=True) if end is not None}
    bad = [(name, one) for name, one in results.items() if not one.success]
    if bad and (propagates or len(bad) == len(results)):
        return failed(
            step, "; ".join(f"branch {name!r} failed: {one.feedback}" for name, one in bad)
        )
    merge(core, context, copies, step.merge_strategy, step.field_mapping)
    output: Any = {name: one.output if one.success else one for name, one in results.items()}
    if step.reduce is not None:
        output = await finished(step.reduce(list(results.values()), context))
    metadata = {"executed_branches": list(names)}
    return StepResult(name=step.name, output=output, metadata=metadata)


class Parallel:
    handles = step_kinds.ParallelStep

    async def execute(self, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        return await branches(core, step, data, context, list(step.branches))


class Router:
    handles = step_kinds.DynamicParallelRouterStep

    async def execute(
        self, core: Any, step: Any, data: Any, context: Any, quota: Any = None
    ) -> StepResult:
        asked = await core.execute(step.router, data, context=context, place="router")
        if not asked.success:
            return failed(step, asked.feedback)
        names = [asked.output] if isinstance(asked.output, str) else asked.output
        unknown = [name for name in names if name not in step.branches]
        if unknown:
            return failed(step, f"the router named {unknown}; there are {', '.join(step.branches)}")
        return await branches(core, step, data, context, names)


class Conditional:
    handles = step_kinds.ConditionalStep

    async def execute(
        self, core: Any, step: Any, data: Any, context: Any, fallback_depth: int = 0
    ) -> StepResult:
        key = await finished(step.condition_callable(data, context))
        known = {(type(one), one): (branch, one) for one, branch in step.branches.items()}
        default = (step.default_branch_pipeline, "default")
        branch, place = known.get((type(key), key), default)
        if branch is None:
            return failed(step, f"no branch for {key!r}")
        if step.branch_input_mapper is not None:
            data = step.branch_input_mapper(data, context)
        result = await core.execute(
            branch, data, context, branch=place, fallback_depth=fallback_depth
        )
        if not result.success:
            return failed(step, f"Failure in branch {key!r}: {result.feedback}")
        output = result.output
        if step.branch_output_mapper is not None:
            output = step.branch_output_mapper(output, key, context)
        return StepResult(name=step.name, output=output, metadata={"executed_branch_key": key})


class Import:
    handles = step_kinds.ImportStep

    async def execute(self, core: Any, step: Any, data: Any, **others: Any) -> StepResult:
        context = others["context"]
        model = step.context_model or type(context)
        held = context.model_dump() if step.inherit_context else {}
        own = model.model_validate({**held, **(step.initial_context_data or {})})
        if "initial_prompt" in model.model_fields:
            own.initial_prompt = rendered(data)
        result = await core.execute(
            step.pipeline, data, context=own, place="import", limits=step.usage_limits
        )
        if not result.success and step.on_failure == "abort":
            return failed(step, result.feedback)
        if not result.success:
            output = None if step.on_failure == "skip" else {}
            metadata = {"import_failed": result.feedback}
            return StepResult(name=step.name, output=output, metadata=metadata)
        for mapping in step.outputs or ():
            setattr(context, mapping.parent, getattr(own, mapping.child))
        if step.updates_context and step.outputs is None:
            take_over(context, own)
        return StepResult(name=step.name, output=result.output)


class Hitl:
    handles = step_kinds.HumanInTheLoopStep

    def execute(self, core: Any, step: Any, data: Any, context: Any) -> StepResult:
        template = step.message_for_user or "{{ data }}"
        message = filled_text(template, {"data": data, "context": context}, step.name)
        answer = core.ask(message, step.input_schema)
        if step.sink_to:
            setattr(context, step.sink_to, answer)
        if step.updates_context:
            take_over(context, answer)
        return StepResult(name=step.name, output=answer)


class Cache:
    handles = step_kinds.CacheStep

    def __init__(self) -> None:
        self.locks: dict[str, asyncio.Lock] = {}

    async def execute(
        self, core: Any, step: Any, data: Any, context: Any, cache_key: Any = None
    ) -> StepResult:
        key = f"{step.name} {data!r} {[getattr(context, name) for name in step.context_keys]!r}"
        async with self.locks.setdefault(key, asyncio.Lock()):
            kept = step.cache_backend.get(key)
            if kept is not None:
                output, update = kept
                if update is not None:
                    core.contexts.merge_into(context, update)
                return StepResult(name=step.name, output=output, metadata={"cache_hit": True})
            before = copied(context)
            result = await core.execute(step.wrapped_step, data, context, place="cached")
            if result.success:
                update = None if context is None else core.contexts.diff(before, context)
                step.cache_backend.set(key, (result.output, update))
            return result
