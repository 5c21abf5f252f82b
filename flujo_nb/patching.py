"""Patches of frames: what a person wrote, looked at before anything runs; what a run does with it.

A command notes its patch as JSON, and the frame that it changes. What its run is given is worked
out from that each time, so that a run that was cut off goes on as it began.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.errors import NotPatchable, PatchMisfit, ResumeError, ValueNotSaved
from flujo_nb.engine.journal import Patch
from flujo_nb.engine.outcomes import BackgroundLaunched
from flujo_nb.engine.patches import checked_patch, patched
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.step_config import JSONValue
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.secrets import SecretBook
from flujo_nb.engine.store.type_table import TypeTable

from .head import Command, Entry
from .kept_frames import moved

if TYPE_CHECKING:
    from .session import Session

Changes: TypeAlias = Mapping[str, JSONValue]
"""One of ``data``, ``context`` and ``output``, with a JSON merge patch for it."""

Patches: TypeAlias = dict[tuple[Segment, ...], Patch]
"""What is changed at frames, by the segments of their paths."""


def read_changes(text: str, lines_above: int = 0) -> Changes:
    """The changes that ``text`` says, which begins below so many lines of a cell.

    Raises `UsageError`, with the line and the column in that cell, when it is no JSON.
    """
    if not text.strip():
        raise UsageError('a patch is JSON below the first line, such as {"output": {"n": 3}}')
    try:
        found: JSONValue = json.loads(text.rstrip(), parse_constant=_no_json)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"the patch is no JSON: {error.msg} (line {error.lineno + lines_above}, "
            f"column {error.colno})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the patch is no JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise UsageError('a patch is a JSON object, such as {"output": {"n": 3}}')
    return found


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def changes_of(given: Mapping[str, object]) -> Changes:
    """The changes that were given as Python values. Raises `UsageError` for what is no JSON."""
    try:
        return read_changes(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"a patch is plain data, as JSON has it (lists, dicts, texts, numbers): {error}"
        ) from error


def check_changes(changes: Changes) -> None:
    """Raise `UsageError` for what cannot be a patch, or cannot be noted as one."""
    try:
        checked_patch(changes)
        Codec(TypeTable(), SecretBook(os.urandom(32))).encode(changes, "the patch")
    except (ResumeError, ValueNotSaved) as error:
        raise UsageError(str(error)) from error


def check_can_be_patched(session: Session, entry: Entry, record: FrameRecord) -> None:
    """Raise `UsageError` when ``record``, of ``entry`` or of a frame inside, cannot be patched."""
    if isinstance(record.outcome, BackgroundLaunched):
        raise UsageError(
            f"{record.id} {record.name} works in the background, and what goes on behind a run is "
            "not patched"
        )
    cached = _cached_around(record)
    if cached is not None:
        raise UsageError(
            f"{record.id} stands inside a cached step, which keeps what it gave: patch {cached}"
        )
    earlier = patches_of(session, entry.command).get(record.path.segments)
    if earlier is not None and "output" not in earlier.changes:
        raise UsageError(
            f"{record.id} was patched already: patch {entry.command.forks}, and say all that is "
            "to be another"
        )


def _cached_around(record: FrameRecord) -> str | None:
    """The id of the cached step that a frame stands inside, if it does."""
    parts = record.id.split("/")
    for number, segment in enumerate(record.path.segments):
        if segment.kind is SegmentKind.CACHED:
            return "/".join(parts[:number])
    return None


def fitted(session: Session, record: FrameRecord, changes: Changes) -> object:
    """What the changes make of a record's part; ``None`` where that is not known before it runs.

    Raises `UsageError` when they do not fit.
    """
    [(part, change)] = changes.items()
    value: object
    match part:
        case "output":
            if record.absent is not None:
                raise UsageError(session.recaller.how_to_get(record))
            value = record.output
        case "data":
            if not record.has_data:
                return None
            value = record.data
        case _:
            if session.entry_of(record.id).record.context is None:
                raise UsageError(f"{record.id} has no context: there is nothing to patch")
            if record.context is None:
                return None
            value = record.context
    try:
        return patched(value, change, part)
    except PatchMisfit as error:
        way = ""
        if isinstance(error, NotPatchable) and part == "output":
            way = f"; to go on from another, %%flujo step NAME --from {record.id}"
        raise UsageError(f"{record.id}: {error}{way}") from error


def patches_of(session: Session, command: Command) -> Patches:
    """What is changed at the frames that the run of ``command`` comes to.

    An input or a context of the command's own frame is not among it: its record has that. But
    what was changed around the frame that it forks is.
    """
    if command.forks is None:
        return {}
    whole, source = session.entry_of(command.forks), session.record(command.forks)
    is_own, found = source.id == whole.id, Patches()
    for path, patch in ({} if is_own else patches_of(session, whole.command)).items():
        if "output" not in patch.changes and source.path.segments[: len(path)] == path:
            found[_there(FramePath(path), whole, command)] = patch
    changes = None if command.patch is None else read_changes(command.patch)
    if changes is not None and not (is_own and "output" not in changes):
        there = command.frame.segments if is_own else _there(source.path, whole, command)
        found[there] = Patch(changes, source.outcome)
    return found


def _there(path: FramePath, source: Entry, command: Command) -> tuple[Segment, ...]:
    return moved(path, source.command.path, command.path).segments


def has_patch(session: Session, command: Command) -> bool:
    """Whether something of a command's frame was changed by hand, or of one that it forks."""
    while command.patch is None and command.forks is not None:
        command = session.entry_of(command.forks).command
    return command.patch is not None


def is_patched(record: FrameRecord, command: Command) -> bool:
    """Whether ``record``, of ``command`` or of a frame inside, is of a frame that it changes.

    The command's own record counts, whatever it changes.
    """
    inner = record.id.partition("/")[2]
    return command.patch is not None and inner in ("", _inner(command.forks))


def as_patched(record: FrameRecord, command: Command) -> FrameRecord:
    """A record of a frame inside the one of ``command``, with what that changed of it."""
    if command.patch is None or not is_patched(record, command):
        return record
    [(part, change)] = read_changes(command.patch).items()
    try:
        if part == "data" and record.has_data:
            return replace(record, data=patched(record.data, change))
        if part == "context" and record.context is not None:
            return replace(record, context=cast(BaseModel, patched(record.context, change)))
    except PatchMisfit:  # its class is another one now
        return record
    return record


def _inner(frame_id: str | None) -> str:
    return (frame_id or "").partition("/")[2]


def unused_patch(session: Session, command: Command) -> str | None:
    """That the run of ``command`` did not come to the frame that it changes, if so."""
    inner = _inner(command.forks)
    if inner:
        try:
            session.record(f"{command.id}/{inner}")
        except UsageError:
            return f"the patch changed nothing: the run did not come to {inner}"
    return None
