"""The policy of steps that an agent works on."""

from __future__ import annotations

from typing import cast

from ..agent_orchestrator import AgentOrchestrator
from ..frame import AnyFrame
from ..outcomes import StepOutcome
from ..policy import Call, ExecutorPort
from ..steps import AgentStep, AnyStep, Node


class AgentStepExecutor:
    """Runs an `AgentStep`: its agent, in attempts."""

    handles = AgentStep

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        return await self.bind(core, frame.step)(frame)

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return self._orchestrator.bind(core, cast(AnyStep, step))
