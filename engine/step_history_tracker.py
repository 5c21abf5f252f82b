"""The tree of step results that a run returns, made from outcomes when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeAlias, assert_never, overload

from pydantic import BaseModel

from .context import ContextUpdate
from .errors import PolicyContractError
from .outcomes import (
    Aborted,
    BackgroundLaunched,
    Chunk,
    Failure,
    FrameOutcome,
    Outcome,
    Paused,
    StepOutcome,
    Success,
)
from .path import FramePath, Segment, SegmentKind
from .results import Pause, StepResult
from .steps import name_of
from .usage import FREE, Usage
from .user_code import Raised, caught_inline

Merge: TypeAlias = Callable[[BaseModel, ContextUpdate | None], BaseModel]


class StepHistoryTracker:
    """Reads outcomes: results, totals, and the frame that ended a run.

    ``merge`` makes the contexts that results show as their ``branch_context``.
    """

    def __init__(self, merge: Merge | None = None) -> None:
        self._merge = merge

    def history(
        self, outcome: FrameOutcome, context: BaseModel | None = None
    ) -> Sequence[StepResult]:
        """The results of a run's root outcome, made when they are first read."""
        return _History(lambda: self.results(outcome, FramePath(), context))

    def results(
        self, outcome: FrameOutcome, above: FramePath, context: BaseModel | None = None
    ) -> Sequence[StepResult]:
        """The results of ``outcome``'s steps; ``above`` is the path of its parent.

        A pipeline gives its children's results, a step its own. ``context`` is the one that the
        frame began with.
        """
        path = path_of(outcome, above)
        if outcome.step is not None and outcome.step.is_sequence:
            return self._inside(outcome, path, context)
        return [self._result(outcome, path, context)]

    def result_of(
        self, outcome: StepOutcome, above: FramePath, context: BaseModel | None = None
    ) -> StepResult:
        """The result of one step (or of a pipeline as a whole), whose parent is at ``above``."""
        if isinstance(outcome, Chunk):
            raise PolicyContractError(f"a frame cannot end with a Chunk (below {above})")
        return self._result(outcome, path_of(outcome, above), context)

    def _inside(
        self, outcome: FrameOutcome, path: FramePath, context: BaseModel | None
    ) -> list[StepResult]:
        """The results of what ran inside ``outcome``: in turn, or all on the same context."""
        in_turn = outcome.step is not None and outcome.step.folds
        results: list[StepResult] = []
        for child in _ended(outcome.children):
            results.extend(self.results(child, path, context))
            if in_turn:
                context = self._after(context, child)
        return results

    def _after(self, context: BaseModel | None, outcome: FrameOutcome) -> BaseModel | None:
        if context is None or self._merge is None or not isinstance(outcome, Success):
            return context
        merged = caught_inline(self._merge, context, outcome.update)
        return context if isinstance(merged, Raised) else merged

    def open_pauses(self, outcome: FrameOutcome, above: FramePath) -> Sequence[Pause]:
        """The questions that a paused run waits for, in the order of its steps."""
        if not isinstance(outcome, Paused):
            return ()
        path = path_of(outcome, above)
        inside = [
            pause for child in _ended(outcome.children) for pause in self.open_pauses(child, path)
        ]
        own = Pause(path, outcome.message, outcome.schema, outcome.step)
        return inside or (own,)

    def _result(
        self, outcome: FrameOutcome, path: FramePath, context: BaseModel | None
    ) -> StepResult:
        used = total_usage(outcome)
        return StepResult(
            name=name_of(outcome.step) if outcome.step is not None else str(path),
            path=path,
            output=outcome.output if isinstance(outcome, Success | Failure) else None,
            success=isinstance(outcome, Success | BackgroundLaunched),
            attempts=outcome.attempts,
            latency_s=outcome.latency_s,
            token_counts=used.tokens,
            cost_usd=used.cost_usd,
            feedback=feedback_in(outcome),
            branch_context=self._after(context, outcome),
            step_history=self._inside(outcome, path, context),
            metadata=dict(outcome.metadata),
        )


class _History(Sequence[StepResult]):
    """A list that is made when it is first read."""

    def __init__(self, make: Callable[[], Sequence[StepResult]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Sequence[StepResult]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> StepResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StepResult]: ...
    def __getitem__(self, index: int | slice) -> StepResult | Sequence[StepResult]:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._made)

    def __eq__(self, other: object) -> bool:
        return self._made == (other._made if isinstance(other, _History) else other)

    def __repr__(self) -> str:
        return repr(self._made)

    def __reduce__(self) -> tuple[type[list[StepResult]], tuple[Sequence[StepResult]]]:
        return list, (self._made,)


def _ended(children: Sequence[StepOutcome]) -> Iterator[FrameOutcome]:
    return (child for child in children if not isinstance(child, Chunk))


def feedback_in(outcome: FrameOutcome) -> str | None:
    """Why the frame did not succeed, in one line."""
    match outcome:
        case Failure(feedback=feedback):
            return feedback
        case Paused(message=message) | Aborted(message=message):
            return message
        case Success() | BackgroundLaunched():
            return None
        case _:
            assert_never(outcome)


def path_of(outcome: Outcome, above: FramePath) -> FramePath:
    """The path of the frame that ended with ``outcome``, below ``above``."""
    inside = () if outcome.index is None else (Segment(SegmentKind.INDEX, outcome.index),)
    return FramePath((*above.segments, *inside, *outcome.segments))


def total_usage(outcome: FrameOutcome) -> Usage:
    """What the frame and everything inside it used."""
    total = outcome.usage or FREE
    for child in _ended(outcome.children):
        total = total + total_usage(child)
    return total


def deepest_end(outcome: FrameOutcome, above: FramePath) -> tuple[FrameOutcome, FramePath]:
    """The frame that ended the run, and its path: down along the children without success."""
    path = path_of(outcome, above)
    for child in reversed(list(_ended(outcome.children))):
        if _ended_with(outcome, child):
            return deepest_end(child, path)
    return outcome, path


def _ended_with(outcome: FrameOutcome, child: FrameOutcome) -> bool:
    """Whether ``outcome`` is what ``child`` made of the frame around it."""
    match outcome, child:
        case Failure(), Failure():
            return outcome.error is child.error
        case Aborted(), Aborted():
            return outcome.message == child.message
        case Paused(), Paused():
            return outcome.message == child.message
    return False
