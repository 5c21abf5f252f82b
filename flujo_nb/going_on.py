"""Going on with frames that were recorded: resuming them, and running them again from a point.

Records never change: what goes on with a frame makes a record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.answers import answer_of
from flujo_nb.engine.errors import (
    AlreadyAnswered,
    AnswerRejected,
    ResumeError,
    StoreError,
    ValueNotSaved,
)
from flujo_nb.engine.in_doubt import Verdict
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.results import Pause
from flujo_nb.engine.resuming import wanted_by
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import UsageLimits

from .command_run import CommandRun
from .display import FrameCard
from .errors import without_digests
from .front import Front
from .head import Command, Entry, Given, last_of
from .patching import (
    Changes,
    Patches,
    check_can_be_patched,
    check_changes,
    fitted,
    patches_of,
    unused_patch,
)
from .questions import Text, asked_by, choose, frame_id_of, given_as, listed, value_of
from .ran_inside import MakeAgain
from .reuse import answer_digest, answered_before
from .session import Session
from .standing import left_by, standing_on
from .targets import is_stand_in


async def resume(
    front: Front,
    frame_id: str | None,
    answer: Given | Text | None,
    *,
    keep: bool = False,
    limits: UsageLimits | None = None,
) -> FrameCard:
    """Go on with a frame that paused, failed or was interrupted; what finished stands.

    ``frame_id`` may lead to the question that ``answer`` is for (``f3/both/:a/ask``). With
    ``keep`` what is recorded stands although its steps were edited; ``limits`` take the place of
    those that its run had. Raises as `Front.run` does.
    """
    session = await front.sessions.ready(records=False)  # with frames it is settled
    answered = None if answer is None else answer_digest(given_as(answer))
    if front.settings.reuse == "same":
        before = answered_before(session, frame_id, answered)
        if before is not None:
            await session.reuse(before, None)
            return front.card(before.id, is_reused=True)
    entry = _to_resume(session, frame_id, is_answered=answer is not None)
    record = entry.record
    node = node_to_run(front, entry)
    command = _command(session, entry, node)
    command = replace(command, answered=answered, limits=limits or command.limits)
    journal = session.keeper.journal_of(command, entry, keep=keep)
    try:
        session.keeper.check_definitions(journal, node)
        asked = asked_by(record, journal)
        if answer is not None:
            await _answer(session, entry, journal, asked, frame_id, answer)
        elif asked:
            raise UsageError(f"{entry.id} waits for an answer: {listed(entry, asked)}")
    except (ResumeError, ValueNotSaved) as error:
        session.keeper.leave(journal)
        raise UsageError(_as_told(error, entry)) from error
    except BaseException:  # nothing is gone on with
        session.keeper.leave(journal)
        raise
    left = session.head
    card = await front.ended(lambda: _resumed(session, node, command, entry, journal, keep=keep))
    return _telling(front, card.id, left_by(left, session.entry_of(card.id), session.entries))


async def _resumed(
    session: Session,
    node: Node,
    command: Command,
    entry: Entry,
    journal: Journal,
    *,
    keep: bool,
) -> Entry:
    """Run on; when that needs values which are gone, have them made again, each once."""

    async def make_again(paths: Sequence[str]) -> Journal:
        return await session.keeper.again(journal, command, entry, keep=keep, redo=paths)

    record = entry.record
    run = CommandRun(session, node, command, record.data, record.context, spent=record.usage)
    try:
        return await _carried_out(session, run, journal, make_again)
    except StoreError as error:
        told = " ".join(str(error).split())
        raise UsageError(f"{entry.id} cannot be gone on with: {told}") from error


async def _carried_out(
    session: Session, run: CommandRun, journal: Journal, make_again: MakeAgain | None = None
) -> Entry:
    """Carry out a run that goes on from what stands in ``journal``, with what it patches."""
    patches: Patches = {}
    try:
        patches = patches_of(session, run.command)
        journal.patches.update(patches)
        return await run.carried_out(journal, make_again)
    except BaseException:  # nothing was recorded that would have ended it
        session.keeper.leave(journal)
        raise
    finally:
        for path in patches:
            journal.patches.pop(path, None)


async def _answer(
    session: Session,
    entry: Entry,
    journal: Journal,
    asked: Sequence[Pause],
    frame_id: str | None,
    answer: Given | Text,
) -> None:
    pause = choose(entry, asked, frame_id)
    value = answer.value if isinstance(answer, Given) else value_of(answer.text, pause)
    wanted = wanted_by(pause)
    if wanted is None and pause.step is not None and pause.step.once:
        wanted = Verdict
    answer_of(value, wanted, frame_id_of(entry, pause.path))
    await session.keeper.answered(journal, pause.path, value)


def _to_resume(session: Session, frame_id: str | None, *, is_answered: bool) -> Entry:
    """The frame to go on with: an answer is for the newest question, if there is one."""
    gone_on = {one.command.resumes for one in session.entries}
    left = [one for one in session.entries if not one.succeeded and one.id not in gone_on]
    asked = [one for one in left if one.status is RunStatus.PAUSED]
    if frame_id is not None:
        entry = session.entry_of(frame_id)
        if entry.succeeded:
            raise UsageError(
                f"{entry.id} {entry.name} completed: there is nothing to resume; "
                f"%flujo fork {entry.id} runs it again"
            )
        later = last_of(entry, session.entries)
        if later is entry:
            return entry
        told = f"{entry.id} was gone on with already, by {later.id}"
        if later.succeeded:
            waits = f"; {asked[-1].id} waits: %flujo resume {asked[-1].id}" if asked else ""
            again = waits or f"; %flujo fork {later.id} runs it again"
            raise UsageError(f"{told}, which completed{again}")
        raise UsageError(f"{told}: %flujo resume {later.id}")
    for entry in reversed(asked if is_answered and asked else left):
        return entry
    raise UsageError("there is no frame that paused, failed or was interrupted")


def node_to_run(front: Front, entry: Entry) -> Node:
    """What an entry's command ran, as it is registered now, or else as it was then."""
    target, session = entry.command.target, front.session
    names = front.shell.user_ns
    missing = [entry.name] if target is None else session.targets.missing(target, names)
    if target is not None and not missing:
        return session.resolve(target, names)
    held = session.recaller.shelf.get(entry.id)
    node = None if held is None else held.outcome.step
    if node is not None and not is_stand_in(node):
        return node
    told = ", ".join(map(repr, missing))
    verb, cells = (
        ("is", "cell that defines it") if len(missing) == 1 else ("are", "cells that define them")
    )
    raise UsageError(
        f"{told} {verb} not registered in this kernel: run the {cells} (--no-run in the first "
        "line registers only)"
    )


def _command(session: Session, entry: Entry, node: Node) -> Command:
    """The command that goes on with an entry. It stands for the same cell."""
    record = entry.record
    if record.absent is not None:
        raise UsageError(f"{entry.id} cannot be gone on with: {record.absent}")
    if not record.has_data:
        raise UsageError(
            f"{entry.id} cannot be gone on with: what it was given is not saved; run its cell again"
        )
    origin = entry.origin.partition(", goes on with ")[0]
    return replace(
        entry.command,
        id=f"f{session.frames}",
        origin=f"{origin}, goes on with {entry.id}",
        notes=(),
        resumes=entry.id,
        definitions=session.targets.definitions_in(node),
        answered=None,
        head=None if session.head is None else session.head.id,
        in_background=False,
    )


def _as_told(error: ResumeError | ValueNotSaved, entry: Entry) -> str:
    """What keeps an entry from being gone on with; of an edit, the difference on its own lines."""
    first, *rest = str(error).partition("\nEither")[0].splitlines()  # then come Python's ways
    if isinstance(error, AlreadyAnswered | AnswerRejected | ValueNotSaved):
        return " ".join([first, *rest])
    lines = [
        first,
        *(f"  {line}" for line in without_digests(rest)[:8]),
        f"  next: %flujo resume {entry.id} --keep lets what is recorded stand, "
        f"%flujo fork {entry.id} runs it again",
    ]
    return "\n".join(lines)


# Running again from a point


async def fork(front: Front, frame_id: str, name: str | None = None) -> FrameCard:
    """Run again what the command of ``frame_id`` ran.

    Of a frame inside it, what had finished before that began is kept.
    """
    session = await front.sessions.ready(records=False)
    entry, at = session.entry_of(frame_id), session.record(frame_id)
    node, whole = node_to_run(front, entry), entry.record
    command = replace(_forking(session, entry, node, at, "forked"), name=name or entry.name)

    async def run() -> Entry:
        journal = await _journal_of(session, command, entry, whole, at)
        return await _carried_out(
            session, CommandRun(session, node, command, whole.data, whole.context), journal
        )

    card = await front.ended(run)
    return _telling(front, card.id, standing_on(entry.id, card.id, session.entries))


async def patch(front: Front, frame_id: str, changes: Changes) -> FrameCard:
    """Make a frame that differs from that of ``frame_id`` by ``changes``, and go on from it.

    For another output of a command's own frame nothing runs. For another input or context the
    frame runs again; of a frame inside, what had finished before that began is kept, and what
    follows it runs. Raises `UsageError` for what does not fit, and as `Front.run` does.
    """
    session = await front.sessions.ready(records=False)
    entry, at = session.entry_of(frame_id), session.record(frame_id)
    check_changes(changes)
    check_can_be_patched(session, entry, at)
    made = fitted(session, at, changes)
    node, whole = node_to_run(front, entry), entry.record
    command = replace(
        _forking(session, entry, node, at, "patched"),
        patch=json.dumps(changes, ensure_ascii=False),
    )
    data, context = whole.data, whole.context
    if at.id == entry.id and "data" in changes:
        data, command = made, replace(command, has_parents_data=False)
    if at.id == entry.id and "context" in changes:
        context = cast(BaseModel, made)
        command = replace(command, has_parents_context=False)

    async def run() -> Entry:
        journal = await _journal_of(session, command, entry, whole, at)
        run = CommandRun(session, node, command, data, context)
        return await _carried_out(session, run, journal)

    card = await front.ended(run)
    told = standing_on(entry.id, card.id, session.entries)
    return _telling(front, card.id, told, unused_patch(session, command))


def _forking(session: Session, entry: Entry, node: Node, at: FrameRecord, how: str) -> Command:
    """The command that runs again what ``entry`` ran, from the frame of ``at`` on."""
    path = (Segment(SegmentKind.COMMAND, session.commands + 1),)
    return replace(
        _command(session, entry, node),
        path=FramePath(path),
        frame=FramePath((*path, *node.own_segments)),
        origin=f"{entry.origin.partition(', ')[0]}, {how} from {at.id}",
        resumes=None,
        forks=at.id,
        patch=None,
    )


async def _journal_of(
    session: Session, command: Command, entry: Entry, whole: FrameRecord, at: FrameRecord
) -> Journal:
    """The journal of a command that runs again what ``entry`` ran, from the frame of ``at`` on."""
    if at.id == entry.id:
        return session.keeper.journal_of(command)
    return await session.keeper.grafted(command, entry, whole.outcome, at.path)


def _telling(front: Front, frame_id: str, *told: str | None) -> FrameCard:
    """The card of a frame that was made just now, with what there is to tell."""
    view = front.view(frame_id)
    notes = [one for one in told if one is not None]
    return FrameCard(replace(view, notes=(*view.notes, *notes)), front.session)


# Moving


async def back(front: Front, frame_id: str) -> FrameCard:
    """Move HEAD to a frame of a command."""
    session = await front.sessions.ready(records=False)
    if "/" in frame_id:
        number = frame_id.partition("/")[0]
        raise UsageError(
            f"HEAD stands on a command's frame: {number}; to go on from inside it, "
            f"%flujo run NAME --from {frame_id}"
        )
    record = session.succeeded_record(frame_id)  # what cannot be gone on from is said now
    entry, left = session.entry_of(frame_id), session.head
    await session.move(entry, record)
    return _telling(front, entry.id, left_by(left, entry, session.entries))
