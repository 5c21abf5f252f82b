"""Rewriting the text of a cell: ``%flujo`` calls that may be awaited become awaited ones.

Pure functions of lines. They change nothing but calls of the one magic, nothing when they are
applied a second time, and raise only for a cell that does not compile anyway.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from IPython.core.inputtransformer2 import TransformerManager

_Scope = type[ast.AST]

# In these, code runs in a scope of its own, where `await` is illegal or changes the meaning.
_OWN_SCOPES: tuple[_Scope, ...] = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    # Not a scope; before Python 3.12 the positions inside an f-string are not to be trusted.
    ast.JoinedStr,
)
if sys.version_info >= (3, 12):
    _OWN_SCOPES += (ast.TypeAlias,)

_BY_LINE = "run_line_magic"
_BY_CELL = "run_cell_magic"
_SETTING = "magic('autoawait'"
_NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


def twin_of(name: str) -> str:
    """The hidden magic that returns a coroutine; its underscore keeps it out of completion."""
    return f"_{name}"


def rewritten(lines: list[str], name: str, *, awaiting: bool) -> list[str]:
    """The lines of a transformed cell with its calls of the magic ``name`` rewritten.

    With ``awaiting`` each call that may be awaited becomes the awaited call of the twin. A
    trailing ``;`` moves out of the magic's text and behind the call, where IPython sees it and
    does not display the value. Raises ``SyntaxError`` for ``%name`` inside an expression.
    """
    text = "".join(lines)
    if all(f"{before}{name}" not in text for before in ("magic('", 'magic("', "%")):
        return lines
    if _SETTING in text:  # what is on when the cell begins may be off when the call is made
        awaiting = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler will say the same of the same text
            tree = ast.parse(text)
    except _NOT_PYTHON as error:
        if isinstance(error, SyntaxError):
            _refuse_in_expression(error, name)
        return lines
    source = _Source(text)
    edits = [
        edit
        for call in _calls_of(name, tree)
        for edit in _edits(source, call, twin_of(name) if awaiting and call.may_await else None)
    ]
    return source.edited(edits).splitlines(keepends=True) if edits else lines


def _refuse_in_expression(error: SyntaxError, name: str) -> None:
    """Say more than Python does when it is the magic that stands where ``%`` means nothing."""
    line, column = error.text or "", (error.offset or 1) - 1
    if re.match(rf"%{re.escape(name)}\b", line[column:]):
        raise SyntaxError(
            f"%{name} stands on a line of its own, or behind `x =`; inside an expression write "
            f"{name}.run_sync('STEP'), or await {name}.run('STEP')",
            (error.filename, error.lineno, error.offset, error.text),
        ) from None


def without_leading_comments(lines: list[str], name: str) -> list[str]:
    """Drop comment and blank lines before ``%%name``, which IPython wants to be the first line."""
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return lines[number:] if re.match(rf"%%{re.escape(name)}(\s|$)", line) else lines
    return lines


def without_semicolon(line: str) -> str:
    """A magic's line without the ``;`` that asks for silence."""
    return line.rstrip().rstrip(";").rstrip() if line.rstrip().endswith(";") else line


@dataclass(frozen=True)
class _Call:
    """A call of the magic, and what its place in the program permits."""

    node: ast.Call
    may_await: bool
    is_statement: bool


@dataclass(frozen=True)
class _Edit:
    """Replace the characters from ``start`` to ``end``."""

    start: int
    end: int
    text: str


class _Source:
    """A text in which ``ast`` positions (line, UTF-8 byte) can be found and replaced."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._line_starts = [0, *(m.end() for m in re.finditer(r"\r\n|\r|\n", text))]

    def offset(self, line: int, column: int) -> int:
        start = self._line_starts[line - 1]
        # A character has at least one byte, so the slice holds the column.
        return start + len(self.text[start : start + column].encode()[:column].decode())

    def start(self, node: ast.expr) -> int:
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def ends_line(self, offset: int) -> bool:
        return re.compile(r"[ \t]*(\r|\n|$)").match(self.text, offset) is not None

    def edited(self, edits: list[_Edit]) -> str:
        text = self.text
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text


def _edits(source: _Source, call: _Call, twin: str | None) -> Iterator[_Edit]:
    magic, line = call.node.args[0], call.node.args[1]
    end = source.end(call.node)
    silent = call.is_statement and source.ends_line(end) and _asks_for_silence(call)
    if silent and isinstance(line, ast.Constant) and isinstance(line.value, str):
        bare = without_semicolon(line.value)
        if bare != line.value:
            yield _Edit(source.start(line), source.end(line), repr(bare))
    if twin is not None:
        start = source.start(call.node)
        yield _Edit(start, start, "(await ")
        yield _Edit(source.start(magic), source.end(magic), repr(twin))
    closing = (")" if twin is not None else "") + (";" if silent else "")
    if closing:
        yield _Edit(end, end, closing)


def _calls_of(name: str, tree: ast.Module) -> Iterator[_Call]:
    """Every ``get_ipython().run_…_magic(name, …)`` in the tree."""
    waiting: list[tuple[ast.AST, bool, bool]] = [(tree, True, False)]
    while waiting:
        node, may_await, is_statement = waiting.pop()
        if isinstance(node, ast.Call) and _calls_magic(node, name):
            # A cell magic without a body is refused by IPython, under the name that was typed.
            match node.args:
                case [_, _, ast.Constant(value="")]:
                    yield _Call(node, False, is_statement)
                case _:
                    yield _Call(node, may_await, is_statement)
        for field, value in ast.iter_fields(node):
            inside = _may_await_in(node, field, may_await)
            stands_alone = isinstance(node, (ast.Expr, ast.Assign)) and field == "value"
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    waiting.append((child, inside, stands_alone))


def _may_await_in(node: ast.AST, field: str, may_await: bool) -> bool:
    if isinstance(node, ast.AsyncFunctionDef) and field == "body":
        return True
    if isinstance(node, _OWN_SCOPES) or (isinstance(node, ast.AnnAssign) and field == "annotation"):
        return False
    return may_await


def _calls_magic(node: ast.Call, name: str) -> bool:
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython"), args=[], keywords=[]),
                attr=attribute,
            ),
            args=[ast.Constant(value=str(magic)), *rest],
            keywords=[],
        ):
            return magic == name and (attribute, len(rest)) in {(_BY_LINE, 1), (_BY_CELL, 2)}
        case _:
            return False


def _asks_for_silence(call: _Call) -> bool:
    match call.node.args:
        case [_, ast.Constant(value=str(line)), *_] if line.rstrip().endswith(";"):
            return True
        case [_, _, ast.Constant(value=str(body))]:
            return _ends_with_semicolon(body)
        case _:
            return False


def _ends_with_semicolon(body: str) -> bool:
    """Whether a cell's body is Python and its last token is a ``;`` (a prompt may end with one)."""
    if ";" not in body:
        return False
    # A manager of its own: the shell's would run transformers that other people installed.
    make_manager: Callable[[], TransformerManager] = TransformerManager
    try:
        python = make_manager().transform_cell(body)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(python)
        tokens = list(tokenize.generate_tokens(io.StringIO(python).readline))
    except (*_NOT_PYTHON, RuntimeError, tokenize.TokenError):
        return False
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.DEDENT, tokenize.ENDMARKER)
    words = [token.string for token in tokens if token.type not in layout]
    return words[-1:] == [";"]
