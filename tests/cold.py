"""Cold mode: every run is kept in a store, and every frame that ended is read back from it.

With ``FLUJO_COLD=1`` the tests that run pipelines show whether a run depends on anything that is
only in memory. Tests that are about such things are marked ``warm`` with the reason; their number
is printed, and it may only fall.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest

from flujo_nb.engine.recorded_run import Persist
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.stored_journal import StoredJournal

IS_COLD = os.environ.get("FLUJO_COLD") == "1"


def chill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every runner a store, and every journal the way back from it."""
    make = Flujo.__init__

    @functools.wraps(make)
    def made(self: Flujo, *given: Any, **options: Any) -> None:
        if options.get("state_backend") is None:
            options |= {"state_backend": MemoryStore(), "persist": Persist.AUTO}
        make(self, *given, **options)

    monkeypatch.setattr(Flujo, "__init__", made)
    monkeypatch.setattr(StoredJournal, "cold", True)
