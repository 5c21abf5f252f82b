"""Where a step's output goes in the context: ``updates_context`` and ``sink_to``."""

from __future__ import annotations

from pydantic import BaseModel

from .context import ContextUpdate
from .errors import ContextMissing
from .policy import ExecutorPort
from .results import PipelineResult
from .steps import AnyStep


def with_output(
    core: ExecutorPort,
    step: AnyStep,
    base: BaseModel | None,
    update: ContextUpdate | None,
    output: object,
) -> ContextUpdate | None:
    """``update``, and what ``step`` declares to make of ``output``, as one update of ``base``.

    Raises `ContextMissing` when there is no context to write to, and `ContextUpdateError` for an
    output that does not fit.
    """
    if not step.updates_context:
        return with_sink(core, step, base, update, output)
    context = _needed(base, step)
    merged = core.contexts.merge(context, update)
    given = output.final_pipeline_context if isinstance(output, PipelineResult) else output
    merged = core.contexts.merge(merged, core.contexts.update_of_output(merged, given))
    return with_sink(core, step, context, core.contexts.net(context, merged), output)


def with_sink(
    core: ExecutorPort,
    step: AnyStep,
    base: BaseModel | None,
    update: ContextUpdate | None,
    output: object,
) -> ContextUpdate | None:
    """`with_output` for a step whose ``updates_context`` means something else."""
    if step.sink_to is None:
        return update
    context = _needed(base, step)
    merged = core.contexts.merge(context, update)
    merged = core.contexts.merge(merged, core.contexts.update_of_sink(merged, step.sink_to, output))
    return core.contexts.net(context, merged)


def _needed(context: BaseModel | None, step: AnyStep) -> BaseModel:
    if context is None:
        raise ContextMissing(
            f"step {step.name!r} writes to the context, and this run has none: declare a pydantic "
            "model for it"
        )
    return context
