"""What Tab offers on a `%flujo` line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.completer import provisionalcompleter

from flujo_nb.commands import COMMANDS
from flujo_nb.completion import candidates
from tests.notebook import Notebook, fresh_notebook

START = ["--from", "--input", "--on-head", "-i"]
HOW = ["--budget", "--live", "--no-cache"]
RUN = sorted([*START, *HOW, "--as", "--bg", "--only", "--until"])


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as one:
        one.run("%%flujo step words -i 'a b'\ndef words(text):\n    return text.split()")
        one.run("%%flujo step count --no-run\ndef count(words):\n    return len(words)")
        one.run("%flujo run words >> count -i 'a'")
        one.run(
            "from flujo_nb import step\nfrom pydantic import BaseModel\n"
            "@step\ndef own(x): return x\n"
            "class Ctx(BaseModel): pass\nrows = [1]\n_hidden = own"
        )
        yield one


@pytest.mark.parametrize(
    ("rest", "typed", "offered"),
    [
        (" ", "", sorted(COMMANDS)),
        (" st", "st", ["stale", "status", "step", "steps"]),
        (" run ", "", ["count", "own", "words"]),
        (" run w", "w", ["words"]),
        (" run words >> ", "", ["count", "own", "words"]),
        (" run words >> c", "c", ["count"]),
        (" run words --", "--", [one for one in RUN if one != "-i"]),
        (" run words --until ", "", ["count", "words"]),
        (" run words -", "-", RUN),
        (" step -", "-", sorted([*START, *HOW, "--no-run"])),
        (" run words --from ", "", ["f0", "f1", "f1/count", "f1/words"]),
        (" run words --from f0", "f0", ["f0"]),
        (" frames --before f", "f", ["f0", "f1", "f1/count", "f1/words"]),
        (" budget c", "c", ["cost="]),
        (" show f1/", "f1/", ["f1/count", "f1/words"]),
        (" session --context ", "", ["Ctx"]),
        (" help ru", "ru", ["run"]),
        (" nonsense ", "", []),
        (" run zzz", "zzz", []),
    ],
)
def test_candidates(notebook: Notebook, rest: str, typed: str, offered: list[str]) -> None:
    found_typed, found = candidates(notebook.front, rest)
    assert (found_typed, found) == (typed, offered)


def test_a_name_behind_arrows_without_blanks(notebook: Notebook) -> None:
    assert "words>>count" in offered_by(notebook, "%flujo run words>>co")


def offered_by(notebook: Notebook, line: str) -> list[str]:
    """What the shell as a whole offers at the end of a line."""
    completer = notebook.shell.Completer
    with notebook.shell.builtin_trap, provisionalcompleter():
        return [found.text for found in completer.completions(line, len(line))]


@pytest.mark.parametrize("line", ["%flujo run w", "x = %flujo run w", "  %flujo run w"])
def test_the_shell_offers_nothing_else_on_such_a_line(notebook: Notebook, line: str) -> None:
    assert offered_by(notebook, line) == ["words"]


def test_in_a_cell_magic(notebook: Notebook) -> None:
    assert offered_by(notebook, "%%flujo pipe") == ["pipeline"]


@pytest.mark.parametrize("line", ["ro", "flujo_ = ro"])
def test_other_lines_are_left_alone(notebook: Notebook, line: str) -> None:
    assert "rows" in offered_by(notebook, line) or "round" in offered_by(notebook, line)


@pytest.mark.parametrize("line", ["%flujo run words -i ro", "%flujo run words --input ro"])
def test_an_expression_is_completed_as_python(notebook: Notebook, line: str) -> None:
    assert "rows" in offered_by(notebook, line)


def test_without_candidates_no_file_names_are_offered(notebook: Notebook) -> None:
    assert offered_by(notebook, "%flujo run zzz") == ["zzz"]
