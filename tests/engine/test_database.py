"""The connections of a store: locks of others, threads, forks, and writes that fail."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from flujo_nb.engine.errors import StoreBusy, StoreError, StoreFailed
from flujo_nb.engine.store import database
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Lease
from tests.engine.fakes import Wait
from tests.engine.store_contract import DIGEST, ME, OTHER, row
from tests.engine.store_files import exit_code, inode_of, seqs, size_of, swap, take_away
from tests.engine.store_processes import hold_lock, process, told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


# Locks, threads, forks


async def longest_gap_with_lock(store: SqliteStore, lease: Lease, pipe: Connection) -> float:
    """How long the loop stood still, at most, while an append waited for 400 ms."""
    order: list[int] = []

    async def append(seq: int) -> None:
        await store.append(lease, [row(seq)], {})
        order.append(seq)

    first = store.run("r").last_seq + 1
    pipe.send("lock")
    await asyncio.to_thread(told, pipe)
    start = last = time.perf_counter()
    longest = 0.0
    tasks = [asyncio.create_task(append(first + later)) for later in range(3)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert last - start > 0.2
    assert order == [first, first + 1, first + 2]
    return longest


def test_a_lock_of_another_process_does_not_stop_the_loop(path: Path) -> None:
    async def work() -> list[float]:
        store = SqliteStore(path, durability="normal")
        lease = await store.create("r", b"", ME)
        gaps: list[float] = []
        with process(hold_lock, path, 0.4) as (_, pipe):
            # Other work on the machine stops the loop, too, but not every time.
            while len(gaps) < 10 and min(gaps, default=1.0) > 0.02:
                gaps.append(await longest_gap_with_lock(store, lease, pipe))
        await store.aclose()
        return gaps

    assert min(asyncio.run(work())) <= 0.02


def test_a_lock_held_for_too_long_is_busy_and_changes_nothing(path: Path) -> None:
    async def work() -> None:
        store = SqliteStore(path, busy_timeout_s=0.2)
        lease = await store.create("r", b"", ME)
        await store.append(lease, [row(1)], {})
        inode = inode_of(path)
        with process(hold_lock, path, 60.0) as (other, pipe):
            pipe.send("lock")
            await asyncio.to_thread(told, pipe)
            for rows in ([row(2)], [row(2), row(3)]):
                with pytest.raises(StoreBusy, match=f"process {other.pid} "):
                    await store.append(lease, rows, {})
            with pytest.raises(StoreBusy):
                await store.answer("r", "a", b"1")
            assert [one.seq for one in store.rows("r")] == [1]  # readers do not wait
        assert inode_of(path) == inode
        await store.append(lease, [row(2)], {})
        assert [one.seq for one in store.rows("r")] == [1, 2]
        await store.aclose()

    asyncio.run(work())


def test_threads_with_loops_of_their_own_share_a_store(path: Path) -> None:
    store = SqliteStore(path, durability="normal")

    async def work(name: str) -> None:
        lease = await store.create(name, b"", ME)
        for seq in range(1, 101):
            await store.append(lease, [row(seq)], {})
            assert len(store.rows(name)) == seq

    threads = [threading.Thread(target=lambda n=n: asyncio.run(work(n))) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(store.aclose())
    assert [seqs(path, name) for name in "abcd"] == [list(range(1, 101))] * 4


def test_a_forked_process_has_to_open_the_store_again(path: Path) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        lease = await store.create("r", b"", ME)
        store.rows("r")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: as meant here
            child = os.fork()
        if child == 0:
            try:
                os._exit(_uses_in_child(store, lease))
            finally:
                os._exit(99)  # or this process would run the tests, too
        assert exit_code(child) == 3
        await store.append(lease, [row(1)], {})
        await store.aclose()

    asyncio.run(work())
    assert seqs(path) == [1]


def _uses_in_child(store: SqliteStore, lease: Lease) -> int:
    refused = 0
    steps: list[Callable[[], object]] = [
        store.runs,
        lambda: store.append(lease, [row(1)], {}).send(None),
        lambda: store.answer("r", "a", b"1").send(None),
    ]
    for step in steps:
        try:
            step()
        except StoreError as error:
            refused += "forked" in str(error) and "again" in str(error)
    return refused


# Slow disks


async def written_by(store: SqliteStore, lease: Lease, seq: int, company: bool) -> int:
    """On which thread an append is done."""
    threads: list[int] = []

    def trace(statement: str) -> None:
        threads.append(threading.get_ident())

    writer = store._database._writer
    assert writer is not None
    writer.set_trace_callback(trace)
    other = asyncio.create_task(asyncio.sleep(0.05)) if company else None
    await store.append(lease, [row(seq)], {})
    writer.set_trace_callback(None)
    if other is not None:
        await other
    [one] = set(threads)
    return one


@pytest.mark.parametrize("company", [True, False])
@pytest.mark.parametrize("slow", [True, False])
def test_only_slow_commits_leave_the_loop_and_only_to_other_tasks(
    slow: bool, company: bool, path: Path
) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        lease = await store.create("r", b"", ME)
        store._database._commit_s = 0.1 if slow else 0.0001
        done_by = await written_by(store, lease, 1, company)
        assert (done_by != threading.get_ident()) is (slow and company)
        assert 0 < store._database._commit_s < 0.1
        await store.aclose()

    asyncio.run(work())
    assert seqs(path) == [1]


def test_what_is_being_written_counts_though_it_is_cancelled(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        await store.create("r", b"", ME)
        began, go = threading.Event(), threading.Event()
        after: list[str] = []

        def slowly(connection: sqlite3.Connection) -> str:
            connection.execute("update run set status = 'changed'")
            began.set()
            assert go.wait(10)
            return "written"

        async def write() -> None:
            after.append(await store._database.write(slowly, aside=True))
            await asyncio.sleep(0)
            after.append("went on")

        task = asyncio.create_task(write())
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        go.set()
        await asyncio.wait([task])
        assert (task.cancelled(), after) == (True, ["written"])
        assert store.run("r").status == "changed"
        await store.aclose()

    wait(work())


def test_a_timeout_of_what_is_being_written_stays_a_timeout(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path)

        async def write() -> None:
            async with asyncio.timeout(0.01):
                await store._database.write(lambda _: time.sleep(0.05), aside=True)
                await asyncio.sleep(1)

        with pytest.raises(TimeoutError):
            await write()
        await store.aclose()

    wait(work())


# Faults


@contextmanager
def full_disk(store: SqliteStore) -> Iterator[None]:
    """Refuse writes beyond what the log has already, as a full disk or a quota does."""
    size = size_of(f"{store.location}-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_write_that_fails_is_not_acknowledged_and_can_be_repeated(
    durability: str, path: Path, wait: Wait
) -> None:
    async def work() -> None:
        store = SqliteStore(path, durability="full" if durability == "full" else "normal")
        lease = await store.create("r", b"", ME)
        await store.append(lease, [row(1)], {DIGEST: bytes(100_000)})
        with full_disk(store):
            for rows, blobs in (([row(2)], {}), ([row(2), row(3)], {OTHER: bytes(50_000)})):
                with pytest.raises(StoreFailed) as failed:
                    await store.append(lease, rows, blobs)
                assert str(path) in str(failed.value)
                assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
            with pytest.raises(StoreFailed):
                await store.rest(lease, "completed", [], {})
            assert [one.seq for one in store.rows("r")] == [1]
        await store.append(lease, [row(2)], {})
        await store.append(lease, [row(3)], {OTHER: b"x"})
        assert store.run("r").owner == ME
        assert dict(await store.rest(lease, "completed", [], {})) == {}
        await store.aclose()

    wait(work())
    assert seqs(path) == [1, 2, 3]


def test_a_file_that_went_away_is_said(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        lease = await store.create("r", b"", ME)
        take_away(path)
        with pytest.raises(StoreFailed, match="out of reach"):
            await store.answer("r", "a", b"1")
        swap(path)
        with pytest.raises(StoreFailed, match="no longer the file"):
            await store.append(lease, [row(1)], {OTHER: b"x"})
        await store.aclose()

    wait(work())


def test_what_sqlite_cannot_hold_is_refused_with_the_path(path: Path, wait: Wait) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        lease = await store.create("r", b"", ME)
        bad = (row(1)._replace(name="\ud800"), row(1, spent=2**64))
        for one in bad:
            for rows in ([one], [row(5), one]):
                with pytest.raises(StoreError, match=r"runs\.db cannot take this"):
                    await store.append(lease, rows, {})
        assert list(store.rows("r")) == []
        await store.aclose()

    wait(work())


def test_a_file_that_was_removed_is_missed_by_the_next_row_but_for_a_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch, wait: Wait
) -> None:
    monkeypatch.setattr(database, "LOOK_S", -1.0)

    async def main() -> None:
        store = SqliteStore(path)
        lease = await store.create("r", b"{}", ME)
        await store.append(lease, [row(1)], {})
        take_away(path)
        with pytest.raises(StoreFailed, match="out of reach"):
            await store.append(lease, [row(2)], {})
        await store.aclose()

    wait(main())
