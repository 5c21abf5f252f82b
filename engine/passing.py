"""How a container ends when one of its children ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

from .errors import PolicyContractError
from .frame import AnyFrame
from .outcomes import Chunk, Failure, FrameOutcome, Outcome, Paused, StepOutcome
from .policy import Call, ExecutorPort
from .run import Run
from .usage import NO_METADATA
from .user_code import Raised, caught

YIELD_EVERY = 64
"""After so many children, in whatever containers of a run, one lets the loop turn (`turn`).

Steps that never suspend would keep an interrupt, a widget or a sibling waiting for ever.
"""


async def turn(run: Run) -> Raised | None:
    """Let the loop turn once; the cancellation of the container when it comes then."""
    run.busy = 0
    return await caught(asyncio.sleep(0))


OutcomeT = TypeVar("OutcomeT", bound=Outcome)


async def gone_past(core: ExecutorPort, child: AnyFrame, call: Call) -> StepOutcome:
    """Run ``child``; if it fails, note that its parent goes on without it."""
    outcome = await call(child)
    if isinstance(outcome, Failure):
        core.go_past(child)
    return outcome


def ended(outcome: StepOutcome) -> FrameOutcome:
    """``outcome`` as the end of a child, which a chunk is not."""
    if isinstance(outcome, Chunk):
        raise PolicyContractError(f"a frame cannot end with a Chunk (at {outcome.path})")
    return outcome


def passed_on(
    outcome: OutcomeT,
    frame: AnyFrame,
    children: Sequence[StepOutcome],
    latency_s: float,
    metadata: Mapping[str, object] = NO_METADATA,
) -> OutcomeT:
    """``outcome``, which a child of ``frame`` ended with, as that of ``frame`` itself."""
    passed = replace(
        outcome,
        step=frame.step,
        segments=frame.segments,
        index=frame.index,
        attempts=1,
        latency_s=latency_s,
        usage=None,
        children=children,
        metadata=metadata,
    )
    if isinstance(passed, Paused):
        return replace(passed, schema=None)  # it is the child that asks
    return passed


def failed(
    core: ExecutorPort,
    frame: AnyFrame,
    started: float,
    error: BaseException,
    children: Sequence[StepOutcome] = (),
) -> StepOutcome:
    """The outcome of ``frame``, begun at ``started``, when ``error`` ended it."""
    latency = perf_counter() - started
    return core.failures.build(frame, error, latency_s=latency, children=children)
