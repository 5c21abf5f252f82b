"""``%%flujo check``: what has to hold of a frame, so that a notebook is a test."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.core.error import UsageError

from flujo_nb.cell_body import current_cell
from flujo_nb.checking import Check, CheckFailed, NoExpression, checks_in
from flujo_nb.command_line import Parsed
from flujo_nb.display import FrameCard, View, table_view
from flujo_nb.front import Front

from .command import Command, only_word


async def check(front: Front, parsed: Parsed, body: str) -> View:
    """Evaluate the body's expressions on a frame; raise `CheckFailed` unless all hold."""
    card = _card_of(front, only_word(parsed))
    checks = _checks_in(front, body)
    shell = front.shell
    names = {**shell.user_global_ns, **shell.user_ns, "frame": card}
    failed = [(one, why) for one in checks if (why := one.why_not(names)) is not None]
    following = f"%flujo show {card.id}"
    if failed:
        raise CheckFailed(_told(failed, len(checks), card, following))
    verb = "check holds" if len(checks) == 1 else "checks hold"
    title = f"{len(checks)} {verb} for {card.id} {card.name}"
    return table_view(title, ("",), [(one.text,) for one in checks], (following,))


def _card_of(front: Front, frame_id: str | None) -> FrameCard:
    if frame_id is None:
        newest = front.session.newest()
        if newest is None:
            raise UsageError("there are no frames yet")
        frame_id = newest.id
    return front.card(frame_id)


def _checks_in(front: Front, body: str) -> Sequence[Check]:
    try:
        return checks_in(body)
    except NoExpression as error:
        cell = current_cell(front.shell)
        head = cell.head_of(body) if cell is not None else None
        line = error.line + (head or "").count("\n")
        raise UsageError(
            f"line {line}: {error}; a check is an expression over `frame`, one a line: "
            "len(frame.output) == 6"
        ) from error


def _told(failed: Sequence[tuple[Check, str]], count: int, card: FrameCard, following: str) -> str:
    of_all = f"{len(failed)} of {count} checks" if count > 1 else "the check"
    lines = [f"{of_all} failed for {card.id} {card.name}   {card.status}"]
    for one, why in failed:
        lines += [f"  {one.text}", f"    {why}"]
    return "\n".join([*lines, f"  next: {following}"])


CHECK = (
    Command(
        name="check",
        summary="expressions over a frame that all have to hold, one a line",
        usage="%%flujo check [FRAME]",
        example=(
            "%%flujo check f0\n"
            "len(frame.output) == 6\n"
            "frame.output.count('be') == 2\n"
            "frame.status == 'completed'"
        ),
        handler=check,
        has_body=True,
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
)
