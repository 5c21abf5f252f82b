"""What the house tests read: the files of the project, and their syntax trees."""

from __future__ import annotations

import ast
import configparser
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flujo_nb", "engine", "widgets")
CODE = (*PACKAGES, "benches", "tests", "tools")
NOT_OURS = (
    ".git",
    ".venv",
    "build",
    "dist",
    "__pycache__",
    ".ipynb_checkpoints",
    "*.egg-info",
    ".coverage",
    ".*_cache",
    ".hypothesis",
)
ignored = shutil.ignore_patterns(*NOT_OURS)


def modules(*folders: str) -> list[Path]:
    """The Python files in these folders of the project."""
    return sorted(path for folder in folders for path in files(ROOT / folder, ".py"))


def files(folder: Path, *suffixes: str) -> Iterator[Path]:
    """The files of the project below a folder, those with these suffixes if there are any."""
    names = sorted(entry.name for entry in folder.iterdir())
    for name in set(names) - ignored(str(folder), names):
        path = folder / name
        if path.is_dir():
            yield from files(path, *suffixes)
        elif not suffixes or path.suffix in suffixes:
            yield path


def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, node: ast.expr | ast.stmt | None = None) -> str:
    """Where something stands, as an editor takes it."""
    line = "" if node is None else f":{node.lineno}"
    return f"{path.relative_to(ROOT)}{line}"


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; a relative one with its leading dots."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            return ["." * node.level + (node.module or "")]
        case _:
            return []


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser
