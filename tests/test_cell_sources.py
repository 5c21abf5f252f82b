"""What cells say in Python."""

from __future__ import annotations

import pytest

from flujo_nb.exports.cell_sources import (
    AWAITS,
    IS_IPYTHON,
    Cell,
    CellProgram,
    Head,
    Import,
    program_of,
)


def read(text: str, **options: bool) -> CellProgram:
    return program_of(Cell(3, text, **options))


def texts(text: str) -> list[str]:
    return [one.text for one in read(text).statements]


def test_statements_with_their_places() -> None:
    program = read("x = 1\n\ny = [\n    2,\n]\n")
    assert [(one.cell, one.line, one.text) for one in program.statements] == [
        (3, 1, "x = 1"),
        (3, 3, "y = [\n    2,\n]"),
    ]
    assert (program.head, program.stars, program.futures) == (None, [], [])


def test_a_cell_of_ours_has_a_head_and_a_body() -> None:
    program = read("# note\n\n%%flujo step words -i [1, 2]\n\ndef words(x):\n    return x\n")
    assert program.head == Head("step", "words -i [1, 2]")
    assert program.body == "\ndef words(x):\n    return x\n"
    assert [(one.line, one.text) for one in program.statements] == [
        (5, "def words(x):\n    return x")
    ]
    assert program.last_function is not None and program.last_function.name == "words"


@pytest.mark.parametrize("word", ["agent", "hitl", "patch", "check", "resume"])
def test_the_body_of_other_commands_is_no_python(word: str) -> None:
    program = read(f"%%flujo {word} x\ny = 1")
    assert (program.statements, program.body) == ([], "y = 1")


def test_the_body_below_a_magic_of_ipython() -> None:
    assert texts("%%time\nx = 1") == ["x = 1"]
    assert texts("%%capture out\n%%time\nx = 1") == ["x = 1"]
    assert read("%%time\n%%flujo step a\ndef a(x): return x").head == Head("step", "a")
    assert texts("%%bash\nx=1") == []
    assert texts("%%timeit\nx = 1") == []


@pytest.mark.parametrize("text", ["def", "x = (", "\0", "%%flujo step\nx ="])
def test_what_is_no_python_has_no_statements(text: str) -> None:
    assert read(text).statements == []


def test_imports_are_taken_apart() -> None:
    program = read("import os, a.b as c, d.e\nfrom f import g as h, i\nfrom . import k")
    assert [one.imported for one in program.statements[:-1]] == [
        Import("os"),
        Import("a.b", None, "c"),
        Import("d.e"),
        Import("f", "g", "h"),
        Import("f", "i"),
    ]
    binds = [one.names.binds for one in program.statements[:-1]]
    assert binds == [{"os"}, {"c"}, {"d"}, {"h"}, {"i"}]
    assert [one.is_sure for one in program.statements[:-1]] == [True, True, False, True, True]
    assert program.statements[-1].imported is None


def test_lines_that_end_as_on_windows() -> None:
    assert texts("def f():\r\n    return 1\r\nx = 2") == ["def f():\n    return 1", "x = 2"]


def test_stars_and_futures_are_noted() -> None:
    program = read("from __future__ import annotations\nfrom math import *\nx = sqrt(2)")
    assert (program.stars, program.futures) == (["math"], ["annotations"])
    assert [one.text for one in program.statements] == ["x = sqrt(2)"]


def test_a_text_that_stands_for_itself_does_nothing() -> None:
    assert texts('"""A docstring."""\npass\n...\n1') == []


def test_comments_above_behind_and_inside_belong_to_a_statement() -> None:
    text = (
        "# %% editor\n#| quarto\n# above\n# it\n@deco\ndef f():\n    # inside\n"
        "    return 1  # behind\n    # below\n\n# not here\nx = 1"
    )
    first, second = read(text).statements
    assert first.text == text[text.index("# above") : text.index("\n\n# not")]
    assert first.line == 3
    assert second.text == "# not here\nx = 1"


def test_statements_of_one_line_are_told_apart() -> None:
    assert texts("x = 1; y = 'é'; z = 3;") == ["x = 1", "y = 'é'", "z = 3"]
    assert texts("x = f();  # silent") == ["x = f()"]
    assert texts("if a: b = 1; c = 2") == ["if a: b = 1; c = 2"]


def test_what_runs_in_a_notebook_only_says_why() -> None:
    found = read("x = !ls\n%time y = 1\nz = await f()\ndef g():\n    !ls\nw = 1\nprint?")
    assert [one.why_not for one in found.statements] == [
        IS_IPYTHON,
        IS_IPYTHON,
        AWAITS,
        IS_IPYTHON,
        None,
        IS_IPYTHON,
    ]


def test_what_may_bind_or_not_is_not_sure() -> None:
    found = read("x = 1\nif a: x = 2\nfor i in x: y = i\ndef f(): pass\nclass C: pass").statements
    assert [one.is_sure for one in found] == [True, False, False, True, True]
    assert [one.is_definition for one in found] == [False, False, False, True, True]


def test_an_expression_that_was_shown_is_a_look() -> None:
    assert read("x.head()").statements[0].names.may_change == {"x"}
    assert read("x.head()", has_shown=True).statements[0].names.may_change == set()
    first, last = read("x.head()\nx.head()", has_shown=True).statements
    assert (first.names.may_change, last.names.may_change) == ({"x"}, set())


def test_annotations_may_be_text() -> None:
    text = "def f(x: T): pass"
    assert program_of(Cell(1, text)).statements[0].names.loads == {"T"}
    found = program_of(Cell(1, text), annotations_are_text=True).statements[0].names
    assert (found.loads, found.hints) == (set(), {"T"})
