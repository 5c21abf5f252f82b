"""What comes out of a frame: a closed union of values, matched with ``match``.

An outcome is also the record of its frame: a container keeps its children's outcomes, and step
results and path texts are made from them when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TypeAlias, TypedDict

from .context import ContextUpdate
from .path import FramePath, Segment
from .sealed import draft_of
from .step_config import JSONValue
from .steps import Node
from .usage import NO_METADATA, Usage


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What every outcome tells: which frame it ended, what that took and what ran inside.

    ``segments`` and ``index`` are the frame's own part of its path. A policy may leave all of
    this out; the invoker fills in what the frame knows. ``usage`` is the frame's own, without its
    children's. ``metadata`` are plain values for readers: a branch's key, why a loop ended.
    """

    step: Node | None = None
    segments: tuple[Segment, ...] = ()
    index: int | None = None
    attempts: int = 1
    latency_s: float = 0.0
    usage: Usage | None = None
    children: Sequence[StepOutcome] = ()
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)


class OutcomeFacts(TypedDict):
    """The fields of `Outcome`, for whoever makes one of several kinds of it."""

    step: Node | None
    segments: tuple[Segment, ...]
    index: int | None
    attempts: int
    latency_s: float
    usage: Usage | None
    children: Sequence[StepOutcome]
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Success(Outcome):
    """The frame finished; ``update`` is what it changed in its context."""

    output: object = None
    update: ContextUpdate | None = None


class FailureKind(Enum):
    """Why a frame failed (a row of the failure builder's table)."""

    ERROR = "error"
    TIMEOUT = "timeout"
    CONTEXT = "context"
    TYPE = "type"
    EXIT = "exit"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Failure(Outcome):
    """The frame failed. ``feedback`` is the cause in one line; nothing was changed.

    ``output`` is what it had made by then, where a reader may want to see it.
    """

    error: BaseException
    feedback: str
    kind: FailureKind = FailureKind.ERROR
    output: object = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Paused(Outcome):
    """The frame waits for a human.

    ``schema`` is the JSON schema of the answer that it waits for; ``None`` when any answer will do
    or when it is a frame inside that waits.
    """

    message: str
    schema: Mapping[str, JSONValue] | None = None


class AbortReason(Enum):
    """What ended a run before its end.

    ``HELD``: it must not go on, because what was recorded does not fit, or nothing can be recorded.
    """

    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    QUOTA = "quota"
    SIGNAL = "signal"
    HELD = "held"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Aborted(Outcome):
    """The run ends here: no retry, fallback or container takes this outcome for its own."""

    reason: AbortReason
    message: str
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BackgroundLaunched(Outcome):
    """The frame's work goes on behind the run; ``task_id`` is its path."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streaming step's output, as it arrived in that attempt."""

    data: object
    path: FramePath
    attempt: int = 1


OnChunk: TypeAlias = Callable[[Chunk], Awaitable[None] | None]
"""Who gets the chunks of streaming steps, as they arrive."""

FrameOutcome: TypeAlias = Success | Failure | Paused | Aborted | BackgroundLaunched
StepOutcome: TypeAlias = FrameOutcome | Chunk

make_success: Callable[
    [
        Node,
        tuple[Segment, ...],
        int | None,
        int,
        float,
        Usage | None,
        Sequence[StepOutcome],
        Mapping[str, object],
        object,
        ContextUpdate | None,
    ],
    Success,
] = draft_of(Success)
"""`Success` with all fields by position: the form for the hot path."""


class RunStatus(StrEnum):
    """How a run, or a frame, stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"


def status_of(outcome: FrameOutcome) -> RunStatus:
    """The status of a frame that ended with ``outcome``."""
    match outcome:
        case Success() | BackgroundLaunched():
            return RunStatus.COMPLETED
        case Failure():
            return RunStatus.FAILED
        case Paused():
            return RunStatus.PAUSED
        case Aborted(reason=AbortReason.INTERRUPTED):
            return RunStatus.INTERRUPTED
        case Aborted():
            return RunStatus.ABORTED
