"""The names of one statement: those that it binds, loads and changes.

What is bound and loaded is as Python's own symbol tables have it. What changes a value is read off
its form: a change that only a library knows of is not seen.
"""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)

_CHANGING = re.compile(
    r"add|append|basic_?config|clear|discard|enable|extend|fallback|filter|insert|pop|put|register"
    r"|remove|reverse|seed|set|simplefilter|sort|update",
    re.IGNORECASE,
)
"""How the methods begin that change what they belong to, whatever becomes of their value."""

_CHANGING_THEIR_FIRST = frozenset(
    {"delattr", "heapify", "heappop", "heappush", "insort", "setattr", "shuffle"}
)
_COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})
_COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function by its name, and the names that it is given."""

    function: str
    given: tuple[str, ...] = ()


@dataclass(slots=True)
class Names:
    """The names of a statement.

    ``loads`` are those that it needs when it is run, ``hints`` those in annotations that nobody may
    ever look up. Functions and classes that it defines need ``later`` when they are called, and
    what is called ``…_later`` is done by them then. ``changes`` are the names whose values change,
    ``may_change`` those whose methods are called for what they do: modules are not changed by
    that. With ``changes_given`` a function changes what it is given. ``is_calling`` says that the
    statement itself calls something, which may be a function that it defines.
    """

    binds: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    hints: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    may_change: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    binds_later: set[str] = field(default_factory=set)
    changes_later: set[str] = field(default_factory=set)
    may_change_later: set[str] = field(default_factory=set)
    calls_later: list[Call] = field(default_factory=list)
    changes_given: bool = False
    is_calling: bool = False
    awaits: bool = False


def names_of(
    node: ast.stmt, text: str, *, is_look: bool = False, annotations_are_text: bool = False
) -> Names:
    """The names of the statement ``node``, whose source is ``text``.

    ``is_look`` says that it is an expression whose value was shown: what it calls is no change
    then, unless its name says so. ``annotations_are_text``: nothing in them is evaluated.
    """
    names = Names()
    _read_form(names, node, is_look=is_look)
    _read_annotations(names, node, annotations_are_text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Annotations are looked at by themselves; so they stay out of the tables.
            source = f"from __future__ import annotations\n{text}"
            table = symtable.symtable(source, "cell", "exec")
    except NOT_PYTHON:  # it awaits in a way that only a notebook can
        names.binds |= {one.id for one in _loaded(node, ast.Store)}
    else:
        _read_table(names, table, is_later=False)
        names.binds.discard("annotations")
    if isinstance(node, ast.Delete):
        names.binds.clear()
    names.hints |= names.binds_later  # it may add to what was there
    names.changes_later &= names.later
    names.may_change_later &= names.later
    return names


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The source of a statement, with names that it loads itself when it is run replaced."""
    lines = [line.encode() for line in text.split("\n")]
    found = [
        node
        for node, is_later in _nodes(ast.parse(text).body[0], into_comprehensions=False)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        if node.id in names and not is_later
    ]
    for node in sorted(found, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        line, start, name = lines[node.lineno - 1], node.col_offset, node.id.encode()
        if line[start:].startswith(name):  # Python 3.11 misplaces those in f-strings
            end = start + len(name)
            lines[node.lineno - 1] = line[:start] + names[node.id].encode() + line[end:]
    return b"\n".join(lines).decode()


# Symbol tables


def _read_table(names: Names, table: symtable.SymbolTable, *, is_later: bool) -> None:
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        name = symbol.get_name()
        if is_top and symbol.is_declared_global():
            continue  # the table that declares it tells
        if (is_top or symbol.is_declared_global()) and (
            symbol.is_assigned() or symbol.is_imported()
        ):
            (names.binds_later if is_later else names.binds).add(name)
        if symbol.is_referenced() and (is_top or symbol.is_global()):
            (names.later if is_later else names.loads).add(name)
    for child in table.get_children():
        is_function = child.get_type() == "function" and child.get_name() not in _COMPREHENSIONS
        _read_table(names, child, is_later=is_later or is_function)


# Forms


def _nodes(
    node: ast.AST, *, into_comprehensions: bool = True, is_later: bool = False
) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes of a statement but annotations, and whether they wait for a call."""
    yield node, is_later
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        waits = is_later or (name == "body" and isinstance(node, (*FUNCTIONS, ast.Lambda)))
        parts = value if isinstance(value, list) else [value]
        if isinstance(node, _COMPREHENSION) and not into_comprehensions:
            parts = [node.generators[0].iter] if name == "generators" else []
        for one in parts:
            if isinstance(one, ast.AST):
                yield from _nodes(one, into_comprehensions=into_comprehensions, is_later=waits)


def _read_form(names: Names, node: ast.stmt, *, is_look: bool) -> None:
    parameters: set[str] = set()
    for one, is_later in _nodes(node):
        is_decorated = isinstance(one, DEFINITIONS) and bool(one.decorator_list)
        names.is_calling |= not is_later and (is_decorated or isinstance(one, ast.Call))
        calls = names.calls_later if is_later else names.calls
        changes = names.changes_later if is_later else names.changes
        may_change = names.may_change_later if is_later else names.may_change
        changes.update(_assigned(one))
        match one:
            case ast.arg(arg=name):
                parameters.add(name)
            case ast.AugAssign(target=ast.Name(id=name)) if not is_later:
                names.loads.add(name)
            case ast.Expr(value=ast.Call() | ast.Await() as value) if not is_look:
                made = value.value if isinstance(value, ast.Await) else value
                if isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute):
                    may_change.update(_root(made.func.value))
            case ast.Call():
                changes.update(_changed_by(one))
                calls.extend(_called(one))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for decorator in one.decorator_list:
                    may_change.update(_decorated_by(decorator))
                    calls.extend(Call(name) for name in _names_in([decorator]))
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith() if not is_later:
                names.awaits = True
            case ast.comprehension(is_async=1) if not is_later:
                names.awaits = True
    names.changes_given = bool((names.changes_later | names.may_change_later) & parameters)


def _assigned(node: ast.AST) -> Iterator[str]:
    """The names whose parts an assignment sets, or a ``del`` takes away."""
    match node:
        case (
            ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del())
        ):
            yield from _root(node)


def _changed_by(call: ast.Call) -> Iterator[str]:
    match call:
        case ast.Call(func=ast.Attribute(value=value, attr=attribute)) if _CHANGING.match(
            attribute
        ):
            yield from _root(value)
    match call:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if (
            name in _CHANGING_THEIR_FIRST
        ):
            yield from _root(first)


def _called(call: ast.Call) -> Iterator[Call]:
    given = tuple(_names_in([*call.args, *(one.value for one in call.keywords)]))
    if isinstance(call.func, ast.Name):
        yield Call(call.func.id, given)
    yield from (Call(name) for name in given)  # whoever is called may call it


def _names_in(nodes: Sequence[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Starred(value=ast.Name(id=name)):
                yield name


def _decorated_by(decorator: ast.expr) -> Iterator[str]:
    """The object whose method decorates: it may note what it is given."""
    made = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(made, ast.Attribute):
        yield from _root(made)


def _root(node: ast.expr) -> Iterator[str]:
    """The name that an expression of attributes, items and calls begins with."""
    while not isinstance(node, ast.Name):
        match node:
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return
    yield node.id


# Annotations


def _read_annotations(names: Names, node: ast.stmt, are_text: bool) -> None:
    for one, is_later in _annotated(node):
        is_evaluated = not (are_text or is_later)
        (names.loads if is_evaluated else names.hints).update(
            found.id for found in _loaded(one, ast.Load)
        )
        names.hints.update(_names_in_texts(one))


def _annotated(node: ast.AST, is_later: bool = False) -> Iterator[tuple[ast.expr, bool]]:
    """Every annotation, and whether it stands inside a function."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") and isinstance(value, ast.expr):
            yield value, is_later
            continue
        waits = is_later or (name == "body" and isinstance(node, (*FUNCTIONS, ast.Lambda)))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield from _annotated(one, waits)


def _loaded(node: ast.AST, context: type[ast.expr_context]) -> Iterator[ast.Name]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, context):
            yield one


def _names_in_texts(annotation: ast.expr) -> Iterator[str]:
    """The names in the texts of an annotation, as in ``list["Ticket"]``."""
    waiting: list[ast.AST] = [annotation]
    while waiting:
        one = waiting.pop()
        match one:
            case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal")):
                continue
            case ast.Constant(value=str(text)):
                try:
                    yield from (name.id for name in _loaded(ast.parse(text, mode="eval"), ast.Load))
                except NOT_PYTHON:
                    continue
        waiting.extend(ast.iter_child_nodes(one))
