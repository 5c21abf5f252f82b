"""A look at the file of a store, whole or damaged."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.store_look import look_at


def made(folder: Path) -> Path:
    """A store with two runs."""
    path = folder / "a.db"

    async def make() -> None:
        store = SqliteStore(path, durability="normal")
        for name in ("one", "two"):
            lease = await store.create(name, b"{}" + b" " * 9000, this_process())
            await store.rest(lease, "completed", (), {})
        await store.aclose()

    asyncio.run(make())
    return path


def test_a_whole_store_is_counted(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = path.read_bytes()
    found = look_at(path)
    assert (found.runs, found.rows, found.fault) == (2, 0, None)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["a.db"]


def test_of_a_damaged_store_the_rest_is_counted(tmp_path: Path) -> None:
    path = made(tmp_path)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    found = look_at(path)
    assert found.fault is not None
    assert path.read_bytes() == bytes(content)


def test_what_is_no_store_has_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"some text that is no database" * 100)
    assert look_at(path).fault is not None
    assert look_at(tmp_path / "missing.db").fault is not None
