"""Records that leave memory: those that are saved come back, the others say that they are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.error import UsageError

from tests.durable import Open, opener
from tests.notebook import Notebook

MB = 1_000_000
BLOCK = "%%flujo step block --on-head\ndef block(x=None):\n    return bytes([{0}]) * 1_000_000"
CONTEXT = """\
from pydantic import BaseModel

class Ctx(BaseModel):
    seen: list[int] = []
"""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return opener(tmp_path, monkeypatch)


def fill(notebook: Notebook, cells: int) -> None:
    """Run cells that each make a megabyte, on one line."""
    notebook.run("%config Flujo.max_memory = 5")
    for number in range(cells):
        assert notebook.card(BLOCK.format(number)).status == "completed"
        assert notebook.session.recaller.shelf.size <= 5 * MB


def test_saved_values_leave_memory_and_come_back(kernels: Open) -> None:
    with kernels() as notebook:
        fill(notebook, 20)
        shelf = notebook.session.recaller.shelf
        assert len(shelf) < 6 and not shelf.released
        for number in (0, 7, 19):
            card = notebook.api.frames[f"f{number}"]
            assert card.output == bytes([number]) * MB
            assert card.data == (bytes([number - 1]) * MB if number else None)
        assert len(shelf) < 6
        assert notebook.card("%flujo back f3").output == bytes([3]) * MB
        assert "of 20 frames" in repr(notebook.view("%flujo"))


def test_values_that_are_not_saved_are_released_and_say_so(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run("%config Flujo.store = None")
        fill(notebook, 20)
        shown = repr(notebook.card("%flujo show f0"))
        assert "value released" in shown and "Flujo.max_memory" in shown
        error = notebook.error("%flujo back f0")
        assert isinstance(error, UsageError)
        assert "run its cell (%%flujo step block) again" in str(error)
        assert "released" in repr(notebook.view("%flujo"))


def test_what_is_not_saved_stays_longest(kernels: Open) -> None:
    with kernels() as notebook:
        live = "%%flujo step live\ndef live():\n    return {'big': bytes(1_000_000), 'f': print}"
        notebook.run("%config Flujo.max_memory = 3")
        notebook.run(live.replace("'f': print", "'f': iter([])"))
        fill(notebook, 10)
        shelf = notebook.session.recaller.shelf
        assert shelf.get("f0") is not None
        assert shelf.get("f1") is None


def test_contexts_are_put_together_from_what_each_frame_changed(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(CONTEXT)
        notebook.run("%flujo session --context Ctx --init {'seen': [7]}")
        notebook.run("%config Flujo.max_memory = 0")
        cell = "%%flujo step see --on-head\ndef see(x, context):\n    context.seen.append({0})"
        for number in range(6):
            notebook.run(cell.format(number))
        assert len(notebook.session.recaller.shelf) == 1
        for number in range(6):
            card = notebook.api.frames[f"f{number}"]
            assert card.context.seen == [7, *range(number)]  # type: ignore[union-attr]
            assert card.context_after.seen == [7, *range(number + 1)]  # type: ignore[union-attr]


def test_the_frames_inside_come_back_too(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run("from flujo_nb import step\n@step\ndef up(n: int) -> int: return n + 1")
        notebook.run("%config Flujo.max_memory = 0")
        notebook.run("%flujo run up >> up -i 1")
        notebook.run("%flujo run up")
        inner = notebook.card("%flujo show f0/up#1")
        assert (inner.data, inner.output, inner.parent) == (2, 3, "f0/up")
        card = notebook.card("%flujo run up --from f0/up")
        assert (card.parent, card.output) == ("f0/up", 3)
        notebook.run("%flujo back f0")
        assert notebook.api.frames[card.id].data == 2


ASKING = """\
from pydantic import BaseModel
from flujo_nb import Step

class Verdict(BaseModel):
    ok: bool = True

asks = Step.human_in_the_loop("asks", "Good?", Verdict)
"""


def test_an_answer_of_a_class_that_is_not_defined_yet_keeps_nothing_else_from_being_read(
    kernels: Open,
) -> None:
    with kernels() as notebook:
        notebook.run(ASKING)
        notebook.run("%flujo run asks -i 1")
        notebook.card("%flujo resume --with Verdict()")
        notebook.card("%%flujo step next_one -i 2\ndef next_one(x): return x")
    with kernels() as notebook:
        assert [entry.id for entry in notebook.session.entries] == ["f0", "f1", "f2"]
        assert notebook.card("%flujo show f2").output == 2
        assert "run the cell that defines Verdict" in str(notebook.card("%flujo show f1"))
        notebook.run(ASKING)
        assert notebook.card("%flujo show f1").output.ok  # type: ignore[attr-defined]
        assert "all is as recorded" in repr(notebook.view("%flujo replay f1"))


def test_a_change_of_the_context_below_a_secret_is_only_in_memory(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(CONTEXT.replace("list[int] = []", "dict[str, int] = {}"))
        notebook.run("%flujo session --context Ctx")
        cell = "def a(x, context):\n    context.seen['ghp_' + 'a1' * 18] = 1\n    return 1"
        card = notebook.card(f"%%flujo step a\n{cell}")
        assert "live only" in repr(card) and "a GitHub token" in repr(card)


def test_an_answer_that_is_a_secret_is_refused(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run("from flujo_nb import Step\nasks = Step.human_in_the_loop('asks', 'Key?')")
        notebook.run("%flujo run asks -i 1")
        error = notebook.error("%flujo resume --with 'ghp_'+'a1'*18")
        assert isinstance(error, UsageError) and "looks like a secret" in str(error)
        assert notebook.card("%flujo resume --with 7").output == 7
