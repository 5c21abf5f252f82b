"""The interceptors that keep what frames gave: for the journal, and for steps that ask by name."""

from __future__ import annotations

from collections.abc import Sequence

from .frame import AnyFrame
from .outcomes import Chunk, StepOutcome, Success
from .policy import Call


class Recorder:
    """Stands around frames in runs that have a journal, or steps that ask for others' outputs."""

    async def record(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Give what the run's journal holds for the frame, or else run it and note its end."""
        journal = frame.run.journal
        if journal is None or _shares_its_path(frame):
            return await proceed(frame)
        path = frame.path
        recorded = journal.final_outcome(path)
        if recorded is None:
            outcome = await proceed(frame)
            if not isinstance(outcome, Chunk):
                journal.finish(path, outcome)
            return outcome
        _keep_outputs(frame, (recorded,))
        if frame.run.events is not None:
            await frame.run.events.frame_restored(path, recorded)
        return recorded

    async def keep_output(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Keep the output of a step under its name: the newest one of a name holds."""
        outcome = await proceed(frame)
        if isinstance(outcome, Success) and not frame.step.is_sequence:
            frame.run.outputs[frame.step.name] = outcome.output
        return outcome


def _shares_its_path(frame: AnyFrame) -> bool:
    """Whether the frame is a pipeline's that adds nothing to its parent's path."""
    return frame.parent is not None and not frame.segments and frame.index is None


def _keep_outputs(frame: AnyFrame, outcomes: Sequence[StepOutcome]) -> None:
    """What `Recorder.keep_output` would have kept of frames that are not run again."""
    for outcome in outcomes:
        if isinstance(outcome, Chunk):
            continue
        _keep_outputs(frame, outcome.children)
        if isinstance(outcome, Success) and outcome.step and not outcome.step.is_sequence:
            frame.run.outputs[outcome.step.name] = outcome.output
