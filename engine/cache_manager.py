"""What cached steps gave: looked up, kept, and made only once at a time.

Misses on one key run once: the first one leads, the others of its loop wait and take what it
gave. When a leader does not succeed, the next one leads. Whoever waits holds nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio import AbstractEventLoop, Future
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from .context import AppendValues, ContextChange, ContextUpdate, DeleteKey, SetValue
from .errors import ConfigurationError, ControlFlowError
from .outcomes import StepOutcome, Success
from .step_config import CacheBackend
from .unsaved import unsaved_in
from .usage import NO_METADATA
from .user_code import Raised, caught, caught_inline, is_cancelled
from .values import ATOMS, cloned


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a step gave, as a backend keeps it. Nobody else holds what is mutable in it."""

    output: object
    update: ContextUpdate | None = None
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)

    @property
    def is_atomic(self) -> bool:
        """Whether nothing in it can be changed."""
        return type(self.output) in ATOMS and self.update is None and self.metadata is NO_METADATA

    def copy(self) -> CacheEntry:
        """An entry of its own; raises what copying its values raises."""
        output, update, metadata = self.output, self.update, self.metadata
        if self.is_atomic:
            return self
        return CacheEntry(
            cloned(output),
            None if update is None else ContextUpdate(tuple(map(_own_change, update.changes))),
            {name: cloned(value) for name, value in metadata.items()} if metadata else NO_METADATA,
        )


def _own_change(change: ContextChange) -> ContextChange:
    match change:
        case SetValue(path, value):
            return SetValue(path, cloned(value))
        case AppendValues(path, values):
            return AppendValues(path, tuple(map(cloned, values)))
        case DeleteKey():
            return change


class MemoryCache:
    """Keeps values in memory: the ``max_entries`` that were used last, for ``ttl_s`` seconds each.

    ``clock`` tells the time in seconds.
    """

    def __init__(
        self,
        max_entries: int = 1024,
        ttl_s: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if max_entries < 1 or (ttl_s is not None and not ttl_s > 0):
            raise ConfigurationError(
                "a MemoryCache keeps one entry or more, for more than 0 seconds; found "
                f"max_entries={max_entries!r}, ttl_s={ttl_s!r}"
            )
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[object, float]] = OrderedDict()
        self.hits = 0
        """How often a value was found."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> object:
        """The value of ``key``, or ``None``."""
        kept = self._kept.pop(key, None)
        if kept is None or (self._ttl_s is not None and self._clock() >= kept[1] + self._ttl_s):
            return None
        self._kept[key] = kept  # now the newest
        self.hits += 1
        return kept[0]

    def set(self, key: str, value: object) -> None:
        """Keep ``value`` under ``key``."""
        self._kept.pop(key, None)
        self._kept[key] = value, self._clock()
        while len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


@dataclass(frozen=True, slots=True)
class Ran:
    """The step ran; ``not_cached_because`` says why what it gave was not kept, if it was to be."""

    outcome: StepOutcome
    not_cached_because: str | None = None


_Waiters: TypeAlias = dict[Future[CacheEntry | None], None]
"""Who waits for a leader; it tells them what there is now, or that another has to lead."""

_Run: TypeAlias = Callable[[], Awaitable[StepOutcome]]


class CacheManager:
    """Look up, store, single flight. Cores may share one, and it may outlive their loops."""

    def __init__(self, backend: CacheBackend | None = None) -> None:
        self.backend: CacheBackend = MemoryCache() if backend is None else backend
        # Loops do not wait for one another: one may be blocked until the other has ended.
        self._flights: dict[AbstractEventLoop, dict[tuple[int, str], _Waiters]] = {}

    def at_hand(self, backend: CacheBackend, key: str) -> CacheEntry | Raised | None:
        """What is kept in memory under ``key``: most hits, without the ceremony of `recall`."""
        entry = backend.get(key) if type(backend) is MemoryCache else None
        if not isinstance(entry, CacheEntry):
            return None
        if entry.is_atomic:
            return entry
        copied = _copied(entry)
        return None if isinstance(copied, _Trouble) else copied

    async def recall(self, backend: CacheBackend, key: str, run: _Run) -> CacheEntry | Ran | Raised:
        """What is kept under ``key``, or else what ``run()`` gives, which is kept if it succeeds.

        The entry belongs to whoever asks. A backend in trouble keeps nobody from running; an
        interrupt comes back as `Raised`.
        """
        place = (id(backend), key)
        loop = asyncio.get_running_loop()
        while (waiters := self._flights_of(loop).get(place)) is not None:
            waiter: Future[CacheEntry | None] = loop.create_future()
            waiters[waiter] = None
            landed = await caught(waiter)
            if isinstance(landed, Raised):
                waiters.pop(waiter, None)
                return landed
            if landed is not None:
                return await _handed_out(landed, run)
        flights = self._flights_of(loop)
        flights[place] = waiters = {}
        entry: CacheEntry | None = None
        try:
            found = await _got(backend, key)
            if isinstance(found, CacheEntry):
                entry = found
                return await _handed_out(entry, run)
            if isinstance(found, Raised):
                return found
            outcome = await run()
            if not isinstance(outcome, Success) or unsaved_in(outcome.output) is not None:
                return Ran(outcome)
            made = _copied(CacheEntry(outcome.output, outcome.update, outcome.metadata))
            if not isinstance(made, CacheEntry):
                return made if isinstance(made, Raised) else Ran(outcome, made.what)
            entry = made
            if found is None:
                found = await _set(backend, key, entry)
            if isinstance(found, Raised):
                return found
            return Ran(outcome, None if found is None else found.what)
        finally:
            del flights[place]
            if not flights:
                self._flights.pop(loop, None)
            for waiter in waiters:
                if not waiter.done() and not loop.is_closed():
                    waiter.set_result(entry)

    def _flights_of(self, loop: AbstractEventLoop) -> dict[tuple[int, str], _Waiters]:
        flights = self._flights.get(loop)
        if flights is None:
            for other in list(self._flights):
                if other.is_closed():  # with flights that will never land
                    self._flights.pop(other, None)
            flights = self._flights[loop] = {}
        return flights


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the cache was of no use."""

    what: str


async def _handed_out(entry: CacheEntry, run: _Run) -> CacheEntry | Ran | Raised:
    copied = _copied(entry)
    if isinstance(copied, _Trouble):
        return Ran(await run(), copied.what)
    return copied


def _copied(entry: CacheEntry) -> CacheEntry | _Trouble | Raised:
    copied = caught_inline(entry.copy)
    if not isinstance(copied, Raised) or _stops(copied.error):
        return copied
    return _Trouble(f"what it gave cannot be copied: {copied.error}")


async def _got(backend: CacheBackend, key: str) -> CacheEntry | _Trouble | Raised | None:
    answer: object = caught_inline(backend.get, key)
    if inspect.isawaitable(answer):
        answer = await caught(answer)
    if answer is None or isinstance(answer, CacheEntry):
        return answer
    if isinstance(answer, Raised):
        return _trouble_of(backend, "get", answer)
    return _Trouble(f"{type(backend).__name__}.get gave {type(answer).__name__}, no CacheEntry")


async def _set(backend: CacheBackend, key: str, entry: CacheEntry) -> _Trouble | Raised | None:
    answer: object = caught_inline(backend.set, key, entry)
    if inspect.isawaitable(answer):
        answer = await caught(answer)
    return _trouble_of(backend, "set", answer) if isinstance(answer, Raised) else None


def _trouble_of(backend: CacheBackend, what: str, raised: Raised) -> _Trouble | Raised:
    if _stops(raised.error):
        return raised
    return _Trouble(f"{type(backend).__name__}.{what} raised {raised.error!r}")


def _stops(error: BaseException) -> bool:
    """Whether ``error`` ends the run, whoever raised it."""
    return isinstance(error, KeyboardInterrupt | ControlFlowError) or is_cancelled(error)
