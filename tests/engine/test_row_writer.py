"""How rows come into a store: in their order, together where that is possible, all or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import LeaseLost, StoreError, StoreFailed
from flujo_nb.engine.row_writer import RowWriter
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.stores import RowKind
from flujo_nb.engine.usage import Usage
from tests.engine.durable import Mortal, Slow
from tests.engine.fakes import Wait

DIGEST = b"\x01" * 32


async def writer_on(store: MemoryStore) -> RowWriter:
    return RowWriter(store, await store.create("r", b"{}", this_process()), 0)


def note(writer: RowWriter, path: str = "a", **told: Any) -> None:
    writer.note(RowKind.DECISION, path, **told)


def paths(store: MemoryStore) -> list[str]:
    return [row.path for row in store.rows("r")]


def test_what_was_noted_is_written_in_order_with_the_next_commit(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        writer = await writer_on(store)
        note(writer, "a", body=b"1", name="n", status="s", usage=Usage(1, 2, 3))
        note(writer, "b", blobs={DIGEST: b"large"})
        assert store.rows("r") == []
        await writer.commit()
        first, second = store.rows("r")
        assert (first.seq, first.path, first.body, first.name, first.status) == (
            1,
            "a",
            b"1",
            "n",
            "s",
        )
        assert (first.cost_micros, first.tokens, first.requests) == (1, 2, 3)
        assert (second.seq, second.path) == (2, "b")
        assert store.blob(DIGEST) == b"large"
        assert writer.seq == 2
        assert len(store.batches) == 1

    wait(main())


def test_a_commit_of_nothing_writes_nothing(wait: Wait) -> None:
    async def main() -> list[Any]:
        store = Mortal()
        writer = await writer_on(store)
        await writer.commit()
        await writer.commit(concurrent=True)
        return store.batches

    assert wait(main()) == []


def test_without_a_lease_nothing_is_noted(wait: Wait) -> None:
    async def main() -> int:
        writer = RowWriter(MemoryStore(), None, 4)
        note(writer)
        await writer.commit()
        return writer.seq

    assert wait(main()) == 4


async def committed(writer: RowWriter, path: str, turns: int = 0) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    note(writer, path)
    await writer.commit(concurrent=True)


def test_frames_that_end_in_one_turn_share_a_commit(wait: Wait) -> None:
    async def main() -> list[int]:
        store = Mortal()
        writer = await writer_on(store)
        await asyncio.gather(*(committed(writer, str(number)) for number in range(50)))
        return [len(batch) for batch in store.batches]

    assert wait(main()) == [50]


def test_what_comes_while_the_store_is_busy_shares_the_next_one(wait: Wait) -> None:
    async def main() -> Slow:
        store = Slow(turns=10)
        writer = await writer_on(store)
        await asyncio.gather(*(committed(writer, str(n), turns=n) for n in range(6)))
        return store

    store = wait(main())
    assert store.appended == [[1], [2, 3, 4, 5, 6]]
    assert store.most == 1


def test_rows_are_durable_when_their_commit_returns(wait: Wait) -> None:
    async def main() -> None:
        store = Slow()
        writer = await writer_on(store)

        async def one(number: int) -> None:
            await committed(writer, str(number), turns=number % 5)
            assert str(number) in paths(store)

        await asyncio.gather(*map(one, range(20)))

    wait(main())


def test_one_append_is_under_way_at_a_time_and_in_order(wait: Wait) -> None:
    """A frame that runs alone may commit beside one that works in the background."""

    async def main() -> Slow:
        store = Slow(turns=4)
        writer = await writer_on(store)

        async def alone(number: int) -> None:
            for _ in range(3):
                note(writer, f"alone {number}")
                await writer.commit()
                await asyncio.sleep(0)

        await asyncio.gather(
            alone(1), committed(writer, "b", 1), alone(2), committed(writer, "c", 6)
        )
        return store

    store = wait(main())
    assert store.most == 1
    assert [seq for batch in store.appended for seq in batch] == list(range(1, 9))


@pytest.mark.parametrize("cut", [0, 1, 2, 5])
def test_who_stops_waiting_does_not_stop_the_others(wait: Wait, cut: int) -> None:
    async def main() -> None:
        store = Slow(turns=4)
        writer = await writer_on(store)
        tasks = [asyncio.create_task(committed(writer, path)) for path in "abc"]
        for _ in range(cut):
            await asyncio.sleep(0)
        tasks[1].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), asyncio.CancelledError, type(None)]
        assert {"a", "c"} <= set(paths(store))

    wait(main())


def test_what_others_wait_for_is_written_when_its_writer_is_cancelled(wait: Wait) -> None:
    async def main() -> None:
        store = Slow(turns=4)
        writer = await writer_on(store)

        async def alone() -> None:
            note(writer, "alone")
            note(writer, "of another", blobs={DIGEST: b"large"})
            await writer.commit()

        task = asyncio.create_task(alone())
        await asyncio.sleep(0)
        other = asyncio.create_task(writer.commit(concurrent=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other
        assert paths(store) == ["alone", "of another"]
        assert store.blob(DIGEST) == b"large"

    wait(main())


@pytest.mark.parametrize("concurrent", [False, True])
def test_after_a_commit_that_failed_nothing_is_written(wait: Wait, concurrent: bool) -> None:
    async def main() -> None:
        store = Mortal(1)
        writer = await writer_on(store)
        note(writer, "a")
        await writer.commit(concurrent)
        note(writer, "b")
        with pytest.raises(StoreFailed) as failed:
            await writer.commit(concurrent)
        store.left = None
        note(writer, "c")
        with pytest.raises(StoreFailed) as again:
            await writer.commit(concurrent)
        assert failed.value is again.value
        assert paths(store) == ["a"]

    wait(main())


def test_all_who_wait_for_a_commit_that_fails_hear_of_it(wait: Wait) -> None:
    async def main() -> list[Any]:
        store = Slow(turns=5, fails_at=1)
        writer = await writer_on(store)
        works = (committed(writer, str(number), turns=number) for number in range(4))
        ends = await asyncio.gather(*works, return_exceptions=True)
        assert paths(store) == []
        return [type(end) for end in ends]

    assert wait(main()) == [StoreFailed] * 4


def test_a_store_that_breaks_its_contract_leaves_nobody_waiting(wait: Wait) -> None:
    class Odd(MemoryStore):
        async def append(self, *given: Any) -> None:
            raise ZeroDivisionError

    async def main() -> list[Any]:
        writer = await writer_on(Odd())
        works = (committed(writer, path) for path in "ab")
        return [type(end) for end in await asyncio.gather(*works, return_exceptions=True)]

    assert wait(main()) == [ZeroDivisionError] * 2


def test_who_lost_its_lease_cannot_write(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        writer = await writer_on(store)
        store.seize()
        note(writer)
        with pytest.raises(LeaseLost, match="thief"):
            await writer.commit()
        with pytest.raises(StoreError):
            await committed(writer, "b")

    wait(main())
