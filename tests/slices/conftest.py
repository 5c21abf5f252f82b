"""Each suite of a kind of step runs with several implementations of it."""

from __future__ import annotations

import pytest

from tests.engine.conftest import wait
from tests.engine.fakes import Wait
from tests.slices.runs import Runs, registry_of

__all__ = ["wait"]


@pytest.fixture
def runs(policy: type | None, wait: Wait) -> Runs:
    """Runs with one implementation of the kind of step that the module is about."""
    return Runs(registry_of(*(() if policy is None else (policy,))), wait)
