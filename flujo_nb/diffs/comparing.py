"""Comparing frames: which two, what is known of them, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from IPython.core.error import UsageError

from flujo_nb.engine.errors import StoreError, ValueNotRead
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import Node, name_of
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.user_code import Raised, caught_inline

from ..display import View
from ..front import Front
from ..session import Session
from ..stored_keeper import StoredKeeper
from ..targets import all_nodes, is_stand_in
from .diff_view import diff_view
from .frame_diff import Definitions, frame_diff


def compared(front: Front, frame_id: str, other: str | None = None) -> View:
    """What differs between two frames, or between one and HEAD.

    HEAD itself is compared with the frame that it continued from. Raises `UsageError`.
    """
    session = front.session
    left, right = (_read(session, one) for one in _pair(session, frame_id, other))
    known = _Known(session)
    found = frame_diff(left, right, known.definitions(left), known.definitions(right))
    following = [f"%flujo show {right.id}", f"%flujo why {right.id}"]
    head = session.head
    if "/" not in left.id and left.succeeded and (head is None or head.id != left.id):
        following.append(f"%flujo back {left.id}")
    return diff_view(found, following)


def _pair(session: Session, frame_id: str, other: str | None) -> tuple[str, str]:
    if other is not None:
        return frame_id, other
    head = session.head
    two = f"name two: %flujo diff {frame_id} FRAME"
    if head is None:
        session.entry_of(frame_id)  # an unknown one is told first
        raise UsageError(f"there is no HEAD to compare {frame_id} with; {two}")
    if frame_id != head.id:
        return frame_id, head.id
    if head.parent is None:
        raise UsageError(f"{head.id} {head.name} is HEAD and continued from no frame; {two}")
    return head.parent, head.id


def _read(session: Session, frame_id: str) -> FrameRecord:
    try:
        return session.record(frame_id)
    except (ValueNotRead, StoreError) as error:
        told = " ".join(str(error).split())
        raise UsageError(f"{frame_id} cannot be read here: {told}") from error


class _Known:
    """What is known of the definitions of a session's frames."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def definitions(self, record: FrameRecord) -> Definitions:
        """Those of a frame's step and of the steps inside it, as they were when it ran."""
        entry = self._session.entry_of(record.id)
        noted = entry.command.definitions
        if record.id != entry.id:
            step = record.outcome.step
            inside = () if step is None or is_stand_in(step) else all_nodes(step)
            names = {record.name, *map(name_of, inside)}
            noted = tuple((name, digest) for name, digest in noted if name in names)
        digests: dict[str, list[str]] = {}
        for name, digest in reversed(noted):  # the frame's own step first
            digests.setdefault(name, []).append(digest)
        return Definitions(digests, lambda digest: self._lines(record, digest))

    def _lines(self, record: FrameRecord, digest: str) -> Sequence[str]:
        """What a definition said, as far as its step is at hand or it was stored."""
        session = self._session
        for node in self._nodes(record):
            taken = caught_inline(session.targets.definitions.of, node)
            if not isinstance(taken, Raised) and taken.digest.hex() == digest:
                return taken.lines
        try:
            return () if self._stored is None else self._stored.lines_of(bytes.fromhex(digest))
        except (ValueNotRead, StoreError):
            return ()

    def _nodes(self, record: FrameRecord) -> Iterator[Node]:
        held = self._session.recaller.shelf.get(self._session.entry_of(record.id).id)
        if held is not None and held.outcome.step is not None:
            yield from all_nodes(held.outcome.step)
        for registered in self._session.steps.values():
            yield from all_nodes(registered.node)

    @cached_property
    def _stored(self) -> StoredJournal | None:
        keeper = self._session.keeper
        return keeper.reader() if isinstance(keeper, StoredKeeper) else None
