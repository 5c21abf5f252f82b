"""``%flujo why`` and ``replay``: how a frame came about, and whether it still would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_view
from flujo_nb.engine.digests import definition_of
from flujo_nb.engine.errors import ValueNotRead
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import Node, name_of
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.front import Front
from flujo_nb.head import last_of, line_of
from flujo_nb.patching import is_patched
from flujo_nb.session import Session
from flujo_nb.targets import all_nodes, is_stand_in
from flujo_nb.widgets.previews import clipped, short

from .command import Command, only_word

_REPLAY = "%flujo replay FRAME|SESSION [--strict]"
_NAMES = 8
STALE = 50
"""How many stale frames are listed, the newest first."""

_DECIDED = 12
_PATCH = 300
_MESSAGES = "messages"


async def why(front: Front, parsed: Parsed, body: str) -> View:
    """Where a frame's input came from, what its step is, what was decided inside."""
    session = front.session
    frame_id = only_word(parsed)
    if frame_id is None:
        newest = session.newest()
        if newest is None:
            raise UsageError("there are no frames yet")
        frame_id = newest.id
    record = session.record(frame_id)
    rows = [*_lineage(session, record), *_definition(session, record)]
    try:
        rows += [("decided", told) for told in _decisions(session, record)]
    except ValueNotRead as error:
        rows.append(("inside", f"not shown: {error}"))
    if record.outcome.attempts > 1:
        rows.append(("attempts", str(record.outcome.attempts)))
    rows += _kept(session, record)
    following = [f"%flujo show {record.id}"]
    if session.keeper.is_stored:
        last = last_of(session.entry_of(record.id), session.entries)
        following.append(f"%flujo replay {last.id}")
    return table_view(f"{record.id} {record.name}", ("", ""), rows, following)


def _lineage(session: Session, record: FrameRecord) -> Iterator[tuple[str, str]]:
    entry = session.entry_of(record.id)
    if record.id != entry.id:
        yield "inside", f"{entry.id} {entry.name}"
        if record.parent is not None:
            yield "input", f"← {record.parent}.output" if record.has_data else "not kept"
    else:
        yield "input", f"← {entry.origin}"
    line = [f"{one.id} {one.name}" for one in line_of(entry, session.entries)]
    more = [] if len(line) <= _NAMES else [f"… {len(line) - _NAMES} more"]
    yield "line", " ← ".join([*line[:_NAMES], *more])
    because = session.staleness.why(entry)
    if because is not None:
        yield "stale", because
    yield from (("note", note) for note in entry.notes)


def _definition(session: Session, record: FrameRecord) -> Iterator[tuple[str, str]]:
    node = _node_of(session, record)
    if node is None:
        yield "step", f"{record.name}: not registered in this kernel; run the cell that defines it"
        return
    taken = caught_inline(definition_of, node)
    if isinstance(taken, Raised):
        yield "step", f"its definition cannot be taken: {short(taken.error)}"
        return
    yield "step", f"{type(node).__name__} {record.name}, definition {taken.digest[:12]}"
    yield "tracked", _named(taken.tracked)
    yield "not tracked", _named(taken.untracked)


def _node_of(session: Session, record: FrameRecord) -> Node | None:
    """What the frame ran; where that is not at hand, what stands for it now."""
    node = record.outcome.step
    if node is not None and not is_stand_in(node):
        return node
    entry = session.entry_of(record.id)
    whole = session.targets.node_of(entry.command.target or entry.name)
    if whole is None or record.id == entry.id:
        return whole
    return next((one for one in all_nodes(whole) if name_of(one) == record.name), None)


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return clipped(", ".join(names[:_NAMES]), 300) + more if names else "nothing"


def _decisions(session: Session, record: FrameRecord) -> Iterator[str]:
    """What was noted for readers: a branch's key, why a loop ended, a model and its price."""
    count = 0
    for one in (*session.all_inside(record), record):
        noted = {key: it for key, it in one.outcome.metadata.items() if key != _MESSAGES}
        if noted and count < _DECIDED:
            count += 1
            told = ", ".join(f"{key}: {short(value, 60)}" for key, value in noted.items())
            yield f"{one.id}: {told}"


def _kept(session: Session, record: FrameRecord) -> Iterator[tuple[str, str]]:
    entry = session.entry_of(record.id)
    changed = entry.command.patch
    if changed is not None and is_patched(record, entry.command):
        yield "patched", f"{entry.command.forks}, with {short(json.loads(changed), _PATCH)}"
    if record.id != entry.id:  # what follows is told of the command's frame
        if record.absent is not None:
            yield "not here", record.absent
        return
    if entry.command.resumes is not None:
        yield "resumed", f"it went on with {entry.command.resumes}: what had finished there stands"
    if entry.command.forks is not None and changed is None:
        yield "forked", f"from {entry.command.forks}"
    for later in session.entries:
        if later.command.resumes == entry.id:
            yield "gone on", f"with {later.id}"
    is_here = session.recaller.shelf.get(entry.id) is not None
    saved = entry.ended.saved
    if saved.live_only:
        yield from (("live only", part) for part in saved.live_only)
    elif session.keeper.is_saved(entry):
        yield "saved", f"in {session.keeper.place}{'' if is_here else ', and read from there'}"
    if saved.digest is not None:
        yield "digest", saved.digest
    if record.absent is not None:
        yield "not here", record.absent


async def replay(front: Front, parsed: Parsed, body: str) -> View:
    """Walk through what was recorded with today's steps; nothing runs."""
    from flujo_nb import replaying  # noqa: PLC0415  # with the store, when it is needed

    wanted, session = only_word(parsed), front.session
    if wanted is None:
        raise UsageError(f"replay what? usage: {_REPLAY}")
    strict = "--strict" in parsed.flags
    if re.fullmatch(r"f\d+(/.*)?", wanted):
        entries = [session.entry_of(wanted)]
    else:
        session = await front.sessions.looked_at(wanted)
        entries = list(replaying.to_replay(session))
    done = [await replaying.replay(front, session, entry, strict=strict) for entry in entries]
    rows = [
        (one.entry.id, one.entry.name, one.status.value, f"{one.frames} as recorded")
        for one in done
    ]
    ran = "only steps that are declared pure have run" if strict else "nothing has run"
    title = f"replayed {wanted.partition('/')[0]}: all is as recorded, {ran}"
    last = entries[-1].id if entries else "f0"
    return table_view(title, ("frame", "name", "status", "frames"), rows, (f"%flujo why {last}",))


async def stale(front: Front, parsed: Parsed, body: str) -> View:
    """The frames that are out of date. Nothing is run."""
    session = front.session
    found = session.staleness.all()
    if not found:
        return table_view("nothing is stale", (), (), ("%flujo frames",))
    on_line = {one.id for one in session.line()}
    rows = [
        (one.id, one.name, why, "on HEAD's line" if one.id in on_line else "")
        for one in reversed(session.entries)
        if (why := found.get(one.id)) is not None
    ]
    more = [("…", "", f"{len(rows) - STALE} more", "")] if len(rows) > STALE else []
    count = f"{len(rows)} stale frame{'' if len(rows) == 1 else 's'}"
    first = next((one for one in session.entries if one.id in on_line and one.id in found), None)
    following = [f"%flujo show {rows[0][0]}"]
    if first is not None:
        following = [f"run the cell of {first.name} again", f"%flujo why {first.id}"]
    return table_view(count, ("frame", "name", "because", ""), [*rows[:STALE], *more], following)


TRUST = (
    Command(
        name="why",
        summary="how a frame came about: input, step, decisions, what is saved",
        usage="%flujo why [FRAME]",
        example="%flujo why f0",
        handler=why,
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
    Command(
        name="stale",
        summary="the frames that are out of date, and why; nothing runs",
        usage="%flujo stale",
        example="%flujo stale",
        handler=stale,
        after=("step",),
    ),
    Command(
        name="replay",
        summary="check that a frame, or a session, still is as recorded; nothing runs",
        usage=_REPLAY,
        example="%flujo replay f0",
        handler=replay,
        options=(Option(("--strict",), "run the steps that are declared pure, and compare"),),
        word="frame or session",
        completes=("frame",),
        after=("step",),
    ),
)
