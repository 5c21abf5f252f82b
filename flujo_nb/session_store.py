"""Where the sessions of a kernel are kept, and which of them is at work.

The default store lies in ``.flujo`` beside the notebook and is opened when something is to be
recorded. It never stops a cell: where it cannot be, or fails, the session goes on in memory, and
says so once. A store that the user named is strict. A session is bound to a notebook that the
front end named; then a later kernel goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from flujo_nb.engine.errors import StoreError
from flujo_nb.engine.recorded_run import Persist
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.secrets import SecretBook, secrets_of
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.stores import Lease, StoredRun
from flujo_nb.engine.usage import UNLIMITED, Quota, Usage

from .head import Entry
from .notebook_place import NotebookPlace
from .session import Session
from .stored_keeper import StoredKeeper

BUSY_S = 2.0
"""How long a store that another process holds is waited for."""

MAX_DAYS = 30
MAX_BYTES = 2 * 2**30
"""How old other sessions may become in the default store, and how large that."""


class About(BaseModel):
    """What a session's run says of itself in the store."""

    kind: str = ""
    name: str | None = None
    notebook: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A session in the store, as it is listed."""

    run: StoredRun
    about: About


class SessionStore:
    """A store with sessions in it, opened.

    Saved values may be of the classes that ``names``, the user's variables, hold. Raises
    `StoreError`.
    """

    def __init__(self, path: Path, place: NotebookPlace, names: Mapping[str, object]) -> None:
        self.path = path
        self._notebook = None if place.notebook is None else str(place.notebook)
        self._names = names
        label = "" if place.notebook is None else place.notebook.name
        self._owner = this_process(label)
        self.store = SqliteStore(path, durability="normal", busy_timeout_s=BUSY_S)

    def sessions(self) -> Sequence[Kept]:
        """All sessions, the newest first. Raises `StoreError`."""
        kept = [Kept(run, _about(run)) for run in self.store.runs()]
        return [one for one in kept if one.about.kind == "session"]

    def ids(self) -> Sequence[str]:
        """The sessions' ids; none when the store cannot be read."""
        try:
            return [one.run.run_id for one in self.sessions()]
        except StoreError:
            return []

    def bound(self) -> Kept | None:
        """The newest session with frames of the notebook that this kernel works for."""
        if self._notebook is None:
            return None
        for one in self.sessions():
            if one.about.notebook == self._notebook and one.run.rows:
                return one
        return None

    async def create(self, session: Session) -> None:
        """Have ``session`` kept here from now on. Raises `StoreError`."""
        name = None if self._notebook is None else Path(self._notebook).name
        about = About(kind="session", name=name, notebook=self._notebook)
        body = to_json(about.model_dump())
        lease = await self.store.create(session.run_id, body, self._owner)
        session.keeper = self._keeper(session, lease)
        if session.quota.limits != UNLIMITED:
            await session.keeper.limited(session.quota.limits)

    async def restore(self, session: Session) -> str | None:
        """Make ``session`` the one of its id here, with its frames; where HEAD stood, if it did.

        No values are decoded, and nothing is executed. Raises `RunHeld`, `NoSuchRun`, `StoreError`.
        """
        lease = await self.store.take(session.run_id, self._owner)
        run = self.store.run(session.run_id)
        spent = Usage(run.cost_micros, run.tokens, run.requests)
        session.quota = Quota(spent=spent)
        return self._fill(session, self._keeper(session, lease))

    def look(self, session: Session) -> None:
        """Show ``session`` the frames of its id here, which another process may have."""
        self._fill(session, self._keeper(session, None))

    def _fill(self, session: Session, keeper: StoredKeeper) -> str | None:
        session.keeper = keeper
        noted = keeper.restored()
        for command, ended in noted.frames:
            session.entries.append(Entry(command, ended, session.recaller.record_of))
        for one in noted.reused:
            session.stood_for(session.entry_of(one.frame), one.cell, one.after)
        if noted.limits is not None:
            session.limit(noted.limits)
        session.frames = len(noted.frames)
        numbers = [entry.command.path.segments[0].key for entry in session.entries]
        session.commands = max((int(str(number)) for number in numbers), default=0)
        session.left_head = noted.head
        return noted.head

    def _keeper(self, session: Session, lease: Lease | None) -> StoredKeeper:
        types = TypeTable(lambda: self._names)
        secrets = SecretBook(self.store.key, lambda: secrets_of(session.resources))
        journal = StoredJournal(
            self.store,
            session.run_id,
            Codec(types, secrets),
            Persist.AUTO,
            lease,
            definitions=session.targets.definitions,
        )
        if lease is not None:
            journal.writer.seq = self.store.run(session.run_id).last_seq
        return StoredKeeper(self.store, journal, types)

    async def prune(self) -> str | None:
        """Keep to the bounds of the default store; what to say about that."""
        pruned = await self.store.prune(
            older_than=time.time() - MAX_DAYS * 86_400, down_to=MAX_BYTES
        )
        if not pruned.runs:
            return None
        count = len(pruned.runs)
        return (
            f"{count} old run{'s' if count > 1 else ''} removed from {self.path} "
            f"({pruned.freed / 2**20:.1f} MB): it keeps {MAX_DAYS} days, and 2 GB"
        )

    @property
    def size(self) -> int:
        """The bytes that the store takes on the disk."""
        sides = (Path(f"{self.path}{side}") for side in ("", "-wal", "-shm"))
        return sum(side.stat().st_size for side in sides if side.exists())

    async def close(self) -> None:
        """Let go of the file."""
        await self.store.aclose()


def _about(run: StoredRun) -> About:
    try:
        return About.model_validate_json(run.about)
    except ValidationError:
        return About()
