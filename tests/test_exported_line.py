"""What of a session's line is exported: from where on, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flujo_nb.exports.export_module import Wanted
from flujo_nb.exports.exported_line import wanted_line
from tests.durable import opener
from tests.exporting import exported
from tests.notebook import Notebook
from tests.notebook_shapes import CONTEXT, COUNT, WORDS

DOUBLE = "%%flujo step double\ndef double(n):\n    return n * 2"


def line_of(notebook: Notebook, *cells: str) -> Wanted:
    for cell in cells:
        notebook.value(cell)
    return wanted_line(notebook.session)


def targets(wanted: Wanted) -> Sequence[str]:
    return [part.target for part in wanted.parts]


def test_from_the_first_frame_to_head(notebook: Notebook) -> None:
    wanted = line_of(notebook, WORDS, COUNT, DOUBLE, "%flujo back f1")
    assert targets(wanted) == ["words", "count"]
    assert wanted.title == f"What {notebook.session.run_id} ran: f0 words, f1 count."
    assert wanted.notes == []


def test_what_ran_aside_does_not_count(notebook: Notebook) -> None:
    notebook.run("%%flujo step boom -i 1\ndef boom(n):\n    return n / 0")
    wanted = line_of(notebook, WORDS, COUNT, "%flujo back f1", DOUBLE)
    assert targets(wanted) == ["words", "double"]


def test_an_answered_question_counts_once(notebook: Notebook) -> None:
    notebook.value(WORDS)
    notebook.run("%%flujo hitl ask --schema int\nHow many?")
    wanted = line_of(notebook, "%flujo resume f1 --with 3", DOUBLE)
    assert targets(wanted) == ["words", "ask", "double"]


def test_it_begins_behind_what_gave_no_input(notebook: Notebook) -> None:
    cells = [CONTEXT, "%flujo session --context Desk --init {'limit':2}", WORDS]
    wanted = line_of(notebook, *cells, "%flujo run words --from f0 -i 'a b'", COUNT)
    assert targets(wanted) == ["words", "count"]
    assert wanted.notes == ["It begins with f1: what came before gave it no input."]
    assert wanted.context is not None


def test_it_begins_behind_a_frame_inside_another(notebook: Notebook) -> None:
    cells = [WORDS, COUNT, "%flujo run words >> count -i 'a b'"]
    wanted = line_of(notebook, *cells, "%flujo run count --from f2/words")
    assert targets(wanted) == ["count"]
    assert wanted.notes == ["It begins with f3, which went on from f2/words."]


def test_after_a_restart_the_cells_have_to_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    with open_() as notebook:
        notebook.value(CONTEXT)
        notebook.value("%flujo session --context Desk --init {'limit':2}")
        notebook.value(WORDS)
        notebook.value(COUNT)
    with open_() as notebook:
        notebook.value(CONTEXT)
        notebook.value("%flujo back f1")
        error = notebook.error("%flujo export py pipeline.py")
        assert str(error).startswith("'words' is not registered in this kernel: run the cell")
        notebook.value(WORDS.replace("-i", "--no-run -i"))
        notebook.value(COUNT + "  # the number")
        notebook.value("%flujo back f1")
        text = exported(notebook)
    assert "pipeline = words_step >> count_step\n" in text
    assert "context=Desk, values={'limit': 2}" in text


def test_a_fork_of_what_was_patched_is_told_of_too(notebook: Notebook) -> None:
    notebook.value(WORDS.replace("step", "step --no-run"))
    notebook.value(COUNT.replace("step", "step --no-run"))
    cells = ("%flujo run words >> count -i 'a b'", '%%flujo patch f0/words\n{"output": ["a"]}')
    wanted = line_of(notebook, *cells, "%flujo fork f1/count")

    assert any("f2 was patched" in note for note in wanted.notes)
