"""The questions that frames ask, and the answers to them as they are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from IPython.core.error import UsageError

from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.results import Pause
from flujo_nb.engine.step_history_tracker import StepHistoryTracker
from flujo_nb.widgets.previews import clipped

from .front import above_of
from .head import Entry, Given


@dataclass(frozen=True, slots=True)
class Text:
    """An answer as it was typed: JSON, or a text where that is asked for."""

    text: str


def frame_id_of(entry: Entry, path: FramePath) -> str:
    """The id of the frame at ``path``, inside an entry's command."""
    inner = "/".join(map(str, path.segments[1:]))
    return f"{entry.id}/{inner}" if inner else entry.id


def given_as(answer: Given | Text) -> object:
    """An answer, and whether it was typed."""
    return ["value", answer.value] if isinstance(answer, Given) else ["text", answer.text.strip()]


def asked_by(record: FrameRecord, journal: Journal) -> Sequence[Pause]:
    """The open questions of a frame that nobody has answered."""
    if record.status is not RunStatus.PAUSED:
        return ()
    pauses = StepHistoryTracker().open_pauses(record.outcome, above_of(record))
    return [one for one in pauses if one.path not in journal.answers]


def choose(entry: Entry, asked: Sequence[Pause], frame_id: str | None) -> Pause:
    """The question that ``frame_id`` leads to, or the only one. Raises `UsageError`."""
    inside = frame_id if frame_id is not None and "/" in frame_id else None
    fitting = [
        one
        for one in asked
        if inside is None or f"{frame_id_of(entry, one.path)}/".startswith(f"{inside}/")
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not asked:
        raise UsageError(f"{entry.id} {entry.name} asks nothing; resume it without an answer")
    raise UsageError(f"say which question is answered: {listed(entry, asked)}")


def listed(entry: Entry, asked: Sequence[Pause]) -> str:
    """Questions with the way to answer each, in one line."""
    told = []
    for one in asked:
        where = frame_id_of(entry, one.path) if len(asked) > 1 else entry.id
        message = clipped(" ".join(one.message.split()), 80)
        told.append(f"{message}  (%flujo resume {where} --with EXPR)")
    return "; ".join(told)


def value_of(text: str, pause: Pause) -> object:
    """An answer that was typed, as the kind that the question asks for."""
    text = text.strip()
    schema = pause.schema or {}
    if schema.get("type") == "string" and not text.startswith('"'):
        return text
    try:
        value: object = json.loads(text)
    except ValueError as error:
        if text[:1] in ("{", "["):
            raise UsageError(
                f"the answer is no JSON: {error}; a Python expression goes behind --with"
            ) from error
        return text
    return value
