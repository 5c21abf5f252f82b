"""Commits the rows of one run: at once, or once for all that is noted in a turn of the loop.

A commit on the loop's own thread costs a tenth of one that goes through a writer thread, and the
loop has nothing else to do when nothing else is in flight. After a commit that failed nothing more
is written: what came after it would stand on what is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import time

from .errors import StoreError, StoreFailed
from .stores import Lease, Row, RowKind, Store
from .usage import FREE, Usage
from .user_code import Raised, caught


class RowWriter:
    """Rows that were noted, on their way into a store. Without a ``lease`` nothing is noted.

    ``seq`` is the number of the newest row.
    """

    __slots__ = (
        "_blobs",
        "_broken",
        "_flusher",
        "_pending",
        "_store",
        "_turn",
        "_waiting",
        "lease",
        "seq",
    )

    def __init__(self, store: Store, lease: Lease | None, seq: int) -> None:
        self.lease = lease
        self.seq = seq
        self._store = store
        self._pending: list[Row] = []
        self._blobs: dict[bytes, bytes] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # rows are written in their order
        self._broken: StoreError | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a commit failed."""
        return self._broken is not None

    def note(
        self,
        kind: RowKind,
        path: str,
        body: bytes = b"{}",
        *,
        name: str | None = None,
        status: str | None = None,
        usage: Usage = FREE,
        given: bytes | None = None,
        blobs: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Note a row for the next commit; ``given`` is the digest of its frame's input."""
        if self.lease is None:
            return
        row = Row(
            seq=self.seq + 1,
            path=path,
            kind=kind.value,
            name=name,
            status=status,
            definition=None,
            input=given,
            started=None,
            at=time(),
            cost_micros=usage.cost_micros,
            tokens=usage.tokens,
            requests=usage.requests,
            body=body,
        )
        self.add(row, blobs or {})

    def add(self, row: Row, blobs: Mapping[bytes, bytes]) -> None:
        """Note a whole row, whose number is the next one."""
        self.seq = row.seq
        self._pending.append(row)
        if blobs:
            self._blobs.update(blobs)

    async def commit(self, concurrent: bool = False) -> None:
        """Return when all that was noted is durable.

        With ``concurrent`` other frames of the run may note something in this turn of the loop.
        Raises `StoreError`; nothing that was noted since the last commit is acknowledged then.
        """
        if not concurrent and self._flusher is None:
            if self._pending:
                await self._write()
            return
        loop = asyncio.get_running_loop()
        if self._flusher is None:
            self._flusher = loop.create_task(self._flush())
        waiter = loop.create_future()
        self._waiting.append(waiter)
        await waiter

    async def _write(self) -> None:
        async with self._turn:
            if self._broken is not None:
                raise self._broken
            if not self._pending:
                return
            if self.lease is None:
                self._broken = StoreFailed("the run was left: nothing more of it is recorded")
                raise self._broken
            rows, self._pending = self._pending, []
            blobs, self._blobs = self._blobs, {}
            try:
                await self._store.append(self.lease, rows, blobs)
            except StoreError as error:
                self._broken = error
                raise
            except asyncio.CancelledError:
                # Nothing is written. Others wait for some of these rows too.
                self._pending[:0] = rows
                self._blobs = blobs | self._blobs
                raise

    async def _flush(self) -> None:
        """Write what this turn noted, and what is noted while that waits for the store."""
        written: Raised | None = None
        while written is None and (self._pending or self._waiting):
            waiting, self._waiting = self._waiting, []
            written = await caught(self._write())
            if written is not None:
                waiting += self._waiting
                self._waiting = []
            for one in waiting:
                if one.cancelled():
                    continue
                if written is None:
                    one.set_result(None)
                else:
                    one.set_exception(written.error)
        self._flusher = None
