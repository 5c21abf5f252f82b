"""Beginning a run beside the cells that follow, and saying how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.core.error import UsageError

from flujo_nb.engine.errors import ConfigurationError, StoreError
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Node
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.widgets.previews import FEEDBACK, clipped

from .background import BackgroundRun
from .display import View, text_view
from .front import Front, how_to_resume, ways_to_answer
from .head import Entry, Request
from .run_options import RunOptions


async def run_beside(
    front: Front, node: Node, name: str, request: Request, options: RunOptions
) -> View:
    """Begin to run ``node`` beside the cells that follow; what may be said of that.

    Raises `UsageError` when it cannot start.
    """
    way = front.way()
    if way is None or way.kind != "awaited":
        because = "" if way is None else f" ({way.reason})"
        raise UsageError(f"--bg needs a cell that runs on the kernel's own loop{because}")
    refuse = front.settings.after_failure == "refuse"
    session = await front.sessions.ready(records=True)
    start = session.start_of(request, name, refuse_after_failure=refuse)
    found = front.reusable(session, node, request, start, options)
    if found is not None:
        return front.card(found.id, is_reused=True)

    def ended(entry: Entry) -> None:
        broken, session.store_error = session.store_error, None
        unusable = None if broken is None else caught_inline(front.sessions.failed, broken)
        if isinstance(unusable, Raised):
            front.say(str(unusable.error))
        front.say("\n".join(_told(entry)))

    async def launch() -> BackgroundRun:
        return await session.background.launch(
            lambda given: session.run(node, name, request, start, given), options, ended
        )

    try:
        try:
            launched = await launch()
        except StoreError as error:  # nothing has run yet
            front.sessions.failed(error)
            launched = await launch()
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    following = f"%flujo cancel {launched.id} · %flujo pause {launched.id} · %flujo"
    return text_view(
        f"{launched.id} {name} runs in the background   ← {start.origin}\n  next  {following}"
    )


def _told(entry: Entry) -> Sequence[str]:
    """What is said when a run in the background has ended."""
    because = "" if entry.ended.feedback is None else f": {clipped(entry.ended.feedback, FEEDBACK)}"
    title = f"{entry.id} {entry.name} {entry.status.value}{because}"
    if entry.succeeded:
        return [title, f"  next  %flujo show {entry.id}"]
    if entry.status is RunStatus.PAUSED:
        return [title, *ways_to_answer(entry)]
    return [title, f"  next  %flujo show {entry.id} · {how_to_resume(entry.id)}"]
