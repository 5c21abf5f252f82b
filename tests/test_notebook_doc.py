"""`docs/notebook.md`: its cells do what it says, and its reference is the commands' own."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flujo_nb.api import SessionApi
from flujo_nb.commands import COMMANDS
from flujo_nb.display import FrameCard
from flujo_nb.settings import Flujo
from tests.notebook import Notebook
from tools.command_reference import PAGE, renewed

TEXT = PAGE.read_text(encoding="utf-8")
BY_HAND = re.sub(r"<!-- (\w+): written by .*?<!-- end of \1 -->", "", TEXT, flags=re.DOTALL)
BLOCK = re.compile(r"(?:<!-- raises (\w+) -->\n)?```(\w*)\n(.*?)```\n", re.DOTALL)
EXPECTED = "  # → "


@dataclass(frozen=True)
class Block:
    """A block of code: what it raises, if that is said, what it is, and its text."""

    raises: str | None
    kind: str
    text: str


def blocks() -> Iterator[Block]:
    for raises, kind, text in BLOCK.findall(BY_HAND):
        yield Block(raises or None, kind, text)


def without_time(text: str) -> str:
    return re.sub(r"in <?[\d.]+ \w+", "in a moment", text).strip()


@pytest.fixture
def stored(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A notebook in a folder of its own, whose session is kept there, as one of a user's is."""
    monkeypatch.chdir(tmp_path)
    notebook.run(f"%config Flujo.store = {str(tmp_path / 'flujo.db')!r}")
    return notebook


def test_what_the_page_shows_is_what_its_cells_show(
    stored: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ""
    told = list(blocks())
    for block in told:
        if block.kind == "text":
            assert without_time(block.text) in without_time(shown)
            continue
        capsys.readouterr()
        if block.kind == "python":
            run_as_python(stored, block.text)
        elif block.raises is None:
            stored.value(block.text)
        else:
            assert type(stored.error(block.text)).__name__ == block.raises
        shown = capsys.readouterr().out
    assert {block.kind for block in told} == {"", "python", "text"}


def run_as_python(notebook: Notebook, text: str) -> None:
    """Run a cell up to each line that says what it comes to, and compare."""
    cell = ""
    for line in text.splitlines():
        code, arrow, expected = line.partition(EXPECTED)
        cell += f"{code}\n"
        if arrow:
            assert notebook.value(cell) == ast.literal_eval(expected), line
            cell = ""
    if cell.strip():
        notebook.value(cell)


def test_the_reference_is_made_of_the_commands() -> None:
    lines = difflib.unified_diff(TEXT.splitlines(), renewed(TEXT).splitlines(), lineterm="", n=0)
    assert list(lines) == [], "mend it: .venv/bin/python tools/command_reference.py"


def test_a_page_that_is_renewed_twice_stays_and_keeps_what_is_written_by_hand() -> None:
    stale = re.sub(r"(?m)^### .*$", "### gone", TEXT)
    assert renewed(stale) == renewed(TEXT) == renewed(renewed(TEXT))
    assert renewed(TEXT.replace("# In a notebook", "# Elsewhere")).startswith("# Elsewhere\n")


@pytest.mark.parametrize("known", [SessionApi, FrameCard])
def test_every_name_of_the_session_and_of_a_card_is_on_the_page(known: type) -> None:
    names = [name for name in vars(known) if not name.startswith("_")]
    prefix = "flujo." if known is SessionApi else "`"
    assert [name for name in names if f"{prefix}{name}" not in BY_HAND] == []


def test_every_parameter_of_the_session_is_on_the_page() -> None:
    methods = {name: one for name, one in vars(SessionApi).items() if inspect.isfunction(one)}
    for name, method in methods.items():
        if not name.startswith("_"):
            (row,) = re.findall(rf"(?m)^\| `(?:await )?flujo\.{name}\((.*?)\)` \|", BY_HAND)
            told = [one.strip().partition("=")[0] for one in row.split(",")]
            assert told == list(inspect.signature(method).parameters)[1:], name


def test_every_setting_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"\bFlujo\.(\w+)", BY_HAND))
    assert named and named <= Flujo.class_traits(config=True).keys()


def test_every_command_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"%flujo (\w+)", BY_HAND))
    assert named <= COMMANDS.keys()


def test_the_links_of_the_page_lead_somewhere() -> None:
    heads = re.findall(r"(?m)^#+ (.*)$", TEXT)
    anchors = {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
    files = re.findall(r"\]\(([^)#:]+\.\w+)\)", TEXT)
    assert [name for name in files if not (PAGE.parent / name).exists()] == []
