"""The session that a kernel works in: found when it is first needed, and exchanged on request.

The default store never stops a cell: what keeps it from being used, or fails it, is said once, and
the session goes on in memory. With a store that the user named the same is an error.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from flujo_nb.engine.errors import RunHeld, StoreError
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.usage import UNLIMITED
from flujo_nb.engine.user_code import caught

from .errors import TerseError, unknown
from .head import open_question
from .keeper import MemoryKeeper
from .notebook_place import NotebookPlace, default_path, make_folder, place_of, why_unfit
from .session import MB, Session
from .settings import AUTO, Flujo
from .targets import Targets

if TYPE_CHECKING:
    from .session_store import Kept, SessionStore

MAX_CLOSING_S = 2.0
"""How long a kernel that ends waits for the store."""


class StoreUnusable(TerseError):
    """A store that was named cannot be used. No step has run."""


class Sessions:
    """Has the current session, and the store in which it and others are kept.

    ``names`` are the user's variables; ``say`` tells the user something.
    """

    def __init__(
        self, settings: Flujo, names: Mapping[str, object], say: Callable[[str], None]
    ) -> None:
        self.current = Session(Targets(names))
        self.store: SessionStore | None = None
        self._settings = settings
        self._names = names
        self._say = say
        self._is_settled = False
        self._has_told = False
        self._opened_as: str | None = None

    # Finding one

    @property
    def place(self) -> NotebookPlace:
        """Where the notebook lies."""
        return place_of(self._names)

    @property
    def path(self) -> Path | None:
        """Where the store is, or would be; ``None`` when there shall be none."""
        wanted = self._settings.store
        if wanted is None:
            return None
        if wanted == AUTO:
            return default_path(self.place)
        return Path(wanted).expanduser().absolute()

    @property
    def kept(self) -> str:
        """Where the current session is kept, or will be when something is recorded."""
        path, keeper = self.path, self.current.keeper
        if self._is_settled or path is None:
            return keeper.place
        unfit = why_unfit(self.place.folder) if self._settings.store == AUTO else None
        if unfit is not None:
            return f"in memory only: {unfit}"
        return f"in {path}, from the first frame on"

    @property
    def is_named(self) -> bool:
        """Whether the store in use is one that the user named."""
        return self._opened_as not in (None, AUTO)

    def may_restore(self) -> bool:
        """Whether there may be a session of this notebook; without opening anything."""
        path = self.path
        return path is not None and self.place.notebook is not None and path.exists()

    async def ready(self, *, records: bool) -> Session:
        """The current session; ``records`` says that something is to be recorded now.

        The first one that is needed is that of the notebook, if it has one. A store that was named
        and cannot be used is told of, and when something is to be recorded, `StoreUnusable`.
        """
        self.current.max_memory = self._settings.max_memory * MB
        is_other = self._opened_as != self._settings.store
        if is_other and not self._is_settled and self.store is not None:
            store, self.store = self.store, None  # it was only looked into
            await store.close()
        if is_other and self._is_settled:
            if not self.current.entries and not list(self.current.background):
                await self.close()
            else:
                self._opened_as = self._settings.store
                self._say("Flujo.store holds from the next session on:  %flujo session new")
        if self._is_settled or not (records or self.may_restore()):
            return self.current
        self._opened_as = self._settings.store
        if self._settings.store is None:
            self.current.keeper = MemoryKeeper("Flujo.store is None")
            self._is_settled = True
            return self.current
        try:
            await self._settle(records)
        except StoreError as error:
            if records or not self.is_named:
                self._give_up(error)
            elif not self._has_told:
                self._has_told = True
                self._say(str(_unusable(error)))
        return self.current

    async def _settle(self, records: bool) -> None:
        """Open the store; restore the notebook's session, or begin a new one. As `ready`."""
        store = self._open(records)
        if store is None:
            return
        bound = store.bound()
        if bound is not None and await self._restore(store, bound):
            self._is_settled = True
        elif records or bound is not None:
            await store.create(self.current)
            self._is_settled = True
            self._say(
                f"this session is kept in {store.path}"
                f"{'' if self._opened_as != AUTO else '  (%config Flujo.store = None: in memory)'}"
            )
        if self._is_settled and self._opened_as == AUTO:
            told = await store.prune()
            if told is not None:
                self._say(told)

    async def _restore(self, store: SessionStore, kept: Kept) -> bool:
        session = self._another(kept.run.run_id)
        try:
            head = await store.restore(session)
        except RunHeld:
            self._say(
                f"session {kept.run.run_id} of this notebook is at work in another kernel "
                f"({kept.run.owner}); this one begins a new session.  "
                f"%flujo session list {kept.run.run_id}  shows its frames"
            )
            return False
        self.current = session
        self._say(restored_line(session, head))
        return True

    def _open(self, makes: bool) -> SessionStore | None:
        """The store, opened; ``None`` when the session stays in memory, or there is no file yet."""
        path = self.path
        if self.store is not None or path is None:
            return self.store
        if self._settings.store == AUTO and makes:
            unfit = make_folder(self.place)
            if unfit is not None:
                self._stay_in_memory(unfit)
                return None
        if not makes and not path.exists():
            return None
        from .session_store import SessionStore  # noqa: PLC0415  # sqlite, when it is needed

        self.store = SessionStore(path, self.place, self._names)
        return self.store

    def _give_up(self, error: StoreError) -> None:
        """A store that was named is an error; of the default one the reason is said."""
        if self._opened_as != AUTO:
            raise _unusable(error) from error
        self._stay_in_memory(" ".join(str(error).split()))

    def _stay_in_memory(self, why: str) -> None:
        self.current.keeper = MemoryKeeper(why, self.current.keeper)
        self._is_settled = True
        self._say(f"this session is kept in memory only: {why}")

    def failed(self, error: StoreError) -> None:
        """Go on without the store that failed at work, if it is the default one.

        Raises `StoreUnusable` for a store that was named.
        """
        self._give_up(error)

    def _another(self, run_id: str | None = None) -> Session:
        """A session for the same kernel."""
        old = self.current
        session = Session(old.targets, run_id)
        session.initial_context, session.resources = old.initial_context, old.resources
        session.max_memory = old.max_memory
        session.slots.allow(old.slots.most)
        if old.quota.limits != UNLIMITED:
            session.limit(old.quota.limits)
        return session

    def _check_is_at_rest(self) -> None:
        """Raise `UsageError` while a run in the background is at work in the session."""
        for one in self.current.background:
            raise UsageError(
                f"{one.id} {one.name} runs in the background: %flujo cancel {one.id} ends it"
            )

    # Others

    async def listed(self) -> list[Kept]:
        """The sessions in the store, the newest first. Raises `StoreError`."""
        store = self._open(makes=False)
        return [] if store is None else list(store.sessions())

    async def new(self, prepare: Callable[[Session], None]) -> Session:
        """Begin a new session, which ``prepare`` sets up; then leave the current one.

        Where that cannot be (`UsageError`; `StoreUnusable` for a store that was named) the current
        one stays as it is.
        """
        self._check_is_at_rest()
        session = self._another()
        prepare(session)
        left, store = self.current, self.store
        before = left, store, self._is_settled, self._opened_as
        self.current, self.store = session, None  # opened anew: it may be another file by now
        try:
            await self._begun()
        except StoreUnusable:
            broken = self.store
            self.current, self.store, self._is_settled, self._opened_as = before
            if broken is not None:
                await broken.close()
            raise
        await self._leave(left)
        if store is not None:
            await store.close()
        return self.current

    async def _begun(self) -> Session:
        """A new session, though the notebook has one."""
        self._opened_as = self._settings.store
        self._is_settled = True
        if self._opened_as is None:
            self.current.keeper = MemoryKeeper("Flujo.store is None")
            return self.current
        try:
            store = self._open(makes=True)
            if store is not None:
                await store.create(self.current)
        except StoreError as error:
            self._is_settled = False  # a named store is asked for again by the next that records
            self._give_up(error)
        return self.current

    async def use(self, run_id: str) -> str:
        """Go on with another session; the line that says so.

        Raises `UsageError` for one that is not there, and `RunHeld` and `StoreError`: then the
        current one stays.
        """
        if run_id == self.current.run_id:
            raise UsageError(f"session {run_id} is the one at work")
        known = await self.listed()
        store, session = self.store, self._another(run_id)
        if store is None or run_id not in [one.run.run_id for one in known]:
            raise unknown("session", run_id, [one.run.run_id for one in known])
        self._check_is_at_rest()
        head = await store.restore(session)
        await self._leave(self.current)
        self.current, self._is_settled = session, True
        self._opened_as = self._settings.store
        return restored_line(session, head)

    async def looked_at(self, run_id: str) -> Session:
        """A session to be looked at only, whoever has it. Raises as `use`, but for `RunHeld`."""
        if run_id == self.current.run_id:
            return self.current
        known = await self.listed()
        session = self._another(run_id)
        if self.store is None or run_id not in [one.run.run_id for one in known]:
            raise unknown("session", run_id, [one.run.run_id for one in known])
        self.store.look(session)
        return session

    # Leaving

    async def close(self) -> None:
        """Leave the current session for an empty one, and let go of the store."""
        store, self.store = self.store, None
        await self._leave(self.current)
        self.current = self._another()
        self._is_settled = False
        if store is not None:
            await store.close()

    async def _leave(self, session: Session) -> None:
        asked = open_question(session.head, session.entries)
        paused: tuple[FramePath, ...] = () if asked is None else (asked.command.frame,)
        # A lease that cannot be given back is taken by whoever sees that this process is dead.
        await caught(session.keeper.close(paused))

    def close_at_once(self) -> None:
        """As `close`, from where no loop can be awaited; for `MAX_CLOSING_S` at most."""
        if self.store is None:
            return
        thread = threading.Thread(
            target=lambda: asyncio.run(self.close()), name="flujo-closing", daemon=True
        )
        thread.start()
        thread.join(MAX_CLOSING_S)


def _unusable(error: StoreError) -> StoreUnusable:
    return StoreUnusable(f"Flujo.store: {error}\n  next: mend it, or  %config Flujo.store = None")


def restored_line(session: Session, head: str | None) -> str:
    """What is said of a session that was taken up again."""
    count = len(session.entries)
    frames = f"{count} frame{'' if count == 1 else 's'}"
    ways = [] if head is None else [f"%flujo back {head}"]
    newest = session.entries[-1] if session.entries else None
    if newest is not None and not newest.succeeded:
        ways.append(f"%flujo resume {newest.id}")
    following = f"; go on with  {'  or  '.join(ways)}" if ways else ""
    return f"restored session {session.run_id} with {frames}, and no HEAD{following}"
