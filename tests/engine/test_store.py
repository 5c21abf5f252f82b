"""Both stores keep the contract, and the contract catches stores that are broken on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Lease, Owner, Row, Store
from tests.engine import store_contract as contract
from tests.engine.fakes import Wait

STORES = ("memory", "sqlite", "sqlite in full")


def maker(kind: str, folder: Path) -> contract.Make:
    def make() -> Store:
        match kind:
            case "memory":
                return MemoryStore()
            case "sqlite":
                return SqliteStore(folder / "runs.db", durability="normal")
            case _:
                return SqliteStore(folder / "runs.db")

    return make


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("case", contract.CASES, ids=lambda case: case.__name__)
def test_a_store_keeps_the_contract(
    case: contract.Case, kind: str, tmp_path: Path, wait: Wait
) -> None:
    wait(case(maker(kind, tmp_path)))


def test_every_case_is_run() -> None:
    cases = {
        name
        for name, value in vars(contract).items()
        if getattr(value, "__annotations__", {}).get("make") == "Make"
    }
    assert cases - {"opened"} == {case.__name__ for case in contract.CASES}


class WithoutFence(SqliteStore):
    """Writes with whatever lease holds."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        held = self._database.read("select fence from run where id = ?", int, lease.run_id)
        await super().append(replace(lease, fence=held[0] if held else 0), rows, blobs)


class WithoutTransaction(SqliteStore):
    """Writes row by row."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        await super().append(lease, [], blobs)
        for row in rows:
            await super().append(lease, [row], {})


class WithoutOwners(SqliteStore):
    """Lends a run to everybody."""

    async def take(self, run_id: str, owner: Owner) -> Lease:
        self._database._writer.execute("update run set owner = null")
        return await super().take(run_id, owner)


class MemoryWithoutFence(MemoryStore):
    """Writes with whatever lease holds."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        run = self._runs.get(lease.run_id)
        fence = run.fence if run is not None and run.fence is not None else 0
        await super().append(replace(lease, fence=fence), rows, blobs)


class MemoryWithoutTransaction(MemoryStore):
    """Writes row by row."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        await super().append(lease, [], blobs)
        for row in rows:
            await super().append(lease, [row], {})


class DeafMemory(MemoryStore):
    """Rests without looking for answers."""

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        return await super().rest(lease, status, [], known)


BROKEN: tuple[tuple[type[SqliteStore] | type[MemoryStore], contract.Case], ...] = (
    (WithoutFence, contract.what_a_dead_owner_left_is_taken),
    (WithoutFence, contract.deleting_removes_all_of_a_run),
    (WithoutTransaction, contract.rows_and_blobs_are_written_all_or_none),
    (WithoutOwners, contract.a_run_has_one_owner),
    (MemoryWithoutFence, contract.what_a_dead_owner_left_is_taken),
    (MemoryWithoutTransaction, contract.rows_and_blobs_are_written_all_or_none),
    (DeafMemory, contract.nobody_rests_with_an_answer_unseen),
)


@pytest.mark.parametrize(("broken", "case"), BROKEN)
def test_a_broken_store_is_caught(
    broken: type[SqliteStore] | type[MemoryStore], case: contract.Case, tmp_path: Path, wait: Wait
) -> None:
    def make() -> Store:
        return _made(broken, tmp_path)

    # A missing exception is pytest's `Failed`, no `AssertionError`; both say that the case fails.
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        wait(case(make))


def _made(kind: type[SqliteStore] | type[MemoryStore], folder: Path) -> Store:
    return kind(folder / "runs.db") if issubclass(kind, SqliteStore) else kind()
