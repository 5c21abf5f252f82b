"""Fences against files, functions and lines that grow too long."""

from __future__ import annotations

import ast

from tests.house.tree import CODE, PACKAGES, ROOT, modules, place, syntax

FILE_LINES = 400
FUNCTION_LINES = 60
COLUMNS = 100
CORE_LINES = 300


def test_files_are_short() -> None:
    long = [
        f"{place(path)}: {count} lines"
        for path in modules(*CODE)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES
    ]
    assert long == []


def test_functions_are_short() -> None:
    long = [
        f"{place(path, node)}: {node.name} has {count} lines"
        for path in modules(*PACKAGES)
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (count := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert long == []


def test_lines_are_narrow() -> None:
    wide = [
        f"{place(path)}:{number}: {len(line)} columns"
        for path in modules(*CODE)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > COLUMNS
    ]
    assert wide == []


def test_the_composition_root_stays_small() -> None:
    core = ROOT / "engine" / "executor_core.py"
    assert len(core.read_text(encoding="utf-8").splitlines()) < CORE_LINES
