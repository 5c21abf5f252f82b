"""Branches: chosen, run as child frames, and brought together again."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeAlias, TypeVar

from pydantic import BaseModel

from .context import ContextUpdate
from .deciders import CONTEXT, Question
from .errors import BranchNotFound, ContextUpdateError, FlujoError
from .fan_out import FannedOut, FanOut
from .frame import AnyFrame, branch_frame
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    Paused,
    StepOutcome,
    Success,
    make_success,
)
from .output_sinks import with_output
from .passing import OutcomeT, gone_past, passed_on
from .path import BranchKey, Segment, branch_segment
from .policy import ExecutorPort
from .results import StepResult
from .step_kinds import BranchFailureStrategy, BranchingStep
from .steps import Node
from .user_code import Raised, caught_inline
from .values import own_copy, shown

Key = TypeVar("Key")
AnyBranching: TypeAlias = BranchingStep[object, object]

PLAIN_KEYS = frozenset({str, int, bool})
"""Types of keys that need no looking at."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The branch that a key leads to; ``segments`` are its part of the path."""

    key: object
    node: Node
    segments: tuple[Segment, ...]
    metadata: Mapping[str, object]

    @classmethod
    def of(cls, key: object, node: Node, segment: Segment) -> Chosen:
        """The branch ``node``, chosen by ``key``."""
        return cls(key, node, (segment, *node.own_segments), {"executed_branch_key": key})


class BranchTable:
    """The branches of a conditional step, found by key *and* type (``1`` is not ``"1"``)."""

    def __init__(self, branches: Mapping[BranchKey, Node], default: Node | None) -> None:
        self._default = default
        self._by_key: dict[tuple[type, object], Chosen] = {
            (type(key), key): Chosen.of(key, node, branch_segment(key))
            for key, node in ((_plain(key), node) for key, node in branches.items())
        }

    def choose(self, key: object) -> Chosen | BranchNotFound:
        """The branch of ``key``, or else the default.

        A bool also stands for the branches ``"true"`` and ``"false"``.
        """
        if type(key) not in PLAIN_KEYS:
            key = _plain(key)
        if isinstance(key, BranchKey):
            found = self._by_key.get((type(key), key))
            if found is None and isinstance(key, bool):
                found = self._by_key.get((str, str(key).lower()))
            if found is not None:
                return found
        if self._default is not None:
            return Chosen.of(key, self._default, branch_segment("default"))
        known = ", ".join(repr(one) for _, one in self._by_key)
        return BranchNotFound(
            f"the condition gave {shown(key)} ({type(key).__name__}), and there are branches for "
            f"{known} and no default one"
        )


def _plain(key: Key) -> Key | str:
    """The text of an enum's member that is one: conditions and branches may use either."""
    return "".join(key) if isinstance(key, str) and type(key) is not str else key


def unknown_branches(
    names: Sequence[object], branches: Mapping[str, Node]
) -> BranchNotFound | None:
    """The error when a router named a branch that does not exist."""
    unknown = [name for name in names if not isinstance(name, str) or name not in branches]
    if not unknown:
        return None
    return BranchNotFound(
        f"the router named {', '.join(map(shown, unknown))}; there are "
        f"{', '.join(map(repr, branches))}"
    )


class ComplexStepRouter:
    """Runs several branches of one step on the same input, and merges what they changed."""

    def __init__(self, core: ExecutorPort, step: AnyBranching) -> None:
        self.core = core
        self.step = step
        self.segments = {
            name: (branch_segment(name), *node.own_segments) for name, node in step.branches.items()
        }
        reduce = step.reduce
        self.reduce = None if reduce is None else Question("reduce", reduce, 2)
        self.propagates = step.on_branch_failure is BranchFailureStrategy.PROPAGATE

    async def run(
        self,
        frame: AnyFrame,
        names: Sequence[str],
        started: float,
        before: Sequence[Success] = (),
    ) -> StepOutcome:
        """Run the branches ``names``; ``before`` are children that the frame has had already."""
        context = frame.context
        for outcome in before:
            context = context and self.core.contexts.merge(context, outcome.update)
        base = caught_inline(self._base_of, context)
        if isinstance(base, Raised):
            return self.core.failures.build(frame, base.error, children=before)
        calls, step = self.core.calls(frame), self.step
        concurrent = frame.concurrent or (len(names) > 1 and step.max_concurrency != 1)

        def start(number: int) -> Awaitable[StepOutcome]:
            name = names[number]
            node, segments = step.branches[name], self.segments[name]
            data = own_copy(frame.data) if len(names) > 1 else frame.data
            child = branch_frame(
                frame, frame, segments, None, node, data, base, 1, None, concurrent
            )
            call = calls[node]
            return call(child) if self.propagates else gone_past(self.core, child, call)

        fanned = await FanOut(frame.run, len(names), start, self._stops, step.max_concurrency).run()
        together = _Together(self, frame, context, names, fanned, before, started)
        ended = together.ended()
        return await together.reduced() if ended is None else ended

    def _base_of(self, context: BaseModel | None) -> BaseModel | None:
        """What branches see of the context."""
        keys = self.step.context_include_keys
        if context is None or keys is None:
            return context
        fields = type(context).model_fields
        for unknown in {*keys} - {*fields}:
            raise ContextUpdateError(
                f"context_include_keys of {self.step.name!r} names {unknown!r}; "
                f"{type(context).__name__} has {', '.join(fields)}"
            )
        hidden = {
            name: field.get_default(call_default_factory=True)
            for name, field in fields.items()
            if name not in keys and not field.is_required()
        }
        return context.model_copy(update=hidden)

    def _stops(self, outcome: StepOutcome) -> bool:
        return isinstance(outcome, Aborted) or (self.propagates and isinstance(outcome, Failure))


class _Together:
    """The branches of one frame, when all have ended."""

    def __init__(
        self,
        router: ComplexStepRouter,
        frame: AnyFrame,
        context: BaseModel | None,
        names: Sequence[str],
        fanned: FannedOut,
        before: Sequence[StepOutcome],
        started: float,
    ) -> None:
        self.router = router
        self.core = router.core
        self.frame = frame
        self.context = context
        self.started = started
        self.cut = fanned.cut
        self.ends = [
            (name, outcome)
            for name, outcome in zip(names, fanned.outcomes, strict=True)
            if outcome is not None
        ]
        self.children = [*before, *(outcome for _, outcome in self.ends)]
        self.others = [(name, one) for name, one in self.ends if type(one) is not Success]
        self.metadata: dict[str, object] = {"executed_branches": list(names)}

    def ended(self) -> StepOutcome | None:
        """How the frame ends when its branches did not do what they were to do."""
        if self.cut is not None:
            return self._failed(self.cut)
        for _, outcome in self.others:
            if isinstance(outcome, Aborted) and outcome.reason is not AbortReason.CANCELLED:
                return self._passed(outcome)
        failed = [(name, one) for name, one in self.others if isinstance(one, Failure)]
        all_failed = len(failed) == len(self.ends) > 0
        if failed and (self.router.propagates or all_failed):
            return replace(self._passed(failed[0][1]), feedback=_feedback_of(failed))
        waiting = [outcome for _, outcome in self.others if isinstance(outcome, Paused)]
        if waiting:
            message = "; ".join(one.message for one in waiting)
            return replace(self._passed(waiting[0]), message=message)
        stopped = [outcome for _, outcome in self.others if isinstance(outcome, Aborted)]
        return self._passed(stopped[0]) if stopped else None

    async def reduced(self) -> StepOutcome:
        """The frame's success: branches merged, outputs reduced."""
        frame, core, step = self.frame, self.core, self.router.step
        merged = caught_inline(self._merged)
        if isinstance(merged, Raised):
            return self._failed(merged.error)
        output: object = {
            name: one.output if type(one) is Success else self._output_of(name, one)
            for name, one in self.ends
        }
        context = self.context and core.contexts.merge(self.context, merged)
        if self.router.reduce is not None:
            results = [self._result_of(name, one) for name, one in self.ends]
            asked = await self.router.reduce.ask(core, frame, context, results, CONTEXT)
            if isinstance(asked, Raised):
                return self._failed(asked.error)
            output = asked.value
            if isinstance(output, StepResult):
                if not output.success:
                    return self._failed(FlujoError(output.feedback or "the reducer gave a failure"))
                output = output.output
            context = context and core.contexts.merge(context, asked.update)
        update = None
        if frame.context is not None and context is not None:
            update = core.contexts.net(frame.context, context)
        sunk = caught_inline(with_output, core, step, frame.context, update, output)
        if isinstance(sunk, Raised):
            return self._failed(sunk.error)
        return make_success(
            step,
            frame.segments,
            frame.index,
            1,
            perf_counter() - self.started,
            None,
            self.children,
            self.metadata,
            output,
            sunk,
        )

    def _merged(self) -> ContextUpdate | Raised | None:
        context, step = self.context, self.router.step
        if context is None:
            return None
        updates = [
            (name, one.update if isinstance(one, Success) else None) for name, one in self.ends
        ]
        return self.core.contexts.merge_branches(
            context, updates, step.merge_strategy, step.field_mapping
        )

    def _output_of(self, name: str, outcome: StepOutcome) -> object:
        if isinstance(outcome, BackgroundLaunched):
            return self.frame.data
        return self._result_of(name, outcome)

    def _result_of(self, name: str, outcome: StepOutcome) -> StepResult:
        result = self.core.history.result_of(outcome, self.frame.path)
        return replace(result, name=f"{self.router.step.name}_{name}")

    def _passed(self, outcome: OutcomeT) -> OutcomeT:
        latency = perf_counter() - self.started
        return passed_on(outcome, self.frame, self.children, latency, self.metadata)

    def _failed(self, error: BaseException) -> StepOutcome:
        failed = self.core.failures.build(
            self.frame,
            error,
            latency_s=perf_counter() - self.started,
            children=self.children,
        )
        return replace(failed, metadata=self.metadata)


def _feedback_of(failed: Sequence[tuple[str, Failure]]) -> str:
    told = [f"branch {name!r} failed: {outcome.feedback}" for name, outcome in failed]
    return told[0] if len(told) == 1 else f"{len(told)} branches failed: {'; '.join(told)}"
