"""The connections of a store in sqlite: who writes when, what a fault does to a connection.

One connection writes, for one call at a time and in the order in which the calls came. While
another process holds the lock the call waits on its event loop and tries again, so nothing else
waits. After a fault of the file system the connection is closed; before the next use the file is
looked at again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TypeVar

from ..errors import StoreBusy, StoreError, StoreFailed, StoreRefused
from .faults import FAULTS, error_of, is_busy, lock_holder_of
from .schema import connect, open_file

T = TypeVar("T")
Bound = str | bytes | int | float | None
Work = Callable[[sqlite3.Connection], T]

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
LOOK_S = 1.0
"""How often, in seconds, a file that is written to is looked at: somebody may have removed it."""

_SLOW_S = 0.005


class _Locked(Exception):
    """Somebody else is writing: to be tried again."""


class Database:
    """The file of a store, opened by this process; a process forked from it cannot use it.

    ``durability`` and ``busy_timeout_s`` are those of `SqliteStore`.
    """

    _closed = True  # until there is something to close

    def __init__(self, path: Path, durability: str, busy_timeout_s: float) -> None:
        self.path = path
        self._durability = durability
        self._is_full = durability == "full"
        self._commit_s = 0.0  # what the last commit took, if it waited for the disk
        self._busy_timeout_s = busy_timeout_s
        self._process = os.getpid()
        self._mutex = threading.Lock()  # held while the writing connection is used
        self._waiting: deque[object] = deque()  # calls that write, in the order in which they came
        self._reader: sqlite3.Connection | None = None
        # A query that begins while another one runs would see no more than that one's moment.
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = open_file(path, durability, busy_timeout_s)
        self._inode = path.stat().st_ino
        self._look_again_s = 0.0
        self._closed = False

    def write_at_once(self, statement: str, values: tuple[Bound, ...]) -> int | None:
        """Execute one statement and commit it; how many rows it wrote.

        None, and nothing is done, when that would have to wait: then `write` is the way.
        """
        if (
            self._waiting
            or self._writer is None
            or self._commit_s > _SLOW_S
            or self._process != os.getpid()
            or time.monotonic() > self._look_again_s
            or not self._mutex.acquire(blocking=False)
        ):
            return None
        try:
            if not self._is_full:
                return self._writer.execute(statement, values).rowcount
            began = time.perf_counter()
            written = self._writer.execute(statement, values).rowcount
            self._commit_s = time.perf_counter() - began
            return written
        except FAULTS as fault:
            if is_busy(fault):
                return None
            raise self._failure(fault) from fault
        finally:
            self._mutex.release()

    async def write(self, work: Work[T], *, aside: bool = False) -> T:
        """Do ``work`` in one transaction; what it returns.

        On another thread if ``aside``, or when the disk is slow and other tasks could go on.
        Raises what ``work`` raises, then nothing was written, and `StoreBusy` and its like.
        """
        self._check()
        place = object()
        self._waiting.append(place)
        deadline = time.monotonic() + self._busy_timeout_s
        pause = _FIRST_PAUSE_S
        attempt = partial(self._attempt, work)
        try:
            while True:
                if self._waiting[0] is place:
                    try:
                        if aside or (self._commit_s > _SLOW_S and len(asyncio.all_tasks()) > 1):
                            return await _in_thread(attempt)
                        return attempt()
                    except _Locked:
                        pass
                if time.monotonic() >= deadline:
                    raise StoreBusy(
                        f"{self.path} has been locked for {self._busy_timeout_s} s, now by "
                        f"{lock_holder_of(self.path)}. Run again when that is done."
                    )
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        finally:
            self._waiting.remove(place)

    def read(self, statement: str, shape: Callable[..., T], *values: Bound) -> list[T]:
        """All rows of a query, of one moment, each as ``shape``; writers are not waited for."""
        self._check()
        try:
            with self._reading:
                if self._reader is None:
                    self._reader = connect(self.path, "mode=ro", self._busy_timeout_s)
                found = self._reader.execute(statement, values).fetchall()
        except FAULTS as fault:
            raise error_of(fault, self.path) from fault
        return list(starmap(shape, found))

    def is_synced(self) -> bool:
        """Bring all that was committed to the disk; whether that could be done."""
        with self._mutex:
            try:
                found = self._open().execute("pragma wal_checkpoint(full)").fetchone()
                return bool(found[0] == 0)
            except FAULTS as fault:
                raise self._failure(fault) from fault

    def __del__(self) -> None:
        self.close()  # a store that its last holder forgot to close

    def close(self) -> None:
        """Close all connections; closing again does nothing, nor does it in a forked process."""
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        with self._mutex, self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _attempt(self, work: Work[T]) -> T:
        self._check()
        if not self._mutex.acquire(blocking=False):
            raise _Locked
        try:
            writer = self._open()
            try:
                writer.execute("begin immediate")
                result = work(writer)
                began = time.perf_counter()
                writer.execute("commit")
                self._commit_s = time.perf_counter() - began if self._is_full else 0.0
            except BaseException:
                if writer.in_transaction:
                    writer.execute("rollback")
                raise
            return result
        except StoreBusy as busy:
            raise _Locked from busy
        except FAULTS as fault:
            if is_busy(fault):
                raise _Locked from fault
            raise self._failure(fault) from fault
        finally:
            self._mutex.release()

    def _open(self) -> sqlite3.Connection:
        """The connection that writes; a new one after a failure."""
        try:
            inode = self.path.stat().st_ino
        except OSError as error:
            raise StoreFailed(f"{self.path} is out of reach: {error}") from error
        if inode != self._inode:
            raise StoreFailed(
                f"{self.path} is no longer the file that was opened. Open the store again."
            )
        self._look_again_s = time.monotonic() + LOOK_S
        if self._writer is None:
            self._writer = open_file(self.path, self._durability, 0.0)
        return self._writer

    def _failure(self, fault: BaseException) -> StoreError:
        """The error of a fault; what may have broken the connection closes it."""
        error = error_of(fault, self.path)
        if isinstance(error, StoreFailed | StoreRefused) and self._writer is not None:
            self._writer.close()
            self._writer = None
        return error

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"The store {self.path} was closed. Open it again.")
        if self._process != os.getpid():
            raise StoreError(
                f"The store {self.path} was opened by process {self._process}, from which this one "
                "was forked. Open it again here."
            )


async def _in_thread(call: Callable[[], T]) -> T:
    """Call ``call`` on another thread; what it returns, even if that was to be cancelled.

    What a thread writes cannot be called back, so it is waited for, and a cancellation comes with
    the caller's next await.
    """
    future = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled = 0
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled += 1
    if cancelled and (task := asyncio.current_task()) is not None:
        for _ in range(cancelled):
            task.uncancel()
            task.cancel()
    return future.result()
