"""The one ordered stream of events of a run, and the hooks that listen to it.

With nobody listening a run has no stream, and its steps pay nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import UnionType
from typing import TypeAlias, TypedDict

from .errors import ConfigurationError, PipelineAbortSignal, StepInterrupted
from .outcomes import Chunk, FrameOutcome
from .path import FramePath
from .results import HookError, PipelineResult
from .sealed import draft_of
from .signatures import underlying
from .steps import Node
from .user_code import Raised, caught, caught_inline, is_cancelled

_log = logging.getLogger("flujo_nb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event tells: where it happened, its place in the order, and when.

    ``at_s`` is in seconds on the monotonic clock; ``sequence`` counts the run's events from 0.
    """

    run_id: str
    path: FramePath
    sequence: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run begins. The pipeline's name and version are those that its runner was given."""

    data: object
    pipeline_name: str | None = None
    pipeline_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStarted(Event):
    """A frame begins, at any depth."""

    step: Node
    data: object


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    """An attempt failed; another may follow."""

    attempt: int
    error: BaseException
    feedback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkArrived(Event):
    """A streaming step gave a piece of its output."""

    chunk: Chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFinished(Event):
    """A frame ended, well or not."""

    outcome: FrameOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRestored(Event):
    """A frame was not run: the run's journal holds how it ended."""

    outcome: FrameOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended, well or not."""

    result: PipelineResult


# The two events of every frame, by position.
_frame_started: Callable[[str, FramePath, int, float, Node, object], FrameStarted] = draft_of(
    FrameStarted
)
_frame_finished: Callable[[str, FramePath, int, float, FrameOutcome], FrameFinished] = draft_of(
    FrameFinished
)

AnyEvent: TypeAlias = (
    RunStarted
    | FrameStarted
    | AttemptFailed
    | ChunkArrived
    | FrameFinished
    | FrameRestored
    | RunFinished
)
_EVENTS: tuple[type[AnyEvent], ...] = typing.get_args(AnyEvent)

Listener: TypeAlias = Callable[..., object]
"""A function of one event, synchronous or async. Its annotation chooses the events it gets."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A listener with the events that its annotation names (all, when it names none)."""

    listener: Listener
    events: tuple[type[AnyEvent], ...]

    @property
    def may_wait(self) -> bool:
        """Whether the listener is async, and so may let other events happen meanwhile."""
        return inspect.iscoroutinefunction(underlying(self.listener))

    @classmethod
    def of(cls, listener: Listener) -> Hook:
        """Read the annotation of the listener's first parameter."""
        name = _hook_name(listener)
        try:
            parameters = list(inspect.signature(listener).parameters.values())
            hints = typing.get_type_hints(underlying(listener))
        except (NameError, TypeError) as error:
            raise ConfigurationError(f"hook {name}: {error}") from error
        if not parameters:
            raise ConfigurationError(f"hook {name} takes no parameter; it gets one, the event")
        hint = hints.get(parameters[0].name, Event)
        unions = (UnionType, typing.Union)
        wanted = typing.get_args(hint) if typing.get_origin(hint) in unions else (hint,)
        chosen = tuple(e for e in _EVENTS if any(_covers(one, e) for one in wanted))
        if not chosen:
            known = ", ".join(event.__name__ for event in _EVENTS)
            raise ConfigurationError(
                f"hook {name} is annotated with no event; flujo_nb has {known}"
            )
        return cls(listener, chosen)


def _covers(wanted: object, event: type[AnyEvent]) -> bool:
    anything = getattr(wanted, "__module__", "") == "typing"
    return anything or (isinstance(wanted, type) and issubclass(event, wanted))


def _hook_name(listener: Listener) -> str:
    name: str = getattr(listener, "__qualname__", type(listener).__qualname__)
    return name


class EventStream:
    """The events of one run, in order, given to its hooks as they happen.

    Hooks observe: what one raises is logged and kept in ``errors``, and the run goes on. Only
    `PipelineAbortSignal` has an effect: ``abort_message`` is set, and no further frame starts.
    """

    __slots__ = ("_hooks", "_lock", "_sequence", "abort_message", "errors", "run_id")
    _hooks: dict[type[AnyEvent], list[Hook]]

    def __init__(self, run_id: str, hooks: Sequence[Hook]) -> None:
        self.run_id = run_id
        self.errors: list[HookError] = []
        self.abort_message: str | None = None
        self._hooks = {kind: [hook for hook in hooks if kind in hook.events] for kind in _EVENTS}
        self._sequence = 0
        self._lock = asyncio.Lock() if any(hook.may_wait for hook in hooks) else None

    async def run_started(
        self, path: FramePath, data: object, name: str | None, version: str | None
    ) -> None:
        """Tell that the run begins with ``data``."""
        if self._is_heard(RunStarted):
            stamp = self._stamp(path)
            named = {"pipeline_name": name, "pipeline_version": version}
            await self._tell(RunStarted(**stamp, data=data, **named))

    async def frame_started(self, path: FramePath, step: Node, data: object) -> None:
        """Tell that the frame at ``path`` begins."""
        if self._is_heard(FrameStarted):
            at_s, sequence = monotonic(), self._next()
            await self._tell(_frame_started(self.run_id, path, sequence, at_s, step, data))

    async def attempt_failed(
        self, path: FramePath, attempt: int, error: BaseException, feedback: str
    ) -> None:
        """Tell that attempt number ``attempt`` of the frame at ``path`` failed."""
        if self._is_heard(AttemptFailed):
            stamp = self._stamp(path)
            event = AttemptFailed(**stamp, attempt=attempt, error=error, feedback=feedback)
            await self._tell(event)

    async def chunk_arrived(self, chunk: Chunk) -> None:
        """Tell that a streaming frame gave ``chunk``."""
        if self._is_heard(ChunkArrived):
            await self._tell(ChunkArrived(**self._stamp(chunk.path), chunk=chunk))

    async def frame_finished(self, path: FramePath, outcome: FrameOutcome) -> None:
        """Tell that the frame at ``path`` ended with ``outcome``."""
        if self._is_heard(FrameFinished):
            at_s, sequence = monotonic(), self._next()
            await self._tell(_frame_finished(self.run_id, path, sequence, at_s, outcome))

    async def frame_restored(self, path: FramePath, outcome: FrameOutcome) -> None:
        """Tell that the frame at ``path`` had ended with ``outcome`` before."""
        if self._is_heard(FrameRestored):
            await self._tell(FrameRestored(**self._stamp(path), outcome=outcome))

    async def run_finished(self, path: FramePath, result: PipelineResult) -> None:
        """Tell that the run ended with ``result``."""
        if self._is_heard(RunFinished):
            await self._tell(RunFinished(**self._stamp(path), result=result))

    def _is_heard(self, kind: type[AnyEvent]) -> bool:
        """Whether anybody listens; an event that nobody hears is counted, and not made."""
        if self._hooks[kind]:
            return True
        self._next()
        return False

    def _next(self) -> int:
        sequence = self._sequence
        self._sequence = sequence + 1
        return sequence

    def _stamp(self, path: FramePath) -> _Stamp:
        at_s, sequence = monotonic(), self._next()
        return {"run_id": self.run_id, "path": path, "sequence": sequence, "at_s": at_s}

    async def _tell(self, event: AnyEvent) -> None:
        """Call the hooks, one after the other; no event overtakes another that one waits for."""
        if self._lock is None:
            await self._tell_each(event)
        else:
            async with self._lock:  # first come, first served
                await self._tell_each(event)

    async def _tell_each(self, event: AnyEvent) -> None:
        for hook in self._hooks[type(event)]:
            given: object = caught_inline(hook.listener, event)
            if given is not None and inspect.isawaitable(given):
                given = await caught(given)
            if isinstance(given, Raised):
                self._take(given.error, _hook_name(hook.listener), type(event).__name__)

    def _take(self, error: BaseException, hook: str, event: str) -> None:
        """What follows from a hook's error: an abort, the end of an interrupted run, or a note."""
        if isinstance(error, PipelineAbortSignal):
            self.abort_message = str(error) or f"hook {hook}"
        elif isinstance(error, KeyboardInterrupt):
            raise StepInterrupted from error
        elif isinstance(error, StepInterrupted) or is_cancelled(error):
            raise error
        else:
            _log.warning("hook %s raised on %s: %r", hook, event, error)
            self.errors.append(HookError(hook, event, error))


class _Stamp(TypedDict):
    run_id: str
    path: FramePath
    sequence: int
    at_s: float
