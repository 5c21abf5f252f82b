"""Interrupted while the store writes: each write of a run and of an answer, without a kernel."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from flujo_nb import interrupts
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.durable import opener
from tests.notebook import Notebook

STEPS = """\
import threading
from flujo_nb import Step, step
ran = []

@step
def count(x):
    ran.append(x)
    return x

@step
def live(x):
    ran.append("live")
    return threading.Lock()

@step
def locked(x):
    return x is not None

ask = Step.human_in_the_loop("ask", "Go?")
"""


class Presses:
    """Interrupts the process at one write of the store."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for name in ("append", "answer"):
            patch.setattr(SqliteStore, name, self._pressed(getattr(SqliteStore, name)))
        patch.setattr(interrupts, "POSTPONED", 0.0)  # one that came too late is for no other run

    def _pressed(self, plain: Callable[..., Awaitable[object]]) -> Callable[..., object]:
        async def write(*given: object) -> object:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0.05)
            return await plain(*given)

        return write


@pytest.fixture
def presses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Presses]:
    yield Presses(monkeypatch)
    assert not interrupts._postponed.is_due()  # it is forgotten by that: the next test has none


def told(notebook: Notebook) -> list[tuple[str, str]]:
    """The frames, as the kernel knows them."""
    return [(one.id, one.status.value) for one in notebook.session.entries]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_frame_is_recorded_whichever_write_it_was(
    presses: Presses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    with open_() as notebook:
        notebook.run(STEPS)
        notebook.card("%flujo run count -i 1")
        presses.left = number
        result = notebook.run("%flujo run count -i 2")
        status = "completed" if number == 3 else "interrupted"
        assert (result.error_in_exec is None) == (number == 3)
        assert told(notebook) == [("f0", "completed"), ("f1", status)]
        assert notebook.api.head is not None
        assert notebook.api.head.output == (2 if number == 3 else 1)
    with open_() as notebook:
        assert told(notebook) == [("f0", "completed"), ("f1", status)]
        notebook.run(STEPS)
        if number < 3:
            assert notebook.card("%flujo resume").output == 2


@pytest.mark.parametrize("number", range(1, 6))
def test_an_answer_is_gone_on_with_whichever_write_it_was(
    presses: Presses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with opener(tmp_path, monkeypatch)() as notebook:
        notebook.run(STEPS)
        notebook.run("%flujo run count >> ask >> count -i 1")
        presses.left = number
        notebook.error("%flujo resume --with 5")
        assert notebook.session.entries[0].status is RunStatus.PAUSED
        again = notebook.run("%flujo resume --with 5" if number == 1 else "%flujo resume")
        assert again.success
        assert notebook.api.head is not None
        assert notebook.api.head.output == 5
        assert notebook.shell.user_ns["ran"] == [1, 5]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_value_that_is_gone_is_made_again_whichever_write_it_was(
    presses: Presses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    fails = "@step\ndef locked(x):\n    raise ValueError"
    with open_() as notebook:
        notebook.run(f"{STEPS}\n{fails}")
        notebook.error("%flujo run live >> locked -i 1")
    with open_() as notebook:
        notebook.run(STEPS)
        presses.left = number
        first = notebook.run("%flujo resume")
        if not first.success:
            assert told(notebook) == [("f0", "failed"), ("f1", "interrupted")]
            assert notebook.card("%flujo resume").output is True
        assert [status for _, status in told(notebook)].count("completed") == 1
