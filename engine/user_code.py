"""The border between the engine and code that is not the engine's.

Every call of a step body, a hook, a resource or a sink passes through here, for two reasons.

* ``KeyboardInterrupt`` and ``SystemExit`` end an event loop when they leave a task that somebody
  else awaits. They are turned into ordinary exceptions at the call itself.
* A handler of SIGINT must know whether the interrupted code is a user's (raising there is what
  the user wants) or the engine's or the loop's (raising there breaks both). It reads this off the
  stack: a frame that stands *below* one of the calls here is user code. The marks are code
  objects, so that a step pays nothing for being interruptible.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import ParamSpec, TypeVar, TypeVarTuple

from .errors import StepExited, StepInterrupted

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run_inline(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call synchronous user code on this thread.

    Returns what ``function`` returns. Raises what it raises, except that ``KeyboardInterrupt``
    becomes `StepInterrupted` and ``SystemExit`` becomes `StepExited`.
    """
    try:
        return function(*args, **kwargs)
    except KeyboardInterrupt as interrupt:
        raise StepInterrupted from interrupt
    except SystemExit as exit_:
        raise StepExited(exit_.code) from exit_


@dataclass(frozen=True, slots=True)
class Raised:
    """What user code raised, as a value."""

    error: BaseException


def caught_inline(function: Callable[[*Ts], T], *args: *Ts) -> T | Raised:
    """Call synchronous user code on this thread; whatever it raises comes back as `Raised`."""
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001  # this is the border
        return Raised(error)


def message_of(error: BaseException) -> str:
    """What the error says, or nothing when it cannot say it."""
    said = caught_inline(str, error)
    return "" if isinstance(said, Raised) else said


async def caught(work: Awaitable[T]) -> T | Raised:
    """Await user code; whatever it raises, cancellation included, comes back as `Raised`."""
    try:
        return await work
    except BaseException as error:
        if isinstance(error, GeneratorExit) and not _in_a_task():
            raise  # not the step's: this coroutine is being closed
        return Raised(error)


def _in_a_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def is_cancelled(error: BaseException) -> bool:
    """Whether ``error`` is a cancellation that somebody asked of the current task.

    Code can raise ``CancelledError`` without that, most often by awaiting what was cancelled.
    """
    task = asyncio.current_task()
    asked = task is not None and bool(task.cancelling())
    return asked and isinstance(error, asyncio.CancelledError)


async def run_in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call synchronous user code on a thread of its own, with the caller's context variables.

    Cancelling the await leaves the thread running, because nothing can stop it; its late result
    is dropped. The thread never keeps the process alive.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T | Raised] = loop.create_future()
    call = functools.partial(caught_inline, functools.partial(function, *args, **kwargs))

    def settle(result: T | Raised) -> None:
        if not done.done():
            done.set_result(result)

    def work() -> None:
        result = call()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result)

    context = contextvars.copy_context()
    name = f"flujo {getattr(function, '__name__', 'step')}"
    threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()
    result = await done
    if isinstance(result, Raised):
        raise result.error
    return result


_INLINE_CALLS = frozenset({run_inline.__code__, caught_inline.__code__})
_AWAITING_CALLS = frozenset({caught.__code__})


def stands_in_user_code(frame: FrameType | None, *, awaited: bool = False) -> bool:
    """Whether the Python frame ``frame`` lies below a call of user code.

    Synchronous calls always count; calls of a user's coroutine count when ``awaited`` is true (a
    coroutine is stopped by cancelling it, unless it blocks).
    """
    above = frame.f_back if frame is not None else None
    while above is not None:
        if above.f_code in _INLINE_CALLS or (awaited and above.f_code in _AWAITING_CALLS):
            return True
        above = above.f_back
    return False
