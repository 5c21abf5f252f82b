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
    if not step.updates_context and step.sink_to is None:
        return update
    if base is None:
        raise ContextMissing(
            f"step {step.name!r} writes to the context, and this run has none: declare a pydantic "
            "model for it"
        )
    contexts = core.contexts
    merged = contexts.merge(base, update)
    if step.updates_context:
        given = output.final_pipeline_context if isinstance(output, PipelineResult) else output
        merged = contexts.merge(merged, contexts.update_of_output(merged, given))
    if step.sink_to is not None:
        merged = contexts.merge(merged, contexts.update_of_sink(merged, step.sink_to, output))
    return contexts.net(base, merged)
