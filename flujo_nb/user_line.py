"""The line of the user's own code that an error came from."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

from flujo_nb import engine
from flujo_nb.engine.errors import StepExited
from flujo_nb.engine.user_code import message_of

from .html import safe

_NOT_THE_USERS = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(engine.__file__).parent,
        Path(__file__).parent,
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    )
)
_LINES = 3


def user_lines(error: BaseException, shell: InteractiveShell) -> list[str]:
    """An error for a cell: where in the user's code it came from, that line, and what it says."""
    lines = []
    own = _own_frame(error, shell)
    if own is not None:
        named = shell.compile.format_code_name(own.filename)
        where = " ".join(named) if named is not None else own.filename
        lines.append(f"  {where}, line {own.lineno}, in {own.name}")
        text = linecache.getline(own.filename, own.lineno or 0).strip()
        if text:
            lines.append(f"    {text[:160]}")
    said = safe(f"{type(error).__name__}: {message_of(error)}").rstrip(": ").splitlines()
    lines += [f"  {line[:200]}" for line in said[:_LINES]]
    if len(said) > _LINES:
        lines[-1] += " …"
    return list(map(safe, lines))


def _own_frame(error: BaseException, shell: InteractiveShell) -> traceback.FrameSummary | None:
    """The innermost frame in a cell; else the innermost in neither a library nor this package."""
    cause = error.__cause__ if isinstance(error, StepExited) else error
    frames = traceback.extract_tb(cause.__traceback__) if cause is not None else []
    in_cells = [one for one in frames if shell.compile.format_code_name(one.filename) is not None]
    own = [one for one in frames if not one.filename.startswith(_NOT_THE_USERS)]
    chosen = in_cells or own
    return chosen[-1] if chosen else None
