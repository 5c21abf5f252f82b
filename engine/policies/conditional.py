"""The policy of steps that run one of their branches."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TypeAlias, cast

from pydantic import BaseModel

from ..complex_step_router import PLAIN_KEYS, BranchTable, Chosen
from ..deciders import CONTEXT, Question, decided
from ..errors import BranchNotFound
from ..frame import AnyFrame, planned_child
from ..journal import Decision
from ..outcomes import BackgroundLaunched, Failure, StepOutcome, Success, make_success
from ..output_sinks import with_output
from ..passing import ended, failed, passed_on
from ..policy import BoundPolicy, Call, ExecutorPort
from ..step_kinds import ConditionalStep
from ..steps import Node
from ..user_code import Raised, caught_inline

AnyConditional: TypeAlias = ConditionalStep[object, object]


class ConditionalStepExecutor(BoundPolicy):
    """Runs a `ConditionalStep`."""

    handles = ConditionalStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return _Conditional(core, cast(AnyConditional, step)).run


class _Conditional:
    def __init__(self, core: ExecutorPort, step: AnyConditional) -> None:
        self.core = core
        self.step = step
        self.table = BranchTable(step.branches, step.default_branch_pipeline)
        self.key = Question("key", step.condition_callable, 2)
        enter, leave = step.branch_input_mapper, step.branch_output_mapper
        self.enter = None if enter is None else Question("branch_input", enter, 2)
        self.leave = None if leave is None else Question("branch_output", leave, 3)
        self.is_plain = leave is None and step.sink_to is None and not step.updates_context

    async def run(self, frame: AnyFrame) -> StepOutcome:
        started = perf_counter()
        data, context = frame.data, frame.context
        without_context = not self.key.takes_context or context is None
        if without_context and frame.run.journal is None:
            key = self.key.alone(data)
            if type(key) not in PLAIN_KEYS:
                asked = await decided(key)
                if isinstance(asked, Raised):
                    return failed(self.core, frame, started, asked.error)
                key = asked.value
        else:
            asked = await self.key.ask(self.core, frame, context, data, CONTEXT)
            if isinstance(asked, Raised):
                return failed(self.core, frame, started, asked.error)
            key, context = asked.value, self._merged(context, asked)
        chosen = self.table.choose(key)
        if isinstance(chosen, BranchNotFound):
            return failed(self.core, frame, started, BranchNotFound(f"{chosen} (at {frame.path})"))
        if self.enter is not None:
            entered = await self.enter.ask(self.core, frame, context, data, CONTEXT)
            if isinstance(entered, Raised):
                return failed(self.core, frame, started, entered.error)
            data, context = entered.value, self._merged(context, entered)
        node = chosen.node
        child = planned_child(frame, frame, chosen.segments, None, node, data, context, 1, None)
        outcome = await self.core.calls(frame)[node](child)
        if (
            type(outcome) is Success
            and outcome.update is None
            and self.is_plain
            and context is frame.context
        ):
            return make_success(
                self.step,
                frame.segments,
                frame.index,
                1,
                perf_counter() - started,
                None,
                (outcome,),
                chosen.metadata,
                outcome.output,
                None,
            )
        return await self._left(frame, started, chosen, child, outcome)

    async def _left(
        self,
        frame: AnyFrame,
        started: float,
        chosen: Chosen,
        child: AnyFrame,
        outcome: StepOutcome,
    ) -> StepOutcome:
        """The step's outcome when that of its branch is ``outcome``."""
        metadata = chosen.metadata
        context = child.context
        match outcome:
            case Success(output=output, update=update):
                context = context and self.core.contexts.merge(context, update)
            case BackgroundLaunched():
                output = child.data
            case _:
                latency = perf_counter() - started
                passed = passed_on(ended(outcome), frame, (outcome,), latency, metadata)
                if isinstance(passed, Failure):
                    told = f"Failure in branch {chosen.key!r}: {passed.feedback}"
                    return replace(passed, feedback=told)
                return passed
        if self.leave is not None:
            left = await self.leave.ask(self.core, frame, context, output, chosen.key, CONTEXT)
            if isinstance(left, Raised):
                return failed(self.core, frame, started, left.error, (outcome,))
            output, context = left.value, self._merged(context, left)
        base = frame.context
        update = None if base is None or context is None else self.core.contexts.net(base, context)
        sunk = caught_inline(with_output, self.core, self.step, base, update, output)
        if isinstance(sunk, Raised):
            return failed(self.core, frame, started, sunk.error, (outcome,))
        latency = perf_counter() - started
        return make_success(
            self.step,
            frame.segments,
            frame.index,
            1,
            latency,
            None,
            (outcome,),
            metadata,
            output,
            sunk,
        )

    def _merged(self, context: BaseModel | None, decision: Decision) -> BaseModel | None:
        if context is None or decision.update is None:
            return context
        return self.core.contexts.merge(context, decision.update)
