"""The composition root: managers, registry and dispatcher, made into what runs frames."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from pydantic import BaseModel

from .agent_orchestrator import AgentOrchestrator
from .context_update_manager import ContextUpdateManager
from .errors import PolicyContractError
from .execution_dispatcher import ExecutionDispatcher
from .failure_builder import FailureBuilder
from .frame import AnyFrame, Facility, child_frame
from .outcomes import Chunk, FrameOutcome, StepOutcome
from .path import Segment
from .pipeline_orchestrator import PipelineOrchestrator
from .policies.agent import AgentStepExecutor
from .policies.simple import SimpleStepExecutor
from .policy import Call
from .policy_invoker import PolicyInvoker
from .policy_registry import PolicyRegistry
from .quota_manager import QuotaManager
from .steps import Node, steps_of
from .user_code import Raised, caught


def built_in_policies() -> PolicyRegistry:
    """A registry with a policy for every kind of step of this package."""
    attempts = AgentOrchestrator()
    return PolicyRegistry(
        [SimpleStepExecutor(attempts), AgentStepExecutor(attempts), PipelineOrchestrator()]
    )


class ExecutorCore:
    """Runs frames. What policies see of it is `flujo_nb.engine.policy.ExecutorPort`."""

    def __init__(self, registry: PolicyRegistry | None = None) -> None:
        self.quota = QuotaManager()
        self.contexts = ContextUpdateManager()
        self.failures = FailureBuilder()
        invoker = PolicyInvoker(self.failures)
        self._dispatcher = ExecutionDispatcher(
            (registry or built_in_policies()).table(),
            invoker,
            # Outermost first. Events stand outside everything: they tell of every frame.
            ((Facility.EVENTS, invoker.observe),),
        )

    def calls(self, frame: AnyFrame) -> Mapping[Node, Call]:
        """The calls of a run of ``frame``'s kind."""
        return self._dispatcher.calls(self, frame.run.facilities)

    def run(self, frame: AnyFrame) -> Awaitable[StepOutcome]:
        """Run ``frame``."""
        return self.calls(frame)[frame.step](frame)

    def child_frame(
        self,
        parent: AnyFrame,
        step: Node,
        data: object,
        *,
        context: BaseModel | None = None,
        segments: tuple[Segment, ...] | None = None,
        index: int | None = None,
    ) -> AnyFrame:
        """A new frame for a child of ``parent``; see `flujo_nb.engine.frame.child_frame`."""
        return child_frame(parent, step, data, context=context, segments=segments, index=index)

    def plan(self, frame: AnyFrame) -> None:
        """Resolve every step of a run's root frame, before the first one starts.

        A step that nothing can run is thus an error of the caller (`ConfigurationError`), and not
        a failed run.
        """
        calls = self.calls(frame)
        if frame.step not in calls:
            for step in (*steps_of(frame.step), frame.step):  # the root last: it says all is done
                calls[step]

    async def run_root(self, frame: AnyFrame) -> FrameOutcome:
        """Plan a run's root frame and run it to its end, whatever end that is.

        An interrupt comes back as an outcome too; whoever awaits this decides in which form it
        travels on.
        """
        self.plan(frame)
        given = await caught(self.run(frame))
        if isinstance(given, Raised):
            return self.failures.build(frame, self.failures.cause_of(given.error))
        if isinstance(given, Chunk):
            raise PolicyContractError("a run cannot end with a Chunk")
        return given
