"""Steps that the suites put inside of the step that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from flujo_nb.engine.decorators import step
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import Counts


@step
def add(data: int) -> int:
    return data + 1


@step
async def add_async(data: int) -> int:
    await asyncio.sleep(0)
    return data + 1


@step
def count(data: object, context: Counts) -> object:
    """Counts itself in the context, and notes its input there."""
    context.total += 1
    context.names.append(str(data))
    return data


@step
def note(data: object, context: Counts) -> object:
    """Notes its input in the context, in a way that any number of branches may."""
    context.names.append(str(data))
    return data


@step(estimate=UsageEstimate(tokens=2))
async def dear(data: Any) -> Metered:
    """Takes two tokens."""
    await asyncio.sleep(0)
    return Metered(data, Usage(500_000, 2, 1))


def tokens(limit: int) -> UsageLimits:
    return UsageLimits(total_tokens_limit=limit)


@step
async def say(data: object) -> AsyncIterator[str]:
    for end in "ab":
        yield f"{data}{end}"
        await asyncio.sleep(0)


@step
def interrupt(data: object) -> Any:
    raise KeyboardInterrupt


@step
async def endless(data: object) -> Any:
    await asyncio.sleep(60)


def fails(name: str = "fails", message: str = "no") -> Any:
    """A step that notes itself in the context and fails."""

    def work(data: object, context: Counts) -> Any:
        context.total += 100
        raise ValueError(message)

    return Step.from_callable(work, name=name)
