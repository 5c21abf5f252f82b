"""What went wrong in sqlite, as an error of stores: busy, refused, failed, or a misuse.

Only a lock is waited for. A file that cannot be read is never taken for an empty one.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..errors import StoreBusy, StoreError, StoreFailed, StoreRefused
from .owners import lock_holder

FAULTS = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError)
"""What the sqlite3 module raises; the last two for values that it cannot bind."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MISUSES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_ADVICE = {
    sqlite3.SQLITE_FULL: "Free space on that disk and run again.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable and run again.",
    sqlite3.SQLITE_CANTOPEN: "See whether the file and its folder are there and yours.",
    sqlite3.SQLITE_IOERR: "See to that disk and run again.",
}


def _code(fault: BaseException) -> int | None:
    """The primary result code; None when the module itself raised, without asking sqlite."""
    if not isinstance(fault, sqlite3.Error):
        return None
    try:
        return fault.sqlite_errorcode & 0xFF
    except AttributeError:
        return None


def is_busy(fault: BaseException) -> bool:
    """Whether another connection had the lock, so that trying again may help."""
    return _code(fault) in _BUSY


def error_of(fault: BaseException, path: Path) -> StoreError:
    """The error that tells of ``fault``, raised while working on the store at ``path``."""
    code = _code(fault)
    if code in _BUSY:
        return StoreBusy(f"{path} is locked by {lock_holder_of(path)}. Run again when it is done.")
    if code in _BROKEN:
        return StoreRefused(
            f"{path} is damaged: {fault}. It was left as it is; "
            "restore a copy of it or choose another path."
        )
    if code is None or isinstance(fault, _MISUSES):
        return StoreError(f"{path} cannot take this: {fault}")
    name = fault.sqlite_errorname if isinstance(fault, sqlite3.Error) else ""
    advice = _ADVICE.get(code, "Run again when that is mended.")
    return StoreFailed(f"{path} could not be read or written: {fault} ({name}). {advice}")


def lock_holder_of(path: Path) -> str:
    """Who holds the lock of the store at ``path``, in words."""
    return lock_holder((Path(f"{path}-shm"), path))
