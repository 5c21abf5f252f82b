"""Running the body of a cell magic as if it were a cell: right lines, ``await``, errors raised."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Coroutine, Generator, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import takewhile
from types import CodeType, TracebackType

from IPython.core.interactiveshell import InteractiveShell

from flujo_nb.engine.user_code import run_inline


@dataclass(frozen=True)
class BodyRun:
    """What a body was (its tree) and what it came to (the value of its last expression)."""

    tree: ast.Module
    value: object


@dataclass(frozen=True)
class Cell:
    """The whole text of a cell, as the user sees it, its number, and the front end's id of it."""

    text: str
    number: int
    id: str | None = None

    def head_of(self, body: str) -> str | None:
        """The lines above ``body``, down to the ``%%…`` line; ``None`` when it is not below one."""
        lines = self.text.splitlines(keepends=True)
        count = _lines_in(self.text) - _lines_in(body)
        if 0 < count <= len(lines) and lines[count - 1].lstrip().startswith("%%"):
            return "".join(lines[:count])
        return None


_current_cell: ContextVar[Cell | None] = ContextVar("flujo_current_cell", default=None)


def current_cell(shell: InteractiveShell) -> Cell | None:
    """The cell whose command is being run here; outside a command, the one the shell is running."""
    cell = _current_cell.get()
    result = shell.displayhook.exec_result
    if cell is not None or result is None:
        return cell
    info = result.info
    return Cell(info.raw_cell, result.execution_count or shell.execution_count, info.cell_id)


@contextmanager
def running(cell: Cell | None) -> Iterator[None]:
    """Say which cell's command is being run inside."""
    token = _current_cell.set(cell)
    try:
        yield
    finally:
        _current_cell.reset(token)


async def run_body(
    shell: InteractiveShell, body: str, names: MutableMapping[str, object] | None = None
) -> BodyRun:
    """Run the body of a cell magic in the user's namespace, or with ``names`` before it.

    All of IPython's syntax works in it. Errors are raised; a body that does not compile raises
    ``SyntaxError`` with the line of the cell, and none of it is executed.
    """
    __tracebackhide__ = True
    cell = current_cell(shell)
    head = cell.head_of(body) if cell is not None else None
    if cell is None or head is None:  # a magic that was called as a function
        cell, head = Cell(body, shell.execution_count), ""
    blank = "".join(takewhile(str.isspace, body.splitlines(keepends=True)))  # IPython drops it
    head, body = head + blank, body[len(blank) :]
    transform: Callable[[str], str] = shell.transform_cell
    transform_ast: Callable[[ast.AST], ast.Module] = shell.transform_ast
    # Called from a coroutine function, so that %flujo calls in the body become awaited ones.
    try:
        source = transform(body)
    except SyntaxError as error:  # a transformer says more than the compiler would
        error.filename = shell.compile.cache(head + body, cell.number, raw_code=cell.text)
        error.lineno = (error.lineno or 1) + head.count("\n")
        raise
    name = shell.compile.cache(head + source, cell.number, raw_code=cell.text)
    tree = transform_ast(shell.compile.ast_parse("\n" * head.count("\n") + source, name))
    value: object = None
    with shell.builtin_trap:
        for code in _compiled(shell, tree, name):
            try:
                value = await _run(shell, code, shell.user_ns if names is None else names)
            except BaseException as error:
                error.__traceback__ = _from_file(name, error.__traceback__)
                raise
    return BodyRun(tree, value)


def _compiled(shell: InteractiveShell, tree: ast.Module, name: str) -> list[CodeType]:
    """The statements, and the last expression by itself; all before any of them is run."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if shell.autoawait else 0
    match tree.body:
        case [*statements, ast.Expr(value=last)]:
            pass
        case statements:
            last = ast.Constant(None)
    expression = ast.fix_missing_locations(ast.Expression(last))
    module = ast.Module(statements, tree.type_ignores)
    with shell.compile.extra_flags(flags):
        # It takes whatever compile() takes; its stub knows of text only.
        return [
            shell.compile(module, name, "exec"),  # type: ignore[arg-type]
            shell.compile(expression, name, "eval"),  # type: ignore[arg-type]
        ]


async def _run(
    shell: InteractiveShell, code: CodeType, names: MutableMapping[str, object]
) -> object:
    __tracebackhide__ = True
    value: object = run_inline(eval, code, shell.user_global_ns, names)
    if code.co_flags & inspect.CO_COROUTINE and isinstance(value, Coroutine):
        return await _stepwise(value)
    return value


@types.coroutine
def _stepwise(
    coroutine: Coroutine[object, object, object],
) -> Generator[object, object, object]:
    """Await a coroutine so that an interrupt can stop what it does between two awaits."""
    __tracebackhide__ = True
    try:
        awaited = run_inline(coroutine.send, None)
        while True:
            try:
                answer = yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                awaited = run_inline(coroutine.throw, error)
            else:
                awaited = run_inline(coroutine.send, answer)
    except StopIteration as stop:
        return stop.value


def _lines_in(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def _from_file(name: str, traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the file ``name``, or all of it."""
    part = traceback
    while part is not None and part.tb_frame.f_code.co_filename != name:
        part = part.tb_next
    return part or traceback
