"""Replays: what was recorded is walked through with today's steps, and nothing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from IPython.core.error import UsageError

from flujo_nb.engine.background_task_manager import BackgroundTaskManager
from flujo_nb.engine.cache_manager import CacheManager
from flujo_nb.engine.errors import ReplayMismatch
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal_image import is_at_or_below
from flujo_nb.engine.outcomes import Aborted, AbortReason, RunStatus, status_of
from flujo_nb.engine.run import Facility

from .errors import TerseError, without_digests
from .front import Front
from .going_on import node_to_run
from .head import Entry, last_of
from .patching import patches_of
from .session import Session
from .stored_keeper import StoredKeeper


class NotAsRecorded(TerseError):
    """A replay came to something that is not as it was recorded. Nothing has run."""

    def __init__(self, entry: Entry, error: BaseException) -> None:
        first, *rest = str(error).splitlines() or [""]
        lines = [
            f"{entry.id} {entry.name} is not as it was recorded: {first}",
            *(f"  {line}" for line in without_digests(rest)[:8]),
            f"  nothing has run; next: %flujo why {entry.id}, or  %flujo fork {entry.id}",
        ]
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Replayed:
    """A command's frame that was walked through: how many frames, and how it ended then."""

    entry: Entry
    frames: int
    status: RunStatus


def to_replay(session: Session) -> Sequence[Entry]:
    """The frames of a session that stand: those that no later one went on with."""
    gone_on = {entry.command.resumes for entry in session.entries}
    return [
        entry
        for entry in session.entries
        if entry.id not in gone_on and entry.status is not RunStatus.INTERRUPTED
    ]


async def replay(front: Front, session: Session, entry: Entry, *, strict: bool) -> Replayed:
    """Walk through one command's frame.

    With ``strict`` the steps that are declared pure run, and must give the same. Raises
    `NotAsRecorded` at the first thing that differs, `UsageError` when it cannot be walked through.
    """
    keeper = session.keeper
    if not isinstance(keeper, StoredKeeper):
        raise UsageError(f"only what a store keeps can be replayed: the session is {keeper.place}")
    later = last_of(entry, session.entries)
    if later is not entry:
        raise UsageError(f"{entry.id} was gone on with by {later.id}: %flujo replay {later.id}")
    node, record = node_to_run(front, entry), entry.record
    if not record.has_data or (record.absent is not None and record.outcome.step is None):
        raise UsageError(f"{entry.id} cannot be replayed: what it was given is not saved")
    journal = keeper.reader(answered=True)  # all of it: what definitions said stands at the root
    journal.replaying, journal.strict = True, strict
    journal.patches.update(patches_of(session, entry.command))
    core = ExecutorCore(session.registry, BackgroundTaskManager(), CacheManager())
    facilities = core.facilities_of(node, record.context) | Facility.JOURNAL
    frame = make_execution_frame(
        node,
        record.data,
        context=record.context,
        facilities=facilities & ~Facility.REFERENCES,  # nothing of others is asked
        resources=session.resources,
        run_id=session.run_id,
        path=entry.command.path,
        journal=journal,
    )
    core.plan(frame)
    outcome = await core.run_root(frame)
    if isinstance(outcome, Aborted) and outcome.reason is AbortReason.HELD:
        raise NotAsRecorded(entry, outcome.error or ReplayMismatch(outcome.message))
    own = str(entry.command.path)
    left = [path for path in journal.unvisited() if is_at_or_below(path, own)]
    if left:
        told = f"recorded, and not come to any more: {', '.join(left[:5])}"
        raise NotAsRecorded(entry, ReplayMismatch(told))
    return Replayed(entry, len(journal.visited), status_of(outcome))
