"""What is read off code, and where code comes from."""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import json
import pathlib
import sys
from asyncio import base_events
from pathlib import Path
from types import CodeType, ModuleType

import pydantic
import pytest
from pydantic import BaseModel

from flujo_nb.engine import code_facts, steps
from flujo_nb.engine.code_facts import facts_of, library_of
from tests.engine.fakes import Box

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_names_that_code_uses_outside() -> None:
    source = """
def work(data):
    import json as local
    global COUNT
    COUNT = len(data.items)
    data.total = [sorted(local.loads(one)) for one in os.names()]
    return lambda: data.rows
"""
    facts = facts_of(functions_in(source)[0])
    assert facts.global_names == ("len", "os", "sorted")
    assert facts.rebound == {"COUNT"}
    assert facts.attributes == {"items", "loads", "names", "rows"}
    assert facts.set_attributes == {"total"}
    assert facts.imports == ("json",)


def moved(source: str) -> ast.Module:
    """The tree of ``source`` with lines between its lines, as comments make them."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.excepthandler):
            node.lineno *= 3
            node.end_lineno = (node.end_lineno or node.lineno) * 3
    return tree


def undocumented(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            del node.body[0]
    return tree


def functions_in(tree: ast.Module | str) -> list[CodeType]:
    codes = [compile(tree, "a file", "exec", dont_inherit=True)]
    for code in codes:
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
    return [one for one in codes if one.co_flags & inspect.CO_OPTIMIZED]  # no bodies of classes


MODULES = [
    *(argparse, ast, base_events, code_facts, functools, inspect, json, pathlib),
    *(pydantic.fields, steps),
]


@pytest.mark.parametrize("module", MODULES)
def test_neither_comments_nor_docstrings_nor_how_lines_are_broken_count(
    module: ModuleType,
) -> None:
    """Shown on real modules: every function in them."""
    source = Path(module.__file__ or "").read_text(encoding="utf-8")
    before = functions_in(source)
    rewritten = ast.unparse(ast.parse(source))
    for tree in (moved(source), undocumented(source), rewritten):
        changed = functions_in(tree)
        differ = [
            one.co_qualname
            for one, other in zip(before, changed, strict=True)
            if facts_of(one).digest != facts_of(other).digest
        ]
        assert differ == []


FLOWS = [
    "def work(x):\n  while True: pass",
    "def work(x):\n  while x: pass",
    "def work(x):\n  while x: continue",
    "def work(x):\n  while x: break",
    "def work(x):\n  for y in x: pass",
    "def work(x):\n  if x: pass\n  else: return 1",
    "def work(x):\n  if not x: pass\n  else: return 1",
    "def work(x):\n  try: x()\n  finally: pass",
    "def work(x):\n  try: x()\n  except ValueError: pass",
    "def work(x):\n  try: x()\n  except ValueError: raise",
    "def work(x):\n  return x and x.a or x.b",
    "def work(x):\n  return x and (x.a or x.b)",
    "def work(x):\n  return (x or x.a) and x.b",
    "def work(x):\n  return x or x.a and x.b",
]


def test_where_control_goes_counts() -> None:
    codes = [functions_in(one)[0] for one in FLOWS]
    assert len({facts_of(one).digest for one in codes}) == len(FLOWS)


@pytest.mark.parametrize(
    ("value", "library"),
    [
        (json, f"json {PYTHON}"),
        (json.loads, f"json {PYTHON}"),
        (sys, f"sys {PYTHON}"),
        (int, f"builtins {PYTHON}"),
        (functools.partial, f"functools {PYTHON}"),
        (BaseModel, f"pydantic {pydantic.VERSION}"),
        (Box, None),
        (test_the_names_that_code_uses_outside, None),
        (sys.modules["__main__"], None),
        (ModuleType("made_by_hand"), None),
        (type("Made", (), {"__module__": "made_by_hand"}), None),
    ],
)
def test_where_things_come_from(value: ModuleType | type, library: str | None) -> None:
    assert library_of(value) == library


def test_the_engine_is_a_library_wherever_it_lies() -> None:
    assert (library_of(steps.Step) or "").startswith("flujo_nb")


def test_a_wrapper_of_a_library_is_the_librarys_whatever_it_is_called() -> None:
    @functools.singledispatch
    def work(data: object) -> object:
        return data

    assert work.__module__ == __name__
    assert library_of(work) == f"functools {PYTHON}"
