"""Which recorded frame stands for a run that is asked for again.

It has the same text, its steps are defined alike, and it was given the same: input and context are
compared as they would be saved. What cannot be saved cannot be compared, so it always runs; so do
steps that are declared ``pure=False``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from flujo_nb.engine.errors import ValueNotSaved
from flujo_nb.engine.placeholders import steps_named
from flujo_nb.engine.steps import Node, Pipeline
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.secrets import SecretBook
from flujo_nb.engine.store.type_table import TypeTable

from .head import Entry, Start, last_of
from .patching import has_patch
from .session import Session
from .targets import Definitions, all_nodes


def reusable(session: Session, node: Node, target: str | None, start: Start) -> Entry | None:
    """The newest frame that stands for a run of ``node``, written ``target``, from ``start``."""
    nodes = all_nodes(node)
    if any(not isinstance(one, Pipeline) and one.config.pure is False for one in nodes):
        return None
    definitions = session.targets.definitions_in(node)
    asks_earlier = any(steps_named(one.templates) for one in nodes)
    given: tuple[bytes, bytes] | None = None
    codec = Codec(TypeTable(lambda: session.targets.names), SecretBook(os.urandom(32)))
    for entry in _alike(session, target, definitions):
        if asks_earlier and entry.parent != start.parent:
            continue  # it may have been told something else of the steps before it
        given = given or _digests(codec, start.data, start.context)
        if given is None:
            return None
        record = entry.record
        if not (record.has_output and record.has_data and record.succeeded):
            continue
        if _digests(codec, record.data, record.context) == given:
            return entry
    return None


def answer_digest(answer: object) -> str | None:
    """The digest of an answer; ``None`` for one that could not be saved."""
    try:
        return Codec(TypeTable()).encode(answer, "answer").digest.hex()
    except ValueNotSaved:
        return None


def answered_before(session: Session, frame_id: str | None, answer: str | None) -> Entry | None:
    """The frame that went on with ``frame_id``, or else HEAD, if that was with the same answer.

    ``answer`` is its digest. What is stale does not stand for it.
    """
    entry = session.head if frame_id is None else session.entry_of(frame_id)
    if entry is None or answer is None:
        return None
    later = last_of(entry, session.entries)
    is_same = later.succeeded and later.command.answered == answer
    return later if is_same and session.staleness.why(later) is None else None


def _alike(session: Session, target: str | None, definitions: Definitions) -> Iterator[Entry]:
    for entry in reversed(session.entries):
        command = entry.command
        if not entry.succeeded or not definitions or command.definitions != definitions:
            continue
        if command.target == target and not has_patch(session, command):
            yield entry


def _digests(codec: Codec, data: object, context: object) -> tuple[bytes, bytes] | None:
    try:
        return codec.encode(data, "input").digest, codec.encode(context, "context").digest
    except ValueNotSaved:
        return None
