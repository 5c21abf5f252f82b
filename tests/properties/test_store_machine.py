"""Whatever is done to a store, by whichever handle, it tells what a plain dict would tell."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from flujo_nb.engine.errors import LeaseLost, NoSuchRun, RunExists, RunHeld, StoreError
from flujo_nb.engine.store import memory, sqlite
from flujo_nb.engine.stores import Lease, Owner, Row, Source, Store
from tests.engine.store_contract import DEAD, FAR, ME, row

T = TypeVar("T")

LEASE_S = 1000.0
names = st.sampled_from(["a", "b", "c"])
owners = st.sampled_from([ME, FAR, DEAD])
pauses = st.sampled_from(["p", "q"])
handles = st.sampled_from([0, 1])
DIGESTS = [bytes([number]) * 32 for number in range(3)]


@dataclass
class Run:
    """What the dict holds of a run."""

    about: bytes
    source: Source | None
    owner: Owner | None
    lease: Lease | None
    expires: float
    touched: float
    status: str = "running"
    rows: dict[int, Row] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    blobs: set[bytes] = field(default_factory=set)


class Machine(RuleBasedStateMachine):
    """Several processes, two handles, one dict."""

    leases = Bundle("leases")
    expires = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = 1e9
        self.runs: dict[str, Run] = {}
        self.patch = pytest.MonkeyPatch()
        fake = SimpleNamespace(time=lambda: self.clock)
        self.patch.setattr(sqlite, "time", fake)
        self.patch.setattr(memory, "time", fake)
        self.stores = self.open_both()

    def open_both(self) -> list[Store]:
        raise NotImplementedError

    def close_all(self) -> None:
        for store in self.stores:
            self.do(store.aclose())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.close_all()
        self.loop.close()
        self.patch.undo()

    def is_free(self, run: Run, taker: Owner) -> bool:
        if run.owner in (None, DEAD):
            return True
        return self.expires and run.expires <= self.clock and run.owner != taker

    def owned(self, name: str, lease: Lease) -> Run:
        run = self.runs[name]
        run.lease, run.owner = lease, lease.owner
        run.status, run.touched = "running", self.clock
        run.expires = self.clock + LEASE_S
        return run

    @rule(target=leases, name=names, owner=owners, base=st.none() | names, handle=handles)
    def create(self, name: str, owner: Owner, base: str | None, handle: int) -> Lease | None:
        source = Source(base, 1) if base is not None else None
        work = self.stores[handle].create(name, name.encode(), owner, source)
        if name in self.runs:
            with pytest.raises(RunExists):
                self.do(work)
            return None
        if base is not None and base not in self.runs:
            with pytest.raises(NoSuchRun):
                self.do(work)
            return None
        lease = self.do(work)
        self.runs[name] = Run(name.encode(), source, None, None, 0.0, 0.0)
        self.owned(name, lease)
        return lease

    @rule(target=leases, name=names, owner=owners, handle=handles)
    def take(self, name: str, owner: Owner, handle: int) -> Lease | None:
        work = self.stores[handle].take(name, owner)
        run = self.runs.get(name)
        if run is None or not self.is_free(run, owner):
            with pytest.raises(RunHeld if run is not None else NoSuchRun):
                self.do(work)
            return None
        before = run.lease
        lease = self.do(work)
        assert before is None or lease.fence > before.fence
        self.owned(name, lease)
        return lease

    @rule(
        lease=leases,
        seqs=st.lists(st.integers(1, 6), max_size=3),
        digests=st.sets(st.sampled_from(DIGESTS), max_size=2),
        handle=handles,
    )
    def append(
        self, lease: Lease | None, seqs: list[int], digests: set[bytes], handle: int
    ) -> None:
        if lease is None:
            return
        rows = [row(seq, at=self.clock, body=b"%d" % lease.fence) for seq in seqs]
        work = self.stores[handle].append(lease, rows, {one: one * 9 for one in digests})
        run = self.runs.get(lease.run_id)
        if run is None or run.lease != lease:
            with pytest.raises(LeaseLost):
                self.do(work)
        elif len(set(seqs)) < len(seqs) or run.rows.keys() & set(seqs):
            with pytest.raises(StoreError):
                self.do(work)
        else:
            self.do(work)
            run.rows.update({one.seq: one for one in rows})
            run.blobs |= digests
            if rows:
                run.touched = max(run.touched, self.clock)

    @rule(lease=leases, open_pauses=st.sets(pauses), seen=st.booleans(), handle=handles)
    def rest(self, lease: Lease | None, open_pauses: set[str], seen: bool, handle: int) -> None:
        if lease is None:
            return
        run = self.runs.get(lease.run_id)
        known = dict(run.answers) if run is not None and seen else {}
        work = self.stores[handle].rest(lease, "rested", sorted(open_pauses), known)
        if run is None or run.lease != lease:
            with pytest.raises(LeaseLost):
                self.do(work)
            return
        answers = dict(self.do(work))
        if not seen and open_pauses & run.answers.keys():
            assert answers == run.answers
        else:
            assert answers == {}
            run.owner = run.lease = None
            run.status, run.touched = "rested", self.clock

    @rule(name=names, pause=pauses, body=st.sampled_from([b"1", b"2"]), handle=handles)
    def answer(self, name: str, pause: str, body: bytes, handle: int) -> None:
        work = self.stores[handle].answer(name, pause, body)
        run = self.runs.get(name)
        if run is None:
            with pytest.raises(NoSuchRun):
                self.do(work)
            return
        assert self.do(work) == run.answers.setdefault(pause, body)
        run.touched = self.clock

    def is_removable(self, name: str) -> bool:
        run = self.runs[name]
        forked = any(other.source == Source(name, 1) for other in self.runs.values())
        return not forked and self.is_free(run, ME)

    @rule(name=names, handle=handles)
    def delete(self, name: str, handle: int) -> None:
        work = self.stores[handle].delete(name)
        if name in self.runs and self.is_removable(name):
            assert self.do(work) >= 0
            del self.runs[name]
        else:
            with pytest.raises(StoreError):
                self.do(work)

    @rule(age=st.sampled_from([0.0, 500.0]), handle=handles)
    def prune(self, age: float, handle: int) -> None:
        limit = self.clock - age
        for name in self.do(self.stores[handle].prune(older_than=limit)).runs:
            assert self.is_removable(name) and self.latest(name) < limit
            del self.runs[name]
        left = [name for name in self.runs if self.is_removable(name)]
        assert all(self.latest(name) >= limit for name in left)

    def latest(self, name: str) -> float:
        run = self.runs[name]
        return max([run.touched, *(one.at for one in run.rows.values())])

    @rule(seconds=st.sampled_from([-700.0, 300.0, 900.0, 2000.0]))
    def jump(self, seconds: float) -> None:
        self.clock += seconds

    @invariant()
    def the_store_tells_what_the_dict_tells(self) -> None:
        for store in self.stores:
            told = {one.run_id: one for one in store.runs()}
            assert told.keys() == self.runs.keys()
            for name, run in self.runs.items():
                one = told[name]
                assert (one.about, one.status, one.owner, one.source) == (
                    run.about,
                    run.status,
                    run.owner,
                    run.source,
                )
                assert (one.answered, one.rows) == (len(run.answers), len(run.rows))
                assert one.last_seq == max(run.rows, default=0)
                assert list(store.rows(name)) == sorted(run.rows.values())
                assert dict(store.answers(name)) == run.answers
            self.blobs_are_those_in_use(store)

    def blobs_are_those_in_use(self, store: Store) -> None:
        used = set[bytes]().union(*(run.blobs for run in self.runs.values()))
        for digest in DIGESTS:
            if digest in used:
                assert store.blob(digest) == digest * 9
            else:
                with pytest.raises(StoreError):
                    store.blob(digest)


class MemoryMachine(Machine):
    expires = False

    def open_both(self) -> list[Store]:
        return [memory.MemoryStore()] * 2


class SqliteMachine(Machine):
    def open_both(self) -> list[Store]:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name).resolve() / "runs.db"
        self.left: list[Store] = []
        return [self.open_one(), self.open_one()]

    def open_one(self) -> Store:
        return sqlite.SqliteStore(self.path, durability="normal", lease_s=LEASE_S)

    @rule(handle=handles, closed=st.booleans())
    def reopen(self, handle: int, closed: bool) -> None:
        """Another process opens the store; the one before it ended well, or stands still."""
        if closed:
            self.do(self.stores[handle].aclose())
        else:
            self.left.append(self.stores[handle])
        self.stores[handle] = self.open_one()

    def teardown(self) -> None:
        self.stores += self.left
        super().teardown()
        self.folder.cleanup()


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
