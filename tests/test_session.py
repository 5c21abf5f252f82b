"""The session through cells: HEAD, failures, side lines, settings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.errors import StepFailed
from tests.durable import opener
from tests.notebook import Notebook

SEED = "%%flujo step seed\ndef seed():\n    return 1"
GROW = "%%flujo step grow\ndef grow(x):\n    return x * 10"
BOOM = "%%flujo step boom\ndef boom(x):\n    raise ValueError('no')"


def inputs(notebook: Notebook) -> list[str]:
    """Where each record's input came from."""
    return [entry.origin for entry in notebook.session.entries]


def test_each_cell_continues_from_the_one_before(notebook: Notebook) -> None:
    assert notebook.card(SEED).output == 1
    card = notebook.card(GROW)
    assert (card.output, card.parent) == (10, "f0")
    assert inputs(notebook) == ["nothing (input None)", "f0.output"]


@pytest.mark.parametrize("ids", [True, False])
def test_a_cell_run_twice_gets_the_same_input_twice(notebook: Notebook, ids: bool) -> None:
    first, second = ("A", "B") if ids else (None, None)
    notebook.run(SEED, first)
    notebook.run(GROW, second)
    again = notebook.card(GROW, second)
    assert (again.data, again.output, again.parent) == (1, 10, "f0")
    assert "ran again from f0" in repr(again)
    assert again.id == notebook.api.head.id  # type: ignore[union-attr]


def test_running_an_earlier_cell_again_leaves_later_frames_and_says_so(notebook: Notebook) -> None:
    notebook.run(SEED, "A")
    notebook.run(GROW, "B")
    notebook.run("%%flujo step last\ndef last(x):\n    return -x", "C")
    again = notebook.card(GROW.replace("10", "20"), "B")
    assert again.output == 20
    assert "f2 stands on an older f1" in repr(again)
    assert notebook.api.frames["f2"].output == -10


def test_without_ids_the_command_counts_too(notebook: Notebook) -> None:
    notebook.run(SEED)
    notebook.run(GROW)
    assert notebook.card("%flujo run grow").output == 100


def test_on_head(notebook: Notebook) -> None:
    notebook.run(SEED)
    notebook.run(GROW)
    again = notebook.card(GROW.replace("step grow", "step grow --on-head"))
    assert again.output == 100
    assert "ran again" not in repr(again)


@pytest.mark.parametrize("ids", [True, False])
def test_a_loop_in_one_cell_goes_on(notebook: Notebook, ids: bool) -> None:
    notebook.run(SEED, "A" if ids else None)
    notebook.run(GROW.replace("step grow", "step grow --no-run"), "B" if ids else None)
    loop = "for _ in range(3):\n    card = await flujo.run('grow')\ncard"
    assert notebook.card(loop, "C" if ids else None).output == 1000


@pytest.mark.parametrize("ids", [True, False])
def test_a_loop_run_again_gives_the_same_again(notebook: Notebook, ids: bool) -> None:
    notebook.run(SEED, "A" if ids else None)
    notebook.run(GROW.replace("step grow", "step grow --no-run"), "B" if ids else None)
    loop = "for _ in range(3):\n    card = await flujo.run('grow')\ncard"
    notebook.run(loop, "C" if ids else None)
    assert notebook.card(loop, "C" if ids else None).output == 1000


def test_a_given_input_starts_a_new_line(notebook: Notebook) -> None:
    notebook.run(SEED)
    card = notebook.card(GROW.replace("step grow", "step grow -i 7"))
    assert (card.output, card.parent) == (70, None)
    assert repr(card).splitlines()[0].startswith("f1 grow   ← -i ")


def test_from_a_frame_inside_a_pipeline(notebook: Notebook) -> None:
    notebook.run(SEED)
    notebook.run(GROW.replace("step grow", "step grow --no-run"))
    notebook.run("%flujo run grow >> grow")
    card = notebook.card("%flujo run grow --from f1/grow")
    assert (card.data, card.parent) == (10, "f1/grow")


def test_what_continues_from_an_inner_frame_stands_on_its_pipelines_line(
    notebook: Notebook,
) -> None:
    notebook.run(SEED, "A")
    notebook.run(GROW.replace("step grow", "step grow --no-run"), "B")
    notebook.run("%flujo run grow >> grow", "C")
    notebook.run("%flujo run grow --from f1/grow", "D")
    assert notebook.session.head is not None
    assert "f0" in [entry.id for entry in notebook.session.line()]
    again = notebook.card(SEED, "A")
    assert again.data is None
    assert "ran again from the beginning" in repr(again)


def test_a_failure_leaves_head_and_what_follows_says_so(notebook: Notebook) -> None:
    notebook.run(SEED)
    error = notebook.error(BOOM)
    assert isinstance(error, StepFailed)
    assert error.record.id == "f1"
    assert notebook.session.head is notebook.session.entries[0]
    card = notebook.card(GROW)
    assert card.output == 10
    assert repr(card).splitlines()[0].startswith("f2 grow   ← f0.output (boom failed after it)")


def test_a_failed_cell_that_is_mended_gets_the_same_input(notebook: Notebook) -> None:
    notebook.run(SEED, "A")
    notebook.run(BOOM, "B")
    mended = notebook.card("%%flujo step boom\ndef boom(x):\n    return x", "B")
    assert (mended.data, mended.parent) == (1, "f0")


def refusing(notebook: Notebook) -> None:
    """A notebook in which boom failed after seed, and runs behind a failure are refused."""
    notebook.run("%config Flujo.after_failure = 'refuse'")
    notebook.run(SEED, "A")
    notebook.run(BOOM, "B")


def test_runs_behind_a_failure_can_be_refused(notebook: Notebook) -> None:
    refusing(notebook)
    before = len(notebook.session.entries)
    error = notebook.error("%flujo run seed", "C")
    assert isinstance(error, UsageError)
    assert "boom failed" in str(error)
    assert len(notebook.session.entries) == before


@pytest.mark.parametrize("options", ["-i 2", "--from f0"])
def test_a_run_that_says_where_it_starts_is_not_refused(notebook: Notebook, options: str) -> None:
    refusing(notebook)
    card = notebook.card(GROW.replace("step grow", f"step grow {options}"), "C")
    assert card.status == "completed"


def test_the_failed_cell_itself_is_not_refused(notebook: Notebook) -> None:
    refusing(notebook)
    assert notebook.card("%%flujo step boom\ndef boom(x):\n    return x", "B").output == 1


def test_an_earlier_cell_that_runs_again_is_not_behind_the_failure(notebook: Notebook) -> None:
    refusing(notebook)
    again = notebook.card(SEED.replace("return 1", "return 2"), "A")
    assert again.output == 2


def test_of_two_runs_at_once_the_loser_stands_on_a_side_line(notebook: Notebook) -> None:
    notebook.run(SEED)
    notebook.run(
        "%%flujo step wait --no-run\nimport asyncio\nasync def wait(x):\n"
        "    await asyncio.sleep(0.01 * x)\n    return x"
    )
    api = notebook.api

    async def both() -> list[object]:
        return list(await asyncio.gather(api.run("wait", input=3), api.run("wait", input=1)))

    slow, fast = notebook.during(both)
    session = notebook.session
    assert session.head is session.entries[-2]
    assert "another run moved HEAD meanwhile" in repr(slow)
    assert "meanwhile" not in repr(fast)
    assert session.entries[-1].record.output == 3


def test_two_runs_at_once_of_different_steps_from_one_head(notebook: Notebook) -> None:
    notebook.run(SEED)
    notebook.run(
        "%%flujo step a --no-run\nimport asyncio\nasync def a(x):\n"
        "    await asyncio.sleep(0)\n    return x + 1"
    )
    api = notebook.api

    async def both() -> None:
        await asyncio.gather(api.run("a"), api.run("a"))

    notebook.during(both)
    one, other = notebook.session.entries[-2:]
    assert one.parent == other.parent == "f0"


def test_show_after_nothing_but_failures_shows_that_there_are_frames(notebook: Notebook) -> None:
    notebook.run("%%flujo step boom\ndef boom():\n    raise ValueError")
    assert "no frames yet" not in repr(notebook.view("%flujo show"))


def test_what_cannot_be_planned_takes_no_number(notebook: Notebook) -> None:
    error = notebook.error("from flujo_nb import Step\nawait flujo.run(Step(name='empty'))")
    assert "has nothing to run" in str(error)
    assert notebook.card("%%flujo step\ndef one():\n    return 1").path == "c[1]/one"


def test_a_run_beside_another_may_go_on_from_it_while_its_end_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in ("auto", "off"):
        opened = opener(tmp_path, monkeypatch)
        monkeypatch.setenv("FLUJO_STORE", store)
        with opened() as notebook:
            notebook.run("import asyncio")
            notebook.run("%%flujo step --no-run\ndef one(x):\n    return (x or 0) + 1")
            notebook.value("await asyncio.gather(*[flujo.run('one') for _ in range(5)])")

            assert sorted(entry.id for entry in notebook.session.entries) == [
                f"f{number}" for number in range(5)
            ]
