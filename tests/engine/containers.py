"""Every kind of container around one child, for what is to hold of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import branch_on, dynamic_parallel_branch, loop_until, map_over, parallel
from flujo_nb.engine.step_kinds import CacheStep, ImportStep
from flujo_nb.engine.steps import AnyStep, Node, Step
from tests.engine.fakes import echo_async


@dataclass(frozen=True)
class Kind:
    """One kind of container.

    ``around(child, name)`` makes one. Its child gets ``x`` when it gets ``feed(x)``; it gives
    ``gives(its input, what the child gave)``.
    """

    around: Callable[[Node, str], AnyStep]
    feed: Callable[[Any], Any] = lambda wanted: wanted
    gives: Callable[[Any, Any], Any] = lambda given, made: made


def _with_flat_sibling(child: Node, name: str, **options: Any) -> AnyStep:
    return parallel(name, {"deep": child, "flat": echo_async}, **options)


def _both(given: Any, made: Any) -> Any:
    return {"deep": made, "flat": given}


def _inherited(child: Node, name: str) -> AnyStep:
    return ImportStep(name=name, pipeline=child, inherit_context=True, updates_context=True)


def _cached(child: Node, name: str) -> AnyStep:
    wrapped = child if isinstance(child, Step) else _inherited(child, f"{name}_pipeline")
    return CacheStep(name=name, wrapped_step=wrapped)


KINDS = {
    "loop": Kind(lambda child, name: loop_until(name, child, lambda _: True)),
    "map": Kind(
        lambda child, name: map_over(name, child), lambda wanted: [wanted], lambda _, made: [made]
    ),
    "parallel": Kind(_with_flat_sibling, gives=_both),
    "parallel, one at a time": Kind(
        lambda child, name: _with_flat_sibling(child, name, max_concurrency=1), gives=_both
    ),
    "conditional": Kind(lambda child, name: branch_on(name, lambda _: "deep", {"deep": child})),
    "router": Kind(
        lambda child, name: dynamic_parallel_branch(name, lambda _: "deep", {"deep": child}),
        gives=lambda _, made: {"deep": made},
    ),
    "import": Kind(_inherited),
    "cached": Kind(_cached),
}


def nested(kinds: Sequence[Kind], child: Node, depth: int) -> Node:
    """``child`` in ``depth`` containers; ``kinds`` in turn, the first one outermost."""
    for level in reversed(range(depth)):
        child = kinds[level % len(kinds)].around(child, f"c{level}")
    return child


def fed(kinds: Sequence[Kind], wanted: Any, depth: int) -> Any:
    """What `nested` containers are given, so that the innermost child gets ``wanted``."""
    for level in reversed(range(depth)):
        wanted = kinds[level % len(kinds)].feed(wanted)
    return wanted


def given_back(kinds: Sequence[Kind], wanted: Any, made: Any, depth: int) -> Any:
    """What `nested` containers give when the innermost child got ``wanted`` and gave ``made``."""
    for level in reversed(range(depth)):
        wanted = kinds[level % len(kinds)].feed(wanted)
        made = kinds[level % len(kinds)].gives(wanted, made)
    return made


def napping(log: list[str], name: str = "naps") -> AnyStep:
    """A step that sleeps for longer than a test may take, and needs time to clean up."""

    async def nap(data: object) -> None:
        log.append("began")
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.005)
            log.append("cleaned up")

    return Step.from_callable(nap, name=name)


@step
async def failing_late(data: object) -> None:
    await asyncio.sleep(0.002)
    raise ValueError("late")
