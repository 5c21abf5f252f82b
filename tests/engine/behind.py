"""Steps in the background, and runs on a core that tests can ask about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flujo_nb.engine.background_task_manager import BackgroundTask
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import FrameOutcome
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import Node, Step


def behind(function: Callable[..., Any], **options: Any) -> Step[Any, Any]:
    """A step called ``job`` that works in the background."""
    config = StepConfig(execution_mode="background", **options)
    return Step.from_callable(function, name="job", config=config)


async def run(core: ExecutorCore, node: Node, data: Any = None, **frame: Any) -> FrameOutcome:
    """Run ``node`` as a runner does; the run is called ``r``, and keeps a journal."""
    facilities = core.facilities_of(node, frame.get("context"))
    given = {"run_id": "r", "journal": Journal(), "facilities": facilities, **frame}
    return await core.run_root(make_execution_frame(node, data, **given))


async def ended(core: ExecutorCore) -> BackgroundTask:
    """How the only task of the run ended."""
    await core.tasks.drain()
    (task,) = core.tasks.tasks_of("r")
    return task


async def napping(data: Any) -> Any:
    await asyncio.sleep(0.01)
    return data


async def endless(data: Any) -> None:
    await asyncio.Event().wait()


async def failing(data: Any) -> None:
    await asyncio.sleep(0)
    raise ValueError("no such row")
