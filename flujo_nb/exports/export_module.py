"""A module that runs what a notebook ran, without the notebook: ``%flujo export py``.

It holds the statements that the notebook's steps need, as they stand in the cells, in the order in
which they were executed, and at its end the pipeline as a `flujo_nb.program.Program`.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.steps import is_node, steps_of
from flujo_nb.engine.store.secrets import looks_like
from flujo_nb.engine.user_code import caught_inline
from flujo_nb.engine.values import exactly_equal

from ..targets import SLICE, Registered
from .cell_sources import Cell, Import, Statement, program_of, statement_of
from .exported_steps import NotebookStatements, Parse
from .module_text import ENTRY_POINTS, docstring_lines, module_text, value_literal
from .needed_statements import Executed, Missing, Needed

LONGEST = 20_000
"""How many characters of a value are written down; a cell may read what is longer."""

_SESSION = "flujo"
_OF_IPYTHON = frozenset({"display", "get_ipython", "In", "Out", "exit", "quit"})
_KNOWN = {*dir(builtins), "__name__", "__doc__"} - _OF_IPYTHON
_HISTORY = re.compile(r"_+(\d+|i+|i\d+|oh|ih|dh)?")


@dataclass(frozen=True, slots=True)
class Part:
    """What one command ran: its target as it was written, and the number of its cell.

    ``cell`` is ``None`` where a cell of this kernel did not define what ran.
    """

    target: str
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported: the parts of a pipeline, and the context that it begins with.

    ``title`` says what it is, and ``notes`` what of the notebook is not part of it.
    """

    parts: Sequence[Part]
    title: str
    context: BaseModel | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Module:
    """A module's text, the pipeline in it as an expression, and what is not part of it."""

    text: str
    pipeline: str
    notes: Sequence[str]


@dataclass(slots=True)
class ModuleWriter:
    """Writes a module out of the cells that a kernel has executed, the oldest first.

    ``variables`` are the user's.
    """

    cells: Sequence[Cell]
    registered: Mapping[str, Registered]
    variables: Mapping[str, object]
    parse: Parse
    _futures: set[str] = field(default_factory=set)
    _stars: list[str] = field(default_factory=list)
    _constants: dict[str, str] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _needs: dict[str, str] = field(default_factory=dict)

    def written(self, wanted: Wanted, stem: str) -> Module:
        """The module, for a file called ``stem``.

        Raises `UsageError` for what it needs and no cell gives, and for secrets.
        """
        notebook = self._notebook()
        self._notes += wanted.notes
        expression = " >> ".join(self._expression(one, notebook) for one in wanted.parts)
        pipeline = expression
        end: list[Statement] = []
        if expression != "pipeline":
            pipeline = notebook.fresh("pipeline", "whole_pipeline")
            end.append(statement_of(f"{pipeline} = {expression}", cell=-1))
        program, make = notebook.fresh("program"), notebook.own("Program", "flujo_nb.program")
        self._needs[make] = "the pipeline"
        arguments = ", ".join([pipeline, *self._context(wanted.context, notebook)])
        end.append(statement_of(f"{program} = {make}({arguments})", cell=-1))
        found = self._needed(Executed(notebook.statements))
        for one in found.statements:
            _refuse_unfit(one)
        text = module_text(
            docstring_lines(wanted.title, stem, self._notes),
            [*self._constant_statements(found), *found.statements, *end],
            [Import(module, name) for name, module in found.starred.items()],
            sorted(self._futures),
            program,
        )
        _refuse_secrets(text, wanted.title)
        return Module(text, expression, self._notes)

    def _notebook(self) -> NotebookStatements:
        programs = []
        for cell in self.cells:
            program = program_of(cell, annotations_are_text="annotations" in self._futures)
            self._futures.update(program.futures)
            self._stars += program.stars
            programs.append(program)
        notebook = NotebookStatements(programs, self.registered, self.variables, self.parse)
        notebook.taken.update(ENTRY_POINTS)
        notebook.read()
        return notebook

    # The pipeline

    def _expression(self, part: Part, notebook: NotebookStatements) -> str:
        """A part of the pipeline as an expression; the names in it are needed."""
        if part.cell in notebook.unnamed and part.target not in self.registered:
            variable = notebook.unnamed[part.cell]
            self._needs[variable] = f"the pipeline of cell {part.cell}"
            return variable
        sliced = SLICE.fullmatch(part.target)
        whole = part.target if sliced is None else sliced["whole"]
        names = [one.strip() for one in whole.split(">>")]
        if sliced is None:
            return " >> ".join(self._named(name, notebook) for name in names)
        nodes = [self._node_of(name) for name in names]
        steps = [one.name for node in nodes if is_node(node) for one in steps_of(node)]
        number = steps.index(sliced["name"])
        if len(steps) == len(names):
            chosen = names[: number + 1] if sliced["until"] else names[number : number + 1]
            return " >> ".join(self._named(name, notebook) for name in chosen)
        make = notebook.own("Pipeline")
        self._needs[make] = "the pipeline"
        every = f"{make}.of({', '.join(self._named(name, notebook) for name in names)}).steps"
        return f"{make}({every}[:{number + 1}])" if sliced["until"] else f"{every}[{number}]"

    def _node_of(self, name: str) -> object:
        return self.registered[name].node if name in self.registered else self.variables.get(name)

    def _named(self, name: str, notebook: NotebookStatements) -> str:
        """The variable of what is called ``name``."""
        value, variable = self._node_of(name), name
        if value is None:
            raise UsageError(
                f"{name!r} is not registered in this kernel: run the cell that defines it "
                "(--no-run in its first line registers only), and export again"
            )
        if name in self.registered:
            variable = notebook.step_variables[name]
        elif not is_node(value) and callable(value):
            variable = notebook.step_of(name)
        self._needs[variable] = f"step {name}"
        return variable

    def _context(self, context: BaseModel | None, notebook: NotebookStatements) -> Iterator[str]:
        """The arguments that say with what context runs begin."""
        if context is None:
            return
        model = type(context)
        name = next((n for n, held in self.variables.items() if held is model), model.__name__)
        if model is PipelineContext:
            name = notebook.own(model.__name__)
        self._needs[name] = "the context"
        yield f"context={name}"
        values, left_out = first_values(context)
        self._notes += [
            f"The first value of the context's {one} cannot be written down: give it, "
            f"run(data, context={{{one!r}: …}})."
            for one in left_out
        ]
        if values:
            literal = value_literal(values) or ""
            _refuse_secrets(literal, "the context's first values")
            yield f"values={literal}"

    # What it needs

    def _needed(self, executed: Executed) -> Needed:
        """All that is needed. Values of variables are written down where no cell gives them."""
        while True:
            found = executed.needed(
                self._needs, constants=self._constants, known=_KNOWN, star=self._star
            )
            if not found.missing:
                return found
            for one in found.missing:
                self._supply(one)

    def _supply(self, missing: Missing) -> None:
        """Have the value of a name written down that is missing, or else of what is made of it."""
        names, user = {missing.name}, missing.user
        if user is not None and not user.is_definition and self._literal(missing.name) is None:
            names = user.names.binds
        literals = {name: self._literal(name) for name in names}
        for name, literal in literals.items():
            if literal is None:
                raise UsageError(self._told(missing))
            _refuse_secrets(literal, f"the value of {name}")
            self._constants[name] = literal
        if not names:
            raise UsageError(self._told(missing))

    def _literal(self, name: str) -> str | None:
        if name not in self.variables or name in _OF_IPYTHON or _HISTORY.fullmatch(name):
            return None
        text = value_literal(self.variables[name])
        return text if text is not None and len(text) <= LONGEST else None

    def _constant_statements(self, found: Needed) -> Iterator[Statement]:
        for name in sorted(found.constants):
            yield statement_of(f"# As it was in the notebook.\n{name} = {self._constants[name]}")

    def _star(self, name: str) -> str | None:
        """The module that ``from … import *`` brought a name from."""
        for module in reversed(self._stars):
            found = caught_inline(import_module, module)
            if isinstance(found, ModuleType) and name in vars(found):
                return module
        return None

    def _told(self, missing: Missing) -> str:
        """What is missing, what needs it, and what to do."""
        name, user, value = missing.name, missing.user, self.variables.get(missing.name)
        where = f" in cell {user.cell}" if user is not None and user.cell > 0 else ""
        what = f"{missing.wanted_for} needs {name!r}{where}"
        if name in _OF_IPYTHON or _HISTORY.fullmatch(name):
            return f"{what}, which only a notebook has: do without it, and export again"
        if missing.why_not is not None:
            return f"{what}, but {missing.why_not}: write plain Python there, and export again"
        if name == _SESSION:
            return f"{what}, the notebook's session: a step that is exported does without it"
        if isinstance(value, ModuleType):
            return f"{what}: import {value.__name__} in a cell, and export again"
        if name not in self.variables:
            return f"{what}, which no cell defines: define it in a cell, and export again"
        return (
            f"{what}, which no cell defines, and its value ({type(value).__name__}) cannot be "
            "written down: make it in a cell, or let resources bring it, and export again"
        )


def first_values(context: BaseModel) -> tuple[Mapping[str, object], Sequence[str]]:
    """The values that make a context again, as plain data, and the fields that are left out."""
    model = type(context)
    for is_json in (False, True):
        for leaves_defaults in (True, False):
            values = context.model_dump(
                mode="json" if is_json else "python", exclude_defaults=leaves_defaults
            )
            made: object = caught_inline(model.model_validate, values)
            if value_literal(values) is not None and exactly_equal(made, context):
                return values, ()
    values = context.model_dump(exclude_defaults=True)
    plain = {name: value for name, value in values.items() if value_literal(value) is not None}
    return plain, [name for name in values if name not in plain]


def _refuse_unfit(statement: Statement) -> None:
    """Raise `UsageError` for a secret in a statement, and for a name that the module needs."""
    if statement.line:
        for number, line in enumerate(statement.text.split("\n")):
            _refuse_secrets(line, f"cell {statement.cell}, line {statement.line + number}")
    _refuse_secrets(statement.text, f"cell {statement.cell}")
    for name in sorted(statement.names.binds & {*ENTRY_POINTS}):
        raise UsageError(
            f"{name} in cell {statement.cell} is also what the module's own function is called: "
            "rename it, run its cell, and export again"
        )


def _refuse_secrets(text: str, place: str) -> None:
    kind = looks_like(text)
    if kind is not None:
        raise UsageError(
            f"{place}: something looks like {kind}, and a file holds no secrets: read it from "
            "os.environ, and export again"
        )
