"""Which step does the work of one that has failed. It decides and holds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import ConfigurationError, InfiniteFallbackError, InfiniteRedirectError
from .frame import AnyFrame
from .outcomes import Failure, FrameOutcome
from .path import SegmentKind
from .steps import AnyStep, Node, name_of
from .usage import Usage

MAX_FALLBACKS = 10
"""How many steps may, one after the other, stand in for a step and for each other."""

_NOT_FOR_FALLBACKS = (ConfigurationError, InfiniteFallbackError, InfiniteRedirectError)
"""Errors of the declaration: another step would only hide them."""


@dataclass(frozen=True, slots=True)
class Use:
    """``step`` works on the input; it is number ``depth`` of its chain."""

    step: AnyStep
    depth: int


@dataclass(frozen=True, slots=True)
class NoFallback:
    """The failure stands; or ``error`` stands in its place, because fallbacks do not end."""

    error: InfiniteFallbackError | None = None


FallbackDecision: TypeAlias = Use | NoFallback


@dataclass(frozen=True, slots=True)
class FellBack:
    """What a step had come to when its fallback took over, as the run's journal notes it."""

    depth: int
    feedback: str
    attempts: int
    usage: Usage | None


class FallbackHandler:
    """Decides what follows when a step has failed for good."""

    def decide_fallback(
        self, frame: AnyFrame, step: AnyStep, ended: FrameOutcome
    ) -> FallbackDecision:
        """What follows when ``frame``, which is ``step``'s, ended so."""
        fallback = step.fallback_step
        if (
            fallback is None
            or step.once
            or not isinstance(ended, Failure)
            or isinstance(ended.error, _NOT_FOR_FALLBACKS)
        ):
            return NoFallback()
        failed = _chain_of(frame)
        if any(one is fallback for one in failed):
            problem = f"leads back to {fallback.name!r}, which has failed already"
        elif len(failed) > MAX_FALLBACKS:
            problem = f"would be number {len(failed)} in a row, and {MAX_FALLBACKS} may be"
        else:
            return Use(fallback, len(failed))
        chain = " -> ".join(map(name_of, reversed(failed)))
        return NoFallback(
            InfiniteFallbackError(
                f"the fallback of {step.name!r} {problem} ({chain}); it failed with "
                f"{ended.feedback}"
            )
        )


def _chain_of(frame: AnyFrame) -> list[Node]:
    """The steps that have failed: the frame's own, the one it stands in for, and so on."""
    chain = [frame.step]
    while (
        frame.parent is not None
        and frame.segments
        and frame.segments[-1].kind is SegmentKind.FALLBACK
    ):
        frame = frame.parent
        chain.append(frame.step)
    return chain
