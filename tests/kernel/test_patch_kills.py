"""A patched frame whose kernel is killed at one write of its store after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.durable import opener
from tests.patched import STEPS

KILLED = """\
import os
import signal
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.notebook import fresh_notebook
from tests.patched import STEPS

with fresh_notebook() as notebook:
    notebook.value(STEPS)
    notebook.value("%flujo session --context Ctx")
    notebook.value("%flujo run up >> loop >> two -i 1")
    append, left = SqliteStore.append, [{left}]

    async def killing(self, lease, rows, blobs):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        await append(self, lease, rows, blobs)

    SqliteStore.append = killing
    notebook.value({cell!r})
"""


@pytest.mark.parametrize(
    ("frame", "changes", "output", "ran"),
    [
        ("f0", {"output": 5}, 5, []),
        ("f0/loop", {"data": 4}, 44, ["up 4", "two 5", "up 10", "two 11", "two 22"]),
        ("f0/loop/[1]/up", {"output": 20}, 80, ["two 20", "two 40"]),
    ],
    ids=str,
)
def test_a_patch_outlives_the_death_of_the_kernel_at_each_write(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frame: str,
    changes: dict[str, object],
    output: int,
    ran: list[str],
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    root, name = Path(__file__).parents[2], str(tmp_path / "a.ipynb")
    env = {**os.environ, "PYTHONPATH": str(root), "JPY_SESSION_NAME": name}
    cell = f"%%flujo patch {frame}\n{json.dumps(changes)}"
    for left in range(20):
        for path in tmp_path.rglob("flujo.db*"):
            path.unlink()
        code = KILLED.format(left=left, cell=cell)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
        with open_() as notebook:
            notebook.value(STEPS)
            known = len(notebook.session.entries)
            assert known == 1 + (left > 0)
            if left == 0:
                card = notebook.card(cell)
            elif notebook.session.entries[1].succeeded:
                card = notebook.card("%flujo show f1")
            else:
                card = notebook.card("%flujo resume f1")
            assert card.output == output
            went_on = list(notebook.shell.user_ns["ran"])
            assert went_on == (ran[-len(went_on) :] if went_on else [])
            assert "all is as recorded" in repr(notebook.view(f"%flujo replay {card.id}"))
        if done.returncode == 0:
            return
        assert done.returncode == -signal.SIGKILL
    pytest.fail("the run did not come to its end")
