"""``%config Flujo.reuse = "same"``: a recorded frame stands for a run of the same on the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flujo_nb.display import FrameCard
from tests.durable import opener
from tests.notebook import Notebook, fresh_notebook

ON = "%config Flujo.reuse = 'same'"
LOG = "ran = []"
WORDS = (
    "%%flujo step -i 'to be'\ndef words(text: str):\n    ran.append('words'); return text.split()"
)
COUNT = "%%flujo step\ndef count(words: list):\n    ran.append('count'); return len(words)"


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as notebook:
        notebook.run(LOG)
        notebook.run(ON)
        yield notebook


def ran(notebook: Notebook) -> list[str]:
    found = notebook.value("ran")
    assert isinstance(found, list)
    return found


def is_reused(card: FrameCard) -> bool:
    return repr(card).startswith(f"reused {card.id} ")


def test_a_cell_that_runs_again_gives_the_recorded_frame(notebook: Notebook) -> None:
    first = notebook.card(WORDS, "A")
    again = notebook.card(WORDS, "A")

    assert again.id == first.id and is_reused(again) and not is_reused(first)
    assert ran(notebook) == ["words"]
    assert again.output == ["to", "be"]


def test_it_is_off_by_default() -> None:
    with fresh_notebook() as notebook:
        notebook.run(LOG)
        notebook.card(WORDS, "A")
        assert notebook.card(WORDS, "A").id == "f1"


def test_run_all_again_runs_nothing_and_ends_on_the_same_head(notebook: Notebook) -> None:
    for _ in range(3):
        last = [notebook.card(cell, cell) for cell in (WORDS, COUNT)][-1]

    assert ran(notebook) == ["words", "count"]
    assert last.id == "f1" and notebook.session.head is notebook.session.entries[-1]


@pytest.mark.parametrize(
    "second",
    [
        WORDS.replace("to be", "to  be"),
        WORDS.replace("split()", "split('t')"),
        WORDS.replace("def words", "def terms"),
    ],
)
def test_another_input_text_or_definition_runs(notebook: Notebook, second: str) -> None:
    notebook.card(WORDS, "A")
    notebook.run(second, "A")

    assert len(ran(notebook)) == 2


def test_the_same_input_that_was_made_otherwise_is_the_same(notebook: Notebook) -> None:
    notebook.card(WORDS, "A")
    notebook.card(COUNT, "B")
    notebook.card(WORDS.replace("text.split()", "text.split() or 1"), "A")

    assert is_reused(notebook.card(COUNT, "B"))
    assert ran(notebook) == ["words", "count", "words"]


@pytest.mark.parametrize(("value", "other"), [("1", "True"), ("1", "1.0"), ("[1]", "(1,)")])
def test_values_of_different_types_are_not_the_same(
    notebook: Notebook, value: str, other: str
) -> None:
    notebook.run("%%flujo step --no-run\ndef same(x):\n    ran.append(x); return x")
    notebook.card(f"%flujo run same -i {value}")
    notebook.card(f"%flujo run same -i {other}")

    assert len(ran(notebook)) == 2


def test_another_context_is_another_input(notebook: Notebook) -> None:
    notebook.run("from pydantic import BaseModel\nclass Ctx(BaseModel):\n    n: int = 0")
    notebook.run("%flujo session --context Ctx")
    notebook.run(
        "%%flujo step --no-run\ndef see(x, *, context):\n    ran.append(context.n); return x"
    )
    notebook.card("%flujo run see -i 1")
    assert is_reused(notebook.card("%flujo run see -i 1"))

    notebook.run("%flujo session --init {'n': 7}")
    notebook.card("%flujo run see -i 1")
    assert ran(notebook) == [0, 7]


def test_a_step_that_is_declared_impure_runs_again(notebook: Notebook) -> None:
    notebook.run("from flujo_nb import Step\ndef now(x):\n    ran.append(x); return x")
    notebook.run(
        "clock = Step.from_callable(now, pure=False)\nboth = clock >> Step.from_callable(str)"
    )
    for _ in range(2):
        notebook.card("%flujo run clock -i 1")
        notebook.card("%flujo run both -i 1")

    assert ran(notebook) == [1, 1, 1, 1]


def test_a_value_that_cannot_be_compared_runs_again(notebook: Notebook) -> None:
    notebook.run("%%flujo step --no-run\ndef kind(x):\n    ran.append(1); return str(type(x))")
    for _ in range(2):
        notebook.card("%flujo run kind -i object()")

    assert ran(notebook) == [1, 1]


def test_no_cache_runs_it(notebook: Notebook) -> None:
    notebook.card(WORDS, "A")
    card = notebook.card("%flujo run words -i 'to be' --no-cache")

    assert card.id == "f1" and len(ran(notebook)) == 2


def test_failed_frames_are_not_given_again(notebook: Notebook) -> None:
    notebook.run("%%flujo step --no-run\ndef boom(x):\n    ran.append(1); raise ValueError(x)")
    for _ in range(2):
        notebook.error("%flujo run boom -i 1")

    assert ran(notebook) == [1, 1]


def test_a_reused_cell_that_runs_again_never_eats_its_own_output(notebook: Notebook) -> None:
    notebook.run("%%flujo step --no-run\ndef more(n: int):\n    ran.append(n); return n + 1")
    notebook.card("%flujo run more -i 1", "A")
    notebook.card("%flujo run more", "B")
    notebook.card("%flujo back f0")
    card = notebook.card("%flujo run more", "C")  # what B gave
    assert card.id == "f1" and is_reused(card)

    notebook.card("%flujo run more --no-cache", "C")
    assert ran(notebook) == [1, 2, 2]


def test_run_all_after_a_restart_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opener(tmp_path, monkeypatch)
    cells = {"A": WORDS, "B": COUNT, "C": "%flujo run words >> count -i 'a b c'"}
    with opened() as notebook:
        notebook.run(LOG)
        before = [notebook.card(cell, name) for name, cell in cells.items()]
    with opened() as notebook:
        notebook.run(LOG)
        notebook.run(ON)
        after = [notebook.card(cell, name) for name, cell in cells.items()]

        assert [one.id for one in after] == [one.id for one in before] == ["f0", "f1", "f2"]
        assert [one.output for one in after] == [["to", "be"], 2, 3]
        assert ran(notebook) == [] and all(map(is_reused, after))
        assert notebook.session.head is not None and notebook.session.head.id == "f2"


def test_the_cells_that_a_frame_stands_for_survive_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opener(tmp_path, monkeypatch)
    define = "%%flujo step --no-run\ndef more(n: int):\n    ran.append(n); return n + 1"
    with opened() as notebook:
        for cell in (LOG, ON, define):
            notebook.run(cell)
        notebook.card("%flujo run more -i 1", "A")
        notebook.card("%flujo run more", "B")
        notebook.card("%flujo back f0")
        notebook.card("%flujo run more", "C")
    with opened() as notebook:
        for cell in (LOG, define):
            notebook.run(cell)
        notebook.card("%flujo back f1")
        assert notebook.card("%flujo run more", "C").data == 2


def test_what_a_person_patched_does_not_stand_for_a_run(notebook: Notebook) -> None:
    notebook.run(
        "from flujo_nb import Step\ndef part(name):\n    return Step.from_callable("
        "lambda x: [*x, name], name=name)\nabc = part('a') >> part('b') >> part('c')"
    )
    notebook.card("%flujo run abc -i []")
    notebook.card('%%flujo patch f0/a\n{"output": ["PATCHED"]}')
    notebook.card("%flujo fork f1/c")

    card = notebook.card("%flujo run abc -i []")
    assert (card.id, card.output) == ("f0", ["a", "b", "c"])


def test_an_answer_is_given_again(notebook: Notebook) -> None:
    ask = "%%flujo hitl ask --schema bool -i 1\nWell?"
    notebook.error(ask, "A")
    first = notebook.card("%flujo resume f0 --with True", "B")
    assert is_reused(notebook.card(ask, "A"))

    for line in ("f0 --with True", "--with True", "f1 --with True"):
        again = notebook.card(f"%flujo resume {line}", "B")
        assert (again.id, again.output) == (first.id, True) and is_reused(again)
    assert "which completed" in str(notebook.error("%flujo resume f0 --with False", "B"))


def test_a_frame_that_stands_for_its_cell_again_is_not_stale(notebook: Notebook) -> None:
    other = WORDS.replace("text.split()", "text.split('b')")
    for cell, name in ((WORDS, "A"), (COUNT, "B"), (other, "A"), (WORDS, "A"), (COUNT, "B")):
        card = notebook.card(cell, name)

    assert is_reused(card) and card.id == "f1"
    assert dict(notebook.session.staleness.all()) == {"f2": "words was edited"}


def test_that_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opener(tmp_path, monkeypatch)
    other = WORDS.replace("to be", "not to be")
    with opened() as notebook:
        notebook.run(LOG)
        notebook.run(ON)
        for cell, name in ((WORDS, "A"), (COUNT, "B"), (other, "A"), (COUNT, "B"), (WORDS, "A")):
            notebook.card(cell, name)
        before = dict(notebook.session.staleness.all())
    with opened() as notebook:
        notebook.run(LOG)
        assert dict(notebook.session.staleness.all()) == before == {"f3": "f2 was made again: f0"}
