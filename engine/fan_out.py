"""Several children in flight at once, at the price of as few tasks as they need.

A task runs child after child as long as none suspends. A worker that starts a child while others
are waiting adds two more workers, up to the limit: children that only compute share one task, and
a thousand that sleep start in about ten turns of the loop. (A task costs 70 awaits, so a task for
each child would cost most of what a small child does.)
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace

from .outcomes import Aborted, AbortReason, StepOutcome, Success
from .passing import YIELD_EVERY, turn
from .run import Run
from .user_code import Raised, caught, caught_inline


@dataclass(frozen=True, slots=True)
class FannedOut:
    """What came of the children: an outcome for each, ``None`` for those that never started.

    ``cut`` is what ended the wait before its time: the cancellation of the container itself.
    """

    outcomes: Sequence[StepOutcome | None]
    cut: BaseException | None = None


class FanOut:
    """Runs children by number, and cancels what is left once one ended in a way that stops all."""

    def __init__(
        self,
        run: Run,
        count: int,
        start: Callable[[int], Awaitable[StepOutcome]],
        stops: Callable[[StepOutcome], bool],
        limit: int | None,
    ) -> None:
        self._run = run
        self._start = start
        self._stops = stops
        self._limit = count if limit is None else limit
        self._outcomes: list[StepOutcome | None] = [None] * count
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = copy_context()
        self._cut: BaseException | None = None
        self._stopped = False

    async def run(self) -> FannedOut:
        """Run all children, or as many as there were before one stopped the others."""
        self._add_worker()
        while self._tasks:
            waited = await caught(asyncio.wait(self._tasks))
            if isinstance(waited, Raised):
                self._cut = waited.error
                self._stop()
        return FannedOut(self._outcomes, self._cut)

    def _add_worker(self) -> None:
        task = asyncio.create_task(self._work(), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        raised = await caught(self._run_children())
        if isinstance(raised, Raised):
            if not self._stopped:
                self._cut = raised.error  # the engine's own: children give outcomes
            self._stop()

    async def _run_children(self) -> None:
        for _ in range(2):
            if self._waiting() > 1 and len(self._tasks) < self._limit:
                self._add_worker()
        run, outcomes = self._run, self._outcomes
        while self._next < len(outcomes) and not self._stopped:
            number = self._next
            self._next += 1
            outcome = await self._start(number)
            if type(outcome) is not Success:
                if self._stopped and isinstance(outcome, Aborted):
                    outcome = _cancelled(outcome)
                if self._stops(outcome):
                    self._stop()
            outcomes[number] = outcome
            run.busy += 1
            if run.busy >= YIELD_EVERY and await turn(run) is not None:
                return  # cancelled: whoever did that has stopped the others too
            # Values that cannot be compared raise, and count as changed.
            if caught_inline(operator.eq, copy_context(), self._context) is not True:
                # What a child set in its context variables is not the next one's affair.
                if self._waiting():
                    self._add_worker()
                return

    def _waiting(self) -> int:
        """How many children have still to start."""
        return 0 if self._stopped else len(self._outcomes) - self._next

    def _stop(self) -> None:
        """Start nothing more, and cancel what is in flight: once, so that it can clean up."""
        if self._stopped:
            return
        self._stopped = True
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()


def _cancelled(outcome: Aborted) -> Aborted:
    """An interrupt that was no human's, all the way down: a sibling ended, and this one with it."""
    if outcome.reason is not AbortReason.INTERRUPTED:
        return outcome
    children = [_cancelled(one) if isinstance(one, Aborted) else one for one in outcome.children]
    return replace(
        outcome,
        reason=AbortReason.CANCELLED,
        message="cancelled with its siblings",
        children=children,
    )
