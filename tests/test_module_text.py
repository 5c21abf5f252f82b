"""How a module's text is laid out."""

from __future__ import annotations

import ast
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.exports.cell_sources import Import, Statement, statement_of
from flujo_nb.exports.module_text import (
    docstring_lines,
    import_lines,
    laid_out,
    module_text,
    text_literal,
    value_literal,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_literal_means_the_text(text: str) -> None:
    assert ast.literal_eval(text_literal(text)) == text


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("it", '"it"'),
        ('say "it"', r'"say \"it\""'),
        ("a\nb", '"""\\\na\nb"""'),
        ('a\n"b"', r'"a\n\"b\""'),
        ("a\n\\b", r'"a\n\\b"'),
    ],
)
def test_long_texts_have_lines_of_their_own(text: str, literal: str) -> None:
    assert text_literal(text) == literal


@given(PLAIN)
def test_a_literal_of_plain_data_means_it(value: object) -> None:
    literal = value_literal(value)
    if literal is not None:  # infinities have none
        assert repr(ast.literal_eval(literal)) == repr(value)


@pytest.mark.parametrize(
    "value", [object(), float("inf"), float("nan"), OrderedDict(a=1), [len], str, b"".join, ...]
)
def test_what_is_no_plain_data_has_no_literal(value: object) -> None:
    assert value_literal([value]) is None


def test_a_value_whose_repr_raises_has_no_literal() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    assert value_literal(Odd()) is None


def test_imports_stand_in_groups_and_once() -> None:
    found = import_lines(
        [
            Import("pydantic", "Field"),
            Import("os.path"),
            Import("pydantic", "BaseModel"),
            Import("re"),
            Import("re"),
            Import("numpy", None, "np"),
            Import("typing", "Any"),
            Import("typing", "TYPE_CHECKING"),
            Import("typing", "cast", "as_a"),
        ],
        ["annotations"],
    )
    assert list(found) == [
        "from __future__ import annotations",
        "",
        "import os.path",
        "import re",
        "from typing import TYPE_CHECKING, Any, cast as as_a",
        "",
        "import numpy as np",
        "from pydantic import BaseModel, Field",
    ]


def test_a_long_import_has_a_line_for_each_name() -> None:
    names = [f"name_{number:02}" for number in range(12)]
    found = list(import_lines([Import("m", name) for name in names]))
    assert found[0] == "from m import ("
    assert found[1:-1] == [f"    {name}," for name in names]
    assert found[-1] == ")"


def statements(*texts: str) -> list[Statement]:
    return [statement_of(text, cell) for cell, text in enumerate(texts)]


def test_definitions_stand_apart_and_statements_of_a_cell_together() -> None:
    one, two = statement_of("x = 1", 1), statement_of("y = 2", 1)
    three, four = statement_of("def f(): pass", 1), statement_of("z = 3", 2)
    assert list(laid_out([one, two, three, four])) == [
        "x = 1",
        "y = 2",
        "",
        "",
        "def f(): pass",
        "",
        "",
        "z = 3",
    ]
    assert list(laid_out([two, four])) == ["y = 2", "", "z = 3"]


def module(*texts: str) -> list[str]:
    text = module_text(docstring_lines("It.", "it", ()), statements(*texts), (), (), "program")
    body = text.partition('"""\n')[2].partition("\n\ndef run(")[0]
    return [line for line in body.splitlines() if line]


def test_imports_go_to_the_top() -> None:
    assert module("x = 1", "import re", "y = re") == ["import re", "x = 1", "y = re"]


def test_an_import_of_a_name_that_is_bound_otherwise_stays_where_it_is() -> None:
    assert module("re = 1", "x = re", "import re") == ["re = 1", "x = re", "import re"]
    assert module("x = 1", "import os.path", "import os") == [
        "import os",
        "import os.path",
        "x = 1",
    ]


def test_what_is_said_again_stands_once() -> None:
    cells = ["def f(): pass", "x = [1]", "y = f"]
    assert module(*cells, *cells) == cells


def test_what_is_said_again_after_a_change_stands_twice() -> None:
    assert module("x = 1", "y = x", "x = 2", "x = 1") == ["x = 1", "y = x", "x = 2", "x = 1"]
    assert module("x = []", "x.append(1)", "x = []") == ["x = []", "x.append(1)", "x = []"]
    assert module("x += 1", "x += 1") == ["x += 1", "x += 1"]
    assert module("x = f()", "x = f()") == ["x = f()", "x = f()"]


def test_a_docstring_cannot_be_ended_by_what_it_tells() -> None:
    told = list(docstring_lines('a """ b \\', "it", ['c """\nimport os', "d"]))
    text = "\n".join(told)
    assert ast.get_docstring(ast.parse(text)) is not None
    assert len(ast.parse(text).body) == 1
    assert told[-2:] == ["# - c ''' import os", "# - d"]


def test_a_file_that_is_no_identifier_is_not_imported() -> None:
    assert not any("import" in line for line in docstring_lines("It.", "my-it", ()))
