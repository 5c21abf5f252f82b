"""The file of a store: how it is made, and which files are refused without a byte changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flujo_nb.engine.errors import StoreRefused
from flujo_nb.engine.store.schema import APPLICATION_ID, VERSION
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.engine.fakes import Wait
from tests.engine.store_contract import ME
from tests.engine.store_files import filled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def _with_header(offset: int, value: int) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset : offset + 4] = value.to_bytes(4, "big")
        path.write_bytes(content)

    return spoil


def _cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def _scribble(path: Path) -> None:
    """Spoil the page that holds the most rows."""
    content = bytearray(path.read_bytes())
    page = content.index(b"\x07" * 400) // 4096
    content[page * 4096 : page * 4096 + 200] = bytes(range(200))
    path.write_bytes(content)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma journal_mode=wal")
        other.execute("create table run (id)")


def _with_trigger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("create trigger t after insert on entry begin delete from run; end")


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no database": (lambda path: path.write_bytes(b"once upon a time " * 900), "damaged"),
    "foreign": (_foreign, "another application"),
    "foreign id": (_with_header(68, 0x47504B47), "another application"),
    "newer": (_with_header(60, VERSION + 1), f"format {VERSION + 1}"),
    "empty": (_cut(0), "cut off"),
    "a few bytes": (_cut(50), "cut off"),
    "half": (_cut(4096 * 8), "damaged"),
    "not whole pages": (_cut(4096 * 13 + 7), "damaged"),
    "scribbled": (_scribble, "damaged"),
    "a trigger": (_with_trigger, "tables"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_file_that_is_no_store_is_refused_untouched(name: str, path: Path, wait: Wait) -> None:
    wait(filled(path, 200))
    spoil, found = SPOILT[name]
    spoil(path)
    content, inode = path.read_bytes(), path.stat().st_ino
    with pytest.raises(StoreRefused, match=found) as refused:
        SqliteStore(path)
    assert str(path) in str(refused.value)
    assert (path.read_bytes(), path.stat().st_ino) == (content, inode)
    assert [file.name for file in path.parent.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("name", ["newer", "half", "empty", "scribbled", "no database"])
def test_so_is_one_with_a_log(name: str, path: Path, wait: Wait) -> None:
    wait(filled(path, 200))
    log, other = Path(f"{path}-wal"), path.parent / "other.db"

    async def crash() -> None:
        store = SqliteStore(path)
        await store.create("another", b"", ME)
        for file in (path, log):
            shutil.copy(file, str(file).replace("runs.db", "other.db"))
        await store.aclose()

    wait(crash())
    SPOILT[name][0](other)
    log = Path(f"{other}-wal")
    before = other.read_bytes(), log.read_bytes()
    assert before[1]
    with pytest.raises(StoreRefused):
        SqliteStore(other)
    assert (other.read_bytes(), log.read_bytes()) == before


def test_a_log_without_its_file_is_refused(path: Path) -> None:
    log = Path(f"{path}-wal")
    log.write_bytes(b"what a crash left")
    with pytest.raises(StoreRefused, match="Put the file back"):
        SqliteStore(path)
    assert (path.exists(), log.read_bytes()) == (False, b"what a crash left")


def test_what_was_corrupted_later_is_refused_when_it_is_read(path: Path, wait: Wait) -> None:
    wait(filled(path, 200))
    store = SqliteStore(path)
    _scribble(path)
    with pytest.raises(StoreRefused, match="damaged"):
        store.rows("r")
    wait(store.aclose())


@pytest.mark.parametrize("mask", [0o000, 0o777, 0o022])
def test_files_are_private_whatever_the_umask(mask: int, tmp_path: Path, wait: Wait) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    path = shared / "new" / "deep" / "runs.db"

    async def modes() -> dict[str, int]:
        store = SqliteStore(path)
        await store.create("r", b"", ME)
        store.runs()
        places = (shared, path.parent.parent, path.parent, *path.parent.iterdir())
        found = {place.name: place.stat().st_mode & 0o777 for place in places}
        await store.aclose()
        return found

    before = os.umask(mask)
    try:
        found = wait(modes())
    finally:
        os.umask(before)
    files = dict.fromkeys(("runs.db", "runs.db-wal", "runs.db-shm"), 0o600)
    assert found == {"shared": 0o755, "new": 0o700, "deep": 0o700, **files}


def test_links_and_what_is_no_file_are_refused(tmp_path: Path, wait: Wait) -> None:
    real = tmp_path / "real" / "runs.db"
    wait(filled(real))
    (tmp_path / "folder").symlink_to(real.parent)
    (tmp_path / "link.db").symlink_to(real)
    (tmp_path / "dangling.db").symlink_to(tmp_path / "nothing.db")
    (tmp_path / "a.db-wal").symlink_to(tmp_path / "stolen")
    (tmp_path / "b.db").mkdir()
    for name in ("folder/runs.db", "link.db", "dangling.db", "a.db", "b.db"):
        with pytest.raises(StoreRefused):
            SqliteStore(tmp_path / name)
    assert not (tmp_path / "nothing.db").exists() and not (tmp_path / "stolen").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_refused(path: Path, wait: Wait) -> None:
    wait(filled(path))
    os.chown(path, 12345, -1)
    with pytest.raises(StoreRefused, match="uid 12345"):
        SqliteStore(path)
    os.chown(path, 0, -1)
    os.chown(path.parent, 12345, -1)
    with pytest.raises(StoreRefused, match="uid 12345"):
        SqliteStore(path)


def test_the_file_tells_what_it_is(path: Path, wait: Wait) -> None:
    wait(filled(path))
    content = path.read_bytes()
    assert int.from_bytes(content[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(content[60:64], "big") == VERSION
