"""Steps, policies and frames that several tests use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel

from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import AnyFrame, make_execution_frame
from flujo_nb.engine.outcomes import FrameOutcome
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.policy import ExecutorPort
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Node, Step

Wait: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""The fixture ``wait``."""


async def settled() -> set[asyncio.Task[Any]]:
    """The tasks beside the current one that are still there after some turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


class Box(Step[Any, Any]):
    """A kind of step of the tests' own; what runs it is up to each test."""


class BoxPolicy:
    """Runs a `Box` by calling a function."""

    handles = Box

    def __init__(self, run: Callable[[ExecutorPort, AnyFrame], Awaitable[Any]]) -> None:
        self._run = run

    async def execute(self, core: ExecutorPort, frame: AnyFrame) -> Any:
        return await self._run(core, frame)


def registry_with(*policies: object) -> PolicyRegistry:
    """The built-in policies and some more."""
    registry = built_in_policies()
    for policy in policies:
        registry.register(policy)
    return registry


def boxed(run: Callable[[ExecutorPort, AnyFrame], Awaitable[Any]]) -> PolicyRegistry:
    """A registry in which ``run`` runs every `Box`."""
    return registry_with(BoxPolicy(run))


async def outcome_of(node: Node, data: object = None, **frame: Any) -> FrameOutcome:
    """Run ``node`` on a core of its own, from a root frame."""
    registry = frame.pop("registry", None)
    return await ExecutorCore(registry).run_root(make_execution_frame(node, data, **frame))


def names_in(history: Sequence[Any]) -> list[str]:
    """The names of step results, in order."""
    return [result.name for result in history]


class Counts(BaseModel):
    """A context with a value of each simple shape."""

    total: int = 0
    names: list[str] = []
    by_kind: dict[str, int] = {}


class Log(BaseModel):
    """A context that holds a list of whatever."""

    items: list[Any] = []


def runner_of(node: Node, **options: Any) -> Flujo:
    """A runner with a `Counts` context unless another is given."""
    options.setdefault("context_model", Counts)
    return Flujo(node, **options)


@step
def echo(data: Any) -> Any:
    return data


@step
async def echo_async(data: Any) -> Any:
    return data


@step
def broken(data: Any) -> Any:
    raise ValueError(f"cannot use {data!r}")
