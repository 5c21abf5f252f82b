"""A frame with its outcome and lineage: what a notebook numbers and a journal stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from .context_update_manager import ContextUpdateManager
from .outcomes import BackgroundLaunched, Chunk, FrameOutcome, RunStatus, Success, status_of
from .path import FramePath, Segment, SegmentKind
from .step_history_tracker import feedback_in, path_of, total_usage
from .steps import name_of
from .unsaved import Unsaved
from .usage import Usage
from .user_code import Raised, caught_inline


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FrameRecord:
    """What went into a frame, what came out, and which record it continued from.

    ``id`` is ``f`` and a number for a command's own frame, and the same with the path below the
    command for a frame inside it (``f3/words``, ``f3/both/:a/words``); ``parent`` is the id of the
    record that it continued from. ``context_after`` is ``None`` when the frame did not succeed or
    the run has no context. ``data`` is ``None`` when ``has_data`` is false: what the frame was
    given was not kept. ``absent`` says why an output that there was is not here.
    """

    id: str
    name: str
    path: FramePath
    run_id: str
    data: object
    context: BaseModel | None
    outcome: FrameOutcome
    output: object = None
    context_after: BaseModel | None = None
    parent: str | None = None
    has_data: bool = True
    absent: str | None = None

    @property
    def status(self) -> RunStatus:
        """How the frame ended."""
        return status_of(self.outcome)

    @property
    def succeeded(self) -> bool:
        """Whether there is an output to go on from."""
        return isinstance(self.outcome, Success | BackgroundLaunched)

    @property
    def has_output(self) -> bool:
        """Whether the output is known: one that was passed on is only as known as the input."""
        known = self.has_data or isinstance(self.outcome, Success)
        return self.succeeded and known and self.absent is None

    @property
    def usage(self) -> Usage:
        """What the frame and everything inside it used."""
        return total_usage(self.outcome)

    @property
    def duration_s(self) -> float:
        """How long the frame took, in seconds."""
        return self.outcome.latency_s

    @property
    def feedback(self) -> str | None:
        """Why the frame did not succeed, in one line."""
        return feedback_in(self.outcome)


def children_of(record: FrameRecord, contexts: ContextUpdateManager) -> Sequence[FrameRecord]:
    """The records of the frames inside ``record``, with the data and contexts they were given.

    Neither is stored. In a pipeline and in a loop a child was given what the one before it left,
    and continues from that one; elsewhere it was given what the frame around it was, if anything
    tells. The first child's parent is the parent of the frame around it. Of a record that was read
    back its step is not known, and so nothing of what is inside it was given.
    """
    step = record.outcome.step
    folds = step is not None and step.folds
    hands_on = step is not None and step.hands_on(after_first=False)
    given = _Given(record.data, record.context, record.has_data and hands_on)
    children: list[FrameRecord] = []
    before = record.parent
    for outcome in record.outcome.children:
        if isinstance(outcome, Chunk):
            continue
        child = _child_of(record, outcome, given, before, contexts)
        children.append(child)
        if folds:
            known = child.has_output and (step is None or step.hands_on(after_first=True))
            given = _Given(child.output, child.context_after, known)
            before = child.id
    return children


@dataclass(frozen=True, slots=True)
class _Given:
    """What a frame inside another was given, as far as outcomes tell."""

    data: object
    context: BaseModel | None
    has_data: bool


def _child_of(
    record: FrameRecord,
    outcome: FrameOutcome,
    given: _Given,
    before: str | None,
    contexts: ContextUpdateManager,
) -> FrameRecord:
    path = path_of(outcome, record.path)
    data = given.data if given.has_data else None
    # An import makes a context of its own, of which nothing is kept.
    imported = outcome.segments[:1] == (Segment(SegmentKind.IMPORT),)
    context = None if imported else given.context
    output: object = None
    after: BaseModel | None = None
    absent: str | None = None
    match outcome:
        case Success():
            if isinstance(outcome.output, Unsaved):
                absent = f"live only: {outcome.output.part}"
            else:
                output = outcome.output
            if context is not None:
                merged = caught_inline(contexts.merge, context, outcome.update)
                after = None if isinstance(merged, Raised) else merged
        case BackgroundLaunched():
            output, after = data, context
    return FrameRecord(
        id="/".join((record.id.partition("/")[0], *map(str, path.segments[1:]))),
        name=name_of(outcome.step) if outcome.step is not None else str(path.segments[-1]),
        path=path,
        run_id=record.run_id,
        data=data,
        context=context,
        outcome=outcome,
        output=output,
        context_after=after,
        parent=before,
        has_data=given.has_data,
        absent=absent,
    )
