"""What is told of patched frames, and which patches are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError

from flujo_nb.errors import RunAborted
from flujo_nb.replaying import NotAsRecorded
from tests.durable import Kernels
from tests.engine.durable import KEY
from tests.notebook import fresh_notebook
from tests.patched import (
    CELLS,  # noqa: F401  # the fixtures begin with them
    LINE,
    patch,
)

# What is told.


def test_the_card_tells_which_frames_stand_on_the_other_one(kernels: Kernels) -> None:
    notebook = kernels.notebook
    for line in ("up -i 1", "two", "up"):
        notebook.value(f"%flujo run {line}", cell_id=line)
    told = repr(patch(notebook, "f0", output=10))
    assert "f1, f2 stand on f0: run their cells to have them on f3" in told
    assert notebook.session.staleness.all() == {
        "f1": "f0 was patched: f3",
        "f2": "f1 is stale: f0 was patched: f3",
    }
    assert notebook.card("%flujo run two", cell_id="two").output == 20
    assert notebook.card("%flujo run up", cell_id="up").output == 21
    told = repr(notebook.card("%flujo fork f3"))
    assert "f4, f5 stand on f3: run their cells to have them on f6" in told
    assert "stand" not in repr(notebook.card("%flujo fork f6"))
    told = repr(notebook.card("%flujo back f3"))
    assert "HEAD left f7: %flujo back f7 returns to it" in told
    assert "HEAD left f3" not in repr(notebook.card("%flujo back f5"))
    assert "HEAD left f4, f5: %flujo back f5 " in repr(notebook.card("%flujo back f3"))


def test_frames_that_stand_on_what_is_patched_inside_are_stale(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    kernels.notebook.value("%flujo run up")
    notebook = kernels.restart()
    assert "f1 stands on f0: run its cell to have it on f2" in repr(
        patch(notebook, "f0/shout", output={"text": "x"})
    )
    assert notebook.session.staleness.all() == {"f1": "f0/shout was patched: f2"}


def test_why_tells_with_what_it_was_patched(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    patch(kernels.notebook, "f0/write", output={"text": "x" * 2000, "tone": "warm"})
    notebook = kernels.restart()
    told = repr(notebook.view("%flujo why f1"))
    assert "patched" in told and "f0/write, with {'output': {'text': 'xxx" in told
    assert max(map(len, told.splitlines())) < 500
    assert "f0/write, with {'output'" in repr(notebook.view("%flujo why f1/write"))
    assert "with {'output'" not in repr(notebook.view("%flujo why f1/shout"))
    assert "with {'output'" not in repr(notebook.view("%flujo why f0"))


@pytest.mark.parametrize(
    ("frame", "changes"),
    [
        ("f0", {"output": 7}),
        ("f0", {"data": "milk"}),
        ("f0", {"context": {"total": 4}}),
        ("f0/shout", {"output": {"text": "y"}}),
        ("f0/shout", {"data": {"text": "y"}}),
        ("f0/count", {"context": {"total": 4}}),
        ("f1/loop", {"data": 5}),
        ("f1/loop", {"output": 5}),
        ("f1/loop/[0]/two", {"data": 5}),
    ],
    ids=str,
)
def test_a_replay_of_a_patched_frame_holds(
    stored: Kernels, frame: str, changes: dict[str, Any]
) -> None:
    stored.notebook.value(LINE)
    stored.notebook.value("%flujo run up >> loop >> two -i 1")
    patch(stored.notebook, frame, **changes)
    notebook = stored.restart()
    assert "all is as recorded" in repr(notebook.view("%flujo replay f2"))
    assert "all is as recorded" in repr(notebook.view("%flujo replay f2 --strict"))
    assert stored.ran() == []
    notebook.value("@step\ndef count(draft: Draft, context: Ctx) -> int:\n    return 1")
    notebook.value("@step\ndef two(n: int) -> int:\n    return n")
    if frame != "f0" or "output" not in changes:
        assert isinstance(notebook.error("%flujo replay f2"), NotAsRecorded)


def test_a_patched_frame_is_not_given_for_a_run_of_the_same(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value("%config Flujo.reuse = 'same'")
    notebook.value("%flujo run up -i 1")
    patch(notebook, "f0", output=50)
    card = notebook.card("%flujo run up -i 1")
    assert (card.id, card.output) == ("f0", 2)


# What is refused.


@pytest.mark.parametrize(
    ("frame", "body", "told"),
    [
        ("f0", '{"output": "seven"}', "f0: the patch does not fit output: Input should be a valid"),
        ("f0", '{"data": 5}', "f0: the patch does not fit data: Input should be a valid string"),
        ("f0", '{"context": {"total": "x"}}', "f0: the patch does not fit context.total: Input"),
        ("f0", '{"context": {"totl": 1}}', "context: Ctx has no field 'totl'; it has total, names"),
        ("f0/shout", '{"output": {"tone": 1}}', "f0/shout: the patch does not fit output.tone: In"),
        ("f0/shout", '{"data": {"text": null}}', "does not fit data.text: Field required"),
        ("f0/count", '{"context": {"names": 1}}', "f0/count: the patch does not fit context.names"),
        ("f0/shout", '{"output": {"tone": "a"}', "no JSON: Expecting ',' delimiter (line 2, colu"),
        ("f0", '{\n  "output": 1,\n  oops\n}', "(line 4, column 3)"),
        ("f0", '{"output": NaN}', "NaN is no number of JSON"),
        ("f0", "[" * 100_000, "the patch is no JSON: "),
        ("f0", "[1]", 'a patch is a JSON object, such as {"output"'),
        ("f0", " ", 'a patch is JSON below the first line, such as {"output"'),
        ("f0", '{"outptu": 1}', "a patch names what it changes: "),
        ("f0", '{"output": 1, "data": "x"}', "a patch names what it changes: "),
        ("f0", "{}", "a patch names what it changes: "),
        ("f9", '{"output": 1}', "there is no frame 'f9'; did you mean"),
        ("f0/shot", '{"output": 1}', "no frame inside f0 called 'shot'; did you mean 'shout'?"),
        (
            "f2",
            '{"output": 1}',
            "f2: output (lock) is neither plain data nor a model: no patch can change it; ",
        ),
        ("f3", '{"output": 1}', "f3 behind works in the background"),
        ("f4/two/cached", '{"output": 1}', "stands inside a cached step"),
        ("", '{"output": 1}', "which frame? usage: %%flujo patch FRAME"),
        ("f0 f1", '{"output": 1}', "%%flujo patch takes one frame; found f0 f1"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    kernels: Kernels, frame: str, body: str, told: str
) -> None:
    notebook = kernels.notebook
    notebook.value(LINE)
    notebook.value("%flujo run up -i 1")
    notebook.value("%flujo run client")
    notebook.value("%flujo run behind -i 1")
    notebook.value("%flujo run cached -i 1")
    kernels.ran()
    before = notebook.state()
    error = notebook.error(f"%%flujo patch {frame}\n{body}")
    assert isinstance(error, UsageError)
    assert "\n" not in str(error)
    assert told in str(error)
    assert notebook.state() == before
    assert kernels.ran() == []
    assert notebook.card("%flujo run two -i 1").id == "f5"


def test_a_frame_without_a_context_has_none_to_patch() -> None:
    with fresh_notebook() as notebook:
        notebook.value("from flujo_nb import step")
        notebook.value("@step\ndef up(n: int) -> int:\n    return n + 1")
        notebook.value("%flujo run up -i 1")
        error = notebook.error('%%flujo patch f0\n{"context": {"total": 1}}')
        assert "f0 has no context: there is nothing to patch" in str(error)
        assert len(notebook.session.entries) == 1


def test_what_does_not_fit_is_told_where_only_the_run_knows_the_input(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run each -i [1,2,3]")
    notebook = kernels.restart()
    error = notebook.error('%%flujo patch f0/each/[1]/up\n{"data": "x"}')
    assert isinstance(error, RunAborted)
    told = str(error).splitlines()
    assert told[0].startswith("each did not run at c[2]/each/[1]/up: the patch does not fit data: ")
    assert "(at c[2]" not in told[0]
    assert told[-1] == "  next: %%flujo patch f0/each/[1]/up with what fits"
    assert kernels.ran() == []
    assert [one.succeeded for one in notebook.session.entries] == [True, False]


@pytest.mark.parametrize("frame", ["f0", "f0/write"])
def test_a_secret_is_not_patched_in(kernels: Kernels, tmp_path: Path, frame: str) -> None:
    kernels.notebook.value(LINE)
    part = {"f0": "data", "f0/write": "output"}[frame]
    change = {"f0": KEY, "f0/write": {"text": f"so\n{KEY}"}}[frame]
    error = kernels.notebook.error(f"%%flujo patch {frame}\n{json.dumps({part: change})}")
    assert isinstance(error, UsageError) and "cannot be saved" in str(error)
    assert KEY not in str(error)
    assert len(kernels.notebook.session.entries) == 1
    kernels.close()
    found = [path for path in tmp_path.rglob("*.db*") if KEY.encode() in path.read_bytes()]
    assert found == []
    kernels.start()


# In Python.


def test_python_has_the_same(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    notebook = kernels.restart()
    assert notebook.card("await flujo.patch('f0/write', output={'text': 'milk'})").output == 4
    assert notebook.card("await flujo.patch('f0', data='beer')").output == 4
    card = notebook.card("await flujo.patch('f0', context={'names': ('a',)})")
    assert repr(card.context) == "Ctx(total=0, names=['a'])"
    assert notebook.card("await flujo.patch('f0', output=9)").output == 9
    assert len(notebook.session.entries) == 5


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("flujo.patch('f0')", "found nothing"),
        ("flujo.patch('f0', output=1, data='x')", "found 'output', 'data'"),
        ("flujo.patch('f0', output=Draft(text='x'))", "a patch is plain data, as JSON has it"),
        ("flujo.patch('f0', output=float('nan'))", "a patch is plain data, as JSON has it"),
        ("flujo.patch('f0', output='seven')", "f0: the patch does not fit output: Input should"),
        ("flujo.patch('f7', output=1)", "there is no frame 'f7'"),
    ],
)
def test_python_is_told_the_same(kernels: Kernels, call: str, told: str) -> None:
    kernels.notebook.value(LINE)
    before = kernels.notebook.state()
    error = kernels.notebook.error(f"await {call}")
    assert isinstance(error, UsageError) and told in str(error)
    assert kernels.notebook.state() == before
