"""How a module's text is laid out: imports in groups, blank lines, long literals."""

from __future__ import annotations

import ast
import json
import pprint
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from flujo_nb.engine.user_code import caught_inline
from flujo_nb.engine.values import exactly_equal

from ..html import without_controls
from .cell_sources import Import, Statement
from .statement_names import NOT_PYTHON

WIDTH = 88
"""How many columns the lines that we write have."""

ENTRY_POINTS = ("run", "run_async")
"""The functions that a module ends with."""

_ENTRY = '''

def run(data=None, *, context=None, resources=None):
    """The output of the pipeline for ``data``.

    ``context`` are values in place of the first ones, ``resources`` are for the steps
    that ask for them. Raises `ProgramStopped` (of flujo_nb.program) when a step fails.
    """
    return PROGRAM.run(data, context=context, resources=resources)


async def run_async(data=None, *, context=None, resources=None):
    """As `run`, where an event loop runs."""
    return await PROGRAM.run_async(data, context=context, resources=resources)


if __name__ == "__main__":
    raise SystemExit(PROGRAM.main())
'''


def text_literal(text: str) -> str:
    """A literal of ``text``, on lines of its own where it has several."""
    whole = f'"""\\\n{text}"""'
    is_plain = "\n" in text and all(line.isprintable() for line in text.split("\n"))
    if is_plain and not text.endswith('"') and _means(whole, text):
        return whole
    told = json.dumps(text, ensure_ascii=False)
    return told if _means(told, text) else repr(text)


def value_literal(value: object) -> str | None:
    """A literal of plain data; ``None`` when reading it back would not give the same."""
    text = caught_inline(partial(pprint.pformat, width=WIDTH, sort_dicts=False), value)
    return text if isinstance(text, str) and _means(text, value) else None


def _means(literal: str, value: object) -> bool:
    """Whether ``literal`` is one, of exactly ``value``."""
    try:
        return exactly_equal(ast.literal_eval(literal), value)
    except (*NOT_PYTHON, TypeError):
        return False


def import_lines(imports: Iterable[Import], futures: Iterable[str] = ()) -> Iterator[str]:
    """The imports of a module, each once: the future, Python's own, others; sorted in each."""
    groups: dict[int, set[Import]] = {}
    for one in [*imports, *(Import("__future__", name) for name in futures)]:
        groups.setdefault(_group_of(one), set()).add(one)
    for number, (_, group) in enumerate(sorted(groups.items())):
        if number:
            yield ""
        modules = sorted((one for one in group if one.name is None), key=_order_of)
        yield from (one.text for one in modules)
        sources: dict[str, list[Import]] = {}
        for one in sorted((one for one in group if one.name is not None), key=_order_of):
            sources.setdefault(one.module, []).append(one)
        for module, names in sources.items():
            yield from _from(module, [one.text.partition(" import ")[2] for one in names])


def _from(module: str, names: Sequence[str]) -> Iterator[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"from {module} import ("
    yield from (f"    {name}," for name in names)
    yield ")"


def _group_of(one: Import) -> int:
    root = one.module.partition(".")[0]
    return 0 if root == "__future__" else 1 if root in sys.stdlib_module_names else 2


def _order_of(one: Import) -> tuple[str, int, str, str]:
    """As linters have it: constants, classes, then the rest."""
    name = one.name or ""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return one.module.lower(), kind, name.lower(), one.bound or ""


def laid_out(statements: Sequence[Statement]) -> Iterator[str]:
    """The lines of statements: those of a cell stay together, definitions stand apart."""
    before: Statement | None = None
    for one in statements:
        if before is not None:
            stands_apart = before.is_definition or one.is_definition
            yield from [""] * (2 if stands_apart else int(before.cell != one.cell))
        yield from one.text.split("\n")
        before = one


def module_text(
    docstring: Iterable[str],
    statements: Sequence[Statement],
    imports: Iterable[Import],
    futures: Iterable[str],
    program: str,
) -> str:
    """A module of ``statements``, with more ``imports``; ``program`` is the variable that runs."""
    hoisted, rest = _hoisted(_without_repeats(statements))
    lines = [*docstring, "", *import_lines([*hoisted, *imports], futures), ""]
    if rest[0].is_definition:
        lines.append("")
    return "\n".join([*lines, *laid_out(rest), _ENTRY.replace("PROGRAM", program)])


def docstring_lines(title: str, stem: str, notes: Iterable[str]) -> Iterator[str]:
    """The docstring of a module in a file called ``stem``, and what it does not hold."""
    yield f'"""{_harmless(title)}'
    yield ""
    yield f"    python {_harmless(stem)}.py --input DATA"
    if stem.isidentifier():
        yield f"    from {stem} import run"
    yield '"""'
    for number, note in enumerate(notes):
        yield from [""] * (number == 0)
        text = _harmless(note)
        yield from textwrap.wrap(text, WIDTH, initial_indent="# - ", subsequent_indent="#   ")


def _harmless(text: str) -> str:
    """``text`` for a docstring or a comment, which it does not end."""
    told = " ".join(without_controls(text).split())
    return told.replace("\\", "/").replace('"', "'")


def _without_repeats(statements: Sequence[Statement]) -> Sequence[Statement]:
    """``statements`` without those that only say again what still holds: of a cell run twice."""
    kept: list[Statement] = []
    for one in statements:
        names = one.names.binds | one.names.loads
        for earlier in reversed(kept):
            if earlier.text == one.text and _may_be_left_out(one):
                break
            if earlier.names.is_calling or names & (earlier.names.binds | earlier.names.changes):
                kept.append(one)
                break
        else:
            kept.append(one)
    return kept


def _may_be_left_out(repeated: Statement) -> bool:
    """Whether to run a statement again, when nothing that it needs has changed, changes nothing."""
    names = repeated.names
    acts = names.is_calling or names.changes or names.binds & names.loads
    return repeated.is_sure and not acts


def _hoisted(statements: Sequence[Statement]) -> tuple[Sequence[Import], Sequence[Statement]]:
    """The imports that may stand at the top of a module, and the other statements."""
    sources: dict[str, set[str]] = {}
    for one in statements:
        for name in one.names.binds:
            sources.setdefault(name, set()).add(_source_of(one))
    hoisted: list[Import] = []
    rest: list[Statement] = []
    for one in statements:
        if one.imported is not None and len(sources[one.imported.binds]) == 1:
            hoisted.append(one.imported)
        else:
            rest.append(one)
    return hoisted, rest


def _source_of(statement: Statement) -> str:
    """What is the same of statements that bind a name to the same."""
    one = statement.imported
    is_package = one is not None and one.name is None and one.bound is None
    return one.binds if one is not None and is_package else statement.text
