"""Notebooks in a folder of their own, one kernel after the other, with the default store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.notebook import Notebook, fresh_notebook

Open = Callable[..., AbstractContextManager[Notebook]]
"""Opens the notebook of that name (``None``: the front end names none) in a new kernel."""


def opener(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """What opens notebooks in ``folder``."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLUJO_STORE", "auto")

    @contextmanager
    def open_(name: str | None = "a.ipynb") -> Iterator[Notebook]:
        if name is None:
            monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        else:
            monkeypatch.setenv("JPY_SESSION_NAME", str(folder / name))
        with fresh_notebook() as notebook:
            yield notebook

    return open_


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was shown since the last time."""
    return capsys.readouterr().out


class Kernels:
    """A notebook that is left for a new kernel when a test says so, or that stays as it is.

    ``cells`` are what a kernel begins with; they keep what ran in a list called ``ran``.
    """

    def __init__(self, open_: Open, restarts: bool, cells: Sequence[str]) -> None:
        self.restarts = restarts
        self._open = open_
        self._cells = cells
        self.start()

    def start(self) -> None:
        """Open the notebook in a kernel, and run the cells that it begins with."""
        self._left = ExitStack()
        self.notebook: Notebook = self._left.enter_context(self._open())
        if not self.restarts:
            self.notebook.run("%config Flujo.store = None")
        for cell in self._cells:
            self.notebook.value(cell)

    def restart(self) -> Notebook:
        """The notebook in the next kernel; without a restart, in the same."""
        if self.restarts:
            self.close()
            self.start()
        self.ran()
        return self.notebook

    def ran(self) -> list[str]:
        """What has run since the last time."""
        done = self.notebook.shell.user_ns["ran"]
        found, done[:] = list(done), []
        return found

    def close(self) -> None:
        """Leave the kernel."""
        self._left.close()
