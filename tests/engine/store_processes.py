"""What other processes do to a store while a test looks: they race, lock, stop and die."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

from flujo_nb.engine.errors import RunHeld, StoreError
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.engine.store_contract import row

SPAWN = multiprocessing.get_context("spawn")
LIMIT_S = 30


@contextmanager
def process(work: Callable[..., None], *args: object) -> Iterator[tuple[BaseProcess, Connection]]:
    """Another process that calls ``work(*args, pipe)``, and the other end of its pipe."""
    here, there = SPAWN.Pipe()
    one = SPAWN.Process(target=work, args=(*args, there))
    one.start()
    there.close()
    try:
        yield one, here
    finally:
        one.kill()
        one.join(LIMIT_S)
        here.close()


def told(pipe: Connection) -> object:
    """The next thing that the other process says."""
    assert pipe.poll(LIMIT_S), "the other process says nothing"
    return pipe.recv()


def take_runs(path: Path, barrier: Barrier, rounds: int, pipe: Connection) -> None:
    """Open the store, then take run after run, each together with all others; tell of which."""

    async def work() -> list[int]:
        taken = []
        for turn in range(rounds):
            barrier.wait(LIMIT_S)
            try:
                lease = await store.take(f"r{turn}", this_process())
            except RunHeld:
                continue
            await store.append(lease, [row(1)], {})
            taken.append(turn)
        return taken

    barrier.wait(LIMIT_S)
    store = SqliteStore(path, durability="normal")
    pipe.send(path.stat().st_ino)
    pipe.recv()
    pipe.send(asyncio.run(work()))
    pipe.recv()


def hold_lock(path: Path, seconds: float, pipe: Connection) -> None:
    """Lock the store for writing whenever that is asked for."""
    connection = sqlite3.connect(path, isolation_level=None)
    while pipe.recv():
        connection.execute("begin immediate")
        pipe.send(os.getpid())
        time.sleep(seconds)
        connection.execute("rollback")


def execute_run(path: Path, lease_s: float, pipe: Connection) -> None:
    """Make a run and write a row to it; write another when asked to and tell what came of it."""

    async def work() -> None:
        store = SqliteStore(path, lease_s=lease_s)
        lease = await store.create("r", b"", this_process("first"))
        await store.append(lease, [row(1)], {})
        pipe.send(os.getpid())
        pipe.recv()
        try:
            await store.append(lease, [row(2)], {})
        except StoreError as error:
            pipe.send((type(error).__name__, str(error)))
        else:
            pipe.send(("written", ""))

    asyncio.run(work())
