"""The only sequential runner: steps one after the other, at the top and nested alike."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import cast

from .errors import PolicyContractError
from .frame import AnyFrame, planned_child, planned_steps
from .outcomes import BackgroundLaunched, Chunk, StepOutcome, Success, make_success
from .policy import Call, ExecutorPort
from .steps import AnyPipeline, Node, Pipeline
from .user_code import Raised, caught_inline


class PipelineOrchestrator:
    """Runs a `Pipeline`.

    Each step gets the output of the one before and the context with all updates so far. The first
    step that does not succeed ends the sequence, which then ends as that step did.
    """

    handles = Pipeline

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        return await self.bind(core, frame.step)(frame)

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The pipeline's call, with its steps' segments worked out."""
        pipeline = cast(AnyPipeline, step)
        planned = planned_steps(pipeline.steps)

        async def call(frame: AnyFrame) -> StepOutcome:
            started = perf_counter()
            calls = core.calls(frame)
            data = frame.data
            before = context = frame.context
            children: list[StepOutcome] = []
            for segments, one in planned:
                child = planned_child(frame, frame, segments, None, one, data, context, 1, None)
                outcome = await calls[one](child)
                children.append(outcome)
                if type(outcome) is Success:
                    data = outcome.output
                    if outcome.update is not None and context is not None:
                        merged = caught_inline(core.contexts.merge, context, outcome.update)
                        if isinstance(merged, Raised):
                            return core.failures.build(
                                frame,
                                merged.error,
                                latency_s=perf_counter() - started,
                                children=children,
                            )
                        context = merged
                elif type(outcome) is not BackgroundLaunched:
                    return _ended_by(outcome, frame, started, children)
            update = None
            if before is not None and context is not None and context is not before:
                update = core.contexts.net(before, context)
            latency = perf_counter() - started
            return make_success(
                pipeline, frame.segments, frame.index, 1, latency, None, children, data, update
            )

        return call


def _ended_by(
    outcome: StepOutcome, frame: AnyFrame, started: float, children: list[StepOutcome]
) -> StepOutcome:
    """The sequence's own outcome when ``outcome`` is that of its last child, and no success."""
    latency = perf_counter() - started
    if isinstance(outcome, Chunk):
        raise PolicyContractError("a frame cannot end with a Chunk")
    return replace(
        outcome,
        step=frame.step,
        segments=frame.segments,
        index=frame.index,
        attempts=1,
        latency_s=latency,
        usage=None,
        children=children,
    )
