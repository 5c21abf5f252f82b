"""What a policy is, and what the core offers to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from .attempt_slots import AttemptSlots
from .background_task_manager import BackgroundTaskManager
from .cache_manager import CacheManager
from .context_update_manager import ContextUpdateManager
from .failure_builder import FailureBuilder
from .frame import AnyFrame
from .outcomes import FrameOutcome, StepOutcome
from .path import Segment
from .quota_manager import QuotaManager
from .run import Facility
from .signatures import positional_count
from .step_history_tracker import StepHistoryTracker
from .steps import Node

Call: TypeAlias = Callable[[AnyFrame], Awaitable[StepOutcome]]
"""One step's own way to be run: everything that does not depend on the frame is worked out."""

Interceptor: TypeAlias = Callable[[AnyFrame, Call], Awaitable[StepOutcome]]
"""Stands around a call: gets the frame and what to proceed with."""


class ExecutorPort(Protocol):
    """The core as policies see it."""

    @property
    def quota(self) -> QuotaManager:
        """Budgets: ``with core.quota.attempt(frame, estimate) as attempt``."""

    @property
    def contexts(self) -> ContextUpdateManager:
        """Isolating, comparing and merging contexts."""

    @property
    def failures(self) -> FailureBuilder:
        """Exceptions to outcomes."""

    @property
    def cache(self) -> CacheManager:
        """What cached steps gave."""

    @property
    def history(self) -> StepHistoryTracker:
        """Outcomes to step results."""

    @property
    def tasks(self) -> BackgroundTaskManager:
        """What goes on behind the runs."""

    @property
    def slots(self) -> AttemptSlots | None:
        """What bounds the attempts in flight, if anything does: each takes one slot."""

    def run(self, frame: AnyFrame) -> Awaitable[StepOutcome]:
        """Run a frame: a child that `child_frame` made."""

    async def run_root(self, frame: AnyFrame) -> FrameOutcome:
        """Run a frame that nothing above it waits for, to its end, whatever end that is."""

    def calls(self, frame: AnyFrame) -> Mapping[Node, Call]:
        """The calls of a run of ``frame``'s kind; a step that has none yet gets one on look-up."""

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

    def go_past(self, child: AnyFrame) -> None:
        """Note that ``child`` failed and its parent goes on: resuming does not run it again."""


class StepPolicy(Protocol):
    """How one kind of step is run. ``handles`` is the step type; subclasses are covered too."""

    @property
    def handles(self) -> type:
        """The type of step (or pipeline) that the policy runs."""

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame`` and say how it ended."""


@runtime_checkable
class NeedingPolicy(Protocol):
    """A policy that says what a run of a step needs. Without it a journal is kept."""

    def needs(self, step: Node) -> Facility:
        """What ``step`` itself needs, whatever stands inside it."""


@runtime_checkable
class BindingPolicy(Protocol):
    """A policy that can also work out one step's call beforehand, when a pipeline is planned.

    The call gives what ``execute`` gives for a frame of that step, and raises nothing.
    """

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The call of ``step``."""


class BoundPolicy(ABC):
    """What the policies of this package have in common: they work out each step's call."""

    handles: type

    def needs(self, step: Node) -> Facility:
        """What the functions that the step asks need: the context, if they take it."""
        asked = [one for one in step.deciders if one is not None]
        takes_context = any(positional_count(one) > 1 for one in asked)
        return Facility.CONTEXT if takes_context else Facility.NONE

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> StepOutcome:
        """Run ``frame`` and say how it ended."""
        return await self.bind(core, frame.step)(frame)

    @abstractmethod
    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The call of ``step``."""
