"""The line of the user's own code in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook import Notebook


def told(notebook: Notebook, body: str) -> list[str]:
    """What a cell says of a step with this body."""
    error = notebook.error(f"%%flujo step boom\ndef boom():\n{body}")
    lines = error._render_traceback_()  # type: ignore[attr-defined]
    assert isinstance(lines, list)
    return lines


def test_the_line_and_where_it_stands(notebook: Notebook) -> None:
    lines = told(notebook, "    x = {}\n    return x['missing']")
    assert lines[0].startswith("boom failed at c[1]/boom")
    assert lines[1:4] == [
        "  Cell In[1], line 4, in boom",
        "    return x['missing']",
        "  KeyError: 'missing'",
    ]


def test_the_innermost_line_that_is_the_users(notebook: Notebook) -> None:
    notebook.run("import json\ndef helper(text):\n    return json.loads(text)")
    lines = told(notebook, "    return helper('{')")
    assert lines[1:3] == ["  Cell In[1], line 3, in helper", "    return json.loads(text)"]


def test_a_cell_goes_before_a_module_of_the_users(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "users_own.py"
    module.write_text("def fail():\n    raise ValueError('x')\n", encoding="utf-8")
    lines = told(notebook, "    import users_own\n    users_own.fail()")
    assert lines[1:3] == ["  Cell In[1], line 4, in boom", "    users_own.fail()"]


def test_a_long_message_is_cut(notebook: Notebook) -> None:
    lines = told(notebook, "    raise ValueError('x' * 10_000 + '\\n' * 500 + 'end')")
    assert len(lines) <= 12
    assert max(map(len, lines)) < 300


def test_an_error_without_a_message(notebook: Notebook) -> None:
    assert told(notebook, "    raise ValueError")[3] == "  ValueError"


def test_an_error_that_cannot_be_printed(notebook: Notebook) -> None:
    notebook.run("class Mute(Exception):\n    def __str__(self): raise RuntimeError('mute')")
    lines = told(notebook, "    raise Mute")
    assert "  Mute" in lines
    assert len(notebook.session.entries) == 1


def test_the_line_that_calls_sys_exit(notebook: Notebook) -> None:
    lines = told(notebook, "    import sys\n    sys.exit(3)")
    assert lines[1:3] == ["  Cell In[1], line 4, in boom", "    sys.exit(3)"]
