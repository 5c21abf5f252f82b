"""The policy of steps that run all their branches."""

from __future__ import annotations

from time import perf_counter
from typing import cast

from ..complex_step_router import AnyBranching, ComplexStepRouter
from ..policy import BoundPolicy, Call, ExecutorPort
from ..step_kinds import ParallelStep
from ..steps import Node


class ParallelStepExecutor(BoundPolicy):
    """Runs a `ParallelStep`."""

    handles = ParallelStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        router = ComplexStepRouter(core, cast(AnyBranching, step))
        names = tuple(router.step.branches)
        return lambda frame: router.run(frame, names, perf_counter())
