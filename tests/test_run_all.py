"""Run all, behind whatever stands there: what runs, from where, and what the cards say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.display import FrameCard
from flujo_nb.errors import RunAborted, StepFailed
from tests.durable import Open, opener
from tests.notebook import Notebook

SETUP = "from flujo_nb import Step\nran = []\nbroken = False"
WORDS = (
    "%%flujo step -i 'to be'\ndef words(text: str):\n    ran.append('words')\n"
    "    return text.split()"
)
COUNT = (
    "%%flujo step\ndef count(words: list):\n    ran.append('count')\n"
    "    if broken: raise ValueError('broken')\n    return len(words)"
)
ASK = "%%flujo hitl approve --schema bool\nPublish?"
DOUBLE = "%%flujo step\ndef double(n):\n    ran.append('double')\n    return n * 2"

PLAIN = (WORDS, COUNT, DOUBLE)
ASKING = (WORDS, COUNT, ASK, DOUBLE)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return opener(tmp_path, monkeypatch)


@pytest.fixture(params=["off", "same"])
def reuse(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run_all(
    notebook: Notebook, cells: Sequence[str], *, stops: bool = True
) -> list[FrameCard | BaseException]:
    """What each cell came to; as a front end does, nothing runs behind a red cell."""
    came: list[FrameCard | BaseException] = []
    for cell in cells:
        result = notebook.run(cell, f"id of {cell}")
        error = result.error_before_exec or result.error_in_exec
        came.append(result.result if error is None else error)
        if error is not None and stops:
            break
    return came


def firsts(came: Sequence[FrameCard | BaseException]) -> list[str]:
    """The first lines of the cards, without the times."""
    lines = [
        (repr(one) if isinstance(one, FrameCard) else str(one)).splitlines()[0] for one in came
    ]
    return [line.partition("   completed")[0] for line in lines]


def prepare(notebook: Notebook, reuse: str) -> None:
    notebook.run(SETUP)
    notebook.run(f"%config Flujo.reuse = {reuse!r}")


def ran(notebook: Notebook) -> list[str]:
    found = notebook.value("ran")
    assert isinstance(found, list)
    return found


def test_twice_in_a_row(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        first, again = run_all(notebook, PLAIN), run_all(notebook, PLAIN)

        assert firsts(first) == [
            "f0 words   ← -i",
            "f1 count   ← f0.output",
            "f2 double   ← f1.output",
        ]
        if reuse == "off":
            assert firsts(again) == [
                *("f3 words   ← -i", "f4 count   ← f3.output", "f5 double   ← f4.output"),
            ]
            assert len(ran(notebook)) == 6
        else:
            assert firsts(again) == [f"reused {line}" for line in firsts(first)]
            assert len(ran(notebook)) == 3
        last = again[-1]
        assert isinstance(last, FrameCard) and last.output == 4
        assert notebook.session.head is notebook.session.entry_of(last.id)


def test_behind_a_failure_that_was_mended(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        notebook.run("broken = True")
        came = run_all(notebook, PLAIN)
        assert isinstance(came[-1], StepFailed)
        assert firsts(came) == ["f0 words   ← -i", "count failed at c[2]/count   ← f0.output"]

        notebook.run("broken = False")
        came = run_all(notebook, PLAIN)
        lines = firsts(came)
        if reuse == "off":
            assert lines == ["f2 words   ← -i", "f3 count   ← f2.output", "f4 double   ← f3.output"]
        else:
            assert lines == [
                "reused f0 words   ← -i",
                "f2 count   ← f0.output (count failed after it)",
                "f3 double   ← f2.output",
            ]
            assert ran(notebook) == ["words", "count", "count", "double"]


def test_a_cell_behind_a_failure_goes_on_from_the_unchanged_head(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        notebook.run("broken = True")
        came = run_all(notebook, PLAIN, stops=False)

        assert firsts(came) == [
            "f0 words   ← -i",
            "count failed at c[2]/count   ← f0.output",
            "f2 double   ← f0.output (count failed after it)",
        ]
        assert notebook.session.head is notebook.session.entry_of("f2")


def test_behind_a_pause_nothing_runs_until_it_is_answered(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        came = run_all(notebook, ASKING, stops=False)

        assert isinstance(came[2], RunAborted) and isinstance(came[3], UsageError)
        assert "f2 approve waits for an answer: Publish?" in str(came[3])
        assert "%flujo resume f2 --with EXPR" in str(came[3])
        assert ran(notebook) == ["words", "count"]

        notebook.card("%flujo resume f2 --with True")
        came = run_all(notebook, (DOUBLE,))
        assert firsts(came) == ["f4 double   ← f3.output"]


def test_run_all_again_behind_an_answer(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        run_all(notebook, ASKING)
        notebook.card("%flujo resume f2 --with True")
        run_all(notebook, (DOUBLE,))
        came = run_all(notebook, ASKING)

        if reuse == "off":  # it is another question, on another frame
            assert firsts(came)[-1] == "approve paused at c[7]/approve   ← f6.output"
            assert isinstance(came[-1], RunAborted)
        else:
            assert firsts(came) == [
                *("reused f0 words   ← -i", "reused f1 count   ← f0.output"),
                "reused f3 approve   ← f1.output, goes on with f2",
                "reused f4 double   ← f3.output",
            ]


def test_after_a_restart(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        run_all(notebook, PLAIN)
    with opened() as notebook:
        prepare(notebook, reuse)
        came = run_all(notebook, PLAIN)

        if reuse == "off":
            assert firsts(came) == [
                *("f3 words   ← -i", "f4 count   ← f3.output", "f5 double   ← f4.output"),
            ]
        else:
            assert [line.split()[:2] for line in firsts(came)] == [
                ["reused", f"f{number}"] for number in range(3)
            ]
            assert ran(notebook) == []


def test_after_a_restart_behind_a_pause_the_question_still_stands(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        run_all(notebook, ASKING)
    with opened() as notebook:
        prepare(notebook, reuse)
        came = run_all(notebook, ASKING)

        assert isinstance(came[-1], RunAborted) and "paused" in firsts(came)[-1]
        newest = notebook.session.entries[-1]
        notebook.card(f"%flujo resume {newest.id} --with False")
        came = run_all(notebook, (DOUBLE,))
        assert isinstance(came[0], FrameCard) and came[0].output == 0


def test_a_plain_cell_in_the_middle_after_a_restart_has_no_head(opened: Open) -> None:
    with opened() as notebook:
        prepare(notebook, "off")
        run_all(notebook, PLAIN)
    with opened() as notebook:
        prepare(notebook, "off")
        failed = notebook.error(COUNT, f"id of {COUNT}")
        assert "← nothing (input None)" in str(failed) and "-i EXPR" in str(failed)
        notebook.card("%flujo back f0")
        assert firsts([notebook.card(COUNT, f"id of {COUNT}")]) == ["f4 count   ← f0.output"]


def test_a_question_on_a_line_of_its_own_stops_what_follows_too(opened: Open, reuse: str) -> None:
    with opened() as notebook:
        prepare(notebook, reuse)
        came = run_all(
            notebook, (WORDS, f"{ASK.replace('bool', 'bool -i 7')}", DOUBLE), stops=False
        )

        assert isinstance(came[2], UsageError) and "f1 approve waits" in str(came[2])
        assert ran(notebook) == ["words"]


def test_an_answer_without_an_id_is_for_the_question(opened: Open) -> None:
    with opened() as notebook:
        prepare(notebook, "off")
        run_all(notebook, ASKING)
        notebook.error("%flujo run nothing_like_that")
        notebook.run("broken = True")
        notebook.error(f"{COUNT.replace('step', 'step --from f0')}", "elsewhere")

        assert notebook.card("%flujo resume --with True").name == "approve"


def test_going_on_elsewhere_tells_which_frames_head_left(opened: Open) -> None:
    with opened() as notebook:
        prepare(notebook, "off")
        run_all(notebook, ASKING)
        notebook.card("%flujo run words -i 'another line'", "elsewhere")

        card = notebook.card("%flujo resume f2 --with True")
        assert "HEAD left f3: %flujo back f3 returns to it" in repr(card)
