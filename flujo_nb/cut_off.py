"""What is recorded inside frames: of those that were cut off, and without reading a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic_core import to_json

from flujo_nb.engine.outcomes import AbortReason, FrameOutcome, RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.stores import Row, RowKind
from flujo_nb.widgets.previews import Preview, duration_text
from flujo_nb.widgets.view_model import ChildLine

from .run_frames import Gap, frames_of

STATUS = {
    "success": RunStatus.COMPLETED,
    "launched": RunStatus.COMPLETED,
    "failure": RunStatus.FAILED,
    "paused": RunStatus.PAUSED,
    "aborted": RunStatus.INTERRUPTED,
}
"""How a frame ended, by what its row says."""


def cut_off(reader: StoredJournal, frame: FramePath, why: str) -> FrameOutcome | None:
    """The end of a frame that has none: what ended inside it is; ``None`` when nothing did.

    What ended inside one that was cut off itself stands in its place. Values are read when they
    are asked for.
    """
    own = str(frame)
    inside = list(_outermost(reader.image.finished, f"{own}/"))
    if not inside:
        return None
    body = {"a": {"reason": AbortReason.INTERRUPTED.value, "message": why}, "c": inside}
    last = reader.image.last_seq
    row = Row(
        seq=last,
        path=own,
        kind=RowKind.FINISHED,
        name=None,
        status="aborted",
        definition=None,
        input=None,
        started=last,
        at=0.0,
        cost_micros=0,
        tokens=0,
        requests=0,
        body=to_json(body),
    )
    return reader.frames.outcome_of(row, None, frame.segments, None)


def lines_inside(rows: Sequence[Row], frame_id: str, frame: FramePath) -> Sequence[ChildLine]:
    """The frames directly inside one, as its rows tell, with their values as plain data."""
    own = f"{frame}/"
    told = [one for one in frames_of(rows, None) if not isinstance(one, Gap) and one.status]
    outermost = set(_outermost([one.path for one in told], own))
    number = frame_id.partition("/")[0]
    return [
        ChildLine(
            id=f"{number}/{one.path.partition('/')[2]}",
            name=one.path.removeprefix(own),
            status=STATUS.get(one.status, RunStatus.INTERRUPTED),
            duration="" if one.seconds is None else duration_text(one.seconds),
            output=Preview("", one.preview),
        )
        for one in told
        if one.path.startswith(own) and one.path.removeprefix(own) in outermost
    ]


def _outermost(paths: Iterable[str], above: str) -> Iterator[str]:
    """The paths that begin with ``above``, without that, and without those inside another."""
    below = dict.fromkeys(one.removeprefix(above) for one in paths if one.startswith(above))
    for one in below:
        parts = one.split("/")
        if not any("/".join(parts[:count]) in below for count in range(1, len(parts))):
            yield one
