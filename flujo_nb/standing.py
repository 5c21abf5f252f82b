"""What stands where when HEAD has moved: the frames that it left, those that stand on another."""

from __future__ import annotations

from collections.abc import Sequence

from .head import Entry, line_of

_NAMES = 6


def standing_on(frame_id: str, made: str, entries: Sequence[Entry]) -> str | None:
    """Which frames continued from ``frame_id``, in whose place there is ``made`` now."""
    above, found = {frame_id}, []
    for one in entries:  # oldest first
        if (one.parent or "").partition("/")[0] in above:
            above.add(one.id)
            found.append(one.id)
    if not found:
        return None
    verb, cells, them = ("stands", "its cell", "it") if len(found) == 1 else _MANY
    return f"{_named(found)} {verb} on {frame_id}: run {cells} to have {them} on {made}"


_MANY = ("stand", "their cells", "them")


def left_by(left: Entry | None, head: Entry, entries: Sequence[Entry]) -> str | None:
    """Which frames HEAD left when it moved from ``left`` to ``head``."""
    if left is None:
        return None
    line = {one.id for one in line_of(head, entries)}
    gone = [one.id for one in line_of(left, entries) if one.id not in line]
    if not gone:
        return None
    them = "it" if len(gone) == 1 else "them"
    return f"HEAD left {_named(gone[::-1])}: %flujo back {left.id} returns to {them}"


def _named(frame_ids: Sequence[str]) -> str:
    more = len(frame_ids) - _NAMES
    return ", ".join(frame_ids[:_NAMES]) + (f" and {more} more" if more > 0 else "")
