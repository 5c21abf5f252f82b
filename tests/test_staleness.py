"""Which frames are out of date, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.head import CellKey, Command, Ended, Entry
from flujo_nb.staleness import Staleness, edited_since
from tests.durable import opener
from tests.notebook import Notebook, fresh_notebook

SPLIT = "%%flujo step -i 'to be or'\ndef words(text: str):\n    return text.split()"
COUNT = "%%flujo step\ndef count(words: list):\n    return len(words)"
DOUBLE = "%%flujo step\ndef double(n: int):\n    return n * 2"


def entry(number: int, parent: str | None, cell: str, **facts: object) -> Entry:
    """A frame that the cell called ``cell`` made."""
    command = Command(
        id=f"f{number}",
        name="a",
        path=FramePath(),
        frame=FramePath(),
        origin="-i",
        parent=parent,
        cell=CellKey("step", "a", cell, number, 0),
        target="a",
        **facts,  # type: ignore[arg-type]
    )
    return Entry(command, Ended(status=RunStatus.COMPLETED), lambda one: pytest.fail("was read"))


def nothing_known(target: str | None) -> tuple[tuple[str, str], ...]:
    return ()


def test_a_frame_on_one_that_was_made_again_is_stale() -> None:
    entries = [entry(0, None, "A"), entry(1, "f0", "B"), entry(2, None, "A")]

    assert Staleness(entries, nothing_known).all() == {"f1": "f0 was made again: f2"}


def test_what_stands_on_a_stale_frame_is_stale() -> None:
    entries = [
        *(entry(0, None, "A"), entry(1, "f0", "B"), entry(2, "f1/inner", "C")),
        entry(3, None, "A"),
    ]

    assert Staleness(entries, nothing_known).all() == {
        "f1": "f0 was made again: f3",
        "f2": "f1 is stale: f0 was made again: f3",
    }


def test_what_was_begun_on_the_older_frame_afterwards_is_not_stale() -> None:
    entries = [entry(0, None, "A"), entry(1, None, "A"), entry(2, "f0", "B")]

    assert Staleness(entries, nothing_known).all() == {}


def test_a_run_on_another_frame_makes_nothing_stale() -> None:
    entries = [
        *(entry(0, None, "A"), entry(1, "f0", "B"), entry(2, "f1", "C")),
        *(entry(3, None, "X"), entry(4, "f3", "B")),
    ]

    assert Staleness(entries, nothing_known).all() == {}


def test_a_fork_makes_nothing_stale_and_a_patch_does() -> None:
    below = [entry(0, None, "A"), entry(1, "f0", "B")]
    forked = entry(2, None, "A", forks="f0")
    patched = entry(2, None, "A", forks="f0", patch='{"output": 1}')

    assert Staleness([*below, forked], nothing_known).all() == {}
    assert Staleness([*below, patched], nothing_known).all() == {"f1": "f0 was patched: f2"}


def test_edited_steps_are_named() -> None:
    then = (("a", "1"), ("b", "2"), ("a >> b", "3"))

    assert edited_since(then, then) is None
    assert edited_since(then, ()) is None
    assert edited_since((), then) is None
    assert edited_since(then, (("a", "1"), ("b", "9"), ("a >> b", "3"))) == "b was edited"
    both = (("a", "8"), ("b", "9"), ("a >> b", "3"))
    assert edited_since(then, both) == "a, b were edited"
    assert edited_since(then, (("a", "1"), ("c", "2"))) == "it is made of other steps now"


# In a notebook


def because(notebook: Notebook) -> dict[str, str]:
    return dict(notebook.session.staleness.all())


def test_an_edited_cell_makes_its_frames_stale_until_it_is_edited_back() -> None:
    with fresh_notebook() as notebook:
        notebook.card(SPLIT, "A")
        notebook.card(COUNT, "B")
        assert because(notebook) == {}

        notebook.card(f"{COUNT} + 1", "B")
        assert because(notebook) == {"f1": "count was edited"}
        notebook.card(COUNT, "B")
        assert because(notebook) == {"f2": "count was edited"}


def test_an_edited_helper_in_another_cell_makes_frames_stale() -> None:
    with fresh_notebook() as notebook:
        notebook.value("def cut(text):\n    return text.split()")
        notebook.card("%%flujo step -i 'a b'\ndef words(text: str):\n    return cut(text)")
        notebook.value("def cut(text):\n    return text.split('b')")

        assert because(notebook) == {"f0": "words was edited"}


def test_a_pipeline_whose_step_was_edited_is_stale_before_its_cell_runs_again() -> None:
    with fresh_notebook() as notebook:
        notebook.value(SPLIT.replace("-i 'to be or'", "--no-run"))
        notebook.value(COUNT.replace("step", "step --no-run"))
        notebook.card("%%flujo pipeline counted -i 'a b'\nwords >> count")
        notebook.value(SPLIT.replace("-i 'to be or'", "--no-run"))
        assert because(notebook) == {}

        notebook.value(SPLIT.replace("-i 'to be or'", "--no-run").replace("split()", "split('x')"))
        assert because(notebook) == {"f0": "words was edited"}


def test_stale_frames_are_marked_wherever_they_are_shown() -> None:
    with fresh_notebook() as notebook:
        for cell in (SPLIT, COUNT, DOUBLE):
            notebook.card(cell)
        notebook.card(SPLIT)

        told = repr(notebook.view("%flujo stale"))
        assert told.splitlines()[0] == "2 stale frames"
        assert "f0 was made again: f3" in told and "f1 is stale: f0 was made again: f3" in told
        card = notebook.card("%flujo show f1")
        assert "stale   f0 was made again: f3" in repr(card)
        assert card._json["stale"] == "f0 was made again: f3"
        assert "f0 was made again: f3" in repr(notebook.view("%flujo why f1"))
        rows = repr(notebook.view("%flujo frames")).splitlines()
        assert [
            row.split()[1] == "stale" for row in rows if row[:2] in ("f0", "f1", "f2", "f3")
        ] == [
            *(False, True, True, False),
        ]


def test_nothing_is_stale_in_a_notebook_that_was_run_once_or_from_above_again() -> None:
    with fresh_notebook() as notebook:
        assert repr(notebook.view("%flujo stale")).startswith("nothing is stale")
        for _ in range(2):
            for name, cell in (("A", SPLIT), ("B", COUNT), ("C", DOUBLE)):
                notebook.card(cell, name)
        session = notebook.session
        on_line = {one.id for one in session.line()}
        assert on_line & because(notebook).keys() == set()


def test_after_a_restart_a_step_that_is_not_registered_is_not_called_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opener(tmp_path, monkeypatch)
    with opened() as notebook:
        notebook.card(SPLIT, "A")
        notebook.card(COUNT, "B")
    with opened() as notebook:
        notebook.view("%flujo")
        assert because(notebook) == {}
        notebook.view(f"{COUNT.replace('step', 'step --no-run')} * 2", "B")
        assert because(notebook) == {"f1": "count was edited"}


def test_a_stored_record_has_the_definition_that_a_helper_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opener(tmp_path, monkeypatch)() as notebook:
        notebook.value("def cut(text):\n    return text.split()")
        notebook.card("%%flujo step -i 'a b'\ndef words(text: str):\n    return cut(text)")
        notebook.value("def cut(text):\n    return [text]")
        notebook.card("%flujo run words -i 'a b'")

        assert notebook.view("%flujo replay f1")
        told = str(notebook.error("%flujo replay f0"))
        assert "f0 words is not as it was recorded" in told
