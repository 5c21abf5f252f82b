"""A store in one sqlite file, which several processes may use at once.

One connection writes, in autocommit mode or in short transactions that never wait: while another
process holds the lock, the call waits on the event loop and tries again. Another connection
reads. Nothing is kept in memory that another process could change, the numbers of the runs whose
leases are held apart. Fences are drawn from one counter, so that no two leases of a store ever
have the same.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from ..errors import NoSuchRun, RunExists, StoreError, StoreFailed
from ..stores import Lease, Owner, Pruned, Row, Source, StoredRun
from . import statements as sql
from .database import Database
from .housekeeping import Housekeeper
from .owners import is_news, lease_lost, may_take, run_held, this_process
from .retention import RunForked, prune

_LOOK_EVERY = 1024  # rows of a run between two looks at the log's size


class SqliteStore:
    """A `Store` in the file ``path``, which is made when it is missing.

    ``durability`` is what an acknowledged row survives: ``normal`` the death of the process,
    ``full`` the loss of power too. A lock of another process is waited for up to
    ``busy_timeout_s`` seconds; a lease lasts ``lease_s`` seconds after it was last renewed.
    Raises `StoreRefused`, `StoreFailed` and `StoreBusy`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Literal["normal", "full"] = "full",
        busy_timeout_s: float = 5.0,
        lease_s: float = 60.0,
    ) -> None:
        self._path = Path(path).expanduser().absolute()
        self._lease_s = lease_s
        self._database = Database(self._path, durability, busy_timeout_s)
        self._housekeeper = Housekeeper(self._path, lease_s)

    @property
    def location(self) -> str:
        """Where the runs are kept, for humans."""
        return str(self._path)

    @property
    def key(self) -> bytes:
        """See `Store.key`."""
        [key] = self._database.read(sql.KEY, bytes)
        return key

    async def create(
        self, run_id: str, about: bytes, owner: Owner, source: Source | None = None
    ) -> Lease:
        """See `Store.create`."""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            if connection.execute(sql.RUN_NUMBER, (run_id,)).fetchone() is not None:
                raise RunExists(f"There is a run {run_id!r} in {self._path} already.")
            base = self._number(connection, source.run_id) if source is not None else None
            upto = source.upto if source is not None else None
            now = time.time()
            values = (run_id, now, now, about, base, upto)
            number = connection.execute(sql.NEW_RUN, values).lastrowid
            if number is None:
                raise StoreError(f"{self._path} gave no number to run {run_id!r}.")
            return number, self._lend(connection, number, owner)

        return self._hold(run_id, owner, *await self._database.write(work))

    async def take(self, run_id: str, owner: Owner) -> Lease:
        """See `Store.take`."""

        def work(connection: sqlite3.Connection) -> tuple[int, int, bool]:
            found = connection.execute(sql.OWNER_OF, (run_id,)).fetchone()
            if found is None:
                raise self._no_such_run(run_id)
            number, owner_text, expires = found
            holder = sql.owner_of(owner_text)
            if not may_take(holder, expires, owner, time.time()):
                raise run_held(run_id, holder)
            return number, self._lend(connection, number, owner), holder is not None

        number, fence, after_crash = await self._database.write(work)
        return replace(self._hold(run_id, owner, number, fence), after_crash=after_crash)

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """See `Store.append`."""
        number = self._housekeeper.number_of(lease.fence)
        done: int | None = None
        try:
            if number is not None and len(rows) in sql.APPEND_FEW and not blobs:
                # Nearly always: one statement, which commits itself.
                values = (number, lease.fence, *chain.from_iterable(rows))
                done = self._database.write_at_once(sql.APPEND_FEW[len(rows)], values)
            if not done:  # it would have to wait, or the lease is lost
                await self._database.write(partial(self._append, lease, rows, blobs))
        except StoreFailed:
            if not self._is_written(lease, rows):
                raise
        if len(rows) not in sql.APPEND_FEW or blobs or rows[-1].seq % _LOOK_EVERY < len(rows):
            self._housekeeper.look_at_log()

    def _append(
        self,
        lease: Lease,
        rows: Sequence[Row],
        blobs: Mapping[bytes, bytes],
        connection: sqlite3.Connection,
    ) -> None:
        number = self._held(connection, lease)
        connection.executemany(sql.APPEND, [(number, *row, lease.fence) for row in rows])
        connection.executemany(sql.ADD_BLOB, blobs.items())
        connection.executemany(sql.USE_BLOB, [(number, digest) for digest in blobs])

    def _is_written(self, lease: Lease, rows: Sequence[Row]) -> bool:
        """Whether a commit that failed is there nevertheless, and on the disk."""
        try:
            found = self.rows(lease.run_id, upto=rows[-1].seq)[-len(rows) :] if rows else []
            return bool(found) and found == list(rows) and self._database.is_synced()
        except StoreError:
            return False

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """See `Store.rest`."""

        def work(connection: sqlite3.Connection) -> Mapping[str, bytes]:
            number = self._held(connection, lease)
            answers: dict[str, bytes] = dict(connection.execute(sql.ANSWERS, (number,)).fetchall())
            if any(is_news(pause, answers, known) for pause in pauses):
                return answers
            connection.execute(sql.REST, (status, time.time(), number))
            return {}

        answers = await self._database.write(work)
        if not answers:
            self._housekeeper.let_go(lease.fence)
        self._housekeeper.look_at_log()
        return answers

    async def answer(self, run_id: str, pause: str, body: bytes) -> bytes:
        """See `Store.answer`."""

        def work(connection: sqlite3.Connection) -> bytes:
            number = self._number(connection, run_id)
            now = time.time()
            connection.execute(sql.ADD_ANSWER, (number, pause, body, now))
            connection.execute(sql.TOUCH, (now, number))
            held: bytes
            [held] = connection.execute(sql.ANSWER, (number, pause)).fetchone()
            return held

        return await self._database.write(work)

    def run(self, run_id: str) -> StoredRun:
        """See `Store.run`."""
        found = self._database.read(sql.TOLD_RUN, sql.told, run_id)
        if not found:
            raise self._no_such_run(run_id)
        return found[0]

    def runs(self) -> Sequence[StoredRun]:
        """See `Store.runs`."""
        return self._database.read(sql.TOLD_RUNS, sql.told)

    def rows(self, run_id: str, upto: int | None = None) -> Sequence[Row]:
        """See `Store.rows`."""
        found = self._database.read(sql.ROWS, Row, run_id, sql.LAST_SEQ if upto is None else upto)
        if not found:
            raise self._no_such_run(run_id)
        return found if found[0] != sql.NO_ROW else []

    def answers(self, run_id: str) -> Mapping[str, bytes]:
        """See `Store.answers`."""
        found = self._database.read(sql.RUN_ANSWERS, sql.pair, run_id)
        if not found:
            raise self._no_such_run(run_id)
        return {pause: body for pause, body in found if pause is not None}

    def blob(self, digest: bytes) -> bytes:
        """See `Store.blob`."""
        found = self._database.read(sql.BLOB, bytes, digest)
        if not found:
            raise StoreError(f"There are no bytes of {digest.hex()} in {self._path}.")
        return found[0]

    async def delete(self, run_id: str) -> int:
        """See `Store.delete`; the file shrinks by what this freed."""
        freed = await self._remove(run_id)
        await self._shrink()
        return freed

    async def prune(self, *, older_than: float | None = None, down_to: int | None = None) -> Pruned:
        """See `Store.prune`; ``down_to`` counts the file's pages that are in use."""
        pruned = await prune(self.runs(), self._remove, self._used, older_than, down_to)
        await self._shrink()
        return pruned

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._housekeeper.close()
        self._database.close()

    async def _remove(self, run_id: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            found = connection.execute(sql.OWNER_OF, (run_id,)).fetchone()
            if found is None:
                raise self._no_such_run(run_id)
            number, owner, expires = found
            holder = sql.owner_of(owner)
            if not may_take(holder, expires, this_process(), time.time()):
                raise run_held(run_id, holder)
            fork = connection.execute(sql.FORK_OF, (number,)).fetchone()
            if fork is not None:
                raise RunForked(f"Run {fork[0]!r} was forked from {run_id!r}. Delete it first.")
            [before] = connection.execute(sql.USED).fetchone()
            for statement in sql.DROP:
                connection.execute(statement, (number,))
            [after] = connection.execute(sql.USED).fetchone()
            return int(before - after)

        return await self._database.write(work, aside=True)

    async def _shrink(self) -> None:
        """Give the free pages back to the file system, some at a time."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(sql.SHRINK).fetchall()
            return int(connection.execute(sql.FREE_PAGES).fetchone()[0])

        before, free = -1, await self._database.write(work, aside=True)
        while free not in (0, before):
            before, free = free, await self._database.write(work, aside=True)
        await asyncio.to_thread(self._housekeeper.cut_log)

    def _used(self) -> int:
        [used] = self._database.read(sql.USED, int)
        return used

    def _hold(self, run_id: str, owner: Owner, number: int, fence: int) -> Lease:
        self._housekeeper.hold(fence, number)
        return Lease(run_id, fence, owner)

    def _lend(self, connection: sqlite3.Connection, number: int, owner: Owner) -> int:
        """Make ``owner`` that of a run; the fence of its lease."""
        connection.execute(sql.NEXT_FENCE)
        fence: int
        [fence] = connection.execute(sql.FENCE).fetchone()
        now = time.time()
        values = (fence, sql.owner_text(owner), now + self._lease_s, now, number)
        connection.execute(sql.LEND, values)
        return fence

    def _held(self, connection: sqlite3.Connection, lease: Lease) -> int:
        """The number of the run that ``lease`` is still good for. Raises `LeaseLost`."""
        found = connection.execute(sql.HELD, (lease.run_id, lease.fence)).fetchone()
        if found is None:
            owner = connection.execute(sql.OWNER_OF, (lease.run_id,)).fetchone()
            raise lease_lost(lease, sql.owner_of(owner[1]) if owner is not None else None)
        return int(found[0])

    def _number(self, connection: sqlite3.Connection, run_id: str) -> int:
        found = connection.execute(sql.RUN_NUMBER, (run_id,)).fetchone()
        if found is None:
            raise self._no_such_run(run_id)
        return int(found[0])

    def _no_such_run(self, run_id: str) -> NoSuchRun:
        return NoSuchRun(f"There is no run {run_id!r} in {self._path}.")
