"""The tree of step results that a run returns, made from outcomes when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .outcomes import Chunk, Failure, FrameOutcome, Outcome, StepOutcome, Success
from .path import FramePath, Segment, SegmentKind
from .results import StepResult
from .steps import Pipeline, name_of
from .usage import FREE, Usage


class StepHistoryTracker:
    """Reads outcomes: results, totals, and the frame that ended a run."""

    def results(self, outcome: FrameOutcome, above: FramePath) -> Sequence[StepResult]:
        """The results of ``outcome``'s steps; ``above`` is the path of its parent.

        A pipeline gives its children's results, a step its own.
        """
        path = path_of(outcome, above)
        if isinstance(outcome.step, Pipeline):
            return [
                result for child in _ended(outcome.children) for result in self.results(child, path)
            ]
        return [self._result(outcome, path)]

    def _result(self, outcome: FrameOutcome, path: FramePath) -> StepResult:
        used = total_usage(outcome)
        return StepResult(
            name=name_of(outcome.step) if outcome.step is not None else str(path),
            path=path,
            output=outcome.output if isinstance(outcome, Success) else None,
            success=isinstance(outcome, Success),
            attempts=outcome.attempts,
            latency_s=outcome.latency_s,
            token_counts=used.tokens,
            cost_usd=used.cost_usd,
            feedback=feedback_in(outcome),
            step_history=[
                result for child in _ended(outcome.children) for result in self.results(child, path)
            ],
        )


def _ended(children: Sequence[StepOutcome]) -> Iterator[FrameOutcome]:
    return (child for child in children if not isinstance(child, Chunk))


def feedback_in(outcome: FrameOutcome) -> str | None:
    """Why the frame did not succeed, in one line."""
    match outcome:
        case Failure(feedback=feedback):
            return feedback
        case Success():
            return None
        case _:
            message: str = getattr(outcome, "message", "")
            return message


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
        if not isinstance(child, Success):
            return deepest_end(child, path)
    return outcome, path
