"""Stores with one fault each, to show that the harness notices what it is there for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from flujo_nb.engine.errors import LeaseLost
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Lease, Row


class Sound:
    """A store as it should be; what a broken one does not do itself."""

    def __init__(self, sound: SqliteStore) -> None:
        self.sound = sound

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sound, name)


class Late(Sound):
    """Says that rows are written, and writes them when the next ones come."""

    def __init__(self, sound: SqliteStore) -> None:
        super().__init__(sound)
        self._kept: list[Row] = []
        self._blobs: dict[bytes, bytes] = {}

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """Keep these, write those that were kept."""
        late, late_blobs = self._kept, self._blobs
        self._kept, self._blobs = list(rows), dict(blobs)
        if late:
            await self.sound.append(lease, late, late_blobs)

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """Write the last ones at the very end."""
        await self.append(lease, (), {})
        return await self.sound.rest(lease, status, pauses, known)


class Torn(Sound):
    """Writes a row and what is in it in two transactions."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """Write empty rows first."""
        await self.sound.append(lease, [row._replace(body=b"{}") for row in rows], blobs)
        with closing(sqlite3.connect(self.sound.location, isolation_level=None)) as connection:
            connection.executemany(
                "update entry set body = ? where id = ? + "
                "(select number << 32 from run where id = ?)",
                [(row.body, row.seq, lease.run_id) for row in rows],
            )


class Unfenced(Sound):
    """Lets whoever lost a run write on, over what is there."""

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """Write, whoever owns the run."""
        try:
            await self.sound.append(lease, rows, blobs)
        except LeaseLost:
            with closing(sqlite3.connect(self.sound.location, isolation_level=None)) as connection:
                connection.executemany(
                    "insert or replace into entry select (number << 32) + ?, "
                    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from run where id = ?",
                    [(*row, lease.run_id) for row in rows],
                )

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """Give back what is not there any more."""
        with suppress(LeaseLost):
            return await self.sound.rest(lease, status, pauses, known)
        return {}


BROKEN: Mapping[str, Callable[[SqliteStore], Any]] = {
    "late": Late,
    "torn": Torn,
    "unfenced": Unfenced,
}
