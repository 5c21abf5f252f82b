"""The cells of a notebook as statements of a module: what they executed, and what they registered.

A step that a cell registered has a name that commands know; here it gets a variable, which is
bound right after the statements of its cell.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count

from flujo_nb.engine.steps import is_node

from ..command_line import Parsed
from ..targets import Registered
from .cell_sources import Cell, CellProgram, Head, Import, Statement, program_of, statement_of
from .module_text import text_literal
from .statement_names import renamed

Parse = Callable[[Head], Parsed | None]
"""Takes the line of a ``%%flujo`` cell apart; ``None`` when it could not have run."""

_DEFINING = ("agent", "hitl", "pipeline", "step")
_MAKING = ("--model", "--out", "--retries", "--schema")
"""The options that are part of what is registered."""
_LIST = re.compile(r"list\[(.+)\]")
_PLAIN_TYPE = "str"


@dataclass(slots=True)
class NotebookStatements:
    """All that the cells executed, in order, with the variables of what they registered.

    ``variables`` are the user's own; what is ``taken`` is no name for a new one.
    """

    programs: Sequence[CellProgram]
    registered: Mapping[str, Registered]
    variables: Mapping[str, object]
    parse: Parse
    taken: set[str] = field(default_factory=set)
    step_variables: dict[str, str] = field(default_factory=dict)
    """The variable of each registered name."""
    unnamed: dict[int, str] = field(default_factory=dict)
    """The variable of the pipeline without a name that a cell defined, by the cell's number."""
    _own: dict[str, Statement] = field(default_factory=dict)
    _statements: list[Statement] = field(default_factory=list)
    _bound: dict[str, set[str]] = field(default_factory=dict)

    @property
    def statements(self) -> Sequence[Statement]:
        """Everything, in the order of execution; the imports of our own come first."""
        return (*self._own.values(), *self._statements)

    def read(self) -> None:
        """Read the cells."""
        names = [self._name_of(one) for one in self.programs]
        last = {name: number for number, name in enumerate(names) if self._is_latest(number, name)}
        gone = [one for one in self.registered.values() if one.name not in last]
        programs = [*self.programs, *map(_program_again, gone)]
        for program in programs:
            for one in program.statements:
                self.taken |= one.names.binds | one.names.loads | one.names.later
                for bound in one.names.binds:
                    self._bound.setdefault(bound, set()).add(one.text)
        self.taken |= {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
        for number, (name, program) in enumerate(zip(names, self.programs, strict=True)):
            has_held = name is None or number <= last.get(name, -1)
            self._add(program, name, has_held=has_held)
        for program, again in zip(programs[len(names) :], gone, strict=True):
            self._add(program, again.name, has_held=True)

    def fresh(self, wanted: str, otherwise: str | None = None) -> str:
        """A variable for something called ``wanted``; free until now."""
        base = re.sub(r"\W", "_", wanted)
        base = base if base.isidentifier() else f"step_{base}"
        other = otherwise or f"{base}_step"
        names = chain((base, other), (f"{other}_{number}" for number in count(2)))
        found = next(one for one in names if one not in self.taken)
        self.taken.add(found)
        return found

    def own(self, name: str, module: str = "flujo_nb") -> str:
        """What ``name`` of ``module`` is called here; it is imported when it is needed."""
        one = Import(module, name)
        if self._bound.get(name, set()) - {one.text}:
            one = Import(module, name, f"Flujo{name[:1].upper()}{name[1:]}")
        if one.binds not in self._own:
            self.taken.add(one.binds)
            self._own[one.binds] = statement_of(one.text)
        return one.binds

    def step_of(self, function: str) -> str:
        """The variable of a step that is made of a function at the end."""
        variable = self.fresh(function)
        self._statements.append(statement_of(self._from_callable(variable, function, function)))
        return variable

    def _from_callable(self, variable: str, function: str, name: str) -> str:
        made = f"{self.own('Step')}.from_callable({function}, name={text_literal(name)})"
        return f"{variable} = {made}"

    def _called(self, variable: str, step: str, name: str) -> str:
        replace_ = self.own("replace", "dataclasses")
        return f"{variable} = {replace_}({step}, name={text_literal(name)})"

    # What a cell registered

    def _name_of(self, program: CellProgram) -> str | None:
        """The name under which a cell registered something; ``None`` when it did not."""
        head = program.head
        if head is None or head.word not in _DEFINING:
            return None
        parsed = self.parse(head)
        if parsed is None:
            return None
        if parsed.words:
            return parsed.words[0]
        if head.word != "step":
            return None
        for one in self.registered.values():
            if self._is_of(one, program):
                return one.name
        return None if program.last_function is None else program.last_function.name

    def _is_latest(self, number: int, name: str | None) -> bool:
        """Whether a cell made what is registered now, if it registered something at all."""
        registered = None if name is None else self.registered.get(name)
        return registered is not None and self._is_of(registered, self.programs[number])

    def _is_of(self, registered: Registered, program: CellProgram) -> bool:
        """Whether a cell says what something was registered with; another one may have failed."""
        head = program.head
        if head is None or head.word != registered.command:
            return False
        found, made = self.parse(head), self.parse(Head(head.word, registered.line))
        if found is None or made is None:
            return False
        is_alike = all(found.values.get(one) == made.values.get(one) for one in _MAKING)
        return is_alike and program.body.strip() == registered.source.strip()

    def _add(self, program: CellProgram, name: str | None, *, has_held: bool) -> None:
        """Add the statements of a cell, and what it registered, if that ``has_held``."""
        head, statements = program.head, list(program.statements)
        made: Statement | None = None
        if head is not None and head.word == "pipeline":
            names = self._renamed_names()
            statements = [_with_names(one, names) for one in statements]
        if _ends_with_a_step(program):
            made = statements.pop()
        self._statements += statements
        if head is None or not has_held or (name is None and head.word != "pipeline"):
            return
        if name is None:
            if made is not None:
                variable = self.fresh(f"pipeline_{program.cell}")
                self.unnamed[program.cell] = variable
                self._statements.append(_assigned(variable, made))
            return
        self._statements += self._registering(program, head, name, made)

    def _renamed_names(self) -> Mapping[str, str]:
        """The names that mean a step in a pipeline's cell, and elsewhere something else."""
        return {
            name: variable
            for name, variable in self.step_variables.items()
            if name != variable and not is_node(self.variables.get(name))
        }

    def _registering(
        self, program: CellProgram, head: Head, name: str, made: Statement | None
    ) -> Iterator[Statement]:
        """The statements that bind the variable of what a cell registered as ``name``."""
        parsed = self.parse(head) or Parsed()
        if not _could_run(parsed):
            return
        if head.word in ("agent", "hitl"):
            make = self._agent if head.word == "agent" else self._question
            yield _placed(make(self._variable(name), name, parsed, program), program)
            return
        function = program.last_function
        if made is not None:
            yield _assigned(self._variable(name), made)
            if head.word == "pipeline" or not parsed.words:
                return
            variable = self.step_variables[name]
            yield _placed(self._called(variable, variable, name), program)
        elif function is not None and not self._is_step(function):
            variable = self._variable(name)
            yield _placed(self._from_callable(variable, function.name, name), program)
        elif function is not None and not parsed.words:
            self.step_variables[name] = function.name
        elif function is not None:
            yield _placed(self._called(self._variable(name), function.name, name), program)

    def _variable(self, name: str) -> str:
        if name not in self.step_variables:
            self.step_variables[name] = self.fresh(name)
        return self.step_variables[name]

    def _is_step(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Whether a function's decorators made a step of it."""
        value = self.variables.get(function.name)
        if is_node(value) or callable(value):
            return is_node(value)
        return bool(function.decorator_list)

    def _agent(self, variable: str, name: str, parsed: Parsed, program: CellProgram) -> str:
        model, output = parsed.values.get("--model", "test"), parsed.values.get("--out")
        is_variable = ":" not in model and model.partition(".")[0] in self.variables
        agent = [model if is_variable else text_literal(model), f"name={text_literal(name)}"]
        if output not in (None, _PLAIN_TYPE):
            agent.insert(1, f"output_type={output}")
        lines = [
            f"{variable} = {self.own('Step')}(",
            f"    name={text_literal(name)},",
            f"    agent={self.own('Agent', 'pydantic_ai')}({', '.join(agent)}),",
            f"    input={text_literal(program.body.strip())},",
        ]
        retries = parsed.values.get("--retries")
        if retries is not None:
            lines.append(f"    config={self.own('StepConfig')}(max_retries={int(retries)}),")
        return "\n".join([*lines, ")"])

    def _question(self, variable: str, name: str, parsed: Parsed, program: CellProgram) -> str:
        schema = parsed.values.get("--schema")
        lines = [
            f"{variable} = {self.own('HumanInTheLoopStep')}(",
            f"    name={text_literal(name)},",
            f"    message_for_user={text_literal(program.body.strip())},",
            *([] if schema is None else [f"    input_schema={schema},"]),
        ]
        return "\n".join([*lines, ")"])


def _program_again(registered: Registered) -> CellProgram:
    """The program of a cell that is not in the history."""
    head = f"%%flujo {registered.command} {registered.line}"
    return program_of(Cell(0, f"{head}\n{registered.source}"))


def _could_run(parsed: Parsed) -> bool:
    """Whether a line names types and a number where it has to; a cell that did not was refused."""
    types = [parsed.values[one] for one in ("--out", "--schema") if one in parsed.values]
    retries = parsed.values.get("--retries", "0")
    return all(map(_is_type, types)) and retries.isascii() and retries.isdigit()


def _is_type(name: str) -> bool:
    """Whether ``name`` may be the name of a class, or ``list[…]`` of one."""
    items = _LIST.fullmatch(name)
    if items is not None:
        return _is_type(items[1].strip())
    return all(one.isidentifier() and not keyword.iskeyword(one) for one in name.split("."))


def _ends_with_a_step(program: CellProgram) -> bool:
    """Whether the last line of a cell is what the cell registered or ran."""
    if program.head is None or not program.statements:
        return False
    is_expression = isinstance(program.statements[-1].tree, ast.Expr)
    is_pipeline = program.head.word == "pipeline"
    return is_expression and (is_pipeline or program.last_function is None)


def _with_names(statement: Statement, names: Mapping[str, str]) -> Statement:
    if statement.imported is not None or not names.keys() & statement.names.loads:
        return statement
    return _at(statement_of(renamed(statement.text, names)), statement.cell, statement.line)


def _assigned(variable: str, expression: Statement) -> Statement:
    """The statement that binds ``variable`` to the value of an expression's statement."""
    lines = expression.text.split("\n")
    first = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    lines[first] = f"{variable} = {lines[first]}"
    return _at(statement_of("\n".join(lines)), expression.cell, expression.line)


def _placed(text: str, program: CellProgram) -> Statement:
    """A statement of ours that stands for a ``%%flujo`` cell as a whole."""
    return _at(statement_of(text), program.cell, 0)


def _at(statement: Statement, cell: int, line: int) -> Statement:
    return replace(statement, cell=cell, line=line)
