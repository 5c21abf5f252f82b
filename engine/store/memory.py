"""A store that keeps runs in memory: for tests, and where nothing can be kept on disk.

Every handle is a store of its own. Its owners live in one process, so a lease does not expire
here; whose owner is dead can be taken, as in every store.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..errors import NoSuchRun, RunExists, StoreError
from ..stores import Lease, Owner, Pruned, Row, RowKind, Source, StoredRun
from .owners import is_news, lease_lost, may_take, run_held, this_process
from .retention import RunForked, prune


@dataclass(slots=True)
class _Run:
    about: bytes
    source: Source | None
    created_at: float
    updated_at: float
    status: str = "running"
    fence: int | None = None
    owner: Owner | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    blobs: set[bytes] = field(default_factory=set)

    def is_free_for(self, taker: Owner) -> bool:
        return may_take(self.owner, math.inf, taker, 0.0)


class MemoryStore:
    """A `Store` in this process's memory; it is gone with the handle."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._fences = itertools.count(1)
        self._lock = threading.RLock()
        self._closed = False
        self._key = os.urandom(32)

    @property
    def key(self) -> bytes:
        """See `Store.key`."""
        return self._key

    @property
    def location(self) -> str:
        """Where the runs are kept, for humans."""
        return "memory"

    async def create(
        self, run_id: str, about: bytes, owner: Owner, source: Source | None = None
    ) -> Lease:
        """See `Store.create`."""
        with self._open():
            if run_id in self._runs:
                raise RunExists(f"There is a run {run_id!r} in {self.location} already.")
            if source is not None:
                self._find(source.run_id)
            now = time.time()
            run = self._runs[run_id] = _Run(about, source, now, now)
            return self._lend(run_id, run, owner)

    async def take(self, run_id: str, owner: Owner) -> Lease:
        """See `Store.take`."""
        with self._open():
            run = self._find(run_id)
            if not run.is_free_for(owner):
                raise run_held(run_id, run.owner)
            after_crash = run.owner is not None
            run.status = "running"
            run.updated_at = time.time()
            return replace(self._lend(run_id, run, owner), after_crash=after_crash)

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """See `Store.append`."""
        with self._open():
            run = self._held(lease)
            new = {row.seq: row for row in rows}
            if len(new) < len(rows) or not new.keys().isdisjoint(run.rows):
                raise StoreError(f"Run {lease.run_id!r} has rows of these numbers already.")
            run.rows.update(new)
            run.blobs.update(blobs)
            for digest, body in blobs.items():
                self._blobs.setdefault(digest, body)

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """See `Store.rest`."""
        with self._open():
            run = self._held(lease)
            if any(is_news(pause, run.answers, known) for pause in pauses):
                return dict(run.answers)
            run.owner = run.fence = None
            run.status = status
            run.updated_at = time.time()
            return {}

    async def answer(self, run_id: str, pause: str, body: bytes) -> bytes:
        """See `Store.answer`."""
        with self._open():
            run = self._find(run_id)
            run.updated_at = time.time()
            return run.answers.setdefault(pause, body)

    def run(self, run_id: str) -> StoredRun:
        """See `Store.run`."""
        with self._open():
            return self._told(run_id, self._find(run_id))

    def runs(self) -> Sequence[StoredRun]:
        """See `Store.runs`."""
        with self._open():
            return [self._told(run_id, run) for run_id, run in reversed(self._runs.items())]

    def rows(self, run_id: str, upto: int | None = None) -> Sequence[Row]:
        """See `Store.rows`."""
        with self._open():
            rows = sorted(self._find(run_id).rows.values())
            return rows if upto is None else [row for row in rows if row.seq <= upto]

    def answers(self, run_id: str) -> Mapping[str, bytes]:
        """See `Store.answers`."""
        with self._open():
            return dict(self._find(run_id).answers)

    def blob(self, digest: bytes) -> bytes:
        """See `Store.blob`."""
        with self._open():
            body = self._blobs.get(digest)
            if body is None:
                raise StoreError(f"There are no bytes of {digest.hex()} in {self.location}.")
            return body

    async def delete(self, run_id: str) -> int:
        """See `Store.delete`."""
        with self._open():
            run = self._find(run_id)
            if not run.is_free_for(this_process()):
                raise run_held(run_id, run.owner)
            for other, fork in self._runs.items():
                if fork.source is not None and fork.source.run_id == run_id:
                    raise RunForked(f"Run {other!r} was forked from {run_id!r}. Delete it first.")
            before = self._used()
            del self._runs[run_id]
            used = set[bytes]().union(*(other.blobs for other in self._runs.values()))
            for digest in run.blobs - used:
                del self._blobs[digest]
            return before - self._used()

    async def prune(self, *, older_than: float | None = None, down_to: int | None = None) -> Pruned:
        """See `Store.prune`; ``down_to`` counts the bytes of bodies, answers and blobs."""
        return await prune(self.runs(), self.delete, self._used, older_than, down_to)

    async def aclose(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._runs.clear()
            self._blobs.clear()

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StoreError(f"The store in {self.location} was closed.")
            yield

    def _find(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise NoSuchRun(f"There is no run {run_id!r} in {self.location}.")
        return run

    def _held(self, lease: Lease) -> _Run:
        run = self._runs.get(lease.run_id)
        if run is None or run.fence != lease.fence:
            raise lease_lost(lease, run.owner if run is not None else None)
        return run

    def _lend(self, run_id: str, run: _Run, owner: Owner) -> Lease:
        run.owner = owner
        run.fence = next(self._fences)
        return Lease(run_id, run.fence, owner)

    def _used(self) -> int:
        own = sum(_size(run) for run in self._runs.values())
        return own + sum(map(len, self._blobs.values()))

    def _told(self, run_id: str, run: _Run) -> StoredRun:
        rows = run.rows.values()
        used = [row for row in rows if row.kind != RowKind.STARTED]
        return StoredRun(
            run_id=run_id,
            status=run.status,
            created_at=run.created_at,
            updated_at=max([run.updated_at, *(row.at for row in rows)]),
            about=run.about,
            owner=run.owner,
            source=run.source,
            rows=len(rows),
            last_seq=max(run.rows, default=0),
            answered=len(run.answers),
            size=_size(run) + sum(len(self._blobs[digest]) for digest in run.blobs),
            cost_micros=sum(row.cost_micros for row in used),
            tokens=sum(row.tokens for row in used),
            requests=sum(row.requests for row in used),
        )


def _size(run: _Run) -> int:
    rows = sum(len(row.path) + len(row.body) for row in run.rows.values())
    return len(run.about) + rows + sum(map(len, run.answers.values()))
