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
OPENS_AN_ELEMENT = re.compile(
    r"</\w|<!(?:doctype|--)|<(?:a|article|b|body|br|button|canvas|caption|circle|code|col|dd|"
    r"defs|details|div|dl|dt|ellipse|em|embed|figure|footer|foreignObject|form|g|h[1-6r]|head|"
    r"header|html|i|iframe|img|input|kbd|label|li|line|link|main|mark|math|meta|meter|"
    r"nav|object|ol|option|p|path|pre|polygon|polyline|progress|q|rect|s|samp|script|section|"
    r"select|small|span|strong|style|sub|summary|sup|svg|table|tbody|td|template|text|textarea|"
    r"tfoot|th|thead|title|tr|tspan|u|ul|use|var|video)(?![\w-])",
    re.IGNORECASE,
)
# Others make HTML of these: nbconvert of the template of a page, mermaid of the end of a line.
FOR_OTHERS = {"flujo_nb/cli.py": "{%-", "flujo_nb/graphs/graph_mermaid.py": "<br/>"}
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


def html_texts(tree: ast.Module) -> Iterator[ast.expr]:
    """The texts in which an element begins or ends, whatever is done with them; no docstrings."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in told:
                if OPENS_AN_ELEMENT.search(text):
                    yield node


def declared_html(tree: ast.Module) -> Iterator[ast.expr]:
    """The calls of ``Html``, which is not escaped, with anything but a text without elements."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Html") | ast.Attribute(attr="Html"), args=args):
                is_text = len(args) == 1 and isinstance(args[0], ast.Constant)
                if not is_text or "<" in ast.unparse(args[0]):
                    yield node


def makes_html(tree: ast.Module) -> list[ast.expr]:
    """Where a module puts HTML together."""
    return [*html_templates(tree), *html_texts(tree), *declared_html(tree)]


def is_for_others(module: str, node: ast.expr) -> bool:
    """Whether a text goes to a program that makes the HTML."""
    begins = FOR_OTHERS.get(module)
    match node:
        case ast.Constant(value=str(text)) if begins is not None:
            return text.startswith(begins)
    return False


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
        for node in makes_html(syntax(path))
        if not is_for_others(place(path), node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        'f"<b>{x}</b>"',
        'f"{x}</td>"',
        'f"<{tag}>{x}</{tag}>"',
        '"<td>{}</td>".format(x)',
        '"<i>%s" % x',
        '"<div>" + x',
        'x + "</div>"',
        '"<img src=" + x + ">"',
        'page += "<p>"',
        '"<br>".join(parts)',
        '"".join(["<b>", x, "</b>"])',
        'x.replace("!", "<b>!</b>")',
        'Template("<b>$x</b>")',
        'write("<!doctype html>")',
        'picture = "<svg>"',
        "Html(x)",
        'Html("".join(parts))',
        'Html("<b>")',
        'html.Html(f"{x}")',
        "Html(str(x), 'utf-8')",
    ],
)
def test_what_makes_html(code: str) -> None:
    assert makes_html(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        'f"<Frame {x}>"',
        'f"<{type(x).__name__} {x}>"',
        'f"{x:<10} {y:<{width}}"',
        'f"{x} < {y} <= 3"',
        '"<not run yet: await it>"',
        '"<module>"',
        're.compile("(?P<rest>.*)")',
        'def f():\n    "A page in <b>bold</b>."',
        'Html("&nbsp; ")',
        'tag("b", x)',
    ],
)
def test_what_makes_none(code: str) -> None:
    assert not makes_html(ast.parse(code))
