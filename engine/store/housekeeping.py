"""What a store on disk does beside its steps: it renews leases and empties the write-ahead log.

Both are done by a thread with a connection of its own, because an event loop may be held by a
step for longer than a lease lasts, and no step shall wait for a check-point.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from .faults import FAULTS
from .schema import connect
from .statements import RENEW

LOG_LIMIT = 16 << 20  # bytes of the log from which on it is emptied as soon as nobody writes
_LOG_BOUND = 64 << 20  # bytes from which on it is emptied in any case
_WAIT_S = 1.0
_JOIN_S = 2.0


class Housekeeper:
    """Knows which leases a store holds; its thread lives while there are any, or work is left."""

    def __init__(self, path: Path, lease_s: float) -> None:
        self._path = path
        self._log = Path(f"{path}-wal")
        self._lease_s = lease_s
        self._numbers: dict[int, int] = {}  # by fence
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def number_of(self, fence: int) -> int | None:
        """The number of the run whose lease has ``fence``, if this store holds that."""
        return self._numbers.get(fence)

    def hold(self, fence: int, number: int) -> None:
        """Renew the lease from now on."""
        with self._lock:
            self._numbers[fence] = number
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"flujo store {self._path.name}", daemon=True
                )
                self._thread.start()

    def let_go(self, fence: int) -> None:
        """Renew it no more."""
        self._numbers.pop(fence, None)

    def look_at_log(self) -> None:
        """Have the log emptied when it has grown large."""
        if self._log_is_large():
            self._wake.set()

    def cut_log(self) -> None:
        """Empty the log at once, so that the file shrinks, unless somebody is in the way."""
        with contextlib.suppress(*FAULTS), closing(connect(self._path, "mode=rw", _WAIT_S)) as one:
            _copy_log(one)
            _cut_log(one)

    def close(self) -> None:
        """End the thread; what it does just now is waited for, a little."""
        with self._lock:
            self._closed = True
            self._numbers.clear()
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_JOIN_S)

    def _log_is_large(self, limit: int = LOG_LIMIT) -> bool:
        try:
            return self._log.stat().st_size >= limit
        except OSError:
            return False

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            due = time.monotonic() + self._lease_s / 3
            while not self._is_over():
                self._wake.wait(max(0.0, due - time.monotonic()))
                self._wake.clear()
                # What fails here is tried again next time; who writes steps meets it by himself.
                with contextlib.suppress(*FAULTS):
                    if connection is None and not self._closed:
                        connection = connect(self._path, "mode=rw", _WAIT_S)
                    if connection is not None:
                        self._empty_large_log(connection)
                        if time.monotonic() >= due:
                            due = time.monotonic() + self._lease_s / 3
                            self._renew(connection)
        finally:
            if connection is not None:
                connection.close()

    def _is_over(self) -> bool:
        with self._lock:
            if self._numbers and not self._closed:
                return False
            self._thread = None
            return True

    def _empty_large_log(self, connection: sqlite3.Connection) -> None:
        if self._log_is_large():
            is_quiet = _copy_log(connection) == _copy_log(connection)
            if is_quiet or self._log_is_large(_LOG_BOUND):
                _cut_log(connection)

    def _renew(self, connection: sqlite3.Connection) -> None:
        expires = time.time() + self._lease_s
        for fence, number in list(self._numbers.items()):
            connection.execute(RENEW, (expires, number, fence))


def _copy_log(connection: sqlite3.Connection) -> int:
    """Bring what the log holds to the file, beside those who write; how many pages that were."""
    _, pages, _ = connection.execute("pragma wal_checkpoint(passive)").fetchone()
    return int(pages)


def _cut_log(connection: sqlite3.Connection) -> None:
    """Bring the rest to the file and begin the log anew; writers wait meanwhile, some 10 ms."""
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
