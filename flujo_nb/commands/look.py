"""Commands that only look: status, frames, show, steps."""

from __future__ import annotations

import inspect
from time import monotonic

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, preview_text, table_view
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Pipeline, name_of
from flujo_nb.front import Front
from flujo_nb.head import Entry, last_of
from flujo_nb.session import MB, Session
from flujo_nb.sizes import size_text
from flujo_nb.targets import Registered
from flujo_nb.widgets.previews import PREVIEW, SHOWN, clipped, duration_text, short
from flujo_nb.widgets.view_model import budget_lines

from .command import Command, only_word

_FIRST = "%%flujo step"
_TEXTS = {"agent": "agent", "hitl": "question"}
"""What a step is whose cell holds a text, by the command of the cell."""

PAGE = 50
"""How many frames are listed at once."""


async def status(front: Front, parsed: Parsed, body: str) -> View:
    """Where the session stands."""
    return status_view(front)


def status_view(front: Front) -> View:
    """Where the session stands."""
    session = front.session
    spent = session.quota.spent
    rows = [
        ("HEAD", _head_line(session)),
        ("frames", str(len(session.entries))),
        ("steps", ", ".join(session.steps) or "none yet"),
        ("context", _context_line(front)),
        ("used", f"{spent.tokens:,} tokens, ${spent.cost_usd:.4f}"),
        ("memory", _memory_line(front)),
        ("kept", _kept_line(front)),
    ]
    lines = budget_lines(session.quota)
    rows += [("budget" if n == 0 else "", line) for n, line in enumerate(lines)]
    rows += [
        ("background", f"{one.id} {one.name}, for {duration_text(monotonic() - one.began)}")
        for one in session.background
    ]
    rows += [("ended", told) for told in session.background.untold()]
    open_ones = (one for one in reversed(session.entries) if one.status is RunStatus.PAUSED)
    asks = next((one for one in open_ones if last_of(one, session.entries) is one), None)
    failed = session.failed_after_head()
    if asks is not None:
        question = " ".join((asks.ended.feedback or "a question").split())
        rows.insert(1, ("waits", f"{asks.id} {asks.name}: {clipped(question, SHOWN)}"))
    if failed is not None and failed is not asks:
        rows.insert(1, ("after it", f"{failed.id} {failed.name} {failed.status.value}"))
    following = (
        ["%flujo frames", "%flujo steps", "%flujo help"]
        if session.entries
        else [
            _FIRST,
            "%flujo help",
        ]
    )
    return table_view(session.run_id, ("", ""), rows, following)


def _head_line(session: Session) -> str:
    head = session.head
    if head is not None:
        return f"{head.id} {head.name}"
    standing = [one.id for one in session.entries if one.succeeded][-1:]
    left = session.left_head or next(iter(standing), None)
    return "none yet" if left is None else f"none: %flujo back {left} goes on from there"


def _context_line(front: Front) -> str:
    head, initial = front.session.head, front.session.initial_context
    context = initial if head is None else head.record.context_after
    return "none" if context is None else short(context)


def _memory_line(front: Front) -> str:
    shelf = front.session.recaller.shelf
    room = size_text(front.settings.max_memory * MB)
    held, all_of_them = len(shelf), len(front.session.entries)
    gone = f", {len(shelf.released)} released" if shelf.released else ""
    return f"{size_text(shelf.size)} of {room} for {held} of {all_of_them} frames{gone}"


def _kept_line(front: Front) -> str:
    store = front.sessions.store
    has_size = store is not None and front.session.keeper.is_stored
    return f"{front.sessions.kept}{f' ({size_text(store.size)})' if store and has_size else ''}"


async def frames(front: Front, parsed: Parsed, body: str) -> View:
    """The frames that commands left, a page of them, oldest first."""
    session = front.session
    before = parsed.values.get("--before")
    until = len(session.entries)
    if before is not None:
        until = session.entries.index(session.entry_of(before))
    start = max(until - PAGE, 0)
    page = session.entries[start:until]
    if not session.entries:
        return table_view("no frames yet", (), (), (_FIRST, "%flujo help"))
    stale = session.staleness.all()
    rows = [_frame_row(front, entry, is_stale=entry.id in stale) for entry in page]
    title = _counted(len(session.entries), "frame")
    following = []
    if len(page) < len(session.entries):
        title = f"{title}, {page[0].id} to {page[-1].id}" if page else f"{title}, none before"
    if start:
        following.append(f"%flujo frames --before {page[0].id}")
    header = ("frame", "", "name", "status", "took", "input", "output")
    following.append(f"%flujo show {session.entries[-1].id}")
    return table_view(title, header, rows, (*following, *["%flujo stale"] * bool(stale)))


def _frame_row(front: Front, entry: Entry, *, is_stale: bool) -> tuple[str, ...]:
    """A frame in one line. Nothing is read back for it."""
    session = front.session
    shown = shown_of(entry)
    if session.recaller.shelf.get(entry.id) is not None:
        view = front.view(entry.id)
        told = view.background[0] if view.background else preview_text(view.output)
        shown = told or view.feedback or ""
    is_cut_off = entry.status is RunStatus.INTERRUPTED and not entry.ended.duration_s
    return (
        entry.id,
        " ".join(("HEAD",) * (entry is session.head) + ("stale",) * is_stale),
        entry.name,
        entry.status.value,
        "" if is_cut_off else duration_text(entry.ended.duration_s),
        f"← {entry.origin}",
        clipped(shown, SHOWN),
    )


def shown_of(entry: Entry) -> str:
    """What was noted of a frame's end: how its output begins, or why there is none."""
    ended = entry.ended
    if ended.saved.live_only:
        return "live only: it was not saved"
    return ended.feedback or ended.shown or "saved"


async def show(front: Front, parsed: Parsed, body: str) -> View:
    """One frame, or a frame inside it; HEAD (or else the newest) when none is named."""
    wanted = only_word(parsed)
    session = front.session
    if wanted is None:
        newest = session.newest()
        if newest is None:
            return table_view("no frames yet", (), (), (_FIRST, "%flujo help"))
        wanted = newest.id
    return front.card(wanted)


async def steps(front: Front, parsed: Parsed, body: str) -> View:
    """What is registered."""
    rows = [
        (one.name, _kind(one), clipped(_what_it_does(one), PREVIEW))
        for one in front.session.steps.values()
    ]
    if not rows:
        return table_view("no steps yet", (), (), (_FIRST, "%flujo help step"))
    following = (f"%flujo run {rows[-1][0]}",)
    return table_view(
        _counted(len(rows), "step"), ("name", "kind", "what it does"), rows, following
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _kind(registered: Registered) -> str:
    if registered.command in _TEXTS:
        return _TEXTS[registered.command]
    node = registered.node
    if isinstance(node, Pipeline):
        return name_of(node)
    shape = node.shape
    return type(node).__name__ if shape is None else f"{shape.kind.value} step"


def _what_it_does(registered: Registered) -> str:
    """The first line of its prompt or question, or of what its function says of itself."""
    node = registered.node
    if registered.command in _TEXTS:
        return registered.source.strip().partition("\n")[0]
    if isinstance(node, Pipeline) or node.agent is None:
        return ""
    return (inspect.getdoc(node.agent) or "").partition("\n")[0]


LOOK = (
    Command(
        name="status",
        summary="where the session stands",
        usage="%flujo [status]",
        example="%flujo",
        handler=status,
        after=(),
    ),
    Command(
        name="frames",
        summary="the frames, oldest first",
        usage="%flujo frames [--before FRAME]",
        example="%flujo frames",
        handler=frames,
        options=(Option(("--before",), "those before this one", "FRAME"),),
        after=("step",),
    ),
    Command(
        name="show",
        summary="one frame: what went in, what came out, what is inside",
        usage="%flujo show [FRAME]",
        example="%flujo show",
        handler=show,
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
    Command(
        name="steps",
        summary="the steps and pipelines that are registered",
        usage="%flujo steps",
        example="%flujo steps",
        handler=steps,
        after=("step",),
    ),
)
