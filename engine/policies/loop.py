"""The policies of steps that repeat: until a condition holds, or for each item."""

from __future__ import annotations

from typing import cast

from ..loop_executor import AnyLoop, LoopExecutor
from ..map_executor import AnyMap, MapExecutor
from ..policy import BoundPolicy, Call, ExecutorPort
from ..step_kinds import LoopStep, MapStep
from ..steps import Node


class LoopStepExecutor(BoundPolicy):
    """Runs a `LoopStep`."""

    handles = LoopStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return LoopExecutor(core, cast(AnyLoop, step)).run


class MapStepExecutor(BoundPolicy):
    """Runs a `MapStep`."""

    handles = MapStep

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return MapExecutor(core, cast(AnyMap, step)).run
