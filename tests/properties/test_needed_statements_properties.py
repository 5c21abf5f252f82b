"""What random cells leave behind is what the statements that are needed for it leave behind."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_nb.exports.cell_sources import Cell, program_of
from flujo_nb.exports.module_text import module_text
from flujo_nb.exports.needed_statements import Executed

STATEMENTS = (
    "a = {n}",
    "b = {n}",
    "a = b + {n}",
    "b += a",
    "a, c = b, a",
    "p = [a, {n}]",
    "q = p[:] + [b]",
    "p.append(b)",
    "p[0] = a",
    "q += p",
    "p.sort()",
    "del q[0]",
    "a = p.pop()",
    "if a > {n}:\n    b = a\nelse:\n    c = {n}",
    "for c in p[:3]:\n    a += c\n    q.append(c)",
    "def f():\n    return a + len(p)",
    "def f(x=a):\n    return x + b",
    "def g():\n    p.append(a)\n    return f()",
    "def g():\n    global b\n    b = a + {n}\n    return b",
    "def g():\n    global c\n    c += {n}\n    return c",
    "while b < {n}:\n    b += 1",
    "p = [d for d in q if (e := d) > {n}] + [e]",
    "try:\n    a = q[{n}]\nexcept IndexError as error:\n    q = [b]",
    "def h(rows):\n    rows.append({n})\n    return rows",
    "def keep(function):\n    q.append(function())\n    return function",
    "@keep\ndef f():\n    return c",
    "k = lambda: a + b",
    "class C:\n    size = a\n    def m(self):\n        return self.size + b",
    "c = C().m()",
    "a = f()",
    "b = k()",
    "g()",
    "h(p)",
    "h(rows=q)",
    "c = sum(x for x in p if x > a)",
)
NAMES = ("a", "b", "c", "p", "q", "f", "g", "k", "C")


def last_of(namespace: dict[str, object], name: str) -> object:
    """What a name stands for at the end; of a function, what it gives."""
    value = namespace.get(name)
    if isinstance(value, type):
        return value().m()  # type: ignore[attr-defined]
    return value() if callable(value) else value


def cells_that_work(cells: Sequence[str]) -> tuple[Sequence[str], dict[str, object]]:
    """The cells that raise nothing one after the other, and what they leave behind."""
    namespace: dict[str, object] = {}
    kept = []
    for cell in cells:
        before = {name: list(v) if isinstance(v, list) else v for name, v in namespace.items()}
        try:
            exec(cell, namespace)  # noqa: S102  # cells of ours
            kept.append(cell)
        except (NameError, IndexError, TypeError, RecursionError, UnboundLocalError):
            namespace = replayed(kept) if before != namespace else namespace
    return kept, namespace


def replayed(cells: Sequence[str]) -> dict[str, object]:
    namespace: dict[str, object] = {}
    for cell in cells:
        exec(cell, namespace)  # noqa: S102
    return namespace


CELLS = st.lists(
    st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 5)).map(lambda p: p[0].format(n=p[1])),
    min_size=3,
    max_size=25,
)
START = ("a = 1", "b = 2", "c = 0", "p = [3]", "q = []", "def f():\n    return a")


@settings(max_examples=600, deadline=None)
@given(CELLS, st.sampled_from(NAMES))
def test_the_needed_statements_leave_what_all_of_them_left(cells: list[str], name: str) -> None:
    kept, namespace = cells_that_work([*START, *cells])
    if name not in namespace:
        return
    programs = [program_of(Cell(number, text)) for number, text in enumerate(kept, 1)]
    executed = Executed([one for program in programs for one in program.statements])
    found = executed.needed({name: "it"}, constants=(), known=dir(builtins), star=lambda name: None)
    try:
        wanted = last_of(replayed(kept), name)
    except (NameError, IndexError, TypeError, RecursionError):
        return  # it does not work in the notebook either
    assert found.missing == []
    text = module_text(['"""It."""'], found.statements, (), (), "program")
    made: dict[str, object] = {"__name__": "made"}
    exec(text, made)  # noqa: S102
    assert last_of(made, name) == wanted, text
