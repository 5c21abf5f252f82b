"""The policies of this package, one for each kind of step."""

from __future__ import annotations

from ..agent_orchestrator import AgentOrchestrator
from ..pipeline_orchestrator import PipelineOrchestrator
from ..policy_registry import PolicyRegistry
from .agent import AgentStepExecutor
from .cache import CacheStepExecutor
from .conditional import ConditionalStepExecutor
from .dynamic_router import DynamicRouterStepExecutor
from .hitl import HitlStepExecutor
from .import_ import ImportStepExecutor
from .loop import LoopStepExecutor, MapStepExecutor
from .parallel import ParallelStepExecutor
from .simple import SimpleStepExecutor


def built_in_policies() -> PolicyRegistry:
    """A registry with a policy for every kind of step of this package."""
    attempts = AgentOrchestrator()
    return PolicyRegistry(
        [
            SimpleStepExecutor(attempts),
            AgentStepExecutor(attempts),
            PipelineOrchestrator(),
            CacheStepExecutor(),
            ConditionalStepExecutor(),
            DynamicRouterStepExecutor(),
            HitlStepExecutor(),
            ImportStepExecutor(),
            LoopStepExecutor(),
            MapStepExecutor(),
            ParallelStepExecutor(),
        ]
    )
