"""The composition root: managers, registry and dispatcher, made into what runs frames."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from .attempt_slots import AttemptSlots
from .background_task_manager import BackgroundTaskManager
from .cache_manager import CacheManager
from .context import PipelineContext
from .context_update_manager import ContextUpdateManager
from .errors import NestingTooDeep, PolicyContractError
from .execution_dispatcher import ExecutionDispatcher
from .failure_builder import FailureBuilder
from .frame import AnyFrame, child_frame
from .hydration_manager import HydrationManager
from .outcomes import Chunk, FrameOutcome, StepOutcome, Success
from .path import Segment
from .policies.built_in import built_in_policies
from .policy import Call, NeedingPolicy
from .policy_invoker import PolicyInvoker
from .policy_registry import PolicyRegistry
from .quota_manager import QuotaManager
from .recorder import Recorder
from .run import Facility
from .step_history_tracker import StepHistoryTracker
from .steps import Node, name_of
from .user_code import Raised, caught, caught_inline

MAX_CONTAINERS_DEEP = 50
"""How many containers may stand in one another: each takes up to nine of Python's 1,000 calls."""


class _Known(NamedTuple):
    """What is known of a node: what it needs, and how many containers stand in one another."""

    needs: Facility
    height: int


class ExecutorCore:
    """Runs frames. What policies see of it is `flujo_nb.engine.policy.ExecutorPort`."""

    def __init__(
        self,
        registry: PolicyRegistry | None = None,
        background: BackgroundTaskManager | None = None,
        cache: CacheManager | None = None,
        slots: AttemptSlots | None = None,
    ) -> None:
        self.slots = slots
        self.tasks = background or BackgroundTaskManager()
        self.cache = cache or CacheManager()
        self.quota = QuotaManager()
        self.contexts = ContextUpdateManager()
        self.failures = FailureBuilder()
        self.history = StepHistoryTracker(self.contexts.merge)
        self._hydration = HydrationManager(self.failures, self.contexts.merge)
        recorder = Recorder(self.failures, self.contexts)
        invoker = PolicyInvoker(self.failures)
        self._policies = (registry or built_in_policies()).table()
        self._known: dict[Node, _Known] = {}
        dispatcher = ExecutionDispatcher(
            self._policies,
            invoker,
            # Outermost first.
            (
                # A recorded frame is not told as started and finished: it did not run.
                (Facility.JOURNAL, recorder.record),
                # Nothing that the hooks are told of may happen before they are told.
                (Facility.EVENTS, invoker.observe),
                # What is kept is what the frame really gave.
                (Facility.OUTPUTS, recorder.keep_output),
                # What was not saved was not done, so all others hear of a failure to save.
                (Facility.REFERENCES, self._hydration.hydrate),
            ),
        )
        self._calls = dispatcher.calls(self)

    def calls(self, frame: AnyFrame) -> Mapping[Node, Call]:
        """The calls of a run of ``frame``'s kind."""
        return self._calls[frame.run.facilities]

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
        concurrent: bool = False,
    ) -> AnyFrame:
        """A new frame for a child of ``parent``; see `flujo_nb.engine.frame.child_frame`."""
        return child_frame(
            parent,
            step,
            data,
            context=context,
            segments=segments,
            index=index,
            concurrent=concurrent,
        )

    def go_past(self, child: AnyFrame) -> None:
        """Note that ``child`` failed and its parent goes on: resuming does not run it again."""
        if child.run.journal is not None:
            child.run.journal.go_past(child.path)

    def facilities_of(self, node: Node, context: BaseModel | None) -> Facility:
        """What a run of ``node`` makes use of: what its policies, and all inside it, need.

        Raises `NestingTooDeep`.
        """
        needs = self._known_of(node, 0).needs
        if not needs:  # as most: flags are dear to look at
            return needs
        if Facility.CONTEXT in needs and isinstance(context, PipelineContext):
            needs |= Facility.OUTPUTS  # such a context shows them
        if Facility.CONTEXT in needs and context is not None and self._hydration.serves(context):
            needs |= Facility.REFERENCES
        return needs & ~Facility.CONTEXT

    def nodes_of(self, node: Node) -> Sequence[Node]:
        """``node`` and all that it may run inside."""
        return (*_inside(node), node)

    def _known_of(self, node: Node, depth: int) -> _Known:
        known = self._known.get(node)
        if known is None:
            policy = self._policies.policy_of(type(node))
            # Of a policy that does not say, anything may be expected.
            needs = policy.needs(node) if isinstance(policy, NeedingPolicy) else Facility.JOURNAL
            if node.in_background or node.once:
                needs |= Facility.JOURNAL  # of what it has done, should it fail or pause
            height = 0
            for inner in node.inner if depth < 4 * MAX_CONTAINERS_DEEP else ():
                below = self._known_of(inner, depth + 1)
                needs |= below.needs
                height = max(height, below.height)
            known = self._known[node] = _Known(needs, height + node.is_container)
        if known.height > MAX_CONTAINERS_DEEP:
            raise NestingTooDeep(
                f"{known.height} containers stand in one another from {name_of(node)!r} down, and "
                f"{MAX_CONTAINERS_DEEP} may: make one pipeline of some"
            )
        return known

    def plan(self, frame: AnyFrame) -> None:
        """Resolve every step of a run's root frame, before the first one starts.

        A step that nothing can run is thus an error of the caller (`ConfigurationError`), and not
        a failed run.
        """
        calls = self.calls(frame)
        if frame.step not in calls:
            for node in self.nodes_of(frame.step):  # itself last: it says all is done
                calls[node]

    async def run_root(self, frame: AnyFrame) -> FrameOutcome:
        """Plan a run's root frame and run it to its end, whatever end that is.

        An interrupt comes back as an outcome too; whoever awaits this decides in which form it
        travels on.
        """
        self.plan(frame)
        given = await caught(self.run(frame))
        if isinstance(given, Raised):
            return self.failures.build(frame, given.error)
        if isinstance(given, Chunk):
            raise PolicyContractError("a run cannot end with a Chunk")
        if isinstance(given, Success) and given.update is not None and frame.context is not None:
            merged = caught_inline(self.contexts.merge, frame.context, given.update)
            if isinstance(merged, Raised):
                return self.failures.build(frame, merged.error, children=given.children)
        return given


def _inside(node: Node) -> Iterable[Node]:
    """All nodes inside ``node``, each once: fallbacks may lead in circles."""
    found: dict[Node, None] = {}
    left = list(node.inner)
    while left:
        one = left.pop()
        if one not in found:
            found[one] = None
            left.extend(one.inner)
    return found
