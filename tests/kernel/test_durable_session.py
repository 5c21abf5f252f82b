"""Sessions whose kernel is killed: what the next one finds, and what it may go on with."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flujo_nb.engine.store.sqlite import SqliteStore
from tests.kernel.harness import Kernel

LOAD = "%load_ext flujo_nb"
ASKING = """\
from flujo_nb import Step, step

@step
def up(n: int) -> int:
    open('ups', 'a').write('up ')
    return n + 1

ask = Step.human_in_the_loop("ask", message_for_user="Publish?", input_schema=bool)
"""
TABLE = """\
%%flujo step table
def table():
    import pandas as pd
    return pd.DataFrame({'a': [1, 2], 'b': ['x', None]})
"""
ARRAY = """\
%%flujo step array
def array(table):
    import numpy as np
    return (np.arange(6).reshape(2, 3) + table['a'].sum()).astype('int16')
"""

WAIT = "import asyncio\n@step\nasync def wait(n: int) -> int:\n    {0}"

Start = Callable[[], Kernel]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a kernel for the same notebook; each is stopped in the end."""
    monkeypatch.setenv("FLUJO_STORE", "auto")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    kernels: list[Kernel] = []

    def one() -> Kernel:
        kernels.append(Kernel(tmp_path))
        return kernels[-1]

    yield one
    for kernel in kernels:
        kernel.stop()


def killed(kernel: Kernel) -> None:
    """End a kernel as a power switch would, and wait until it is gone."""
    cell = kernel.check("import os; print(os.getpid())")
    pid = int(cell.stdout)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while kernel.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_table_and_an_array_survive_the_death_of_the_kernel(start: Start) -> None:
    kernel = start()
    kernel.check(LOAD)
    assert "live only" not in (kernel.check(TABLE).result or "")
    kernel.check(ARRAY)
    killed(kernel)
    kernel = start()
    assert "with 2 frames" in "".join(kernel.check(LOAD).displays)
    kernel.check("%flujo back f0")
    assert "← f0.output" in (kernel.check(ARRAY).result or "")
    for frame in ("f1", "f2"):
        told = kernel.check(
            f"a = flujo.frames['{frame}'].output; print(a.dtype, a.shape, a.tolist())"
        )
        assert told.stdout.strip() == "int16 (2, 3) [[3, 4, 5], [6, 7, 8]]"
    told = kernel.check("t = flujo.frames['f0'].output; print(list(t.dtypes), t.to_dict('list'))")
    assert "int64" in told.stdout and "'a': [1, 2]" in told.stdout


def test_a_question_is_answered_after_the_kernel_was_killed_and_nothing_runs_twice(
    start: Start, tmp_path: Path
) -> None:
    kernel = start()
    kernel.check(LOAD)
    kernel.check(ASKING)
    error = kernel.run("%flujo run up >> ask >> up -i 1").error
    assert error is not None and "%flujo resume f0 --with" in error.text
    killed(kernel)
    kernel = start()
    kernel.check(LOAD)
    assert "run the cells that define them" in kernel.run("%flujo resume f0 --with True").stderr
    kernel.check(ASKING)
    assert "completed" in (kernel.check("%%flujo resume\ntrue").result or "")
    assert kernel.check("print(flujo.head.id, flujo.head.output)").stdout == "f1 2\n"
    assert (tmp_path / "ups").read_text() == "up up "


def test_a_cell_that_was_running_is_interrupted_and_can_be_gone_on_with(
    start: Start, tmp_path: Path
) -> None:
    kernel = start()
    kernel.check(LOAD)
    kernel.check(ASKING + WAIT.format("print('waits')\n    await asyncio.sleep(60)\n    return n"))
    pid = int(kernel.check("import os; print(os.getpid())").stdout)
    cell = kernel.start("%flujo run up >> wait -i 1")
    kernel.wait_for(cell, "waits")
    os.kill(pid, signal.SIGKILL)
    kernel = start()
    kernel.check(LOAD)
    assert "interrupted" in (kernel.check("%flujo frames").result or "")
    assert "inside     up     completed" in re.sub(
        r" {3,}", "     ", kernel.check("%flujo show f0").result or ""
    )
    kernel.check(ASKING + WAIT.format("return n * 10"))
    assert "completed" in (kernel.check("%flujo resume").result or "")
    assert kernel.check("print(flujo.head.output)").stdout == "20\n"
    assert (tmp_path / "ups").read_text() == "up "


def test_a_step_that_may_run_once_only_is_asked_about_when_its_kernel_was_killed(
    start: Start, tmp_path: Path
) -> None:
    pay = (
        "import asyncio\nfrom flujo_nb import step\n@step(at_most_once=True)\n"
        "async def pay(n: int) -> int:\n    open('paid', 'a').write('paid ')\n"
        "    print('waits')\n    await asyncio.sleep({0})\n    return n"
    )
    kernel = start()
    kernel.check(LOAD)
    kernel.check(pay.format(60))
    pid = int(kernel.check("import os; print(os.getpid())").stdout)
    kernel.wait_for(kernel.start("%flujo run pay -i 1"), "waits")
    os.kill(pid, signal.SIGKILL)
    kernel = start()
    kernel.check(LOAD)
    kernel.check(pay.format(0))
    error = kernel.run("%flujo resume f0").error
    assert error is not None and "may run once only" in error.text
    refused = kernel.run('%%flujo resume f1\n{"action": "perhaps"}')
    assert "action" in refused.stderr
    assert "completed" in (
        kernel.check('%%flujo resume f1\n{"action": "take", "value": 5}').result or ""
    )
    assert kernel.check("print(flujo.head.output)").stdout == "5\n"
    assert (tmp_path / "paid").read_text() == "paid "


def test_an_interrupted_run_is_gone_on_with_and_also_after_a_restart(
    start: Start, tmp_path: Path
) -> None:
    waiting = ASKING + WAIT.format("print('waits')\n    await asyncio.sleep(60)\n    return n")
    kernel = start()
    kernel.check(LOAD)
    kernel.check(waiting)
    for command, frame in (("run up >> wait -i 1", "f0"), ("resume f0", "f1")):
        cell = kernel.start(f"%flujo {command}")
        kernel.wait_for(cell, "waits")
        assert kernel.interrupted(cell) < 5
        assert f"kept: {frame} (interrupted)" in (cell.error.text if cell.error else "")
    kernel.stop()
    kernel = start()
    kernel.check(LOAD)
    kernel.check(ASKING + WAIT.format("return n * 10"))
    assert "completed" in (kernel.check("%flujo resume").result or "")
    assert kernel.check("print(flujo.head.id, flujo.head.output)").stdout == "f2 20\n"
    assert (tmp_path / "ups").read_text() == "up "


def test_a_kernel_that_is_shut_down_gives_its_session_back(start: Start, tmp_path: Path) -> None:
    kernel = start()
    kernel.check(LOAD)
    kernel.check(TABLE)
    began = time.monotonic()
    kernel._manager.shutdown_kernel(now=False)
    assert time.monotonic() - began < 5
    (run,) = SqliteStore(tmp_path / ".flujo" / "flujo.db").runs()
    assert (run.owner, run.status) == (None, "completed")
