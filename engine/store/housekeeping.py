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

from .faults import Fault
from .schema import connect
from .statements import RENEW

LOG_LIMIT = 16 << 20  # bytes of the log from which on it is emptied
_WAIT_S = 0.2
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
        with contextlib.suppress(*Fault), closing(connect(self._path, "mode=rw", _WAIT_S)) as one:
            _empty_log(one)

    def close(self) -> None:
        """End the thread; what it does just now is waited for, a little."""
        with self._lock:
            self._closed = True
            self._numbers.clear()
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_JOIN_S)

    def _log_is_large(self) -> bool:
        try:
            return self._log.stat().st_size >= LOG_LIMIT
        except OSError:
            return False

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while not self._is_over():
                woken = self._wake.wait(self._lease_s / 3)
                self._wake.clear()
                # What fails here is tried again next time; who writes steps meets it by himself.
                with contextlib.suppress(*Fault):
                    if connection is None and not self._closed:
                        connection = connect(self._path, "mode=rw", _WAIT_S)
                    if connection is not None:
                        self._keep(connection, renew=not woken)
        finally:
            if connection is not None:
                connection.close()

    def _is_over(self) -> bool:
        with self._lock:
            if self._numbers and not self._closed:
                return False
            self._thread = None
            return True

    def _keep(self, connection: sqlite3.Connection, *, renew: bool) -> None:
        if self._log_is_large():
            _empty_log(connection)
        if renew:
            expires = time.time() + self._lease_s
            for fence, number in list(self._numbers.items()):
                connection.execute(RENEW, (expires, number, fence))


def _empty_log(connection: sqlite3.Connection) -> None:
    # The first does nearly all of the work without locking writers out.
    connection.execute("pragma wal_checkpoint(passive)").fetchall()
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
