"""Stores that fail, die or dawdle on purpose, and runs that another process takes up again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flujo_nb.engine import durable_runs
from flujo_nb.engine.errors import StoreFailed
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.stores import Lease, Row
from flujo_nb.engine.usage import FREE, Usage
from tests.engine.fakes import Counts
from tests.engine.pauses import Calls


def works(calls: Calls, name: str, **options: Any) -> Any:
    """A step that is counted, and adds its name to what it gets."""

    async def work(data: object) -> str:
        calls[name] += 1
        return f"{data} {name}"

    return Step.from_callable(work, name=name, **options)


KEY = "sk-" + "a1B2" * 8
"""What looks like a key."""


def row(seq: int, path: str = "a", kind: str = "finished", **told: Any) -> Row:
    """A row; one of a finished frame says ``success`` unless it is told otherwise."""
    spent: Usage = told.pop("spent", FREE)
    given: dict[str, Any] = {
        "name": path.rpartition("/")[2],
        "status": "success" if kind == "finished" else None,
        "definition": b"d" * 16 if kind == "finished" else None,
        "input": b"i" * 16 if kind == "finished" else None,
        "started": seq - 1 if kind == "finished" else None,
        "at": 0.0,
        "cost_micros": spent.cost_micros,
        "tokens": spent.tokens,
        "requests": spent.requests,
        "body": b"{}",
        **told,
    }
    return Row(seq=seq, path=path, kind=kind, **given)


class Mortal(MemoryStore):
    """A store that is gone after ``left`` more appends, as for a process that was killed there.

    ``batches`` are the rows of each append that was done.
    """

    def __init__(self, left: int | None = None) -> None:
        super().__init__()
        self.left = left
        self.batches: list[list[Row]] = []

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        self._check_lives()
        await super().append(lease, rows, blobs)
        self.batches.append(list(rows))
        if self.left is not None:
            self.left -= 1

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        self._check_lives()
        return await super().rest(lease, status, pauses, known)

    def _check_lives(self) -> None:
        if self.left == 0:
            raise StoreFailed("the disk is gone")

    def revive(self) -> None:
        """Let another process go on: those that held runs are dead."""
        self.left = None
        durable_runs._unrested.clear()  # what a process knows of its leases dies with it
        for run in self._runs.values():
            if run.owner is not None:
                run.owner = replace(run.owner, process_start="0")

    def seize(self) -> None:
        """Let another process take all runs, while their owners live."""
        for run in self._runs.values():
            if run.owner is not None:
                self._lend("", run, replace(run.owner, label="thief"))

    @property
    def finished(self) -> list[str]:
        """Where frames ended well, in order."""
        rows = [row for batch in self.batches for row in batch]
        return [row.path for row in rows if row.kind == "finished" and row.status == "success"]


class Slow(MemoryStore):
    """A store whose appends take some turns of the loop.

    ``appended`` are the numbers of the rows of each append that was done, ``most`` is how many
    were under way at once; number ``fails_at`` (from 1) fails.
    """

    def __init__(self, turns: int = 3, fails_at: int | None = None) -> None:
        super().__init__()
        self.appended: list[list[int]] = []
        self.most = 0
        self._turns = turns
        self._fails_at = fails_at
        self._begun = 0
        self._under_way = 0

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        self._begun += 1
        number = self._begun
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            for _ in range(self._turns):
                await asyncio.sleep(0)
            if number == self._fails_at:
                raise StoreFailed("no space left")
            await super().append(lease, rows, blobs)
            self.appended.append([row.seq for row in rows])
        finally:
            self._under_way -= 1


def durable(node: Any, store: MemoryStore, **options: Any) -> Flujo:
    """A runner with a `Counts` context that keeps its runs in ``store``."""
    options.setdefault("context_model", Counts)
    return Flujo(node, state_backend=store, **options)


async def dies(node: Any, data: object, left: int, **options: Any) -> Mortal:
    """The store of a run called ``r`` that was killed after ``left`` appends, for its heir."""
    store = Mortal(left)
    with suppress(StoreFailed):
        await durable(node, store, **options).run_async(data, run_id="r")
    store.revive()
    return store
