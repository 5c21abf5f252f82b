"""How a container ends when one of its children ended it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .errors import PolicyContractError
from .frame import AnyFrame
from .outcomes import Chunk, FrameOutcome, StepOutcome
from .usage import NO_METADATA

YIELD_EVERY = 64
"""After so many children a container lets the loop turn once.

Steps that never suspend would keep an interrupt, a widget or a sibling waiting for ever.
"""


def passed_on(
    outcome: StepOutcome,
    frame: AnyFrame,
    children: Sequence[StepOutcome],
    latency_s: float,
    metadata: Mapping[str, object] = NO_METADATA,
) -> FrameOutcome:
    """``outcome``, which a child of ``frame`` ended with, as that of ``frame`` itself."""
    if isinstance(outcome, Chunk):
        raise PolicyContractError(f"a frame cannot end with a Chunk (below {frame.path})")
    return replace(
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
