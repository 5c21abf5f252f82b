"""Stores that fail or die on purpose, and runs that are taken up again as by another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flujo_nb.engine.errors import StoreFailed
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.stores import Lease, Row
from tests.engine.fakes import Counts


class Mortal(MemoryStore):
    """A store whose process dies: after ``left`` more appends nothing is written any more.

    ``batches`` are the rows of each append that was done.
    """

    def __init__(self, left: int | None = None) -> None:
        super().__init__()
        self.left = left
        self.batches: list[list[Row]] = []

    @property
    def is_dead(self) -> bool:
        return self.left == 0

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        self._live()
        await super().append(lease, rows, blobs)
        self.batches.append(list(rows))
        if self.left is not None:
            self.left -= 1

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        self._live()
        return await super().rest(lease, status, pauses, known)

    def _live(self) -> None:
        if self.is_dead:
            raise StoreFailed("the disk is gone")

    def revive(self) -> None:
        """Let a new process write: whoever held a run is dead."""
        self.left = None
        for run in self._runs.values():
            if run.owner is not None:
                run.owner = replace(run.owner, process_start="0")


class Slow(MemoryStore):
    """A store whose appends take some turns of the loop; ``most`` were under way at once."""

    def __init__(self, turns: int = 3) -> None:
        super().__init__()
        self.turns = turns
        self.fails_at: int | None = None
        self.appended: list[list[int]] = []
        self.most = 0
        self._begun = 0
        self._under_way = 0

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        self._begun += 1
        fails = self._begun == self.fails_at
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if fails:
                raise StoreFailed("no space left")
            await super().append(lease, rows, blobs)
            self.appended.append([row.seq for row in rows])
        finally:
            self._under_way -= 1
