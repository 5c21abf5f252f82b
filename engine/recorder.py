"""The interceptors that keep what frames gave: for the journal, and for steps that ask by name."""

from __future__ import annotations

from dataclasses import replace

from .ended_run import outputs_in
from .frame import AnyFrame
from .outcomes import Chunk, Paused, StepOutcome, Success
from .policy import Call
from .steps import name_of
from .values import own_copy


class Recorder:
    """Stands around frames in runs that have a journal, or steps that ask for others' outputs."""

    async def record(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Give what the run's journal holds for the frame, or else run it and note its end.

        A frame that paused by itself, and was answered, gets the answer as its input.
        """
        journal = frame.run.journal
        if journal is None or _shares_its_path(frame):
            return await proceed(frame)
        path = frame.path
        recorded = journal.final_outcome(path)
        if recorded is not None:
            frame.run.outputs.update(outputs_in((recorded,)))
            if frame.run.events is not None:
                await frame.run.events.frame_restored(path, recorded)
            return recorded
        answers = journal.answers
        answered = bool(answers) and path in answers and not frame.step.asks
        outcome = await proceed(replace(frame, data=own_copy(answers[path])) if answered else frame)
        if not isinstance(outcome, Chunk):
            journal.finish(path, outcome)
        if answered and isinstance(outcome, Paused):
            journal.reopen(path)
        return outcome

    async def keep_output(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Keep the output of a step under its name: the newest one of a name holds."""
        outcome = await proceed(frame)
        if isinstance(outcome, Success) and not frame.step.is_sequence:
            frame.run.outputs[name_of(frame.step)] = outcome.output
        return outcome


def _shares_its_path(frame: AnyFrame) -> bool:
    """Whether the frame is a pipeline's that adds nothing to its parent's path."""
    return frame.parent is not None and not frame.segments and frame.index is None
