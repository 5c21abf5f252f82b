"""Runs of cached steps, and what tells a hit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Wait

HIT = {"cache_hit": True}


def runs(wait: Wait, runner: Flujo, *inputs: Any) -> list[Any]:
    """The results of runs on these inputs, one after the other, all on one loop."""

    async def main() -> list[Any]:
        return [await runner.run_async(data) for data in inputs]

    found: list[Any] = wait(main())
    return found


def metadata_of(result: Any) -> dict[str, object]:
    return dict(result.step_history[-1].metadata)


def cached(function: Callable[..., Any], **options: Any) -> CacheStep[Any, Any]:
    keys = options.pop("context_keys", ())
    return Step.cached(Step.from_callable(function, **options), context_keys=keys)


class Client:
    pass


class Shelf:
    """A backend of a user's own."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def get(self, key: str) -> object:
        await asyncio.sleep(0)
        return self.kept.get(key)

    async def set(self, key: str, value: object) -> None:
        await asyncio.sleep(0)
        self.kept[key] = value
