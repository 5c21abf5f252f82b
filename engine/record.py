"""A frame with its outcome and lineage: what a notebook numbers and a journal stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from .context_update_manager import ContextUpdateManager
from .outcomes import BackgroundLaunched, Chunk, FrameOutcome, RunStatus, Success, status_of
from .path import FramePath
from .step_history_tracker import feedback_in, path_of, total_usage
from .steps import name_of
from .usage import Usage


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FrameRecord:
    """What went into a frame, what came out, and which record it continued from.

    ``id`` is ``f`` and a number for a command's own frame, and the same with the relative path
    for a frame inside it (``f3/words``). ``context_after`` is ``None`` when the frame did not
    succeed or the run has no context.
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
    parent: FrameRecord | None = None

    @property
    def status(self) -> RunStatus:
        """How the frame ended."""
        return status_of(self.outcome)

    @property
    def succeeded(self) -> bool:
        """Whether there is an output to go on from."""
        return isinstance(self.outcome, Success)

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

    def line(self) -> Sequence[FrameRecord]:
        """This record and those it continued from, newest first."""
        records: list[FrameRecord] = []
        record: FrameRecord | None = self
        while record is not None:
            records.append(record)
            record = record.parent
        return records


def children_of(record: FrameRecord, contexts: ContextUpdateManager) -> Sequence[FrameRecord]:
    """The records of the frames inside a pipeline's, with the data and contexts they were given.

    A child's input is the output before it; its context is the one that earlier updates made. So
    neither is stored. The parent of a child is the child before it, or the pipeline's own parent.
    """
    step = record.outcome.step
    if step is None or not step.is_sequence:
        return ()
    children: list[FrameRecord] = []
    data, context, before = record.data, record.context, record.parent
    for outcome in record.outcome.children:
        if isinstance(outcome, Chunk):
            continue
        output: object = None
        after: BaseModel | None = None
        match outcome:
            case Success():
                output = outcome.output
                after = context and contexts.merge(context, outcome.update)
            case BackgroundLaunched():
                output, after = data, context
        path = path_of(outcome, record.path)
        inner = "/".join(map(str, path.segments[len(record.path.segments) :]))
        before = FrameRecord(
            id=f"{record.id}/{inner}",
            name=name_of(outcome.step) if outcome.step is not None else inner,
            path=path,
            run_id=record.run_id,
            data=data,
            context=context,
            outcome=outcome,
            output=output,
            context_after=after,
            parent=before,
        )
        children.append(before)
        data, context = output, after
    return children
