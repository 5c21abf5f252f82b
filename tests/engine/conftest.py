"""How tests of the engine run coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.engine.fakes import Wait, settled

LIMIT_S = 3


@pytest.fixture
def wait() -> Wait:
    """Run a coroutine to its end on a loop of its own; it may leave no task behind."""

    async def whole(work: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(LIMIT_S):
            result = await work
        assert await settled() == set()
        return result

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return asyncio.run(whole(work))
        except KeyboardInterrupt:  # it would end pytest, as it would end a kernel
            pytest.fail("a KeyboardInterrupt left a task")

    return run
