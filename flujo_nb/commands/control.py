"""``%flujo pause`` and ``cancel`` of runs in the background, and the budget of the session."""

from __future__ import annotations

from IPython.core.error import UsageError

from flujo_nb.command_line import Parsed
from flujo_nb.display import View, table_view
from flujo_nb.engine.usage import UNLIMITED
from flujo_nb.front import Front
from flujo_nb.session import Session
from flujo_nb.widgets.view_model import budget_lines

from .command import ANY_WORDS, Command, limits_of, only_word

_BUDGET = "%flujo budget [cost=DOLLARS] [tokens=N] [requests=N] | none"


async def pause(front: Front, parsed: Parsed, body: str) -> View:
    """Let no further frame of a run start; it can be resumed."""
    run = front.session.background.one(only_word(parsed))
    run.stops = f"paused: %flujo resume {run.id} goes on"
    return _told(f"{run.id} {run.name} pauses when the step at work has ended", run.id)


async def cancel(front: Front, parsed: Parsed, body: str) -> View:
    """End a run where it stands; what has finished is kept."""
    run = front.session.background.one(only_word(parsed))
    run.cancel()
    ended = await run.over()
    how = "is cancelled" if ended else "is told to end, and has not yet"
    return _told(f"{run.id} {run.name} {how}", run.id)


def _told(title: str, frame_id: str) -> View:
    return table_view(title, (), (), (f"%flujo resume {frame_id}", "%flujo"))


async def budget(front: Front, parsed: Parsed, body: str) -> View:
    """Limit what the session may use; or show what it has used."""
    session = front.session
    if parsed.words == ["none"]:
        await front.limit(UNLIMITED)
    elif "none" in parsed.words:
        raise UsageError(f"none lifts every limit; usage: {_BUDGET}")
    elif parsed.words:
        given = limits_of(parsed.words).model_dump(exclude_none=True)
        await front.limit(session.quota.limits.model_copy(update=given))
    return _budget_view(session)


def _budget_view(session: Session) -> View:
    spent = session.quota.spent
    requests = f"{spent.requests:,} request{'' if spent.requests == 1 else 's'}"
    used = f"${spent.cost_usd:.4f}, {spent.tokens:,} tokens, {requests}"
    lines = budget_lines(session.quota)
    rows = [("used", used), ("budget", (*lines, "no limit")[0]), *(("", one) for one in lines[1:])]
    following = ("%flujo budget none",) if lines else ("%flujo budget cost=0.5 tokens=20000",)
    return table_view(f"budget of {session.run_id}", ("", ""), rows, (*following, "%flujo"))


CONTROL = (
    Command(
        name="pause",
        summary="let a run in the background stop behind the step at work",
        usage="%flujo pause [FRAME]",
        example=(
            "import asyncio\n\nfrom flujo_nb import step\n\n"
            "@step\nasync def slow(seconds):\n    await asyncio.sleep(seconds)\n\n"
            "%flujo run slow -i 60 --bg\n"
            "%flujo pause"
        ),
        handler=pause,
        word="frame",
        completes=("running frame",),
        after=(),
    ),
    Command(
        name="cancel",
        summary="end a run in the background; what has finished is kept",
        usage="%flujo cancel [FRAME]",
        example="%flujo cancel",
        handler=cancel,
        word="frame",
        completes=("running frame",),
        after=("pause",),
    ),
    Command(
        name="budget",
        summary="limit what the session may use; show reserved, spent, left",
        usage=_BUDGET,
        example="%flujo budget cost=0.5 tokens=20000",
        handler=budget,
        word=ANY_WORDS,
        completes=("limit",),
        after=(),
    ),
)
