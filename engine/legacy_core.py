"""The core as policies with an argument list know it: bound to the frame that they run.

What such a policy makes and runs through it are children of that frame, at the places that the
policy names. The policy hears of pauses and aborts as exceptions; what they did is kept here, so
that nothing the policy makes of them is lost or taken for something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypedDict, Unpack, cast

from pydantic import BaseModel, TypeAdapter

from .answers import answer_of
from .context_view import plain_of
from .errors import (
    DuplicatePath,
    FlujoError,
    PausedException,
    PipelineAbortSignal,
    StepInterrupted,
    UsageLimitExceededError,
)
from .failure_builder import feedback_of
from .frame import AnyFrame, retry_frame
from .journal import Journal
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    FrameOutcome,
    Outcome,
    Paused,
    Success,
)
from .passing import ended, passed_on
from .path import BranchKey, FramePath, Segment, SegmentKind, branch_segment
from .policy import ExecutorPort
from .results import StepResult
from .step_body import give_chunk
from .step_history_tracker import path_of, total_usage
from .steps import Node
from .usage import FREE, Meter, Quota, Usage, UsageEstimate, UsageLimits
from .user_code import Raised, caught, caught_inline, is_cancelled


class ChildOptions(TypedDict, total=False):
    """What a policy may say of a child beside its step, its input and its context.

    Where it stands in the path: as iteration or item number ``index``; in the branch of the key
    ``branch``; as what ``place`` names; as a fallback, with a depth above the policy's own. Its
    ``limits``, when they are not the policy's own, bound it within the budget.
    """

    index: int | None
    branch: BranchKey
    place: Literal["router", "import", "cached"]
    limits: UsageLimits | None
    fallback_depth: int
    _fallback_depth: int
    # What older policies hand on too; a child inherits it, whatever is given.
    resources: object
    stream: object
    on_chunk: object
    quota: object
    usage_limits: object
    cache_key: object
    breach_event: object
    context_setter: object
    result: object


@dataclass(slots=True, eq=False)
class _Child:
    """A child that the policy made, and the context that it is to be merged into.

    ``cut`` says that somebody cancelled the task it ran in.
    """

    frame: AnyFrame
    context: BaseModel | None
    options: ChildOptions
    started: bool = False
    cut: bool = False
    outcome: FrameOutcome | None = None


class FrameBoundCore:
    """The core as an older policy knows it: what it makes and runs are children of its frame."""

    def __init__(self, core: ExecutorPort, frame: AnyFrame) -> None:
        self._core = core
        self._frame = frame
        self._home = asyncio.current_task()
        self._tasks: set[asyncio.Task[object]] = set()
        self._children: dict[Node | AnyFrame, _Child] = {}  # by their frames
        self._cancelled = False
        self._refused: UsageLimitExceededError | None = None
        self._asked_for: type | None = None
        self.contexts = core.contexts
        self.context = None if frame.context is None else core.contexts.isolate(frame.context)
        self.quota = Quota(frame.limits, frame.quota)  # a part: it tells what the policy books

    @property
    def fallback_depth(self) -> int:
        """Which fallback of a step the policy's frame is; 0 for none."""
        last = self._frame.segments[-1:]
        return int(str(last[0].key)) if last and last[0].kind is SegmentKind.FALLBACK else 0

    def set_context(self, *given: object) -> None:
        """The ``context_setter``: the policy goes on with another context than it was given."""
        for one in given:
            if self._frame.context is not None and isinstance(one, type(self._frame.context)):
                self.context = one

    async def give_chunk(self, data: object, attempt: int = 1) -> None:
        """The ``on_chunk``: a piece of the step's output, for all who listen to the run."""
        await give_chunk(retry_frame(self._frame, attempt, None), data)

    @contextmanager
    def reserve(self, estimate: UsageEstimate) -> Iterator[Meter]:
        """Reserve ``estimate`` for the block, and book the attempt's ``used`` when it ends.

        Raises `UsageLimitExceededError`, which ends the run whatever the policy makes of it.
        """
        own = replace(self._frame, quota=self.quota)
        try:
            with self._core.quota.attempt(own, estimate.usage()) as attempt:
                yield attempt
        except UsageLimitExceededError as error:
            self._refused = error
            raise

    def ask(self, message: str, wanted: type | None = None) -> object:
        """A human's answer to the policy's own question, of the type that is ``wanted``.

        As long as there is none, or none of that type, it raises the `PausedException` that asks
        for it.
        """
        journal, path = self._frame.run.journal, self._frame.path
        if journal is not None and path in journal.answers:
            taken = caught_inline(answer_of, journal.answers[path], wanted, str(path))
            if not isinstance(taken, Raised):
                return taken
            journal.reopen(path)
            message = f"{message} (refused: {feedback_of(taken.error)})"
        self._asked_for = wanted
        raise PausedException(message)

    def make_execution_frame(
        self,
        step: Node,
        data: object = None,
        context: BaseModel | None = None,
        **options: Unpack[ChildOptions],
    ) -> AnyFrame:
        """A frame for a child (see `ChildOptions`); without ``context`` on the policy's own."""
        return self._made(step, data, context, options).frame

    def _made(
        self, step: Node, data: object, context: BaseModel | None, options: ChildOptions
    ) -> _Child:
        known = ChildOptions.__annotations__
        for unknown in options.keys() - known.keys():
            raise TypeError(f"a child takes {', '.join(known)}; found {unknown!r}")
        own = self.context if context is None else context
        frame = self._placed(step, data, None if own is None else plain_of(own), options)
        limits, journal = options.get("limits"), frame.run.journal
        if limits is not None and limits != frame.limits:
            spent = FREE if journal is None else journal.spent_at(frame.path)
            frame = replace(frame, quota=Quota(limits, frame.quota, spent))
        child = self._children[frame] = _Child(frame, own, options)
        return child

    def _placed(
        self, step: Node, data: object, context: BaseModel | None, options: ChildOptions
    ) -> AnyFrame:
        """The child where ``options`` say; beside the one that stands there, if one does."""
        depth = max(options.get("fallback_depth", 0), options.get("_fallback_depth", 0))
        segments = _segments_of(step, options, depth if depth > self.fallback_depth else 0)
        make = partial(self._core.child_frame, self._frame, step, data, context=context)
        index, again = options.get("index"), 0
        if segments is None:
            return make(index=index)
        while True:
            beside = (Segment(SegmentKind.INDEX, again),) if again else ()
            try:
                return make(index=index, segments=(*segments[:1], *beside, *segments[1:]))
            except DuplicatePath:
                again += 1

    async def execute(
        self,
        step: Node | AnyFrame,
        data: object = None,
        context: BaseModel | None = None,
        **options: Unpack[ChildOptions],
    ) -> StepResult:
        """Run a child, given as a frame or by its step and input, and return its result.

        What the child changed is merged into its context in place. A pause or abort travels as
        the exception that older policies know.
        """
        child = self._children.get(step)
        if child is None:
            child = self._made(cast(Node, step), data, context, options)
        elif child.started:  # once more, and so at a place of its own
            child = self._made(child.frame.step, child.frame.data, child.context, child.options)
        child.started = True
        frame, task = child.frame, asyncio.current_task()
        if task is not None and task is not self._home:
            self._tasks.add(task)
            frame = replace(frame, concurrent=True)
        outcome = child.outcome = ended(await self._core.run(frame))
        if frame.run.journal is not None and frame.quota is not self._frame.quota:
            frame.run.journal.spend(frame.path, frame.quota.spent)
        match outcome:
            case Paused(message=message):
                raise PausedException(message)
            case Aborted(reason=reason, message=message):
                cancelled = task is not None and task.cancelling() > 0
                child.cut = cancelled and reason is AbortReason.INTERRUPTED
                raise asyncio.CancelledError if cancelled else _SIGNALS[reason](message)
            case Success(update=update) if update is not None and child.context is not None:
                self.contexts.merge_into(child.context, update)
        result = self._core.history.result_of(outcome, self._frame.path)
        if isinstance(outcome, BackgroundLaunched):
            return replace(result, output=frame.data)
        return result

    async def settled(self, answer: object) -> object:
        """What the policy ended with, once no child is in flight any more.

        Beside a pause children run to their own end, so that all questions are asked at once;
        beside anything else they are cancelled.
        """
        may_go_on = isinstance(answer, Paused) or (
            isinstance(answer, Raised) and isinstance(answer.error, PausedException)
        )
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in () if may_go_on else tasks:
                task.cancel()
            ends = await caught(asyncio.gather(*tasks, return_exceptions=True))
            if isinstance(ends, Raised):
                answer, may_go_on = ends, False
        self._cancelled = isinstance(answer, Raised) and is_cancelled(answer.error)
        return answer

    def outcome_of(self, answer: Outcome | StepResult | Raised) -> FrameOutcome:
        """How the policy's frame ended, when it ended with ``answer`` itself.

        An interrupt, a breach of the budget and a child's pause end it whatever the policy made
        of them; only another child's failure is stronger than a pause.
        """
        frame, children = self._frame, self._ended_children()
        for child in children:
            if isinstance(child, Aborted) and child.reason is not AbortReason.CANCELLED:
                return replace(passed_on(child, frame, children, 0.0), usage=self._own_usage(FREE))
        if self._refused is not None:
            return self.failed(self._refused)
        match answer:
            case Raised(error=error):
                outcome: FrameOutcome = self.failed(error)
            case StepResult():
                outcome = self._outcome_of_result(answer, children)
            case _:
                usage = self._own_usage(answer.usage or FREE)
                inside = (*answer.children, *children)
                outcome = cast(FrameOutcome, replace(answer, children=inside, usage=usage))
        waiting = [child for child in children if isinstance(child, Paused)]
        failed = [child for child in children if isinstance(child, Failure)]
        if waiting and (isinstance(outcome, Success | Paused) or not failed):
            paused = passed_on(waiting[0], frame, children, 0.0)
            told = "; ".join(child.message for child in waiting)
            outcome = replace(paused, message=told, schema=None, usage=outcome.usage)
        if frame.run.journal is not None and isinstance(outcome, Success | Paused):
            for child in failed:
                _go_past(frame.run.journal, child, frame.path)
        if not isinstance(outcome, Success) or outcome.update is not None:
            return outcome
        if frame.context is None or self.context is None:
            return outcome
        return replace(outcome, update=self.contexts.diff(frame.context, self.context))

    def failed(self, error: BaseException) -> FrameOutcome:
        """How the policy's frame ended, when ``error`` ended it."""
        failures, children = self._core.failures, self._ended_children()
        cause, usage = failures.cause_of(error), self._own_usage(FREE)
        outcome = failures.build(self._frame, cause, usage=usage, children=children)
        if isinstance(outcome, Paused) and self._asked_for is not None:
            return replace(outcome, schema=TypeAdapter(self._asked_for).json_schema())
        return outcome

    def _outcome_of_result(
        self, result: StepResult, children: Sequence[FrameOutcome]
    ) -> Success | Failure:
        """The outcome that a result stands for; its usage includes the children's."""
        whole = Usage.of(cost_usd=result.cost_usd, tokens=result.token_counts)
        usage = self._own_usage(whole - sum(map(total_usage, children), FREE))
        if result.success:
            return Success(
                output=result.output,
                attempts=result.attempts,
                usage=usage,
                children=children,
                metadata=result.metadata,
            )
        feedback = result.feedback or "the policy gave no reason"
        told = [one for one in children if isinstance(one, Failure) and one.feedback in feedback]
        return Failure(
            error=told[-1].error if told else FlujoError(feedback),
            feedback=feedback,
            output=result.output,
            attempts=result.attempts,
            usage=usage,
            children=children,
            metadata=result.metadata,
        )

    def _own_usage(self, told: Usage) -> Usage | None:
        """What the policy itself used: what it told and what it booked; now all is booked."""
        booked = self.quota.spent
        own = Usage(
            max(told.cost_micros, booked.cost_micros),
            max(told.tokens, booked.tokens),
            max(told.requests, booked.requests),
        )
        self.quota.reconcile(FREE, own - booked)
        return own or None

    def _ended_children(self) -> list[FrameOutcome]:
        """The outcomes of the children that ran, in the order in which they were made."""
        ends: list[FrameOutcome] = []
        for child in self._children.values():
            end = child.outcome
            if child.cut and not self._cancelled and isinstance(end, Aborted):
                end = replace(end, reason=AbortReason.CANCELLED, message="cancelled by its policy")
            if end is not None:
                ends.append(end)
        return ends


_SIGNALS: dict[AbortReason, type[FlujoError]] = {
    AbortReason.INTERRUPTED: StepInterrupted,
    AbortReason.CANCELLED: StepInterrupted,
    AbortReason.QUOTA: UsageLimitExceededError,
    AbortReason.SIGNAL: PipelineAbortSignal,
}
_PLACES = {
    "router": SegmentKind.ROUTER,
    "import": SegmentKind.IMPORT,
    "cached": SegmentKind.CACHED,
}


def _segments_of(step: Node, options: ChildOptions, fallback: int) -> tuple[Segment, ...] | None:
    """The child's part of the path; ``None`` for its name, numbered among its namesakes."""
    place = options.get("place")
    if "branch" in options:
        return branch_segment(options["branch"]), *step.own_segments
    if fallback:
        return (Segment(SegmentKind.FALLBACK, fallback),)
    if place is None:
        return None if step.own_segments else ()
    if place not in _PLACES:
        raise TypeError(f"a child's place is one of {', '.join(_PLACES)}; found {place!r}")
    inside = step.own_segments if place == "import" else ()
    return Segment(_PLACES[place]), *inside


def _go_past(journal: Journal, failed: Failure, above: FramePath) -> None:
    """Note that a failed child of the frame at ``above`` is not to be run again."""
    path = path_of(failed, above)
    if path != above:
        journal.go_past(path)
        return
    for inner in failed.children:  # a pipeline that stands nowhere itself
        if isinstance(inner, Failure):
            _go_past(journal, inner, path)
