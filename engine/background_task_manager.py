"""Steps whose work goes on behind their run: launched, tracked, waited for or cancelled.

However a task ends, that is kept until somebody has it: the result of its run, or, for a task that
outlives its run, whoever asks. A task lives on the event loop that launched it and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from .errors import StepInterrupted, UsageLimitExceededError
from .failure_builder import FailureBuilder
from .frame import BACKGROUND, AnyFrame, background_frame
from .outcomes import BackgroundLaunched, FrameOutcome, Success
from .path import FramePath
from .results import BackgroundTask
from .step_history_tracker import feedback_in
from .steps import AnyStep
from .usage import Quota, Refused
from .values import own_copy

KEPT = 100
"""How many tasks that ended after the result of their run are kept for somebody to ask about."""

Work: TypeAlias = Callable[[AnyFrame], Coroutine[None, None, FrameOutcome]]
"""Runs a frame to its end, whatever end that is."""

_log = logging.getLogger("flujo_nb")


@dataclass(slots=True, eq=False)
class _Launched:
    """What is known of a task. ``frame`` is its body's, until it has ended."""

    told: BackgroundTask
    task: asyncio.Task[FrameOutcome]
    on_close: Literal["await", "cancel", "detach"]
    share: Quota | None
    frame: AnyFrame | None
    is_late: bool = False
    is_read: bool = False


class BackgroundTaskManager:
    """The tasks of any number of runs, each known by the id of its run and its path."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, FramePath], _Launched] = {}
        self._late: deque[_Launched] = deque()
        self._failures = FailureBuilder()

    async def launch(self, frame: AnyFrame, body: AnyStep, work: Work) -> BackgroundLaunched:
        """Have ``work`` run ``body`` behind the run of ``frame``.

        What works already, or is done according to the run's journal, is not launched again.
        Raises `UsageLimitExceededError` when the step's share does not fit the budget.
        """
        path = FramePath((*frame.path.segments, *BACKGROUND))
        known = self._tasks.get((frame.run_id, path))
        if known is None or not self._works(known):
            journal = frame.run.journal
            if journal is not None and journal.final_outcome(path) is not None:
                await work(background_frame(frame, body, frame.data, frame.quota))
            else:
                self._start(frame, body, path, work)
                if journal is not None:
                    journal.launch(path)
        return BackgroundLaunched(
            step=frame.step, segments=frame.segments, index=frame.index, task_id=str(path)
        )

    def tasks_of(self, run_id: str) -> tuple[BackgroundTask, ...]:
        """How the tasks of a run stand that no result has told the end of."""
        found = self._of(run_id)
        for one in found:
            one.is_read = not self._works(one)
        return tuple(one.told for one in found)

    def collect(self, run_id: str) -> tuple[BackgroundTask, ...]:
        """How the tasks of a run stand, for its result: those that have ended are then its own."""
        if not self._tasks:
            return ()
        told = self.tasks_of(run_id)
        for one in told:
            if one.outcome is None:
                self._tasks[run_id, one.path].is_late = True
            else:
                del self._tasks[run_id, one.path]
        return told

    def open_count(self, run_id: str) -> int:
        """How many tasks of a run are at work."""
        return sum(map(self._works, self._of(run_id)))

    async def drain(self, run_id: str | None = None) -> None:
        """Wait until all tasks (of a run, or of all runs) have ended, however they are declared."""
        while working := self._working(run_id):
            await asyncio.wait([one.task for one in working])

    async def settle(self, run_id: str | None = None) -> None:
        """End the tasks as each step's ``on_close`` says: wait for it, cancel it, or let it be."""
        while ending := [one for one in self._working(run_id) if one.on_close != "detach"]:
            for one in ending:
                if one.on_close == "cancel":
                    one.task.cancel()
            await asyncio.wait([one.task for one in ending])

    async def close(self, run_id: str | None = None) -> None:
        """`settle`, and log the failures that nobody has seen: perhaps nobody will ask any more."""
        await self.settle(run_id)
        for one in self._of(run_id):
            _log_unseen(one)

    def _start(self, frame: AnyFrame, body: AnyStep, path: FramePath, work: Work) -> None:
        share = _share_of(frame, body, path)
        child = background_frame(frame, body, own_copy(frame.data), share or frame.quota)
        task = asyncio.get_running_loop().create_task(work(child), name=f"flujo {path}")
        told = BackgroundTask(frame.run_id, path, body.name)
        launched = _Launched(told, task, body.config.on_close, share, child)
        self._tasks[frame.run_id, path] = launched
        task.add_done_callback(lambda _: self._end(launched))

    def _end(self, launched: _Launched) -> None:
        """Note how a task ended: what its work gave, or that it never came to its end."""
        task, frame = launched.task, launched.frame
        if frame is None:
            return  # somebody asked before the loop told
        came_to_its_end = task.done() and not task.cancelled()
        error = task.exception() if came_to_its_end else StepInterrupted()
        outcome = task.result() if error is None else self._failures.build(frame, error)
        launched.told = replace(launched.told, outcome=outcome)
        launched.frame = None
        if launched.share is not None:
            launched.share.close()
        if launched.is_late:
            self._late.append(launched)
        while len(self._late) > KEPT:
            oldest = self._late.popleft()
            _log_unseen(oldest)
            key = (oldest.told.run_id, oldest.told.path)
            if self._tasks.get(key) is oldest:
                del self._tasks[key]

    def _works(self, launched: _Launched) -> bool:
        """Whether a task is at work; one whose loop was closed under it is not."""
        if launched.task.done() or launched.task.get_loop().is_closed():
            self._end(launched)
        return launched.told.outcome is None

    def _working(self, run_id: str | None) -> list[_Launched]:
        """The tasks that are at work on the running loop."""
        loop = asyncio.get_running_loop()
        return [one for one in self._of(run_id) if self._works(one) and one.task.get_loop() is loop]

    def _of(self, run_id: str | None) -> list[_Launched]:
        return [one for (owner, _), one in self._tasks.items() if run_id in (None, owner)]


def _share_of(frame: AnyFrame, body: AnyStep, path: FramePath) -> Quota | None:
    """The part of the budget that the step declares for itself."""
    if body.config.share is None:
        return None
    share = frame.quota.share(body.config.share)
    if isinstance(share, Refused):
        raise UsageLimitExceededError(f"{share.reason} (the share of {path})")
    return share


def _log_unseen(launched: _Launched) -> None:
    outcome = launched.told.outcome
    if outcome is None or launched.is_read or isinstance(outcome, Success):
        return
    launched.is_read = True
    told = launched.told
    _log.warning("background task %s of %s: %s", told.path, told.run_id, feedback_in(outcome))
