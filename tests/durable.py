"""Notebooks in a folder of their own, one kernel after the other, with the default store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
