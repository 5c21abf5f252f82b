"""What the cells of a notebook say in Python: their statements, each with its text and names.

Pure: texts in, statements out; nothing is run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager

from .statement_names import DEFINITIONS, FUNCTIONS, NOT_PYTHON, Names, names_of

_RUNNING_THEIR_BODY = ("capture", "prun", "time")
"""The cell magics of IPython whose body is run as a cell is."""

_DEFINING = ("step", "pipeline")
"""The commands whose body is Python that is run as a cell is."""

_COMMENT = re.compile(r"#(?!\s*%%|\||@|\s*In\[|!)")
"""A comment for readers, not for the front end."""
_INNER_COMMENT = re.compile(r"\s+#")
_PERHAPS = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar),
    *(ast.With, ast.AsyncWith, ast.Match),
)
"""The statements that may bind a name, or not."""

IS_IPYTHON = "it uses IPython's own syntax (%magic, !command)"
AWAITS = "it awaits outside a function"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that was executed; ``has_shown`` says that the value it ended with was shown."""

    number: int
    text: str
    has_shown: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The line of a ``%%flujo`` cell: the command's word, and what follows it."""

    word: str
    line: str


@dataclass(frozen=True, slots=True)
class Import:
    """A name that an import binds: ``from module import name as bound``, ``import module``."""

    module: str
    name: str | None = None
    bound: str | None = None

    @property
    def binds(self) -> str:
        """The name that it binds."""
        return self.bound or self.name or self.module.partition(".")[0]

    @property
    def text(self) -> str:
        """The statement."""
        told = f"{self.name or self.module}{'' if self.bound is None else f' as {self.bound}'}"
        return f"import {told}" if self.name is None else f"from {self.module} import {told}"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A statement of a cell's top level.

    ``line`` is the one of the whole cell in which ``text`` begins, counted from 1; 0 stands for
    all of it. ``is_sure`` is false when what it binds may keep a value that it had before (in an
    ``if``; ``import a.b``). ``why_not`` says why it does not run outside a notebook, if it does
    not.
    """

    cell: int
    line: int
    text: str
    names: Names
    tree: ast.stmt
    is_sure: bool = True
    imported: Import | None = None
    why_not: str | None = None

    @property
    def is_definition(self) -> bool:
        """Whether it defines a function or a class."""
        return isinstance(self.tree, DEFINITIONS)

    @property
    def own(self) -> set[str]:
        """The names that it may bind before it loads them."""
        may_bind_first = not self.is_sure or any(
            isinstance(one, ast.NamedExpr) for one in ast.walk(self.tree)
        )
        return self.names.binds if may_bind_first else set()


@dataclass(slots=True)
class CellProgram:
    """The Python of a cell.

    ``head`` is the line of a ``%%flujo`` cell and ``body`` what stands below it. ``stars`` are the
    modules of ``from … import *``, ``futures`` what ``from __future__`` brings.
    """

    cell: int
    head: Head | None
    body: str
    statements: list[Statement] = field(default_factory=list)
    stars: list[str] = field(default_factory=list)
    futures: list[str] = field(default_factory=list)

    @property
    def last_function(self) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The last function that it defines at its top level."""
        trees = (one.tree for one in reversed(self.statements))
        return next((one for one in trees if isinstance(one, FUNCTIONS)), None)


def program_of(cell: Cell, *, annotations_are_text: bool = False) -> CellProgram:
    """Take a cell apart; of one that is no Python there are no statements.

    ``annotations_are_text`` says that ``from __future__ import annotations`` is in force.
    """
    head, body, above = _body_of(cell.text.replace("\r\n", "\n"))
    program = CellProgram(cell.number, head, body)
    if head is not None and head.word not in _DEFINING:
        return program
    make_manager: Callable[[], TransformerManager] = TransformerManager
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever ran the cell has seen them
            python = make_manager().transform_cell(body)
            tree = ast.parse(python)
    except NOT_PYTHON:
        return program
    above += len(body.split("\n")) - len(body.lstrip().split("\n"))  # IPython drops blank lines
    reader = _Reader(program, above, python.split("\n"), annotations_are_text)
    for before, one in zip([None, *tree.body], tree.body, strict=False):
        is_look = cell.has_shown and head is None and one is tree.body[-1]
        reader.read(one, before, is_look=is_look)
    return program


def statement_of(text: str, cell: int = 0) -> Statement:
    """A statement that is made of a text of ours."""
    [one] = program_of(Cell(cell, text)).statements
    return one


def _body_of(text: str) -> tuple[Head | None, str, int]:
    """The head of a cell, the body below its magics, and the number of lines above that."""
    lines = text.splitlines(keepends=True)
    above = 0
    while True:
        code = (n for n, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#")
        first = next(code, None)
        if first is None or not lines[first].startswith("%%"):
            return None, "".join(lines), above
        name, _, rest = lines[first][2:].strip().partition(" ")
        above += first + 1
        lines = lines[first + 1 :]
        if name == "flujo":
            word, _, line = rest.strip().partition(" ")
            return Head(word, line.strip()), "".join(lines), above
        if name not in _RUNNING_THEIR_BODY:
            return None, "", above


@dataclass(slots=True)
class _Reader:
    """Puts the statements of a cell, which begin below ``above`` lines, into its program."""

    program: CellProgram
    above: int
    lines: list[str]
    annotations_are_text: bool

    def read(self, node: ast.stmt, before: ast.stmt | None, *, is_look: bool) -> None:
        match node:
            case ast.ImportFrom(module="__future__", names=names):
                self.program.futures += [one.name for one in names]
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")], level=0):
                self.program.stars.append(module)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for one in names:
                    self._import(node, Import(module, one.name, one.asname))
            case ast.Import(names=names):
                for one in names:
                    self._import(node, Import(one.name, None, one.asname))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass  # it does nothing
            case _:
                self._read_other(node, before, is_look=is_look)

    def _import(self, node: ast.stmt, one: Import) -> None:
        is_sure = one.name is not None or one.bound is not None or "." not in one.module
        names = Names(binds={one.binds})
        line = node.lineno - 1
        statement = self._statement(node, line, one.text, names, is_sure=is_sure, imported=one)
        self.program.statements.append(statement)

    def _read_other(self, node: ast.stmt, before: ast.stmt | None, *, is_look: bool) -> None:
        text, first = self._text(node, before)
        names = names_of(
            node, text, is_look=is_look, annotations_are_text=self.annotations_are_text
        )
        why_not = AWAITS if names.awaits else None
        if "get_ipython" in names.loads | names.later:
            why_not = IS_IPYTHON
        is_sure = not isinstance(node, _PERHAPS)
        statement = self._statement(node, first, text, names, is_sure=is_sure, why_not=why_not)
        self.program.statements.append(statement)

    def _text(self, node: ast.stmt, before: ast.stmt | None) -> tuple[str, int]:
        """The text of a statement and the line that it begins in, counted from 0.

        The comments right above it and behind it belong to it.
        """
        decorators = node.decorator_list if isinstance(node, DEFINITIONS) else []
        first = min((one.lineno for one in decorators), default=node.lineno) - 1
        last, end = _end_of(node)
        floor = 0 if before is None else _end_of(before)[0]
        tail = self.lines[last - 1].encode()[end:].decode().strip()
        if floor > first or tail.startswith(";"):  # another statement is in the same line
            source = "\n".join(self.lines)
            return ast.get_source_segment(source, node) or ast.unparse(node), node.lineno - 1
        while first > floor and _COMMENT.match(self.lines[first - 1]):
            first -= 1
        while last < len(self.lines) and _INNER_COMMENT.match(self.lines[last]):
            last += 1
        return "\n".join(self.lines[first:last]).rstrip(), first

    def _statement(
        self,
        node: ast.stmt,
        first: int,
        text: str,
        names: Names,
        *,
        is_sure: bool,
        imported: Import | None = None,
        why_not: str | None = None,
    ) -> Statement:
        line = self.above + first + 1
        return Statement(self.program.cell, line, text, names, node, is_sure, imported, why_not)


def _end_of(node: ast.stmt) -> tuple[int, int]:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset
