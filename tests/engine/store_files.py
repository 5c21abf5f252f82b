"""Stores in files: filled, looked at from outside, and taken away."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flujo_nb.engine.store.sqlite import SqliteStore
from tests.engine.store_contract import ME, row


async def filled(path: Path, rows: int = 3) -> None:
    store = SqliteStore(path, durability="normal")
    lease = await store.create("r", b"{}", ME)
    for seq in range(1, rows + 1):
        await store.append(lease, [row(seq, body=bytes([seq % 256]) * 500)], {})
    await store.rest(lease, "completed", [], {})
    await store.aclose()


def seqs(path: Path, run_id: str = "r") -> list[int]:
    """The rows of a run as a process that opens the store now reads them."""
    store = SqliteStore(path)
    try:
        return [one.seq for one in store.rows(run_id)]
    finally:
        asyncio.run(store.aclose())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110  # a file tells nobody that it changed
        await asyncio.sleep(0.005)


def size_of(path: Path | str) -> int:
    return Path(path).stat().st_size


def inode_of(path: Path) -> int:
    return path.stat().st_ino


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def swap(path: Path) -> None:
    """Put a copy in the place of a file that went away."""
    Path(f"{path}.copy").rename(path)


def take_away(path: Path) -> None:
    shutil.copy(path, f"{path}.copy")
    path.unlink()
