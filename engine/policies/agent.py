"""The policy of steps that an agent works on."""

from __future__ import annotations

from typing import TypeAlias, cast

from ..agent_orchestrator import AgentOrchestrator
from ..attempt import needs_of_attempts
from ..policy import BoundPolicy, Call, ExecutorPort
from ..run import Facility
from ..steps import AgentStep, Node

AnyAgentStep: TypeAlias = AgentStep[object, object]


class AgentStepExecutor(BoundPolicy):
    """Runs an `AgentStep`: its agent, in attempts."""

    handles = AgentStep

    def __init__(self, orchestrator: AgentOrchestrator) -> None:
        self._orchestrator = orchestrator

    def needs(self, step: Node) -> Facility:
        """What the step asks for, and a journal: an agent may ask a human."""
        declared = cast(AnyAgentStep, step)
        return needs_of_attempts(declared, declared.runner) | Facility.JOURNAL

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        declared = cast(AnyAgentStep, step)
        return self._orchestrator.bind(core, declared, declared.runner)
