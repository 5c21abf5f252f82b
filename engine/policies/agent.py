"""The policy of steps that an agent works on."""

from __future__ import annotations

from typing import cast

from ..agent_orchestrator import AgentOrchestrator
from ..frame import AnyFrame, Facility
from ..outcomes import StepOutcome
from ..policy import Call, ExecutorPort
from ..step_body import needs_of_step
from ..steps import AgentStep, AnyStep, Node


class AgentStepExecutor:
    """Runs an `AgentStep`: its agent, in attempts."""

    handles = AgentStep

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator

    def needs(self, step: Node) -> Facility:
        """What the step asks for, and a journal: an agent may ask a human."""
        return needs_of_step(step) | Facility.JOURNAL

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        return await self.bind(core, frame.step)(frame)

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return self._orchestrator.bind(core, cast(AnyStep, step))
