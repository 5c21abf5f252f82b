"""The file of a store: its tables, how it is made, and what is looked at before it is used.

A file is looked at without writing to it or beside it. One that is not a store of this version,
whole and one's own, is refused and keeps every byte. A missing one is made complete under another
name and then linked to its own, so that no half-made store is ever seen.
"""

from __future__ import annotations

import functools
import itertools
import os
import sqlite3
import stat
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from ..errors import StoreFailed, StoreRefused
from .faults import FAULTS, error_of

APPLICATION_ID: Final = 0x666C6A6F  # "fljo"
VERSION: Final = 1
RUN_SHIFT: Final = 32  # an entry's id is its run's number, and in the lower bits its seq

_SMALL = 16 << 20  # bytes up to which every page is checked when a store is opened
_SMALLEST = 512  # bytes; of less sqlite makes an empty database
_LOOKS = 50
_SIDES = ("-wal", "-shm", "-journal")

_TABLES = (
    "create table counter (name text primary key, value integer not null) without rowid",
    "create table key (value blob not null)",
    """create table run (
    number integer primary key autoincrement,
    id text not null unique,
    status text not null,
    created_at real not null,
    updated_at real not null,
    about blob not null,
    source integer references run (number),
    upto integer,
    fence integer,
    owner text,
    expires real
)""",
    "create index run_by_source on run (source) where source is not null",
    """create table entry (
    id integer primary key,
    path text not null,
    kind text not null,
    name text,
    status text,
    definition blob,
    input blob,
    started integer,
    at real not null,
    cost_micros integer not null,
    tokens integer not null,
    requests integer not null,
    body blob not null
)""",
    """create table answer (
    run integer not null,
    pause text not null,
    body blob not null,
    at real not null,
    primary key (run, pause)
) without rowid""",
    "create table blob (digest blob not null unique, body blob not null)",
    """create table blob_use (
    run integer not null,
    digest blob not null,
    primary key (run, digest)
) without rowid""",
    "create index blob_use_by_digest on blob_use (digest)",
)
_SCHEMA_OF = "select type, name, sql from sqlite_master where name not like 'sqlite%' order by 2"


def connect(path: Path, query: str, wait_s: float = 0.0) -> sqlite3.Connection:
    """A connection in autocommit mode; ``query`` is the URI's, ``wait_s`` the busy time-out."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{query}",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("pragma trusted_schema=off")
    return connection


def open_file(path: Path, durability: str, wait_s: float) -> sqlite3.Connection:
    """A connection that writes to the store at ``path``, which is made when it is missing.

    ``wait_s`` bounds how long a lock of another process is waited for. Raises `StoreRefused`,
    `StoreFailed`, `StoreBusy`.
    """
    _refuse_what_is_not_ours(path)
    try:
        if not path.exists():
            _make(path)
        _look_at(path, wait_s)
        connection = connect(path, "mode=rw", wait_s)
        try:
            _prepare(connection, path, durability)
        except BaseException:
            connection.close()
            raise
    except FAULTS as fault:
        raise error_of(fault, path) from fault
    except OSError as error:
        raise StoreFailed(f"{path} could not be opened: {error}") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, durability: str) -> None:
    [mode] = connection.execute("pragma journal_mode=wal").fetchone()
    if mode != "wal":
        raise StoreFailed(f"{path} lies where sqlite's write-ahead log does not work.")
    connection.execute("pragma wal_autocheckpoint=0")
    connection.execute("pragma synchronous=" + ("full" if durability == "full" else "normal"))
    if durability == "full":
        connection.execute("pragma fullfsync=on")  # on macOS a plain fsync stays in the disk
    connection.execute("pragma busy_timeout=0")


def _refuse_what_is_not_ours(path: Path) -> None:
    """Neither the file, its side files nor its folder may be a link or another user's."""
    for place in (path, path.parent, *(Path(f"{path}{side}") for side in _SIDES)):
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreFailed(f"{place} could not be looked at: {error}") from error
        if stat.S_ISLNK(found.st_mode):
            raise StoreRefused(f"{place} is a symbolic link. Give the path that it leads to.")
        if place != path.parent and not stat.S_ISREG(found.st_mode):
            raise StoreRefused(f"{place} is no file. Choose another path.")
        if sys.platform != "win32":
            owners = (os.geteuid(), 0) if place == path.parent else (os.geteuid(),)
            if found.st_uid not in owners:
                raise StoreRefused(
                    f"{place} belongs to another user (uid {found.st_uid}). Choose another path."
                )


def _look_at(path: Path, wait_s: float) -> None:
    """Refuse a file that is no whole store of this version."""
    for look in itertools.count():
        before = _traces(path)
        try:
            _examine(path, wait_s, has_log=before[1] is not None and before[1][0] > 0)
            break
        except StoreRefused:
            # Without a log the file is read without locks: another process may be writing to it.
            if look == _LOOKS or _traces(path) == before:
                raise
        time.sleep(0.002)


def _traces(path: Path) -> list[tuple[int, int] | None]:
    """Size and time of the last change, of the file and of its log."""
    found: list[tuple[int, int] | None] = []
    for place in (path, Path(f"{path}-wal")):
        try:
            status = place.stat()
            found.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _examine(path: Path, wait_s: float, *, has_log: bool) -> None:
    size = path.stat().st_size
    if size < _SMALLEST:
        raise StoreRefused(
            f"{path} is cut off: it has {size} bytes. Restore a copy of it, or remove it."
        )
    # Opened in any other way, sqlite may leave a -wal and a -shm beside it.
    query = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        with closing(connect(path, query, wait_s)) as connection:
            _refuse_other_kinds(connection, path)
            found = connection.execute(_SCHEMA_OF).fetchall()
            if found != _schema():
                raise StoreRefused(
                    f"{path} does not have the tables of a store. It was left as it is."
                )
            if size <= _SMALL:
                [fault] = connection.execute("pragma quick_check(1)").fetchone()
                if fault != "ok":
                    raise StoreRefused(f"{path} is damaged: {fault}. It was left as it is.")
    except FAULTS as fault:
        raise error_of(fault, path) from fault


def _refuse_other_kinds(connection: sqlite3.Connection, path: Path) -> None:
    [kind] = connection.execute("pragma application_id").fetchone()
    [version] = connection.execute("pragma user_version").fetchone()
    if kind != APPLICATION_ID:
        raise StoreRefused(
            f"{path} is a database of another application (id {kind}, not {APPLICATION_ID}). "
            "It was left as it is; choose another path."
        )
    if version != VERSION:
        raise StoreRefused(
            f"{path} has format {version}; this version of flujo-nb reads format {VERSION}. "
            "It was left as it is; use the version that wrote it, or choose another path."
        )


@functools.cache
def _schema() -> list[tuple[str, str, str]]:
    """What sqlite tells of the tables of a store."""
    return _blank()[1]


def _blank() -> tuple[bytes, list[tuple[str, str, str]]]:
    """A store without runs and with a key of its own: its file's bytes, and its schema."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("pragma auto_vacuum=incremental")
        connection.execute(f"pragma application_id={APPLICATION_ID}")
        connection.execute(f"pragma user_version={VERSION}")
        for table in _TABLES:
            connection.execute(table)
        connection.execute("insert into counter values ('fence', 0)")
        connection.execute("insert into key values (randomblob(32))")
        image = bytearray(connection.serialize())
        schema = connection.execute(_SCHEMA_OF).fetchall()
    # Bytes 18 and 19 of the file format: 2 is "write-ahead log", which memory does not have.
    image[18:20] = b"\x02\x02"
    return bytes(image), schema


def _make(path: Path) -> None:
    """A new store at ``path``; if another process made one in the meantime, that one stays."""
    # Another process may have made both since the file was missed; it makes the log later.
    if Path(f"{path}-wal").exists() and not path.exists():
        raise StoreRefused(
            f"{path} is missing, but its log {path.name}-wal is there. "
            "Put the file back beside it, or remove the log."
        )
    for folder in reversed([path.parent, *path.parent.parents]):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)  # mkdir's own mode is subject to the umask
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_blank()[0])
            file.flush()
            os.fsync(file.fileno())
        made.chmod(0o600)
        try:
            path.hardlink_to(made)
        except FileExistsError:
            return
    finally:
        made.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
