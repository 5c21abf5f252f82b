"""The bridge: a coroutine run to its end on a private loop, where ``await`` is not allowed."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import TypeVar

from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.user_code import Raised

from .interrupts import LIMIT, Run, Work, settled, waits_for_a_run, watching

T = TypeVar("T")

_POLL = 0.05


@waits_for_a_run
def run_bridged(work: Work[T], *, limit: float = LIMIT) -> T:
    """Run ``work()`` on a loop and a thread of its own, and wait for it here.

    The thread works in a copy of this one's context, so what it prints and displays lands in the
    cell that waits. An interrupt cancels the work and waits for its clean-up, for at most
    ``limit`` seconds, then raises `StepInterrupted`. Tasks that the work leaves behind are
    cancelled at its end: their loop ends too.
    """
    __tracebackhide__ = True
    run = Run(limit)
    outcome: Future[T | Raised] = Future()
    thread = threading.Thread(
        target=run.context().run,
        args=(_on_own_loop, run, work, outcome),
        name="flujo-bridge",
        daemon=True,
    )
    with watching(run):
        thread.start()
        # A timeout, because on Windows a signal does not end the wait.
        while wait([outcome], timeout=_POLL).not_done:
            if run.is_overdue:
                raise StepInterrupted(
                    f"interrupted, but thread {thread.name!r} is still running: it waits for a "
                    "call that Python cannot stop; its result will be ignored"
                )
        return settled(run, functools.partial(_opened, outcome))


def _on_own_loop(run: Run, work: Work[T], outcome: Future[T | Raised]) -> None:
    result: T | Raised
    try:
        with asyncio.Runner() as runner:
            result = runner.run(_as_value(run.carry(work)))
    except KeyboardInterrupt:  # sent to this thread, and late: it had left user code
        result = Raised(StepInterrupted("interrupted"))
    except BaseException as error:  # noqa: BLE001 - of the loop itself: for the thread that waits
        result = Raised(error)
    outcome.set_result(result)


async def _as_value(work: Coroutine[None, None, T]) -> T | Raised:
    """Errors travel as values, so that their tracebacks do not show how they travelled."""
    __tracebackhide__ = True
    try:
        return await work
    except BaseException as error:  # noqa: BLE001 - raised again where the outcome is opened
        return Raised(error)


def _opened(outcome: Future[T | Raised]) -> T:
    __tracebackhide__ = True
    result = outcome.result()
    if isinstance(result, Raised):
        raise result.error
    return result
