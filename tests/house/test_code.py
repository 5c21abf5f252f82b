"""What the code of the packages may not contain: each rule reads the syntax trees."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, imported, modules, place, syntax

FORBIDDEN_NAME = re.compile(r"StepHandler|_handle_\w*|_execute_\w*|execute_step_compat")
FACADES = (ROOT / "flujo_nb" / "__init__.py", ROOT / "engine" / "__init__.py")
HTML_HELPER = ROOT / "flujo_nb" / "html.py"
HTML_TAG = re.compile(r"<[a-z]|</")
PLACEHOLDER = re.compile(r"{[^}]*}|%\w")
IMPORT = (ast.Import, ast.ImportFrom)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def names_in(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Every name that a module defines or uses."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node, node.name
            case ast.Name():
                yield node, node.id
            case ast.Attribute():
                yield node, node.attr
            case ast.Import() | ast.ImportFrom():
                yield from ((node, alias.asname or alias.name) for alias in node.names)


def test_no_test_hooks_into_the_interpreters_audits() -> None:
    """A hook cannot be removed: it would slow down, and could fail, whatever runs after it."""
    tests = (ROOT / "tests").rglob("test_*.py")
    call = "sys." + "addaudithook"
    hooked = [path.name for path in tests if call in path.read_text(encoding="utf-8")]
    assert hooked == []


def only_forwards(tree: ast.Module) -> bool:
    """Whether a module has imports, perhaps some renaming, and nothing that is its own."""
    rest = [node for node in tree.body if not isinstance(node, IMPORT)]
    if ast.get_docstring(tree) is not None:
        rest = rest[1:]
    imports = [name for node in tree.body for name in imported(node) if name != "__future__"]
    return bool(imports) and all(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Name | ast.List | ast.Tuple)
        for node in rest
    )


def mentions_sys_modules(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "modules"
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    ) or (
        isinstance(node, ast.ImportFrom)
        and node.module == "sys"
        and any(alias.name == "modules" for alias in node.names)
    )


def html_templates(tree: ast.Module) -> Iterator[ast.expr]:
    """The f-strings and the texts filled by ``format`` or ``%`` that have a tag in them."""
    specs = [node.format_spec for node in ast.walk(tree) if isinstance(node, ast.FormattedValue)]
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr() if node not in specs:
                filled = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "X"
                    for part in node.values
                )
            case (
                ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"))
                | ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod())
            ):
                filled = PLACEHOLDER.sub("X", text)
            case _:
                continue
        if HTML_TAG.search(filled):
            yield node


def test_no_name_of_the_old_machinery() -> None:
    found = [
        f"{place(path, node)}: {name}"
        for path in modules(*PACKAGES)
        for node, name in names_in(syntax(path))
        if FORBIDDEN_NAME.fullmatch(name)
    ]
    assert found == []


def test_no_module_only_forwards_names() -> None:
    forwarding = [
        place(path)
        for path in modules(*PACKAGES)
        if path not in FACADES and only_forwards(syntax(path))
    ]
    assert forwarding == []


def test_no_import_star() -> None:
    found = [
        place(path, node)
        for path in modules(*PACKAGES, "tests", "tools")
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert found == []


# Classes of stored values are found in modules that somebody has imported, and nowhere else.
LOOKS_INTO_MODULES = ["engine/store/type_table.py"]


def test_no_sys_modules() -> None:
    found = [
        place(path)
        for path in modules(*PACKAGES)
        for node in ast.walk(syntax(path))
        if mentions_sys_modules(node)
    ]
    assert found == LOOKS_INTO_MODULES


def test_the_engine_imports_at_the_top_only() -> None:
    found = [
        place(path, inner)
        for path in modules("engine")
        for node in ast.walk(syntax(path))
        if isinstance(node, FUNCTION)
        for inner in ast.walk(node)
        if isinstance(inner, IMPORT)
    ]
    assert found == []


def test_the_engine_imports_itself_relatively_and_else_the_standard_library_and_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "pydantic", "pydantic_core", ""}
    found = [
        f"{place(path)}: {name}"
        for path in modules("engine")
        for node in ast.walk(syntax(path))
        for name in imported(node)
        if name.partition(".")[0] not in allowed or leaves_the_engine(path, name)
    ]
    assert found == []


def leaves_the_engine(path: Path, name: str) -> bool:
    """Whether a relative import climbs out of the engine's own folder."""
    dots = len(name) - len(name.lstrip("."))
    return dots > len(path.relative_to(ROOT).parents) - 1


def test_only_the_legacy_adapter_asks_whether_something_is_a_frame() -> None:
    found = [
        place(path, node)
        for path in modules(*PACKAGES)
        if path.name != "legacy.py"
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and any(name == "ExecutionFrame" for _, name in names_in(ast.Module([ast.Expr(node)], [])))
    ]
    assert found == []


def test_no_any_in_the_engine_and_the_widgets() -> None:
    found = [
        place(path, node)
        for path in modules("engine", "widgets")
        for node, name in names_in(syntax(path))
        if name == "Any"
    ]
    assert found == []


def test_html_is_made_in_one_place() -> None:
    found = [
        place(path, node)
        for path in modules(*PACKAGES)
        if path != HTML_HELPER
        for node in html_templates(syntax(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "is_html"),
    [
        ('f"<b>{x}</b>"', True),
        ('f"{x}</td>"', True),
        ('f"<{tag}>{x}</{tag}>"', True),
        ('"<td>{}</td>".format(x)', True),
        ('"<i>%s" % x', True),
        ('f"<Frame {x}>"', False),
        ('f"<{type(x).__name__} {x}>"', False),
        ('f"{x:<10} {y:<{width}}"', False),
        ('f"{x} < {y} <= 3"', False),
        ('"<b>fixed</b>"', False),
    ],
)
def test_what_counts_as_html(code: str, is_html: bool) -> None:
    assert bool(list(html_templates(ast.parse(code)))) is is_html
