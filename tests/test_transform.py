"""What the rewriting of a cell changes, and all that it leaves alone."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from flujo_nb.transform import rewritten, twin_of, without_leading_comments, without_semicolon

NAME = "flujo"


def ipython(cell: str) -> str:
    """The cell as IPython hands it to the rewriting."""
    return TransformerManager().transform_cell(cell)


def rewrite(text: str, *, awaiting: bool = True) -> str:
    return "".join(rewritten(text.splitlines(keepends=True), NAME, awaiting=awaiting))


def compiles(text: str) -> bool:
    try:
        compile(text, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def is_async(text: str) -> bool:
    code = compile(text, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return bool(code.co_flags & inspect.CO_COROUTINE)


AWAITED = [
    "%flujo run a",
    "x = %flujo run a",
    "%%flujo step\ndef f(): pass\n",
    "if True:\n    x = %flujo run a",
    "try:\n    pass\nfinally:\n    %flujo run a",
    "x = 'é🎈'; y = get_ipython().run_line_magic('flujo', 'é')",
    "print(get_ipython().run_line_magic('flujo', f'run {1}'))",
    "%flujo run a \\\n  --budget cost=1",
]
BRIDGED = [
    "def f():\n    %flujo run a",
    "class C:\n    %flujo run a",
    "f = lambda: get_ipython().run_line_magic('flujo', 'a')",
    "[get_ipython().run_line_magic('flujo', 'a') for _ in 'a']",
    'f\'{get_ipython().run_line_magic("flujo", "a")}\'',
    "async def f(x=get_ipython().run_line_magic('flujo', 'a')): pass",
    "x: get_ipython().run_line_magic('flujo', 'a') = 1",
    "async def f():\n    def g():\n        %flujo run a",
]
REFUSED = [
    "f = lambda: %flujo run a",
    "[%flujo run a for _ in 'a']",
    "x = 1\nx += %flujo run a",
    "print('é', %flujo run a)",
    "if True: %flujo run a",
    "def f():\n    return %flujo",
]
OTHERS = [
    "%flujos run a",
    "f = lambda: %flujos run a",
    "f = lambda: %time '%flujo'",
    "f(  # %flujo",
    "%autoawait off\n%flujo run a",
    "x = 3\nx %flujo",
    "%time flujo",
    "x = \"get_ipython().run_line_magic('flujo', 'a')\"",
    "other().run_line_magic('flujo', 'a')",
    "# get_ipython().run_line_magic('flujo', 'a')",
    "get_ipython().run_line_magic('flujo', 'a'",
    "get_ipython().run_line_magic('flujo')",
    "%%time\n%flujo run a",
    "x = '\\d'",
]


@pytest.mark.parametrize("cell", AWAITED)
def test_awaited_where_it_may_be(cell: str) -> None:
    text = rewrite(ipython(cell))
    assert "(await get_ipython()" in text
    assert is_async(text)


@pytest.mark.parametrize("cell", [*BRIDGED, *OTHERS])
def test_left_as_it_is_elsewhere(cell: str) -> None:
    assert rewrite(ipython(cell)) == ipython(cell)


@pytest.mark.parametrize("cell", REFUSED)
def test_inside_an_expression_it_says_what_to_write(cell: str) -> None:
    assert not compiles(ipython(cell))
    with pytest.raises(SyntaxError, match=r"flujo\.run_sync\('STEP'\), or await") as refused:
        rewrite(ipython(cell))
    error = refused.value
    assert error.lineno is not None and error.offset is not None
    assert cell.split("\n")[error.lineno - 1][error.offset - 1 :].startswith("%flujo")


def test_only_the_body_of_an_async_function_is_its_own() -> None:
    cell = "def f():\n    async def g():\n        %flujo run a\n    %flujo run b"
    text = rewrite(ipython(cell))
    assert text.count("await") == 1
    assert "(await get_ipython().run_line_magic('_flujo', 'run a'))" in text


@pytest.mark.parametrize("awaiting", [True, False])
@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%flujo run a;", "'run a'"),
        ("x = %flujo run a ; ", "'run a'"),
        ("for _ in 'a':\n    %flujo run a;", "'run a'"),
        ("%%flujo step;\nx", "'step'"),
        ("%%flujo pipeline\na >> b;", "'pipeline'"),
        ("%%flujo pipeline\na >> b;  # done", "'pipeline'"),
    ],
)
def test_a_semicolon_moves_behind_the_call(cell: str, line: str, awaiting: bool) -> None:
    text = rewrite(ipython(cell), awaiting=awaiting)
    assert text.rstrip().endswith(");")
    assert line in text
    assert rewrite(text, awaiting=awaiting) == text


@pytest.mark.parametrize(
    "cell",
    [
        "%%flujo agent a\nSummarise this, briefly;",
        "%%flujo agent a\nIt's a prompt (unclosed;",
        "%%flujo step\nx = ';'",
        "f(get_ipython().run_line_magic('flujo', 'run a;'))",
        "get_ipython().run_line_magic('flujo', 'run a;'); x = 1",
    ],
)
def test_other_semicolons_are_text(cell: str) -> None:
    assert not rewrite(ipython(cell)).rstrip().endswith(";")
    assert compiles(rewrite(ipython(cell))) == compiles(ipython(cell))


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("# a\n\n#| label: b\n%%flujo step\nx", "%%flujo step\nx"),
        ("# a\n%%flujo\nx", "%%flujo\nx"),
        ("# a\n%%flujos\nx", "# a\n%%flujos\nx"),
        ("# a\n%%time\nx", "# a\n%%time\nx"),
        ("# a\nx = 1\n%%flujo\n", "# a\nx = 1\n%%flujo\n"),
        ("# a\n", "# a\n"),
        ("", ""),
    ],
)
def test_comments_before_the_cell_magic(cell: str, kept: str) -> None:
    lines = cell.splitlines(keepends=True)
    assert "".join(without_leading_comments(lines, NAME)) == kept


def test_without_semicolon() -> None:
    assert [without_semicolon(line) for line in ("a;", "a ;; ", "a", "'a;'", ";", "")] == [
        "a",
        "a",
        "a",
        "'a;'",
        "",
        "",
    ]


LINES = st.sampled_from(
    [
        "pass",
        "x = 1",
        "s = '🎈 %flujo'; t = \"é\"",
        "r'''\n  %flujo not a call\n'''",
        "%flujo run a",
        "%flujo run a;",
        "y = %flujo run é --budget cost=1",
        "y = %flujo run a;",
        "z = [get_ipython().run_line_magic('flujo', 'b')]",
        "get_ipython().run_line_magic('flujo', 'b;'); pass",
        "get_ipython().run_cell_magic('flujo', 'step;', 'x;')",
        "print((lambda: get_ipython().run_line_magic('flujo', 'b'))())",
        "get_ipython().run_line_magic('other', 'c')",
        "!ls",
    ]
)
HEADS = st.sampled_from(
    [
        "if x:",
        "for i in x:",
        "while x:",
        "with x:",
        "def f(a=1):",
        "async def f():",
        "class C:",
        "if y:\n    pass\nelse:",
    ]
)


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map("\n".join)
    return st.builds(lambda head, text: f"{head}\n{textwrap.indent(text, '    ')}", HEADS, body)


PYTHON = st.lists(st.recursive(LINES, blocks, max_leaves=6), min_size=1, max_size=4).map("\n".join)
CALL_PARTS = ["get_ipython()", ".run_line_magic(", ".run_cell_magic(", "'flujo'", "_magic('flujo'"]
MARKS = [", ", "'a;'", "(", ")", "'''", "await ", ";", "é", "\0"]
BLANKS = ["\n", "\r", "\x0c", "\u2028", "    "]
FRAGMENTS = st.sampled_from([*CALL_PARTS, *MARKS, *BLANKS])
NOISE = st.lists(FRAGMENTS | st.text(max_size=3), max_size=20).map("".join)
CELL_MAGICS = st.builds(
    lambda line, body: f"%%flujo {line}\n{body}", st.sampled_from(["", "step", "agent a;"]), NOISE
)


class _Plain(ast.NodeTransformer):
    """Undoes the rewriting, in a tree."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        return node.value

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        value = NAME if node.value == twin_of(NAME) else without_semicolon(node.value)
        return ast.Constant(value)


def meaning(text: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(text)))


@given(PYTHON, st.booleans())
def test_a_valid_cell_stays_valid_and_means_the_same(cell: str, awaiting: bool) -> None:
    text = ipython(cell)
    assert compiles(text)
    result = rewrite(text, awaiting=awaiting)
    assert compiles(result)
    assert meaning(result) == meaning(text)
    assert result.count("\n") == text.count("\n")


@given(PYTHON.map(ipython) | NOISE | CELL_MAGICS, st.booleans())
def test_twice_is_once(cell: str, awaiting: bool) -> None:
    once = rewrite(cell, awaiting=awaiting)
    assert rewrite(once, awaiting=awaiting) == once


@given(NOISE | st.lists(FRAGMENTS | st.just("%flujo "), max_size=9).map("".join))
@example("f = lambda: %flujo run a")
def test_it_refuses_and_breaks_no_cell_that_compiles(text: str) -> None:
    try:
        assert compiles(rewrite(text)) == compiles(text)
    except SyntaxError:
        assert not compiles(text)


@given(st.lists(st.text()))
def test_cells_without_a_call_are_the_same_object(lines: list[str]) -> None:
    assert rewritten(lines, NAME, awaiting=True) is lines


@given(PYTHON | NOISE | CELL_MAGICS)
def test_cleaning_only_drops_comments_and_twice_is_once(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    cleaned = without_leading_comments(lines, NAME)
    dropped = lines[: len(lines) - len(cleaned)]
    assert dropped + cleaned == lines
    assert all(not line.strip() or line.lstrip().startswith("#") for line in dropped)
    assert without_leading_comments(cleaned, NAME) == cleaned


def test_a_cell_magic_without_a_body_is_left_for_ipython_to_refuse() -> None:
    lines = ["get_ipython().run_cell_magic('flujo', 'step', '')\n"]
    assert rewritten(lines, "flujo", awaiting=True) == lines
