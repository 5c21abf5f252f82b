"""What an interrupt stops: the runs of a cell, and the one handler of SIGINT that tells them.

The rules:

* ``KeyboardInterrupt`` is raised only in user code, whose caller turns it into an ordinary
  exception at once (`engine.user_code`); anywhere else the run's task is cancelled. Raised in the
  engine, in asyncio or at the border of a task it would break them, or end the kernel.
* Runs that lie inside others are told first. A run whose inner runs were told, or in whose step
  the interrupt was raised, is given `GRACE` to unwind by itself, so that its clean-up is not cut;
  after that it is cancelled too (a step may have swallowed the interrupt).
* A second press within `AGAIN` seconds also raises in coroutines that block, cancels at once, and
  shortens the wait for clean-up to `HARD_LIMIT`. In a task that a step made itself, which no
  cancellation of the run reaches while it blocks, it raises `StepInterrupted`: an ordinary error,
  which may cross a task.
* An interrupt that finds its run just finished stops the next run, if one begins within
  `POSTPONED` seconds: a cell that loops over short runs must end too.
* A handler belongs to the runs that began while it was in force. The kernel replaces it when a
  cell ends; a run that a user left in the background then takes no interrupts meant for others.
"""

from __future__ import annotations

import _thread
import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

from flujo_nb.engine import errors
from flujo_nb.engine.errors import StepExited, StepInterrupted
from flujo_nb.engine.user_code import stands_in_user_code

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[[], Coroutine[None, None, T]]

AGAIN = 2.0
GRACE = 1.0
POSTPONED = 1.0
LIMIT = 10.0
HARD_LIMIT = 1.0
LOOK_AGAIN, LOOK_OFTEN, LOOK_SELDOM = 0.02, 0.5, 0.25

_current_run: ContextVar[Run | None] = ContextVar("flujo_current_run", default=None)
_waiting_calls: set[CodeType] = set()


def waits_for_a_run(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that waits on behalf of user code, and so is not user code itself."""
    _waiting_calls.add(function.__code__)
    return function


class Run:
    """A task that an interrupt stops, on whichever thread its loop runs."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.interrupted = False
        self.taken = False
        self.active = False
        self.parent = _current_run.get()
        self.inner: list[Run] = []
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._deadline = float("inf")
        self._told = False
        self._unwinds = False

    def context(self) -> Context:
        """A copy of the current context in which this run is the current one."""
        context = copy_context()
        context.run(_current_run.set, self)
        return context

    async def carry(self, work: Work[T]) -> T:
        """The whole of the run's task: no ``KeyboardInterrupt`` or ``SystemExit`` leaves it."""
        __tracebackhide__ = True
        self._thread = threading.get_ident()
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self.interrupted:  # before it had begun
            raise StepInterrupted("interrupted before it began")
        try:
            return await work()
        except KeyboardInterrupt as interrupt:
            raise StepInterrupted("interrupted") from interrupt
        except SystemExit as exit_:
            raise StepExited(exit_.code) from exit_
        finally:  # contexts that outlive the run keep it, and would keep the result with the task
            self._task = self._loop = None

    def interrupt(self, hit: Run | None, *, hard: bool) -> None:
        """Stop the run; ``hit`` is the one in which ``KeyboardInterrupt`` is being raised."""
        self.taken = False
        for run in tuple(self.inner):
            run.interrupt(hit, hard=hard)
        self.interrupted = True
        self.lose_patience_after(HARD_LIMIT if hard else self.limit)
        self._told = self is hit
        self._unwinds = bool(self.inner) or self is hit
        self.raise_in_own_thread(awaited=hard)
        loop, task = self._loop, self._task
        if loop is not None and task is not None:  # else it is over, or `carry` will see it
            with suppress(RuntimeError):  # the loop has just been closed: it is over
                loop.call_soon_threadsafe(self._hear, loop, task, hard)

    def deaf(self) -> Iterator[Run]:
        """The innermost runs that were interrupted and have not heard of it: their loop is busy."""
        for run in tuple(self.inner):
            yield from run.deaf()
        if not (self.inner or self._told):
            yield self

    def raise_in_own_thread(self, *, awaited: bool) -> None:
        """Raise in the user code that keeps its loop busy, if it stands there and not on ours."""
        if self._loop is None or self.is_on_main_thread:
            return
        frame = sys._current_frames().get(self._thread)
        if _may_raise_at(frame, awaited=awaited):
            self._told = _raise_in_thread(self._thread)
            self.take()

    def take(self) -> None:
        """Note that the interrupt was raised in this run's user code, and so in all around it."""
        run: Run | None = self
        while run is not None:
            run.taken = run._unwinds = True
            run = run.parent

    @property
    def is_on_main_thread(self) -> bool:
        """Whether its loop runs where Python delivers signals."""
        return self._thread == _main_thread_ident()

    def lose_patience_after(self, limit: float) -> None:
        """Wait at most ``limit`` seconds more for it to end."""
        self._deadline = min(self._deadline, time.monotonic() + limit)

    @property
    def is_overdue(self) -> bool:
        """Whether it was stopped, and its clean-up has taken longer than the limit."""
        return time.monotonic() > self._deadline

    def _hear(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object], hard: bool
    ) -> None:
        self._told = True
        if self._unwinds and not hard:
            loop.call_later(GRACE, task.cancel)
        else:
            task.cancel()


class _Guard:
    """The handler of SIGINT while runs are active; restores the former one after the last."""

    def __init__(self, former: Callable[[int, FrameType | None], object] | int) -> None:
        self._former = former
        self._runs: list[Run] = []
        self._pressed = float("-inf")
        self._hard = False
        self._raised = False
        self._is_second_look = False
        self._handling = False
        self._is_unanswered = False
        self._over = threading.Event()
        self._ending = threading.Lock()
        self._insists = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        looking_again, self._is_second_look = self._is_second_look, False
        if not self._runs:  # the kernel had saved this handler, and has put it back
            if callable(self._former) and not looking_again:
                self._former(signum, frame)
        elif not self._handling:  # else it is interrupted itself
            self._handling = True
            try:
                self._handle(frame, looking_again)
            finally:
                self._handling = False

    def _handle(self, frame: FrameType | None, looking_again: bool) -> None:
        if not looking_again:
            now = time.monotonic()
            self._hard = now - self._pressed < AGAIN
            self._pressed = now
            self._is_unanswered = True
        self._raised = _may_raise_at(frame, awaited=self._hard)
        hit = _current_run.get() if self._raised else None
        if not looking_again:
            for run in tuple(self._runs):
                run.interrupt(hit, hard=self._hard)
        if hit is not None:
            hit.take()
        if self._raised:
            raise KeyboardInterrupt
        if self._hard and _blocks_in_a_task_of_a_step(frame):
            raise StepInterrupted("interrupted in a task that the step had made")
        if not self._insists:
            self._insists = True
            # Not threading.Thread: this code may have interrupted another one's start, in its lock.
            _thread.start_new_thread(self._insist, ())

    @property
    def has_runs(self) -> bool:
        return bool(self._runs)

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        run.interrupted = _postponed.is_due()
        self._runs.append(run)
        try:
            yield
            if run.taken:
                self._is_unanswered = False
                sys.stderr.write("The run caught the interrupt, and went on to its end.\n")
        except BaseException:
            self._is_unanswered = False  # the cell sees an error
            raise
        finally:
            self._runs.remove(run)
            if not self._runs:
                self._end()

    def _end(self) -> None:
        with self._ending:
            self._over.set()
        while self._is_second_look:  # a signal is on its way, and is not for the former handler
            time.sleep(0)
        if self._is_in_force():
            signal.signal(signal.SIGINT, self._former)
        if self._is_unanswered:
            _postponed.put()
            sys.stderr.write("The interrupt came too late: the run had just finished.\n")

    def _is_in_force(self) -> bool:
        return signal.getsignal(signal.SIGINT) is self

    def _insist(self) -> None:
        """On a thread: look again until an interrupt was heard.

        Between two short steps it finds the engine, where nothing is raised, and no loop runs.
        """
        pause = LOOK_AGAIN
        while not self._over.wait(pause):
            with self._ending:  # after the end, a press would reach the former handler
                deaf = [deaf for run in tuple(self._runs) for deaf in run.deaf()]
                if self._raised or self._over.is_set() or not deaf:
                    break
                for run in deaf:
                    run.raise_in_own_thread(awaited=self._hard)
                if any(run.is_on_main_thread for run in deaf) and self._is_in_force():
                    self._is_second_look = True
                    _signal_main_thread()
            if time.monotonic() - self._pressed > LOOK_OFTEN:
                pause = LOOK_SELDOM
        self._insists = False


@contextmanager
def watching(run: Run) -> Iterator[None]:
    """Have ``run`` stopped by interrupts: through its outer run, or by the handler of SIGINT.

    Python delivers signals to the main thread only; elsewhere a run without an outer one is not
    watched.
    """
    outer = run.parent
    while outer is not None and not outer.active:
        outer = outer.parent
    run.active = True
    try:
        if outer is not None:
            # What an interrupted run still begins is stopped with it, unless it caught that.
            run.interrupted = outer.interrupted and not outer.taken
            outer.inner.append(run)
            try:
                yield
            finally:
                outer.inner.remove(run)
        elif (guard := _guard_in_force()) is not None:
            with guard.watching(run):
                yield
        else:
            yield
    finally:
        run.active = False


def settled(run: Run, result: Callable[[], T]) -> T:
    """What a run that is over came to; to be asked while it is still watched.

    An interrupt does not cost the value of work that finished in spite of it. Either user code
    caught it, and has dealt with it; or it came too late, and the next run takes it.
    """
    __tracebackhide__ = True
    try:
        return result()
    except asyncio.CancelledError:
        if run.interrupted:
            raise StepInterrupted("interrupted") from None
        raise


class _Postponed:
    """An interrupt that found its run finished, for the next one."""

    def __init__(self) -> None:
        self._since = float("-inf")

    def put(self) -> None:
        self._since = time.monotonic()

    def is_due(self) -> bool:
        since, self._since = self._since, float("-inf")
        return time.monotonic() - since < POSTPONED


_postponed = _Postponed()


def _guard_in_force() -> _Guard | None:
    if threading.current_thread() is not threading.main_thread():
        return None
    former = signal.getsignal(signal.SIGINT)
    if isinstance(former, _Guard) and former.has_runs:
        return former
    if former is None:  # set by C code: it could not be restored
        return None
    guard = _Guard(former)
    signal.signal(signal.SIGINT, guard)
    return guard


def _may_raise_at(frame: FrameType | None, *, awaited: bool) -> bool:
    return stands_in_user_code(frame, awaited=awaited) and not _waits_for_a_run(frame)


def _blocks_in_a_task_of_a_step(frame: FrameType | None) -> bool:
    """Whether code that is neither ours nor asyncio's runs in a task that a run's step made."""
    if frame is None or _current_run.get() is None or _waits_for_a_run(frame):
        return False
    return not frame.f_code.co_filename.startswith(_NOT_THE_STEPS)


_NOT_THE_STEPS = tuple(
    f"{Path(file).parent}{os.sep}" for file in (asyncio.__file__, errors.__file__, __file__)
)


def _waits_for_a_run(frame: FrameType | None) -> bool:
    # What it waits for runs on another stack, so all below its frame is its own doing.
    while frame is not None:
        if frame.f_code in _waiting_calls:
            return True
        frame = frame.f_back
    return False


def _signal_main_thread() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # this also ends a call that waits, such as time.sleep
        signal.pthread_kill(_main_thread_ident(), signal.SIGINT)


def _main_thread_ident() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def _raise_in_thread(ident: int) -> bool:
    """Raise ``KeyboardInterrupt`` in a thread when it next runs Python code."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    return bool(raise_in(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt)))
