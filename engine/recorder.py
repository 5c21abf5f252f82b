"""The interceptors that keep what frames gave: for the journal, and for steps that ask by name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from .answers import answer_of
from .context_update_manager import ContextUpdateManager
from .ended_run import outputs_in
from .errors import FlujoError, ResumeError, StoreError, ValueNotSaved
from .failure_builder import FailureBuilder, held, not_noted
from .frame import AnyFrame
from .hooks import EventStream
from .in_doubt import Verdict, follow, is_in_doubt, is_undecided, question, was_asked_about
from .journal import Journal
from .outcomes import Aborted, Chunk, FrameOutcome, Paused, StepOutcome, Success
from .patches import patching
from .policy import Call
from .recall import check_decided, check_same_end, not_recorded, recalled
from .recorded_run import Begun
from .run import Facility
from .step_kinds import CacheStep
from .steps import AnyStep, name_of
from .stored_journal import StoredJournal
from .unsaved import check_is_there
from .usage import FREE
from .user_code import Raised, caught
from .values import own_copy


class Recorder:
    """Stands around frames in runs that have a journal, or steps that ask for others' outputs."""

    def __init__(self, failures: FailureBuilder, contexts: ContextUpdateManager) -> None:
        self._failures = failures
        self._contexts = contexts

    async def record(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Give what the run's journal holds for the frame, or else run it and note its end.

        A frame that paused by itself, and was answered, gets the answer as its input.
        """
        journal = frame.run.journal
        if journal is None or _shares_its_path(frame):
            return await proceed(frame)
        if isinstance(journal, StoredJournal):
            return await self._record_stored(frame, proceed, journal)
        path = frame.path
        recorded = journal.final_outcome(path)
        if recorded is not None:
            return await _restored(frame, recorded)
        if journal.patches:
            try:
                made = self._patched(frame, proceed, journal)
            except ResumeError as error:
                return held(frame, error)
            if isinstance(made, Success):
                journal.finish(path, made)
                return await _restored(frame, made)
            proceed = made
        outcome = await self._begun(frame, journal) if frame.step.announced else None
        if outcome is None:
            current = _answered(frame, journal)
            outcome = await proceed(current)
            if current is not frame and isinstance(outcome, Paused):
                journal.reopen(path)
            if frame.step.announced:
                outcome = _asked_about(frame, outcome)
        if not isinstance(outcome, Chunk):
            journal.finish(path, outcome)
        if frame.step.once and is_undecided(outcome):
            await journal.start(path, True)
        return outcome

    async def _record_stored(
        self, frame: AnyFrame, proceed: Call, journal: StoredJournal
    ) -> StepOutcome:
        """The same; a frame has finished when that is durable."""
        try:
            begun = journal.begin(frame.path_text, frame.step, frame.data)
            row = journal.recorded(begun) if journal.image.finished else None
            known = None if row is None else recalled(journal, begun, row, frame)
            if journal.replaying:
                return await _replayed(frame, proceed, journal, begun, known)
            if known is not None:
                journal.restored.add(begun.path)
                return await _restored(frame, known)
            if journal.patches:
                made = self._patched(frame, proceed, journal)
                if isinstance(made, Success):
                    return await self._given(frame, journal, begun, made)
                proceed = made
            if journal.gave_unsaved and not frame.step.is_sequence:  # its first step may stand
                check_is_there(frame.data)
            if journal.image.inputs:
                check_decided(journal, begun, frame)
        except FlujoError as error:
            return held(frame, error)
        try:
            decided = await self._begun(frame, journal) if frame.step.announced else None
            if decided is not None:
                outcome = decided
            else:
                current = _answered(frame, journal)
                outcome = await proceed(current)
                if current is not frame and isinstance(outcome, Paused):
                    journal.reopen(frame.path)
                if frame.step.announced:
                    outcome = _asked_about(frame, outcome)
            if journal.gave_unsaved and isinstance(outcome, Success) and begun.path:
                check_is_there(outcome.output)  # a container would record the mark as its output
        except ResumeError as error:  # of an answer: what steps raise is an outcome
            return held(frame, error)
        if isinstance(outcome, Chunk):
            return outcome
        outcome = await self._kept(frame, journal, begun, outcome)
        events = frame.run.events
        if events is None or decided is not None:  # a frame that did not start does not end
            return outcome
        return await self._told(frame, outcome, events)

    def _patched(self, frame: AnyFrame, proceed: Call, journal: Journal) -> Call | Success:
        """``proceed`` with what the journal changes at the frame; its outcome if it is that."""
        patch = journal.patch_at(frame.path)
        return proceed if patch is None else patching(frame, proceed, patch, self._contexts)

    async def _given(
        self, frame: AnyFrame, journal: StoredJournal, begun: Begun, given: Success
    ) -> StepOutcome:
        """``given``, which is noted as the end of a frame that did not run."""
        return await _restored(frame, await self._kept(frame, journal, begun, given))

    async def _kept(
        self, frame: AnyFrame, journal: StoredJournal, begun: Begun, outcome: FrameOutcome
    ) -> FrameOutcome:
        """``outcome`` when that is durable, or else what keeps it from being so."""
        outcome = self._note_end(frame, journal, begun, outcome)
        try:
            if frame.step.once and is_undecided(outcome):
                await journal.start(frame.path, True)
            await journal.writer.commit(frame.concurrent)
        except (StoreError, asyncio.CancelledError) as error:
            ended = not_noted(self._failures, frame, error)
            return replace(ended, usage=outcome.usage, children=outcome.children)
        return journal.read_back(begun, frame, outcome) if journal.cold else outcome

    def _note_end(
        self, frame: AnyFrame, journal: StoredJournal, begun: Begun, outcome: FrameOutcome
    ) -> FrameOutcome:
        """``outcome``, which is noted, or the failure that it is when it cannot be saved."""
        try:
            journal.finish_frame(begun, outcome)
        except ValueNotSaved as error:
            outcome = self._failures.build(
                frame,
                error,
                attempts=outcome.attempts,
                latency_s=outcome.latency_s,
                usage=outcome.usage,
                children=outcome.children,
            )
            journal.finish_frame(begun, outcome)
        return outcome

    async def _told(
        self, frame: AnyFrame, outcome: FrameOutcome, events: EventStream
    ) -> StepOutcome:
        """``outcome``, when the hooks have heard of it."""
        told = await caught(events.frame_finished(frame.path, outcome))
        if told is None:
            return outcome
        return self._failures.build(frame, told.error, children=outcome.children)

    async def _begun(self, frame: AnyFrame, journal: Journal) -> StepOutcome | None:
        """Note that a step begins that may run once only, or may cost something.

        Or else its outcome: a question, or what a human said, when nobody knows whether it did
        its work; that it could not be noted.
        """
        path, once = frame.path, frame.step.once
        if once and journal.is_in_doubt(path):
            if path in journal.answers and not was_asked_about(journal.outcome_at(path)):
                journal.reopen(path)  # the answer was to a question of the step's own
            if path not in journal.answers:
                return question(frame)
            verdict = cast(Verdict, answer_of(journal.answers[path], Verdict, str(path)))
            decided = follow(verdict, frame, self._failures)
            if decided is not None:
                return decided
            journal.reopen(path)  # it was said for this time only
        estimate = cast(AnyStep, frame.step).config.estimate.usage() or FREE
        noted = await caught(journal.start(path, once, estimate))
        if isinstance(noted, Raised):
            return not_noted(self._failures, frame, noted.error)
        return None

    async def keep_output(self, frame: AnyFrame, proceed: Call) -> StepOutcome:
        """Keep the output of a step under its name: the newest one of a name holds."""
        outcome = await proceed(frame)
        if isinstance(outcome, Success) and not frame.step.is_sequence:
            frame.run.outputs[name_of(frame.step)] = outcome.output
        return outcome


def _answered(frame: AnyFrame, journal: Journal) -> AnyFrame:
    """The frame with the answer as its input, if it paused by itself and was answered."""
    answers = journal.answers
    if not answers or frame.step.asks or frame.path not in answers:
        return frame
    return replace(frame, data=own_copy(answers[frame.path]))


def _asked_about(frame: AnyFrame, outcome: StepOutcome) -> StepOutcome:
    """``outcome``, or the question what to do when a step that may run once timed out."""
    return question(frame) if frame.step.once and is_in_doubt(outcome) else outcome


async def _restored(frame: AnyFrame, recorded: FrameOutcome) -> StepOutcome:
    """``recorded``, which stands for the frame; whoever asks or listens gets to know."""
    run = frame.run
    if Facility.OUTPUTS in run.facilities:
        run.outputs.update(outputs_in((recorded,)))
    if run.events is not None:
        await run.events.frame_restored(frame.path, recorded)
    return recorded


async def _replayed(
    frame: AnyFrame,
    proceed: Call,
    journal: StoredJournal,
    begun: Begun,
    known: FrameOutcome | None,
) -> StepOutcome:
    """The recorded outcome; nothing runs inside containers either, but pure steps if strict."""
    if known is None:
        raise not_recorded(begun)
    step = frame.step
    goes_inside = step.is_sequence or (step.is_container and not isinstance(step, CacheStep))
    if not step.is_sequence and not isinstance(known, Success | Paused):
        goes_inside = False  # what ended it, a decision or a sibling, may not be recorded
    runs = goes_inside or (journal.strict and cast(AnyStep, step).config.pure)
    # What is inside a frame that was patched was given something else, or never ran.
    if not runs or frame.path.segments in journal.patches:
        journal.restored.add(begun.path)
        return await _restored(frame, known)
    outcome = await proceed(frame)
    if isinstance(outcome, Chunk | Aborted):
        return outcome
    check_same_end(known, outcome, begun)
    return known  # with the times that were recorded


def tells_the_end(frame: AnyFrame) -> bool:
    """Whether hooks hear of the frame's end when that is durable, and not when its policy ends."""
    stored = isinstance(frame.run.journal, StoredJournal)
    return stored and not frame.step.in_background and not _shares_its_path(frame)


def _shares_its_path(frame: AnyFrame) -> bool:
    """Whether the frame is a pipeline's that adds nothing to its parent's path."""
    return frame.parent is not None and not frame.segments and frame.index is None
