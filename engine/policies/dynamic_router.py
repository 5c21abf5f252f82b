"""The policy of steps that ask a router which branches to run."""

from __future__ import annotations

from time import perf_counter
from typing import TypeAlias, cast

from ..complex_step_router import ComplexStepRouter, unknown_branches
from ..errors import BranchNotFound
from ..frame import AnyFrame, planned_child
from ..outcomes import StepOutcome, Success
from ..passing import ended, passed_on
from ..path import Segment, SegmentKind
from ..policy import BoundPolicy, Call, ExecutorPort
from ..step_kinds import DynamicParallelRouterStep
from ..steps import Node
from ..values import shown

AnyRouter: TypeAlias = DynamicParallelRouterStep[object, object]
_ROUTER = (Segment(SegmentKind.ROUTER),)


class DynamicRouterStepExecutor(BoundPolicy):
    """Runs a `DynamicParallelRouterStep`: its router, then the branches that it named."""

    handles = DynamicParallelRouterStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        declared = cast(AnyRouter, step)
        branches = ComplexStepRouter(core, declared)

        async def call(frame: AnyFrame) -> StepOutcome:
            started = perf_counter()
            router = declared.router
            asked = planned_child(
                frame, frame, _ROUTER, None, router, frame.data, frame.context, 1, None
            )
            outcome = await core.calls(frame)[router](asked)
            if not isinstance(outcome, Success):
                return passed_on(ended(outcome), frame, (outcome,), perf_counter() - started)
            names = names_of(outcome.output, declared)
            if isinstance(names, BranchNotFound):
                error = BranchNotFound(f"{names} (at {frame.path})")
                return core.failures.build(
                    frame, error, latency_s=perf_counter() - started, children=(outcome,)
                )
            return await branches.run(frame, names, started, (outcome,))

        return call


def names_of(given: object, step: AnyRouter) -> list[str] | BranchNotFound:
    """The branches that a router's output names, each once, in the order of the step's own."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple | set | frozenset):
        return BranchNotFound(
            f"a router gives the name of a branch, or several in a list; {step.router.name!r} gave "
            f"{type(given).__name__}: {shown(given)}"
        )
    unknown = unknown_branches(list(given), step.branches)
    return [name for name in step.branches if name in given] if unknown is None else unknown
