"""Running a coroutine in a live kernel, from a magic or from a user's ``await``.

A ``%flujo`` call is rewritten into an awaited call of a hidden twin, so that it runs on the
kernel's own loop. Where that is impossible the magic itself runs it over the bridge. Both stop at
an interrupt and leave nothing running.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from asyncio.events import Handle
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Literal, NoReturn, TypeVar

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import no_var_expand

from flujo_nb.engine.errors import StepInterrupted

from .bridge import run_bridged
from .cell_body import BodyRun, Cell, current_cell, run_body, running
from .html import safe
from .interrupts import LIMIT, Run, Work, settled, waits_for_a_run, watching
from .transform import rewritten, twin_of, without_leading_comments, without_semicolon

__all__ = ["Awaiting", "BodyRun", "CellInterrupted", "Way", "guarded", "run_body", "run_bridged"]

_WAKING = 0.2

_RUN_CELL = InteractiveShell._run_cell.__code__
_RUN_CODE = InteractiveShell.run_code.__code__
_STEP_OF_A_LOOP = Handle._run.__code__

T = TypeVar("T")
Handler = Callable[[str, str | None], Coroutine[None, None, object]]
Magic = Callable[[str, str | None], object]

# A loop keeps no hard reference to its tasks.
_left_behind: set[asyncio.Task[object]] = set()


class CellInterrupted(KeyboardInterrupt):
    """An interrupt at the place where it may end a cell: on the cell's own stack."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


class CellSyntaxError(Exception):
    """The body of a cell does not compile.

    No ``SyntaxError``, because IPython shows those with all frames on the way to its parser.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(safe("\n".join(lines)))

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


@dataclass(frozen=True)
class Way:
    """How a call was run, and why so."""

    kind: Literal["awaited", "bridge"]
    reason: str


@waits_for_a_run
async def guarded(work: Work[T], *, limit: float = LIMIT) -> T:
    """Run ``work()`` as a task of its own that an interrupt stops; return what it returns.

    Interrupted, it raises `StepInterrupted`, or what the work raised in its place. Cancelled from
    outside, it cancels the work. Both wait for the work's clean-up, for at most ``limit`` seconds,
    and say so when that was exceeded. Python gives signals to the main thread only: on another
    thread the work just runs.
    """
    __tracebackhide__ = True
    run = Run(limit)
    cancelled: asyncio.CancelledError | None = None
    with watching(run):
        loop = asyncio.get_running_loop()
        task = loop.create_task(run.carry(work), context=run.context())
        while not (task.done() or run.is_overdue):
            try:
                # A timeout, because a signal that comes just before the loop goes to sleep (on
                # Windows any signal) is handled when it next wakes.
                await asyncio.wait({task}, timeout=_WAKING)
            except asyncio.CancelledError as error:
                cancelled = error
                task.cancel()
                run.lose_patience_after(limit)
        if not task.done():
            _left_behind.add(task)
            task.add_done_callback(_forget)
            message = "the clean-up has not ended in time, and goes on; its result will be ignored"
            if cancelled is None:
                raise StepInterrupted(f"interrupted, but {message}")
            cancelled.add_note(f"cancelled, but {message}")
        if cancelled is not None:
            raise cancelled
        return settled(run, task.result)


def _forget(task: asyncio.Task[object]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it


class Awaiting:
    """The magic ``name`` of a shell, line and cell, run by a coroutine function.

    ``last_way`` tells how the newest call was run.
    """

    def __init__(self, shell: InteractiveShell, name: str, handler: Handler) -> None:
        self.last_way: Way | None = None
        self._shell = shell
        self._name = name
        self._handler = handler
        self._magics = {name: self._bridged_magic(), twin_of(name): self._awaited_magic()}
        self._installed = False

    def install(self) -> None:
        """Register the magic, its hidden twin, and the transformers of cells."""
        if self._installed:
            return
        self._installed = True
        for name, magic in self._magics.items():
            self._shell.magics_manager.register_function(magic, "line_cell", name)
        self._shell.input_transformers_cleanup.append(self._clean)
        self._shell.input_transformers_post.append(self._rewrite)

    def uninstall(self) -> None:
        """Take back everything that `install` did."""
        if not self._installed:
            return
        self._installed = False
        self._shell.input_transformers_post.remove(self._rewrite)
        self._shell.input_transformers_cleanup.remove(self._clean)
        manager = self._shell.magics_manager
        for name in self._magics:
            manager.magics["line"].pop(name, None)
            manager.magics["cell"].pop(name, None)
            vars(manager.user_magics).pop(name, None)

    def _clean(self, lines: list[str]) -> list[str]:
        return without_leading_comments(lines, self._name)

    def _rewrite(self, lines: list[str]) -> list[str]:
        try:
            return rewritten(lines, self._name, awaiting=_will_be_awaited(self._shell))
        except SyntaxError as error:
            shell = self._shell
            error.filename = shell.compile.cache("".join(lines), shell.execution_count)
            raise

    def _awaited_magic(self) -> Magic:
        @no_var_expand
        def awaited(line: str, cell: str | None = None) -> Coroutine[None, None, object]:
            # Which cell runs is asked now; by the first await another one may have begun.
            return self._await(line, cell, current_cell(self._shell))

        return awaited

    async def _await(self, line: str, body: str | None, cell: Cell | None) -> object:
        __tracebackhide__ = True
        self.last_way = Way("awaited", "the cell runs on the kernel's own loop")
        try:
            with running(cell):
                return await guarded(lambda: self._handler(line, body))
        except (StepInterrupted, SyntaxError) as error:
            _raise_in_a_cell(error, self._shell)

    def _bridged_magic(self) -> Magic:
        @no_var_expand
        def bridged(line: str, cell: str | None = None) -> object:
            __tracebackhide__ = True
            caller = sys._getframe(2)  # this function < run_…_magic < the code with the call
            self.last_way = Way("bridge", _why_not_awaited(self._shell, caller))
            try:
                with running(current_cell(self._shell)):
                    return run_bridged(lambda: self._handler(without_semicolon(line), cell))
            except (StepInterrupted, SyntaxError) as error:
                _raise_in_a_cell(error, self._shell)

        bridged.__doc__ = self._handler.__doc__  # what `%name?` shows
        return bridged


def _will_be_awaited(shell: InteractiveShell) -> bool:
    """Whether the cell that is being transformed will be run by a loop; read off the stack.

    The caller of ``transform_cell`` tells: a coroutine function (the kernel's, our own
    `run_body`, a user's) will await what it gets. IPython's synchronous ``_run_cell`` starts a
    loop, if none runs here. All others (``%%time``, ``%run`` …) execute the cell as it is.
    """
    if not shell.autoawait or not _awaits_with_asyncio(shell):
        return False
    caller: FrameType | None = sys._getframe()
    while caller is not None and caller.f_code.co_name != "transform_cell":
        caller = caller.f_back
    while caller is not None and caller.f_code.co_name == "transform_cell":
        caller = caller.f_back
    if caller is None:
        return False
    if caller.f_code.co_flags & inspect.CO_COROUTINE:
        return True
    return caller.f_code is _RUN_CELL and not _loop_runs_here()


def _awaits_with_asyncio(shell: InteractiveShell) -> bool:
    runner, _ = shell.loop_runner_map["asyncio"]
    return shell.loop_runner is runner


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _why_not_awaited(shell: InteractiveShell, caller: FrameType) -> str:
    if not shell.autoawait:
        return "%autoawait is off"
    if not _awaits_with_asyncio(shell):
        return "%autoawait does not use asyncio"
    if caller.f_code.co_name != "<module>":
        return f"await is not allowed in `{caller.f_code.co_name}`, where the call stands"
    return "another command ran the call, or the cell began before this extension was loaded"


def _raise_in_a_cell(error: StepInterrupted | SyntaxError, shell: InteractiveShell) -> NoReturn:
    """Raise an error in the form in which it may leave a magic."""
    __tracebackhide__ = True
    match error:
        case StepInterrupted() if _stands_on_the_cells_stack():
            raise CellInterrupted(str(error) or "interrupted") from error
        case SyntaxError(filename=str(name)) if shell.compile.format_code_name(name):
            raise CellSyntaxError(_shown_syntax_error(error, shell)) from error
    raise error


def _shown_syntax_error(error: SyntaxError, shell: InteractiveShell) -> list[str]:
    """The place and the message, as Python shows them, with the name that IPython gives a cell."""
    label, name = shell.compile.format_code_name(error.filename or "") or ("File", error.filename)
    place, *rest = "".join(traceback.format_exception_only(error)).splitlines()
    return [place.replace(f'File "{error.filename}"', f"{label} {name}").strip(), *rest]


def _stands_on_the_cells_stack() -> bool:
    """Whether a ``KeyboardInterrupt`` raised here ends the cell; in any other task, the kernel."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not _STEP_OF_A_LOOP:
        if frame.f_code is _RUN_CODE:
            return True
        frame = frame.f_back
    return False
