"""Frames that a kernel's death cut off: what is shown of what had finished inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.durable import opener

STEPS = """\
from pydantic import BaseModel
from flujo_nb import Step, step

class Verdict(BaseModel):
    ok: bool
    why: str = ""

@step
def up(n: int) -> int:
    return n + 1

@step
def two(n: int) -> int:
    return 2 * n
"""
CUT_OFF = """\
import os
import signal
from tests.notebook import fresh_notebook

with fresh_notebook() as notebook:
    notebook.value({steps!r})
    notebook.shell.user_ns["die"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    notebook.value({more!r})
    notebook.value("%flujo run {target} -i 1")
"""
MORE = """\
@step
def made(n: int) -> Verdict:
    return Verdict(ok=True, why=f"of {n}")

@step
def leave(n: int) -> int:
    return die() if n > 4 else n

again = Step.loop_until("again", two >> leave, lambda n: n > 99, max_loops=9)
gone = Step.from_callable(lambda one: die(), name="gone")
"""


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ("up >> made >> gone", ["up", "made"]),
        ("up >> again", ["up", "again/[0]", "again/[1]/two"]),
        ("leave >> gone", ["leave"]),
        ("gone", []),
    ],
)
def test_a_frame_that_was_cut_off_shows_what_finished_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, inside: list[str]
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    name = str(tmp_path / "a.ipynb")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "JPY_SESSION_NAME": name}
    code = CUT_OFF.format(steps=STEPS, more=MORE, target=target)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    with open_() as notebook:  # nothing is defined, and nothing runs
        card = notebook.card("%flujo show f0")
        assert card.status == "interrupted"
        children = notebook.front.view("f0").children
        assert [one.id for one in children] == [f"f0/{path}" for path in inside]
        assert {one.status.value for one in children} <= {"completed"}
        if inside:
            shown = repr(card)
            assert "inside" in shown and inside[-1].rpartition("/")[2] in shown
        if "made" in inside:
            assert "run the cell that defines Verdict" in shown and "of 2" in shown
        notebook.value(STEPS + "\n" + MORE.replace("die()", "n"))
        for path in inside:
            assert notebook.card(f"%flujo show f0/{path}").status == "completed"
        if "made" in inside:
            assert notebook.api.frames["f0/made"].output.why == "of 2"
