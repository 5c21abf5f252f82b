"""The store in a file: who owns a run when processes race, sleep and die; and the room it takes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from flujo_nb.engine.errors import LeaseLost, RunHeld
from flujo_nb.engine.store.housekeeping import LOG_LIMIT
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Lease
from tests.engine.fakes import Wait
from tests.engine.store_contract import DIGEST, FAR, ME, row
from tests.engine.store_files import seqs, size_of, until
from tests.engine.store_processes import SPAWN, execute_run, process, take_runs, told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


# Several processes


def test_eight_processes_make_one_store_and_each_run_gets_one_owner(path: Path) -> None:
    rounds, racers = 20, 8
    barrier = SPAWN.Barrier(racers)
    with ExitStack() as stack:
        others = [
            stack.enter_context(process(take_runs, path, barrier, rounds)) for _ in range(racers)
        ]
        inodes = {told(pipe) for _, pipe in others}

        async def make_runs() -> None:
            store = SqliteStore(path, durability="normal")
            for turn in range(rounds):
                lease = await store.create(f"r{turn}", b"", ME)
                await store.rest(lease, "paused", [], {})
            await store.aclose()

        asyncio.run(make_runs())
        for _, pipe in others:
            pipe.send("go")
        taken = [told(pipe) for _, pipe in others]
    assert inodes == {path.stat().st_ino}
    assert sorted(turn for some in taken for turn in some) == list(range(rounds))
    assert [seqs(path, f"r{turn}") for turn in range(rounds)] == [[1]] * rounds


def test_who_slept_past_its_lease_cannot_write_and_learns_who_took_the_run(path: Path) -> None:
    async def take() -> None:
        store = SqliteStore(path)
        with pytest.raises(RunHeld, match=f"first, process {pid} on"):
            await store.take("r", ME)
        os.kill(pid, signal.SIGSTOP)
        taken: Lease | None = None
        while taken is None:
            await asyncio.sleep(0.02)
            try:
                taken = await store.take("r", ME)
            except RunHeld:
                continue
        os.kill(pid, signal.SIGCONT)
        pipe.send("write")
        kind, message = await asyncio.to_thread(told, pipe)
        assert (kind, f"me, process {os.getpid()} on" in message) == ("LeaseLost", True)
        await store.append(taken, [row(2)], {})
        await store.aclose()

    with process(execute_run, path, 0.4) as (_, pipe):
        pid = told(pipe)
        asyncio.run(take())
    assert seqs(path) == [1, 2]


def test_what_a_killed_process_executed_is_taken_at_once(path: Path, wait: Wait) -> None:
    async def take() -> None:
        store = SqliteStore(path)
        await store.take("r", ME)
        assert [one.seq for one in store.rows("r")] == [1]
        await store.aclose()

    with process(execute_run, path, 3600.0) as (_, pipe):
        pid = told(pipe)
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        wait(take())


# Leases


def test_leases_are_renewed_while_a_step_holds_the_loop(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path, lease_s=0.3)
        lease = await store.create("r", b"", ME)
        time.sleep(0.8)  # noqa: ASYNC251  # as an inline step does
        with pytest.raises(RunHeld):
            await store.take("r", FAR)
        await store.append(lease, [row(1)], {})
        await store.aclose()

    wait(work())


def test_an_expired_lease_holds_until_somebody_takes_it(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path, lease_s=0.3)
        lease = await store.create("r", b"", ME)
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            ends = "select expires from run"
            raw.execute("update run set expires = 0")
            await store.append(lease, [row(1)], {})
            await until(lambda: raw.execute(ends).fetchone()[0] > time.time())
        with pytest.raises(RunHeld):
            await store.take("r", FAR)
        await store.aclose()
        await asyncio.sleep(0.35)
        other = SqliteStore(path)
        with pytest.raises(RunHeld):
            await other.take("r", this_process("the same process"))
        await other.take("r", FAR)
        with pytest.raises(LeaseLost, match="far"):
            await other.append(lease, [row(2)], {})
        await other.aclose()

    wait(work())


def test_another_handle_goes_on_with_a_lease(path: Path, wait: Wait) -> None:
    async def work() -> None:
        one, other = SqliteStore(path), SqliteStore(path)
        lease = await one.create("r", b"", ME)
        await other.append(lease, [row(1)], {})
        await one.append(lease, [row(2)], {})
        assert [found.seq for found in one.rows("r")] == [1, 2]
        await one.aclose()
        await other.append(lease, [row(3)], {})
        await other.aclose()

    wait(work())


def test_closing_leaves_no_thread_and_no_side_files(path: Path, wait: Wait) -> None:
    before = set(threading.enumerate())

    async def work() -> None:
        store = SqliteStore(path)
        await store.create("r", b"", ME)
        assert set(threading.enumerate()) > before
        await store.aclose()

    wait(work())
    assert set(threading.enumerate()) == before
    assert [file.name for file in path.parent.iterdir()] == ["runs.db"]


# Room


def test_deleting_shrinks_the_file(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path, durability="normal")
        empty = size_of(path)
        for name in "ab":
            lease = await store.create(name, b"", ME)
            await store.append(lease, [row(1)], {name.encode() * 32: os.urandom(9_000_000)})
            await store.rest(lease, "completed", [], {})
        freed = await store.delete("a")
        assert freed >= 9_000_000
        assert size_of(path) <= empty + 9_200_000
        assert size_of(f"{path}-wal") == 0
        assert store.blob(b"b" * 32)
        await store.aclose()

    wait(work())


def test_the_log_is_emptied_while_a_run_goes_on(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path, durability="normal")
        lease = await store.create("r", b"", ME)
        log = Path(f"{path}-wal")
        await store.append(lease, [row(1)], {DIGEST: bytes(LOG_LIMIT)})
        await until(lambda: size_of(log) < LOG_LIMIT)
        for seq in range(2, 10):
            await store.append(lease, [row(seq)], {})
        assert store.run("r").rows == 9
        await store.aclose()

    wait(work())


def test_an_owner_is_told_as_it_was(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        owner = replace(ME, label='Zoë\'s "kernel"\n', host="h\x00st")
        await store.create("r", b"", owner)
        assert store.run("r").owner == owner
        await store.aclose()

    wait(work())
