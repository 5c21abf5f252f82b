"""What every store of runs keeps to: each case takes a maker of empty stores, and asserts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from flujo_nb.engine.errors import LeaseLost, NoSuchRun, RunExists, RunHeld, StoreError
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.stores import Owner, Row, Source, Store

Make = Callable[[], Store]
Case = Callable[[Make], Awaitable[None]]

DIGEST, OTHER = b"\x01" * 32, b"\x02" * 32
ME = this_process("me")
DEAD = replace(ME, process_start="0", label="dead")
FAR = replace(ME, boot_id="another", host="far", label="far")
NASTY = "../a'; drop table run; --\x00\n%s?#é𝔸"


def row(seq: int, *, at: float | None = None, body: bytes = b"{}", spent: int = 0) -> Row:
    when = time.time() if at is None else at
    digest = bytes([seq % 256]) * 16
    return Row(
        seq,
        f"loop/[{seq}]/draft",
        "finished",
        "draft",
        "success",
        digest,
        digest[::-1],
        seq - 1,
        when,
        spent,
        2 * spent,
        3 * spent,
        body,
    )


@asynccontextmanager
async def opened(make: Make):
    store = make()
    try:
        yield store
    finally:
        await store.aclose()


async def a_new_run_is_told(make: Make) -> None:
    async with opened(make) as store:
        before = time.time()
        lease = await store.create("r", b'{"a":1}', ME)
        told = store.run("r")
        assert (lease.run_id, lease.owner) == ("r", ME)
        assert (told.run_id, told.status, told.about, told.owner) == (
            "r",
            "running",
            b'{"a":1}',
            ME,
        )
        assert (told.source, told.rows, told.last_seq, told.answered) == (None, 0, 0, 0)
        assert (told.cost_micros, told.tokens, told.requests) == (0, 0, 0)
        assert before <= told.created_at <= told.updated_at <= time.time()
        assert list(store.runs()) == [told]
        assert list(store.rows("r")) == [] and dict(store.answers("r")) == {}
        assert store.location


async def an_id_is_given_once(make: Make) -> None:
    async with opened(make) as store:
        await store.create("r", b"first", ME)
        with pytest.raises(RunExists, match="'r'"):
            await store.create("r", b"second", ME)
        assert store.run("r").about == b"first"


async def a_fork_names_its_source(make: Make) -> None:
    async with opened(make) as store:
        with pytest.raises(NoSuchRun, match="'base'"):
            await store.create("fork", b"", ME, Source("base", 3))
        assert list(store.runs()) == []
        base = await store.create("base", b"", ME)
        await store.append(base, [row(1), row(2)], {})
        await store.create("fork", b"", ME, Source("base", 1))
        assert store.run("fork").source == Source("base", 1)
        assert list(store.rows("fork")) == []


async def rows_come_back_as_they_were(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        other = await store.create("other", b"", ME)
        plain = [row(seq, body=bytes(range(256)) * seq) for seq in range(1, 6)]
        bare = Row(6, NASTY, "decision", None, None, None, None, None, 0.1, 0, 0, 0, b"")
        named = Row(7, "", NASTY, NASTY, NASTY, b"", b"", 0, -1.5, 2**62, 2**62, 2**62, b"\x00")
        await store.append(lease, plain[:1], {})
        await store.append(lease, [], {})
        await store.append(lease, plain[1:], {})
        await store.append(other, [row(1), row(9)], {})
        await store.append(lease, [bare, named], {})
        assert list(store.rows("r")) == [*plain, bare, named]
        assert [type(one) for one in store.rows("r")] == [Row] * 7
        assert list(store.rows("r", upto=3)) == plain[:3]
        assert list(store.rows("r", upto=0)) == []


async def ids_and_names_are_data(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create(NASTY, b"", ME)
        await store.append(lease, [row(1)], {})
        assert await store.answer(NASTY, NASTY, b"1") == b"1"
        assert [told.run_id for told in store.runs()] == [NASTY]
        assert (store.run(NASTY).rows, dict(store.answers(NASTY))) == (1, {NASTY: b"1"})
        await store.rest(lease, NASTY, [NASTY], {NASTY: b"1"})
        assert store.run(NASTY).status == NASTY


async def rows_and_blobs_are_written_all_or_none(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        await store.append(lease, [row(1)], {})
        with pytest.raises(StoreError):
            await store.append(lease, [row(2), row(3), row(1)], {DIGEST: b"x"})
        with pytest.raises(StoreError):
            await store.append(lease, [row(1, body=b"another")], {})
        assert [(one.seq, one.body) for one in store.rows("r")] == [(1, b"{}")]
        with pytest.raises(StoreError):
            store.blob(DIGEST)
        await store.append(lease, [row(2), row(3)], {DIGEST: b"x"})
        assert [one.seq for one in store.rows("r")] == [1, 2, 3]
        assert store.blob(DIGEST) == b"x"


async def blobs_are_found_by_digest(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        big = bytes(300_000)
        await store.append(lease, [row(1)], {DIGEST: big, OTHER: b""})
        await store.append(lease, [row(2)], {DIGEST: big})
        assert (store.blob(DIGEST), store.blob(OTHER)) == (big, b"")
        with pytest.raises(StoreError, match="00ff"):
            store.blob(b"\x00\xff" * 16)


async def a_run_has_one_owner(make: Make) -> None:
    async with opened(make) as store:
        await store.create("mine", b"", ME)
        await store.create("far", b"", FAR)
        with pytest.raises(RunHeld, match=f"me, process {ME.pid} on"):
            await store.take("mine", FAR)
        with pytest.raises(RunHeld):
            await store.take("mine", ME)
        with pytest.raises(RunHeld):
            await store.take("mine", replace(ME, label="another label"))
        with pytest.raises(RunHeld, match=f"far, process {FAR.pid} on far"):
            await store.take("far", ME)
        with pytest.raises(NoSuchRun):
            await store.take("none", ME)


async def what_a_dead_owner_left_is_taken(make: Make) -> None:
    async with opened(make) as store:
        left = await store.create("r", b"", DEAD)
        await store.append(left, [row(1)], {})
        taken = await store.take("r", ME)
        assert taken.fence > left.fence
        assert store.run("r").owner == ME
        for rows in ([row(2)], [row(2), row(3)], []):
            with pytest.raises(LeaseLost, match=f"me, process {ME.pid}"):
                await store.append(left, rows, {DIGEST: b"x"} if not rows else {})
        with pytest.raises(LeaseLost, match=f"me, process {ME.pid}"):
            await store.rest(left, "failed", [], {})
        await store.append(taken, [row(2, body=b"mine")], {})
        assert [one.body for one in store.rows("r")] == [b"{}", b"mine"]
        assert (store.run("r").status, store.run("r").owner) == ("running", ME)


async def a_run_that_rests_is_nobodys(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        assert dict(await store.rest(lease, "completed", [], {})) == {}
        assert (store.run("r").status, store.run("r").owner) == ("completed", None)
        with pytest.raises(LeaseLost):
            await store.append(lease, [row(1)], {})
        with pytest.raises(LeaseLost):
            await store.rest(lease, "failed", [], {})
        again = await store.take("r", FAR)
        assert again.fence > lease.fence
        assert (store.run("r").status, store.run("r").owner) == ("running", FAR)
        with pytest.raises(LeaseLost, match="far"):
            await store.append(lease, [row(1)], {})
        await store.append(again, [row(1)], {})


async def nobody_rests_with_an_answer_unseen(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        await store.answer("r", "a", b"1")
        await store.answer("r", "b", b"2")
        both = {"a": b"1", "b": b"2"}
        assert dict(await store.rest(lease, "paused", ["a", "c"], {})) == both
        assert dict(await store.rest(lease, "paused", ["b", "a"], {"a": b"1"})) == both
        assert dict(await store.rest(lease, "paused", ["a"], {"a": b"0"})) == both
        assert (store.run("r").status, store.run("r").owner) == ("running", ME)
        await store.append(lease, [row(1)], {})
        assert dict(await store.rest(lease, "paused", ["a", "c"], {"a": b"1", "c": b"3"})) == {}
        assert store.run("r").status == "paused"


async def an_answer_of_no_open_pause_keeps_nobody(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        await store.answer("r", "a", b"1")
        assert dict(await store.rest(lease, "failed", [], {})) == {}
        assert store.run("r").owner is None


async def the_first_answer_holds(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", FAR)
        await store.create("other", b"", ME)
        assert await store.answer("r", "a", b"1") == b"1"
        assert await store.answer("r", "a", b"2") == b"1"
        assert await store.answer("r", "b", b"2") == b"2"
        await store.rest(lease, "completed", [], {})
        assert await store.answer("r", "c", b"") == b""
        assert dict(store.answers("r")) == {"a": b"1", "b": b"2", "c": b""}
        assert dict(store.answers("other")) == {}
        assert store.run("r").answered == 3


async def what_is_not_there_is_said(make: Make) -> None:
    async with opened(make) as store:
        await store.create("r", b"", ME)
        reads: list[Callable[[str], object]] = [store.run, store.rows, store.answers]
        for read in reads:
            with pytest.raises(NoSuchRun, match="'none'"):
                read("none")
        with pytest.raises(NoSuchRun):
            await store.answer("none", "a", b"1")
        with pytest.raises(NoSuchRun):
            await store.delete("none")


async def runs_are_told_newest_first_with_their_sums(make: Make) -> None:
    async with opened(make) as store:
        for name in "abc":
            lease = await store.create(name, b"", ME)
            await store.append(lease, [row(1, spent=1), row(2, spent=10)], {})
        assert [told.run_id for told in store.runs()] == ["c", "b", "a"]
        told = store.run("b")
        assert (told.rows, told.last_seq) == (2, 2)
        assert (told.cost_micros, told.tokens, told.requests) == (11, 22, 33)
        assert told in store.runs()


async def sizes_and_times_are_those_of_the_rows(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        small = store.run("r").size
        await store.append(lease, [row(1, at=9e9, body=bytes(1000))], {})
        assert store.run("r").updated_at == 9e9
        assert 1000 <= store.run("r").size - small < 1200
        await store.append(lease, [row(2, at=5.0)], {DIGEST: bytes(5000)})
        assert store.run("r").updated_at == 9e9
        assert 6000 <= store.run("r").size - small < 6400


async def deleting_removes_all_of_a_run(make: Make) -> None:
    async with opened(make) as store:
        lease = await store.create("r", b"", ME)
        await store.append(lease, [row(1)], {DIGEST: bytes(100_000), OTHER: b"x"})
        await store.answer("r", "a", b"1")
        twin = await store.create("twin", b"", ME)
        await store.append(twin, [row(1)], {OTHER: b"x"})
        with pytest.raises(RunHeld):
            await store.delete("r")
        await store.rest(lease, "completed", [], {})
        assert await store.delete("r") >= 90_000
        with pytest.raises(NoSuchRun):
            store.run("r")
        with pytest.raises(StoreError):
            store.blob(DIGEST)
        assert (store.blob(OTHER), store.run("twin").rows) == (b"x", 1)
        again = await store.create("r", b"", ME)
        assert list(store.rows("r")) == [] and dict(store.answers("r")) == {}
        with pytest.raises(LeaseLost):
            await store.append(lease, [row(1)], {})
        await store.append(again, [row(1)], {})


async def what_was_forked_from_stays(make: Make) -> None:
    async with opened(make) as store:
        await store.create("base", b"", DEAD)
        fork = await store.create("fork", b"", ME, Source("base", 0))
        with pytest.raises(StoreError, match="'fork'"):
            await store.delete("base")
        await store.rest(fork, "completed", [], {})
        await store.delete("fork")
        await store.delete("base")
        assert list(store.runs()) == []


async def _aged(store: Store, *ages: tuple[str, float, Owner | None, Source | None]) -> None:
    for name, at, owner, source in ages:
        lease = await store.create(name, b"", owner or ME, source)
        await store.append(lease, [row(1, at=at)], {name.encode() * 32: bytes(200_000)})
        if owner is None:
            await store.rest(lease, "completed", [], {})


async def pruning_by_age_keeps_what_is_in_use(make: Make) -> None:
    async with opened(make) as store:
        now = time.time()
        await _aged(
            store,
            ("a", now + 100, None, None),
            ("b", now + 200, None, None),
            ("c", now + 110, FAR, None),
            ("d", now + 120, None, Source("b", 1)),
            ("e", now + 300, None, Source("a", 1)),
            ("f", now + 130, DEAD, None),
        )
        pruned = await store.prune(older_than=now + 250)
        assert (sorted(pruned.runs), {run.run_id for run in store.runs()}) == (
            ["b", "d", "f"],
            {"a", "c", "e"},
        )
        assert pruned.freed >= 590_000
        assert (await store.prune(older_than=now + 50)).runs == ()


async def pruning_by_size_begins_with_the_oldest(make: Make) -> None:
    async with opened(make) as store:
        now = time.time()
        ages = [("c", now + 30), ("a", now + 10), ("b", now + 20), ("d", now + 40)]
        await _aged(store, *((name, at, None, None) for name, at in ages))
        assert await store.prune() == await store.prune(down_to=1 << 40)
        pruned = await store.prune(down_to=700_000)
        assert pruned.runs == ("a",)
        pruned = await store.prune(down_to=0)
        assert (pruned.runs, list(store.runs())) == (("b", "c", "d"), [])


async def a_closed_store_says_so(make: Make) -> None:
    store = make()
    lease = await store.create("r", b"", ME)
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        store.runs()
    with pytest.raises(StoreError, match="closed"):
        await store.append(lease, [row(1)], {})


CASES: tuple[Case, ...] = (
    a_new_run_is_told,
    an_id_is_given_once,
    a_fork_names_its_source,
    rows_come_back_as_they_were,
    ids_and_names_are_data,
    rows_and_blobs_are_written_all_or_none,
    blobs_are_found_by_digest,
    a_run_has_one_owner,
    what_a_dead_owner_left_is_taken,
    a_run_that_rests_is_nobodys,
    nobody_rests_with_an_answer_unseen,
    an_answer_of_no_open_pause_keeps_nobody,
    the_first_answer_holds,
    what_is_not_there_is_said,
    runs_are_told_newest_first_with_their_sums,
    sizes_and_times_are_those_of_the_rows,
    deleting_removes_all_of_a_run,
    what_was_forked_from_stays,
    pruning_by_age_keeps_what_is_in_use,
    pruning_by_size_begins_with_the_oldest,
    a_closed_store_says_so,
)
