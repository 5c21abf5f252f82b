"""The only sequential runner: steps one after the other, at the top and nested alike."""

from __future__ import annotations

from time import perf_counter
from typing import cast

from .frame import AnyFrame, planned_child, planned_steps
from .outcomes import BackgroundLaunched, StepOutcome, Success, make_success
from .passing import YIELD_EVERY, ended, failed, passed_on, turn
from .policy import Call, ExecutorPort
from .run import Facility
from .steps import AnyPipeline, Node, Pipeline
from .usage import NO_METADATA
from .user_code import Raised, caught_inline


class PipelineOrchestrator:
    """Runs a `Pipeline`.

    Each step gets the output of the one before and the context with all updates so far. The first
    step that does not succeed ends the sequence, which then ends as that step did.
    """

    handles = Pipeline

    def needs(self, step: Node) -> Facility:
        """Nothing of its own."""
        return Facility.NONE

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        return await self.bind(core, frame.step)(frame)

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The pipeline's call, with its steps' segments worked out."""
        pipeline = cast(AnyPipeline, step)
        planned = planned_steps(pipeline.steps)

        async def call(frame: AnyFrame) -> StepOutcome:
            started = perf_counter()
            run, calls = frame.run, core.calls(frame)
            data = frame.data
            before = context = frame.context
            children: list[StepOutcome] = []
            for segments, one in planned:
                child = planned_child(frame, frame, segments, None, one, data, context, 1, None)
                outcome = await calls[one](child)
                children.append(outcome)
                run.busy += 1
                if run.busy >= YIELD_EVERY and (cut := await turn(run)) is not None:
                    return failed(core, frame, started, cut.error, children)
                if type(outcome) is Success:
                    data = outcome.output
                    if outcome.update is not None and context is not None:
                        merged = caught_inline(core.contexts.merge, context, outcome.update)
                        if isinstance(merged, Raised):
                            return failed(core, frame, started, merged.error, children)
                        context = merged
                elif type(outcome) is not BackgroundLaunched:
                    return passed_on(ended(outcome), frame, children, perf_counter() - started)
            update = None
            if before is not None and context is not None and context is not before:
                update = core.contexts.net(before, context)
            latency = perf_counter() - started
            return make_success(
                pipeline,
                frame.segments,
                frame.index,
                1,
                latency,
                None,
                children,
                NO_METADATA,
                data,
                update,
            )

        return call
